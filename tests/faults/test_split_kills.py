# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at every system call of small splits and ways back. A bounded sample of the same runs with the unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.split_cases import (
    CASES,
    UNSPLIT_CASES,
    KillCase,
    SplitCase,
    UnsplitCase,
)

if TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize("name", CASES)
def test_killed_anywhere_the_next_run_finishes(tmp_path: pathlib.Path, name: str) -> None:
    _kill_everywhere(SplitCase(name, tmp_path), name)


@pytest.mark.parametrize("name", UNSPLIT_CASES)
def test_a_way_back_that_is_killed_anywhere_is_finished_by_the_next_run(tmp_path: pathlib.Path, name: str) -> None:
    _kill_everywhere(UnsplitCase(name, tmp_path), name)


def _kill_everywhere(case: KillCase, name: str) -> None:
    points = case.points()
    assert len(points) > 100
    breaches = {point: breach for point in points for breach in [case.breach(point)] if breach}
    print(f"{name}: {len(points)} kill points, {len(breaches)} breaches")
    assert not breaches
