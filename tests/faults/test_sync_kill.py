# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy killed before each call that writes; the sample of the unit tests takes some points, ``make faults`` all."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import (
    NEW_BIG,
    OLD_BIG,
    copy,
    digest_of,
    found_differences,
    prepare,
    rows,
)
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import CALLS, list_calls, run_traced

if TYPE_CHECKING:
    import pathlib

# How many points are tried of all that there are; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "12"))


def check(base: pathlib.Path) -> None:
    """Nothing is torn, and the next run finishes."""
    assert rows(base / "dest") in (5, 9)
    assert (base / "dest" / "big").read_bytes() in (OLD_BIG, NEW_BIG)
    for name in ("hard", "logs/a.log"):
        assert (base / "dest" / name).read_text() in ("old\n" * 100, "new\n" * 200)
    assert os.readlink(base / "dest" / "link") in ("old", "new")
    copy(base)
    assert found_differences(base) == []
    assert rows(base / "dest") == 9
    assert copy(base)["changed"] is False


def test_a_copy_killed_before_any_call_loses_and_tears_nothing(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare(base)
    points = sorted(list_calls(base, CALLS))
    assert len(points) > 60
    step = max(1, len(points) // POINTS) if POINTS else 1
    for name, ordinal in points[::step]:
        prepare(base)
        before = digest_of(base / "src")
        died = run_traced(base, name, "-e", f"inject={name}:signal=KILL:when={ordinal}")
        assert died.code == -signal.SIGKILL, (name, ordinal, died)
        assert digest_of(base / "src") == before, (name, ordinal)
        try:
            check(base)
        except AssertionError as error:
            raise AssertionError(f"killed before {name} number {ordinal}") from error


# A mutant: it writes to what is there.
IN_PLACE = """
import os
_rename = os.rename
def rename(old, new, *, src_dir_fd=None, dst_dir_fd=None):
    if new != b"big":
        return _rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    source, target = os.open(old, os.O_RDONLY, dir_fd=src_dir_fd), os.open(new, os.O_WRONLY, dir_fd=dst_dir_fd)
    for start in range(0, os.fstat(source).st_size, 400_000):
        os.pwrite(target, os.pread(source, 400_000, start), start)
    os.unlink(old, dir_fd=src_dir_fd)
os.rename = rename
"""


def test_a_copy_that_writes_in_place_is_caught(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare(base)
    writes = list_calls(base, "pwrite64", about=", 400000, 400000)", prelude=IN_PLACE)
    assert len(writes) == 1
    prepare(base)
    run_traced(base, "pwrite64", "-e", f"inject=pwrite64:signal=KILL:when={writes[0].ordinal}", prelude=IN_PLACE)
    with pytest.raises(AssertionError):
        check(base)
