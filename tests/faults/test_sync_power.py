# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy that loses its power at any call, and after it has reported success; and that a copy without flushes is caught."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.power_loss import FILE_SYSTEMS, lose_power

if TYPE_CHECKING:
    import pathlib

# How many points are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "3"))
NO_FLUSH = "import os; os.fsync = lambda descriptor: None; "
NO_DIRECTORY_FLUSH = """
import os, stat
_fsync = os.fsync
os.fsync = lambda descriptor: None if stat.S_ISDIR(os.fstat(descriptor).st_mode) else _fsync(descriptor)
"""
NO_FILE_FLUSH = NO_DIRECTORY_FLUSH.replace("if stat", "if not stat")


# A mutant, and the file systems that show what it lacks (ext4 flushes by itself what replaces a file).
MUTANTS = [
    ("ext4", NO_FLUSH),
    ("ext4 noauto_da_alloc", NO_FLUSH),
    ("xfs", NO_FLUSH),
    ("ext4", NO_DIRECTORY_FLUSH),
    ("xfs", NO_DIRECTORY_FLUSH),
    ("ext4 noauto_da_alloc", NO_FILE_FLUSH),
    ("xfs", NO_FILE_FLUSH),
]
TRIALS = [
    (system, scenario, workers) for workers in (1, 2) for scenario in ("replace", "new") for system in FILE_SYSTEMS
]


@pytest.mark.parametrize(("system", "scenario", "workers"), TRIALS[1:2] if POINTS else TRIALS)
def test_a_power_loss_tears_nothing_and_takes_back_no_success(
    tmp_path: pathlib.Path, system: str, scenario: str, workers: int
) -> None:
    points = POINTS if workers == 1 else POINTS or 60
    found = lose_power(tmp_path, system=system, scenario=scenario, points=points, prelude="", workers=workers)
    print(found)
    assert found["points"] > 200
    assert found["found"] == []


@pytest.mark.parametrize(("system", "prelude"), MUTANTS[4:5] if POINTS else MUTANTS)
def test_a_copy_that_does_not_flush_is_caught(tmp_path: pathlib.Path, system: str, prelude: str) -> None:
    points = 1 if POINTS else 30
    found = lose_power(tmp_path, system=system, scenario="replace", points=points, prelude=prelude, workers=1)
    print(found)
    assert found["found"]
