# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A destination that is full, or gets full in the middle of the copy, and then has room."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.full_disk import copy_to_full

if TYPE_CHECKING:
    import pathlib

# How many limits are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "3"))
LIMITS = {
    "size": [f"size={kibibytes}k" for kibibytes in range(64, 4600, 108)],
    "nr_inodes": [f"nr_inodes={count}" for count in range(2, 26)],
}
KINDS = [(limit, asks, workers) for limit in LIMITS for asks in (False, True) for workers in (1, 2)]


@pytest.mark.parametrize(("limit", "asks", "workers"), KINDS[::3] if POINTS else KINDS)
def test_a_full_disk_fails_the_copy_and_the_next_run_finishes(
    tmp_path: pathlib.Path, limit: str, *, asks: bool, workers: int
) -> None:
    every = LIMITS[limit]
    limits = every[:: len(every) // POINTS] if POINTS else every
    done = copy_to_full(tmp_path, limits=limits, asks=asks, workers=workers)
    assert done["found"] == []
    assert 1 in done["codes"]
    assert len(done["codes"]) == len(limits)


# A mutant: it takes what had no room for written.
LOSES = """
import errno, os
_pwrite = os.pwrite
def pwrite(file, data, at):
    try:
        return _pwrite(file, data, at)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return len(data)
os.pwrite = pwrite
"""


def test_a_copy_that_goes_on_without_room_is_caught(tmp_path: pathlib.Path) -> None:
    values = {"workers": 1, "verify": "none", "manifest": str(tmp_path / "manifest")}  # where there is room
    done = copy_to_full(tmp_path, limits=["size=1000k"], asks=False, prelude=LOSES, **values)
    assert done["codes"] == [0]
    assert "claims success, and the copy differs" in done["found"][0]
