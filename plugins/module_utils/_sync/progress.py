# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a copy is: counted by several processes at once, told in a file, and slowed down to a limit."""

from __future__ import annotations

import json
import mmap
import os
import time

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import replace_file

__all__ = ["Progress"]

_EVERY = 0.5  # seconds
_TICK = 0.05  # seconds
_COUNTER = 8  # bytes


class Progress:
    """Counts bytes and files. Each piece of work has counters of its own in shared memory: no process waits for a lock.

    :param path: the file that tells how far the copy is, about twice a second.
    :param limit: bytes that may be done in a second, 0 for no limit.
    :ivar files: how many there are to do.
    :ivar size: how many bytes there are to do, those that are read back included.
    """

    def __init__(self, path: str | None, *, limit: int) -> None:
        self.path, self.limit = path, limit
        self.files = self.size = 0
        self.owner = os.getpid()
        self.started = time.monotonic()
        self.expect(1)

    def expect(self, works: int) -> None:
        """Make room for the counters of so many pieces of work, at least of one; to be called before processes are forked."""
        works = max(1, works)
        shared = memoryview(mmap.mmap(-1, _COUNTER * (2 * works + 1))).cast("Q")
        self._told, self._sizes, self._counts = shared[:1], shared[1::2], shared[2::2]
        self._work = 0

    def begin(self, work: int) -> None:
        """Count for this piece of work from now on."""
        self._work = work

    def add(self, size: int, files: int = 0) -> None:
        """Note what was done. Waits where that was more than the limit allows. Leaves a process whose run was killed."""
        self._sizes[self._work] += size
        self._counts[self._work] += files
        self._leave_orphaned()
        while self.limit and sum(self._sizes) / self.limit > self._elapsed():
            time.sleep(_TICK)
            self._leave_orphaned()
        if self.path and self._elapsed() - self._told[0] / 1000 >= _EVERY:
            self.tell("copy")

    def _leave_orphaned(self) -> None:
        """Leave a process whose run was killed: the next run waits for its lock."""
        if self.owner not in (os.getpid(), os.getppid()):
            raise SystemExit

    def _elapsed(self) -> float:
        return time.monotonic() - self.started

    def tell(self, phase: str) -> None:
        """Write down how far the copy is. Raises ContimgError."""
        if not self.path:
            return
        done, elapsed = sum(self._sizes), self._elapsed()
        self._told[0] = int(elapsed * 1000)
        state = {
            "phase": phase,
            "files": sum(self._counts),
            "files_total": self.files,
            "bytes": done,
            "bytes_total": self.size,
            "rate": round(done / max(elapsed, 0.001)),
            "seconds_left": round((self.size - done) * elapsed / max(done, 1), 1),
        }
        replace_file(self.path, json.dumps(state).encode(), mode=0o644)
