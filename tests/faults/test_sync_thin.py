# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that loses what was written and says so once, when it is flushed: asked again it says that all is well."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.thin_disk import copy_to_thin

if TYPE_CHECKING:
    import pathlib

# How many devices are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "1"))
ROOMS = [64] if POINTS else list(range(0, 1400, 56))  # KiB; the copy needs more
KINDS = [
    (survives, verify, cached)
    for survives in (True, False)
    for verify in ("none", "checksum")
    for cached in (True, False)
]
# As on a file system that cannot write past the page cache: there, only a flush tells.
CACHED = "import os; os.O_DIRECT = 0\n"
# A mutant: it asks again.
AGAIN = """
import os
_fsync = os.fsync
def again(descriptor):
    for turn in range(3):
        try:
            return _fsync(descriptor)
        except OSError:
            pass
    _fsync(descriptor)
os.fsync = again
"""


@pytest.mark.parametrize(("survives", "verify", "cached"), KINDS[:2] if POINTS else KINDS)
def test_a_flush_that_fails_once_fails_the_copy_and_the_next_run_finishes(
    tmp_path: pathlib.Path, verify: str, *, survives: bool, cached: bool
) -> None:
    done = copy_to_thin(tmp_path, rooms=ROOMS, survives=survives, verify=verify, prelude=CACHED if cached else "")
    print(done)
    assert done["found"] == []
    assert done["codes"] == [1] * len(ROOMS), done["said"]
    if survives and cached:
        assert all("could not flush the copy" in said for said in done["said"])


def test_a_copy_that_flushes_again_is_caught(tmp_path: pathlib.Path) -> None:
    done = copy_to_thin(tmp_path, rooms=ROOMS[:1], survives=True, verify="none", prelude=CACHED + AGAIN)
    assert done["codes"] == [0]
    assert "is lost when the device is plugged in again" in str(done["found"])
