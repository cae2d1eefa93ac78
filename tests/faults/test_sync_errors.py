# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of which any call fails, once or from then on: it is right or it says why, and the next run finishes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import digest_of, prepare
from ansible_collections.dsa110.contimg.tests.support.faults.sync_judge import judge
from ansible_collections.dsa110.contimg.tests.support.faults.traced import sample
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import CALLS, Call, list_calls, run_traced

if TYPE_CHECKING:
    import pathlib

# How many points are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "2"))
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "ENOMEM", "EINTR")


KINDS = [(error, lasting, workers) for workers in (1, 2) for error in ERRORS for lasting in ("", "+")]


# Of the unit tests' sample four of them, in turn once and lasting.
@pytest.mark.parametrize(("error", "lasting", "workers"), KINDS[:12:3] if POINTS else KINDS)
def test_a_call_that_fails_is_never_taken_for_success(
    tmp_path: pathlib.Path, error: str, lasting: str, workers: int
) -> None:
    base = tmp_path / "base"
    prepare(base)
    calls = list_calls(base, CALLS, workers=workers)
    assert len(calls) > 300
    wrong = []
    for call in sample(calls, POINTS if workers == 1 else POINTS or 100):
        prepare(base)
        before = digest_of(base / "src")
        # A call that is interrupted for ever is repeated for ever.
        when = f"{call.ordinal}..{call.ordinal + 3}" if lasting and error == "EINTR" else f"{call.ordinal}{lasting}"
        inject = f"inject={call.name}:error={error}:when={when}"
        outcome = run_traced(base, call.name, "-e", inject, workers=workers)
        # Which of two processes makes a call is a matter of time.
        found = judge(base, outcome, before) if outcome.fired or workers > 1 else "was never injected"
        if found:
            wrong.append(f"{inject} {found}")
    assert wrong == []


def test_a_flush_that_fails_fails_the_copy(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare(base)
    flushes = list_calls(base, "fsync")
    assert len(flushes) > 10
    for call in sample(flushes, 4 * POINTS):
        prepare(base)
        outcome = run_traced(base, "fsync", "-e", f"inject=fsync:error=EIO:when={call.ordinal}")
        assert outcome.code == 1, (call, outcome)
        assert "Input/output error [errno 5]" in outcome.said, (call, outcome)


def test_a_log_that_cannot_be_read_is_not_taken_for_a_damaged_one(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare(base)
    reads = list_calls(base, "pread64")
    assert len(reads) > 10
    for call in reads:
        for lasting in ("", "+"):
            prepare(base)
            before = digest_of(base / "src")
            outcome = run_traced(base, "pread64", "-e", f"inject=pread64:error=EIO:when={call.ordinal}{lasting}")
            assert outcome.fired
            assert judge(base, outcome, before) == "", (call, lasting)


# A mutant: it goes on without the times that it could not set.
IGNORES = """
import os
_utime = os.utime
def utime(*arguments, **named):
    try:
        _utime(*arguments, **named)
    except OSError:
        pass
os.utime = utime
"""


def test_a_copy_that_ignores_an_error_is_caught(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare(base)
    assert any(wrong_without_times(base, call) for call in list_calls(base, "utimensat")[::-1])


def wrong_without_times(base: pathlib.Path, call: Call) -> str:
    """Return what is wrong with a copy that could not set a time and ignores that."""
    prepare(base)
    before = digest_of(base / "src")
    inject = f"inject=utimensat:error=EIO:when={call.ordinal}"
    return judge(base, run_traced(base, "utimensat", "-e", inject, prelude=IGNORES), before)
