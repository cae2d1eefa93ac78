# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes write below directories, from now on: by fanotify(7), or by comparison where that is not to be had.

The kernel reports each write, truncation, change of metadata and change of a directory's entries, with the process. It reports no
write through a shared mapping, and no asynchronous one (``io_submit``); both are reported when their descriptor or mapping ends.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._host import fanotify
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitored_trees import MonitoredTrees
from ansible_collections.dsa110.contimg.plugins.module_utils._host.watch import TreeWatch
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writers import Processes, Who, Writers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import Holders

__all__ = ["WriteMonitor"]

_READ_BYTES = 1 << 15  # the kernel opens a descriptor for each event that is read
_MOST_READS = 1 << 10
_SETTLE_SECONDS, _SETTLE_PAUSE = 10.0, 0.02
_CHANGED = select.POLLPRI | select.POLLERR


class WriteMonitor:
    """Monitors directories from its making on, in this process.

    :ivar since: when all file systems reported, in seconds since the epoch.
    """

    def __init__(self, paths: Sequence[str], *, run_id: str) -> None:
        """Have the file systems of the paths report.

        :param paths: directories or files. What does not exist is monitored from its making on.
        :param run_id: the run whose processes are its own, besides the steps of the run that has the lease.
        :raises OSError: when a path cannot be looked at.
        """
        self._reasons: dict[str, None] = {}
        self._group = self._new_group()
        self._trees = MonitoredTrees(self._group, paths)
        self._processes, self._writers = Processes(run_id, self._group), Writers()
        self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._changed = select.poll()
        self._changed.register(self._mounts, _CHANGED)
        self._links: threading.Thread | None = None
        self._ended = False
        self._compared: TreeWatch | None = None
        self._holders: set[tuple[object, ...]] = set()
        self.since, self._until = time.time(), 0.0

    def _new_group(self) -> int | None:
        try:
            group, has_names = fanotify.new_group()
        except OSError as error:
            self._reasons[f"fanotify cannot be used: {error.strerror} [errno {error.errno}]"] = None
            return None
        if not has_names:
            self._reasons["the kernel is older than 5.9 and reports no entries of directories by name"] = None
        return group

    @property
    def descriptors(self) -> set[int]:
        """What is readable when something was reported."""
        return set() if self._group is None else {self._group}

    @property
    def kept(self) -> set[int]:
        """All descriptors that it needs."""
        return {self._mounts, *self.descriptors, *self._processes.descriptors}

    def begin(self) -> None:
        """Begin what takes threads: only after the last fork."""
        if self._trees.is_marked:
            self._links = threading.Thread(target=self._trees.find_links, args=(lambda: self._ended,), daemon=True)
            self._links.start()
        if self._trees.unmarked:
            self._compared = TreeWatch(list(self._trees.unmarked))
            self._compared.start()

    def end(self) -> None:
        """Take in what has been reported, and end the threads."""
        self._settle()
        self.take()
        self._until, self._ended = time.time(), True
        if self._compared is not None:
            self._compared.end()
        if self._links is not None:
            self._links.join()
        self.close()

    def close(self) -> None:
        """Close its descriptors."""
        for descriptor in {self._mounts, *self.descriptors}:
            os.close(descriptor)
        self._processes.close()

    def _settle(self) -> None:
        """Wait some time for what is begun in the background, and go on taking in meanwhile."""
        end = time.monotonic() + _SETTLE_SECONDS
        while self._links is not None and self._links.is_alive() and time.monotonic() < end:
            self.take()
            self._links.join(_SETTLE_PAUSE)

    def take(self) -> bool:
        """Take in what has been reported, and return whether anything was about the paths.

        It has to be called when a descriptor is ready, and every second.
        """
        self._processes.take()
        if self._changed.poll(0):  # a change is shown to one poll only, so no other one has it
            self._trees.look_at_mounts()
        found = False
        for _read in range(_MOST_READS):
            events = self._read()
            if not events:
                break
            found = self._take_all(events) or found
        return found

    def _read(self) -> list[fanotify.Event]:
        if self._group is None:
            return []
        try:
            return list(fanotify.parse(os.read(self._group, _READ_BYTES)))
        except BlockingIOError:
            return []

    def _take_all(self, events: list[fanotify.Event]) -> bool:
        moment, found = time.time(), False
        try:
            for event in events:
                found = self._take_one(event, moment) or found
        finally:
            for event in events:
                event.close()
        return found

    def _take_one(self, event: fanotify.Event, moment: float) -> bool:
        if event.mask & fanotify.OVERFLOW:
            self._reasons["more was written than could be taken in: the queue of events overflowed"] = None
            return True
        if self._processes.takes_note(event):  # it may be of a file system that has none of the paths
            return False
        path = self._trees.path_of(event)
        if path is None:
            return False
        who = self._processes.who(event.pid, event.pidfd)
        self._writers.note(event.pid, who, path, kinds=event.kinds, moment=moment)
        return True

    def report(self, *, look: bool = True) -> dict[str, Any]:
        """Return what is known now; see the RETURN of the module ``write_monitor``.

        :param look: whether what is only compared is compared once more.
        """
        changes: list[dict[str, str]] = []
        if look:
            self._settle()
        if self._compared is not None:
            if look:
                self._compared.look()
            self._take_holders(self._compared.holders)
            changes = self._compared.changes
        reasons = self._all_reasons()
        return {
            "method": "fanotify" if self._trees.is_marked else "changes",
            "complete": not reasons,
            "reason": "; ".join(reasons),
            "since": self.since,
            "until": self._until or time.time(),
            "own_events": self._writers.own_events,
            "writers": [one.as_dict() for one in self._writers.found()],
            "changes": changes,
        }

    def _take_holders(self, holders: Holders) -> None:
        """Note who can write to what is only compared, once each."""
        for one in holders.holders:
            key = (one.pid, one.command, one.files)
            if key not in self._holders:
                self._holders.add(key)
                looked = self._processes.who(one.pid, None)
                if looked.gone:  # since then: whether it was a step of the move is not known any more
                    continue
                who = Who(one.command, one.unit, one.user_unit, one.container, own=looked.own)
                for name in one.files:
                    self._writers.note(one.pid, who, os.fsencode(name), kinds=["open"], moment=time.time())
        if not holders.complete:
            self._reasons["the open files of some processes could not be read"] = None

    def _all_reasons(self) -> list[str]:
        reasons = [*self._reasons, *self._trees.reasons, *self._trees.missed()]
        reasons += [f"{printable(path)}: {why}" for path, why in self._trees.unmarked.items()]
        if self._links is not None and not self._trees.are_links_known:
            reasons.append(
                "not all files with several names are known yet, which may be written to by a name elsewhere"
            )
        if self._writers.dropped:
            reasons.append(f"{self._writers.dropped} events of further writers were not kept")
        return reasons
