# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database that takes the place of one with a log, killed before each call: a stale log is never beside the new one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.tests.support.faults.stale_log import NEW, OLD, content, prepare_stale_log
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import copy, found_differences
from ansible_collections.dsa110.contimg.tests.support.faults.traced import sample
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import Call, list_calls, run_traced

if TYPE_CHECKING:
    import pathlib

# How many points are tried of all that there are; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "6"))
CALLS = "openat,pwrite64,write,rename,renameat,fsync,unlinkat,unlink,fchmod,fchown,utimensat,ftruncate,close"


def test_a_stale_log_is_never_beside_a_new_database(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare_stale_log(base)
    calls = list_calls(base, CALLS)
    assert content(base / "dest") == NEW
    assert len(calls) > 60
    wrong = {call: found for call in sample(calls, POINTS) if (found := killed(base, call)) not in (OLD, NEW)}
    assert wrong == {}
    assert finish(base) == ""


def killed(base: pathlib.Path, call: Call, prelude: str = "") -> tuple[int, ...] | str:
    """Return what is found at the destination of a copy that was killed before a call, or what the next run leaves."""
    prepare_stale_log(base)
    inject = f"inject={call.name}:signal=KILL:when={call.ordinal}"
    assert run_traced(base, call.name, "-e", inject, prelude=prelude).code != 0, call
    found = content(base / "dest")
    return finish(base) or found


def finish(base: pathlib.Path) -> str:
    """Copy again; return what is wrong then, if anything."""
    copy(base)
    left = found_differences(base)
    return f"the next run leaves {left}" if left or content(base / "dest") != NEW else ""


# Mutants: one leaves the log where it is, one removes it when the new database has its name.
LEAVES = """
import os
_unlink = os.unlink
os.unlink = lambda name, **named: None if name == b"p.sqlite3-wal" else _unlink(name, **named)
"""
LATE = """
import os
_unlink, _rename, late = os.unlink, os.rename, []
def unlink(name, **named):
    late.append(named) if name == b"p.sqlite3-wal" else _unlink(name, **named)
def rename(old, new, **named):
    _rename(old, new, **named)
    if new == b"p.sqlite3" and late:
        _unlink(b"p.sqlite3-wal", **late.pop())
os.unlink, os.rename = unlink, rename
"""


def test_a_copy_that_leaves_the_log_is_caught(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare_stale_log(base)
    assert run_traced(base, "execve", prelude=LEAVES).code == 0
    assert content(base / "dest") != NEW
    assert found_differences(base)


def test_a_copy_that_removes_the_log_too_late_is_caught(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare_stale_log(base)
    removals = list_calls(base, "unlinkat", about='"p.sqlite3-wal"', prelude=LATE)
    assert len(removals) == 1
    assert killed(base, removals[0], LATE) not in (OLD, NEW)
