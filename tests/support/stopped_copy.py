# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy that is stopped after one of its calls, while somebody else changes something, and that then goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.tests.support.sync_faults import Call, Outcome, command_of, environment

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
    log = f"{base}.trace"
    inject = ["-e", f"trace={call.name}", "-e", f"inject={call.name}:signal=STOP:when={call.ordinal}"]
    command = ["strace", "-f", "-qq", "-o", log, *inject, *command_of(base, prelude=prelude, **changed)]
    if os.path.exists(log):
        os.unlink(log)
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) as process:
        stopped = _await_stop(process, log)
        assert stopped or changed.get("workers", 1) > 1, "was not stopped"
        try:
            if stopped:
                change()
        finally:
            _go_on(process, log)
        _none, said = process.communicate()
    return Outcome(process.returncode, said.decode(errors="replace"), stopped)


def _go_on(process: subprocess.Popen[bytes], log: str) -> None:
    """Let the copy go on to its end. Each thread counts for itself, so that another one may be stopped, too."""
    patience, going = time.monotonic() + _PATIENCE, 0
    while process.poll() is None:
        with open(log, encoding="utf-8", errors="replace") as file:
            stops = _INJECTED.findall(file.read())
        if len(stops) > going:
            os.kill(int(stops[-1]), signal.SIGCONT)
            going = len(stops)
        if time.monotonic() > patience:
            process.kill()
            raise AssertionError("does not end")
        time.sleep(0.01)


def _await_stop(process: subprocess.Popen[bytes], log: str) -> bool:
    """Tell whether it was stopped before it ended."""
    patience = time.monotonic() + _PATIENCE
    while time.monotonic() < patience:
        ended = process.poll() is not None
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as file:
                stopped = _STOPPED.search(file.read())
            if stopped:
                return True
        if ended:
            return False
        time.sleep(0.005)
    process.kill()
    raise AssertionError("was not stopped in time")
