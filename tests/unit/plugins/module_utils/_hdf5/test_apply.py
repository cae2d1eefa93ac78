# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of the kill points of tests/faults/test_split_kills.py: the calls that decide, and some at random."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.split_cases import CASES, SplitCase

if TYPE_CHECKING:
    import pathlib

_DECIDING = ("rename", "fsync", "fdatasync", "unlink", "ftruncate")


@pytest.mark.parametrize("name", CASES)
def test_killed_at_a_sample_of_calls_the_next_run_finishes(tmp_path: pathlib.Path, name: str) -> None:
    case = SplitCase(name, tmp_path)
    points = case.points()
    chosen = random.Random(name)  # the same sample each time
    deciding = [point for point in points if point[0] in _DECIDING]
    sample = [*chosen.sample(deciding, min(8, len(deciding))), *chosen.sample(points, 4)]
    assert {point: breach for point in sample for breach in [case.breach(point)] if breach} == {}
