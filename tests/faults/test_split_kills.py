# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at every system call of small splits. A bounded sample of the same runs with the unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.split_cases import CASES, SplitCase

if TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize("name", CASES)
def test_killed_anywhere_the_next_run_finishes(tmp_path: pathlib.Path, name: str) -> None:
    case = SplitCase(name, tmp_path)
    points = case.points()
    assert len(points) > 100
    breaches = {point: breach for point in points for breach in [case.breach(point)] if breach}
    print(f"{name}: {len(points)} kill points, {len(breaches)} breaches")
    assert not breaches
