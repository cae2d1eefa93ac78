# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy that is stopped after one of its calls, while somebody else changes something, and that then goes on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import Call, Outcome, Running, traced

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

__all__ = ["stopped_at"]

_STOPPED = re.compile(r"^(\d+) +--- stopped by SIGSTOP ---", re.MULTILINE)
_INJECTED = re.compile(r"^(\d+) +--- SIGSTOP \{(?=.*stopped by SIGSTOP)", re.MULTILINE | re.DOTALL)
_PATIENCE = 60.0  # seconds


def stopped_at(
    base: pathlib.Path, call: Call, change: Callable[[], object], *, prelude: str = "", **changed: Any
) -> Outcome:
    """Copy, and call ``change`` while the copy is stopped.

    It must have been stopped, but where several processes share the work: which of them makes a call is a matter of time.
    ``fired`` tells.
    """
    inject = ["-e", f"trace={call.name}", "-e", f"inject={call.name}:signal=STOP:when={call.ordinal}"]
    with traced(base, *inject, prelude=prelude, **changed) as copy:
        stopped = _await_stop(copy)
        assert stopped or changed.get("workers", 1) > 1, "was not stopped"
        try:
            if stopped:
                change()
        finally:
            _go_on(copy)
    return copy.outcome._replace(fired=stopped)


def _go_on(copy: Running) -> None:
    """Let the copy go on to its end. Each thread counts for itself, so that another one may be stopped, too."""
    patience, going = time.monotonic() + _PATIENCE, 0
    while not copy.has_ended():
        stops = _INJECTED.findall(copy.told())
        for stopped in stops[going:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(stopped), signal.SIGCONT)
        going = len(stops)
        if time.monotonic() > patience:
            raise AssertionError("does not end")
        time.sleep(0.002)


def _await_stop(copy: Running) -> bool:
    """Return whether it was stopped before it ended."""
    patience = time.monotonic() + _PATIENCE
    while time.monotonic() < patience:
        ended = copy.has_ended()
        if _STOPPED.search(copy.told()):
            return True
        if ended:
            return False
        time.sleep(0.002)
    raise AssertionError("was neither stopped nor did it end")
