# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two thousand one-bit flips in a copy of a database: the whole of what the unit tests sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.sqlite_flips import flip_and_judge

if TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize("seed", range(2))
def test_every_flipped_bit_that_changes_content_is_caught(tmp_path: pathlib.Path, seed: int) -> None:
    counts = flip_and_judge(tmp_path, flips=1000, seed=seed)
    assert counts["missed"] == 0
    assert counts["alarmed for nothing"] == 0
    assert counts["changed"] >= 30
