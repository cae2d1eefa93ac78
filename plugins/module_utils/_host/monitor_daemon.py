# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A write monitor at work as a process of its own: it takes in, saves, answers, and ends.

Three names in one directory, for root only: the findings, also after a kill; a file that is locked (flock) for as long as the
process lives, so that there is one; a socket where it is asked. The last two are gone when it ends by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import replace_file
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import is_owned
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_socket import SOCKET, STOP, TAKE
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import boot_id

if TYPE_CHECKING:
    import socket
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._host.write_monitor import WriteMonitor

__all__ = ["ENDS", "Asked", "Daemon"]

#: By how it has ended, why what came later is unknown.
ENDS = {
    "stopped": "",
    "lease": "its run has ended",
    "limit": "it ended at its limit of time",
    "signal": "it was ended by a signal",
    "error": "it ended by an error",
}

_SAVE_SECONDS = 1.0
_TAKE_SECONDS = 1.0
_SWITCH_SECONDS = 0.0005
_CLIENT_SECONDS = 1.0
_LEASE_SECONDS = 1.0
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Asked:
    """What is to be monitored.

    :ivar directory: where its files are.
    :ivar run_id: the run that it belongs to, and with which it ends; empty for none.
    :ivar limit: seconds after which it ends by itself.
    """

    paths: tuple[str, ...]
    directory: str
    run_id: str
    limit: float

    @property
    def findings(self) -> str:
        """The path of the file with what was found."""
        return os.path.join(self.directory, "write-monitor.json")

    @property
    def lock(self) -> str:
        """The path of the file that is locked."""
        return os.path.join(self.directory, "write-monitor.lock")

    @property
    def socket(self) -> str:
        """The path of the socket."""
        return os.path.join(self.directory, SOCKET)


class Daemon:
    """The loop of the process.

    :ivar ended: a key of :data:`ENDS`, empty while it goes on.
    """

    def __init__(self, asked: Asked, monitor: WriteMonitor, listener: socket.socket, lock: int) -> None:
        self.asked, self.ended = asked, ""
        self._monitor, self._listener, self._lock = monitor, listener, lock
        self._boot, self._deadline = boot_id(), time.monotonic() + asked.limit
        self._saver: threading.Thread | None = None
        self._unsaved, self._dirty, self._saved = "", False, time.monotonic()
        self._leased = time.monotonic()

    def findings(self, *, look: bool = True) -> dict[str, Any]:
        """Return all that is kept.

        :param look: whether what is only compared is compared once more.
        """
        report = self._monitor.report(look=look and not self.ended)
        reasons = [report["reason"], ENDS.get(self.ended, ""), self._unsaved]
        report["reason"] = "; ".join(filter(None, reasons))
        report["complete"] = not report["reason"]
        own = {"paths": list(self.asked.paths), "run_id": self.asked.run_id, "boot_id": self._boot}
        return {"version": 1, **own, "ended": self.ended, **report}

    def run(self) -> None:
        """Go on until the end; then nothing is left but the findings."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)  # a process that ends soon has to be looked at sooner
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        sys.setswitchinterval(_SWITCH_SECONDS)  # nor may a thread keep it waiting
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        poll = select.poll()
        for descriptor in (*self._monitor.descriptors, self._listener.fileno(), woken):
            poll.register(descriptor, select.POLLIN)
        self._monitor.begin()
        try:
            while not self.ended:
                ready = {descriptor for descriptor, _mask in poll.poll(self._milliseconds())}
                self._turn(is_asked=self._listener.fileno() in ready, is_woken=woken in ready)
        except (OSError, ContimgError):
            self._end("error")

    def _milliseconds(self) -> float:
        """Return how long it may wait for something to happen."""
        now = time.monotonic()
        moments = [self._deadline, now + _TAKE_SECONDS, *([self._saved + _SAVE_SECONDS] if self._dirty else [])]
        return max(0.0, min(moments) - now) * 1000

    def _turn(self, *, is_asked: bool, is_woken: bool) -> None:
        self._dirty = self._monitor.take() or self._dirty
        if is_asked:
            self._answer()
        elif is_woken:
            self._end("signal")
        elif time.monotonic() >= self._deadline:
            self._end("limit")
        elif self._has_lost_lease():
            self._end("lease")
        elif self._dirty and time.monotonic() >= self._saved + _SAVE_SECONDS:
            self._save_aside()

    def _has_lost_lease(self) -> bool:
        """Return whether the run that it belongs to has ended, or another one has taken the host over."""
        now = time.monotonic()
        if not self.asked.run_id or now < self._leased + _LEASE_SECONDS:
            return False
        self._leased = now
        return not is_owned(self.asked.run_id)

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            client, _address = self._listener.accept()
            with client:
                client.settimeout(_CLIENT_SECONDS)
                request = client.recv(16)
                if request == STOP:
                    self._end("stopped")
                else:
                    self._monitor.take()
                answer = b"" if request == TAKE else json.dumps(self.findings()).encode()
                client.settimeout(_ANSWER_SECONDS)
                client.sendall(answer + b"\n")

    def _end(self, how: str) -> None:
        self._monitor.end()
        self.ended = how
        if self._saver is not None:
            self._saver.join()
        self._save(self.findings())
        self._listener.close()
        # Nobody asks for the findings of a run that has ended.
        for path in (*([self.asked.findings] if how == "lease" else []), self.asked.socket, self.asked.lock):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _save_aside(self) -> None:
        """Save in a thread: a slow disk must not keep events waiting."""
        if self._saver is not None and self._saver.is_alive():
            self._saved = time.monotonic()
            return
        self._dirty, self._saved = False, time.monotonic()
        self._saver = threading.Thread(target=self._save, args=(self.findings(look=False),), daemon=True)
        self._saver.start()

    def _save(self, findings: dict[str, Any]) -> None:
        try:
            replace_file(self.asked.findings, json.dumps(findings).encode(), mode=0o600)
            self._unsaved = ""
        except ContimgError as error:
            self._unsaved = f"its findings could not be saved: {error.message}"
