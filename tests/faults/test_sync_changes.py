# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that changes under a copy after any of its calls, and a device that does not hold what was written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.device_flip import copy_to_flipped
from ansible_collections.dsa110.contimg.tests.support.faults.stopped_copy import stopped_at
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import (
    NEW_BIG,
    OLD_BIG,
    add_rows,
    copy,
    found_differences,
    is_told,
    prepare,
    rows,
)
from ansible_collections.dsa110.contimg.tests.support.faults.traced import sample
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import Call, Outcome, list_calls

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

# How many points are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "2"))
CALLS = "openat,read,preadv,pwrite64,fsync,newfstatat,rename,fchown,utimensat,close"


def truncate(src: pathlib.Path) -> None:
    os.truncate(src / "big", 10)


def grow(src: pathlib.Path) -> None:
    with open(src / "big", "ab") as file:
        file.write(b"more")


def replace(src: pathlib.Path) -> None:
    (src / "other").write_bytes(b"Other" * 300_000)
    os.rename(src / "other", src / "big")


def overwrite(src: pathlib.Path) -> None:
    """Change it in place, at its end, and claim that it is as old as before."""
    status = os.stat(src / "big")
    with open(src / "big", "r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"NEWER")
    os.utime(src / "big", ns=(status.st_atime_ns, status.st_mtime_ns))


def remove(src: pathlib.Path) -> None:
    (src / "big").unlink()


def write_rows(src: pathlib.Path) -> None:
    add_rows(src / "p.sqlite3", 3)


CHANGES = [truncate, grow, replace, overwrite, remove, write_rows]
TRIALS = [*((change, 1) for change in CHANGES), *((change, 2) for change in (CHANGES[3::2] if POINTS else CHANGES))]


@pytest.mark.parametrize(("change", "workers"), TRIALS)
def test_a_source_that_changes_is_never_half_copied(
    tmp_path: pathlib.Path, change: Callable[[pathlib.Path], None], workers: int
) -> None:
    base = tmp_path / "base"
    prepare(base)
    stopped = 0
    tried = sample(list_calls(base, CALLS, workers=workers), POINTS if workers == 1 else POINTS or 100)
    for call in tried:
        prepare(base)
        outcome = stopped_at(base, call, lambda: change(base / "src"), workers=workers)
        stopped += outcome.fired
        judge(base, call, outcome)
    print(f"stopped {stopped} of {len(tried)}")
    assert stopped >= len(tried) // 2


def judge(base: pathlib.Path, call: Call, outcome: Outcome) -> None:
    """Check what a copy has made of a source that changed, and finish it."""
    src, dest = base / "src", base / "dest"
    assert outcome.code in (0, 1), (call, outcome)
    if outcome.code:
        assert "p.sqlite3" in outcome.said or "big" in outcome.said, (call, outcome)
    contents = [
        *([OLD_BIG] if outcome.code else []),
        NEW_BIG,
        *([(src / "big").read_bytes()] if (src / "big").exists() else []),
    ]
    assert not (dest / "big").exists() or (dest / "big").read_bytes() in contents, (call, outcome)
    assert rows(dest) in (5, 9, 12), (call, outcome)
    copy(base)
    assert (found_differences(base), is_told(base)) == ([], True), (call, outcome)
    assert not copy(base)["changed"], (call, outcome)


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_what_the_device_changes_is_caught_before_it_gets_its_name(tmp_path: pathlib.Path, size: int) -> None:
    found = copy_to_flipped(tmp_path, size=size, prelude="")
    assert (found["code"], found["placed"]) == (1, False), found
    assert "the copy differs from what was read from the source" in found["said"]


# A mutant: it neither drops what the page cache holds, nor reads past it.
FROM_CACHE = "import os; os.posix_fadvise = lambda *asked: None; os.O_DIRECT = 0; "


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_a_copy_that_reads_back_from_the_cache_is_caught(tmp_path: pathlib.Path, size: int) -> None:
    found = copy_to_flipped(tmp_path, size=size, prelude=FROM_CACHE)
    assert (found["code"], found["placed"]) == (0, True), found
