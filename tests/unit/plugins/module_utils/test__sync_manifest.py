# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest is that of the last pass, also where an earlier one did all the work; and what a copy cannot look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.tests.support.sync_faults import copy, first_version, is_told

if TYPE_CHECKING:
    import pathlib


def test_a_final_pass_with_nothing_to_copy_tells_what_live_passes_have_copied(tmp_path: pathlib.Path) -> None:
    first_version(tmp_path / "base")
    copy(tmp_path / "base")
    (tmp_path / "base" / "src" / "later").write_text("later")
    copy(tmp_path / "base", live=True)
    assert not is_told(tmp_path / "base")
    assert copy(tmp_path / "base")["changed"]
    assert is_told(tmp_path / "base")
    assert not copy(tmp_path / "base")["changed"]
