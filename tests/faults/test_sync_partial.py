# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes that do less than they were asked: what is missing is done by the next ones, or the copy fails."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import (
    NEW_BIG,
    copy,
    digest_of,
    found_differences,
    is_told,
    prepare,
    rows,
)
from ansible_collections.dsa110.contimg.tests.support.faults.sync_judge import judge
from ansible_collections.dsa110.contimg.tests.support.faults.traced import numbered_calls
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import Outcome, run_traced

if TYPE_CHECKING:
    import pathlib

# How many are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "1"))
#: Each call really moves a part of the bytes, but for the four of a number, which a pipe never splits. A device gives blocks.
PARTIAL = """
import fcntl, os, random
_random = random.Random(SEED)
_read, _preadv, _write, _pwrite = os.read, os.preadv, os.write, os.pwrite
def _part(size):
    return size if size <= 4 else _random.randint(1, size)
os.read = lambda file, size: _read(file, _part(size))
def _part_of(file, data):
    size = _part(len(data))
    if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
        size = (size + 4095) // 4096 * 4096
    return memoryview(data)[:size]
os.preadv = lambda file, into, at: _preadv(file, [_part_of(file, into[0])], at)
os.write = lambda file, data: _write(file, memoryview(data)[:_part(len(data))])
os.pwrite = lambda file, data, at: _pwrite(file, _part_of(file, data), at)
"""
CALLS = "read,preadv,pwrite64"
SEEDS = range(1 if POINTS else 50)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_call_has_not_done_is_done_by_the_next(tmp_path: pathlib.Path, workers: int) -> None:
    base = tmp_path / "base"
    prepare(base)
    whole = calls_made(base, workers)
    for seed in SEEDS:
        prepare(base)
        parts = calls_made(base, workers, prelude=PARTIAL.replace("SEED", str(seed)))
        assert parts > whole * 3 // 2, (seed, parts, whole)
        assert (found_differences(base), rows(base / "dest"), is_told(base)) == ([], 9, True), seed
        assert not copy(base)["changed"], seed


def calls_made(base: pathlib.Path, workers: int, prelude: str = "") -> int:
    """Copy, and return how many calls all threads and processes have made."""
    assert run_traced(base, CALLS, workers=workers, prelude=prelude).code == 0
    with open(f"{base}.trace", encoding="utf-8", errors="replace") as log:
        return sum(1 for _call in numbered_calls(log))


# The system itself writes the bytes that a file may still have, and then none: of "big" one byte, up to all but one.
LIMITS = [1, 7, 4_000, 100_000, len(NEW_BIG) - 1]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("limit", LIMITS[-1:] if POINTS else LIMITS)
def test_a_write_that_ends_early_fails_the_copy(tmp_path: pathlib.Path, limit: int, workers: int) -> None:
    base = tmp_path / "base"
    prepare(base)
    before = digest_of(base / "src")
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    outcome = run_traced(base, "execve", prelude=limited, workers=workers)
    assert outcome.code == 1
    assert judge(base, outcome, before) == ""


# Mutants: each takes the first part for the whole.
MUTANTS = {
    "write": "content_module._write = lambda target, content, at: content_module._tolerantly(os.pwrite, target, content, at)",
    "read": """
def _read_all(file, size):
    os.lseek(file, 0, os.SEEK_SET)
    return os.read(file, size)
content_module._read_all = _read_all
""",
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_copy_that_takes_a_part_for_the_whole_is_caught(tmp_path: pathlib.Path, mutant: str) -> None:
    base = tmp_path / "base"
    imported = "from ansible_collections.dsa110.contimg.plugins.module_utils._sync import content as content_module\n"
    prelude = PARTIAL.replace("SEED", "0") + imported + MUTANTS[mutant] + "\n"
    assert taken(base, prelude, verify="none").code == 0
    assert found_differences(base) != []
    proved = taken(base, prelude, verify="checksum")
    assert (proved.code, "the copy differs from what was read" in proved.said) == (1, True), proved


def taken(base: pathlib.Path, prelude: str, verify: str) -> Outcome:
    """Return how a copy by a mutant ends."""
    prepare(base)
    return run_traced(base, "execve", prelude=prelude, verify=verify)
