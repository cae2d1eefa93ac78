# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who writes: processes looked at while they live, those of the move told apart, and what is kept of each, in bounded memory."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._host.fanotify import (
    ENDED,
    MODIFY,
    handle_of,
    mark_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.forks import Forks, keep_latest
from ansible_collections.dsa110.contimg.plugins.module_utils._host.place import volatile_place
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import command_of, owner_of, read_text

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._host.fanotify import Event

__all__ = ["MARKER", "Processes", "Who", "Writer", "Writers", "unlisted"]

#: A variable of the environment; its value is the run that a process belongs to.
MARKER = "DSA110_CONTIMG_RUN"

_MOST_PROCESSES = 4096
_REMEMBERED = 2.0  # seconds; the number of a process that has ended is given to another one later than that
_MOST_WRITERS = 200
_MOST_FILES = 20
_SHOWN_FILES = 3
_UNKNOWN = "unknown: the process had ended before it could be looked at"
_CHILD = "a process, ended since, of: "
_MOST_GENERATIONS = 16
_OUTSIDE = "unknown: a process outside of this container"
_STEP = "a step of the move, ended since"
_MOST_STEPS = 16


@dataclass(frozen=True)
class Who:
    """What a process is.

    :ivar own: whether it belongs to the move.
    :ivar gone: whether it had ended before it could be looked at. What is known then is what is known of the process that made it.
    """

    command: str
    unit: str = ""
    user_unit: str = ""
    container: str = ""
    own: bool = False
    gone: bool = False


@dataclass
class _Known:
    who: Who
    started: tuple[str, str]
    seen: float


class Processes:
    """The processes that events name, each looked at when its first event is read.

    A step of the move may have ended by then. That it was one is told by the events themselves: each step notes in the lock of the
    lease, which only root can write to, that it begins and ends.
    """

    def __init__(self, run_id: str, group: int | None) -> None:
        """Have the notes of steps reported to a group of events, where there is one and the file system of the lock can."""
        self._marker = f"{MARKER}={run_id}".encode() if run_id else b""
        self._lock = os.path.join(volatile_place(), "lock")
        self._lock_handle: bytes | None = None
        self._steps: dict[int, float] = {}
        if group is not None:
            with contextlib.suppress(OSError):
                mark_file(group, self._lock)
                self._lock_handle = handle_of(self._lock)
        self._known: dict[int, _Known] = {}
        self._forks = Forks()

    def take(self) -> None:
        """Take in which processes have begun. It has to be called every few seconds."""
        for pid in self._forks.take():
            self._known.pop(pid, None)

    def takes_note(self, event: Event) -> bool:
        """Take in that a step of the move works, and return whether that is what an event tells.

        The other events of a step come after its first note.
        """
        if event.file != self._lock_handle or not event.mask & MODIFY:
            return False
        keep_latest(self._steps, event.pid, time.monotonic(), most=_MOST_STEPS)
        return True

    def _is_step(self, pid: int) -> bool:
        """Return whether a process has noted to be a step, and its number was not given to another one since."""
        return pid in self._steps and self._forks.begun(pid) <= self._steps[pid]

    @property
    def descriptors(self) -> set[int]:
        """What must stay open."""
        return self._forks.descriptors

    def close(self) -> None:
        """Close its descriptors."""
        self._forks.close()

    def who(self, pid: int, pidfd: int | None) -> Who:
        """Return what a process is.

        :param pidfd: see :class:`Event`. It excludes that another process has got the number since.
        """
        if pid == 0:
            return Who(_OUTSIDE, gone=True)
        started = ("", "") if pidfd == ENDED else _started(pid)
        known = self._known.get(pid)
        if started != ("", "") and (known is None or known.started != started):
            known = self._first_look(pid, pidfd, started)
        if known is None or (known.started != started and time.monotonic() - known.seen > _REMEMBERED):
            return self._by_parent(pid)
        known.seen = time.monotonic()
        return known.who

    def _first_look(self, pid: int, pidfd: int | None, started: tuple[str, str]) -> _Known | None:
        who = self._look(pid)
        # It may have ended meanwhile, and have given its number to another process.
        if not who.command or (pidfd is not None and _has_ended(pidfd) and _started(pid) not in (started, ("", ""))):
            return None
        if len(self._known) >= _MOST_PROCESSES:
            self._known.clear()
        self._known[pid] = _Known(who, started, time.monotonic())
        return self._known[pid]

    def _by_parent(self, pid: int) -> Who:
        """Return what is known of a process that has ended: it was of the unit and container of the one that made it."""
        self.take()
        for _generation in range(_MOST_GENERATIONS):
            if self._is_step(pid):
                return Who(_STEP, own=True, gone=True)
            pid = self._forks.parent(pid)
            if pid <= 2:  # the first process, and the one of the kernel, make those of all units
                break
            started, known = _started(pid), self._known.get(pid)
            if started != ("", "") and (known is None or known.started != started):
                known = self._first_look(pid, None, started)
            if known is not None:
                return replace(known.who, command=f"{_CHILD}{known.who.command}", gone=True)
        return Who(_UNKNOWN, gone=True)

    def _look(self, pid: int) -> Who:
        # What is lost first when a process ends comes first.
        command, owner = command_of(pid), owner_of(pid)
        return Who(command, owner.unit, owner.user_unit, owner.container, own=self._is_own(pid))

    def _is_own(self, pid: int) -> bool:
        """Return whether a process, or one that it descends from, is a step of the run that has the lease, or has the marker.

        One that has just been a step is its own, too, but not what it makes later.
        """
        if pid == os.getpid() or self._is_step(pid):
            return True
        return any(self._is_marked(one) or self._has_lease_locked(one) for one in _lineage(pid))

    def _is_marked(self, pid: int) -> bool:
        if not self._marker:
            return False
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            return self._marker in file.read().split(b"\0")
        return False

    def _has_lease_locked(self, pid: int) -> bool:
        """Return whether a process has the lock of the lease: a step at work, or what it has forked."""
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{name}") == self._lock:
                        return "FLOCK" in read_text(f"/proc/{pid}/fdinfo/{name}")
        return False


def _started(pid: int) -> tuple[str, str]:
    """Return what tells a process, and the program that it runs, from others of the same number; empty when it is gone."""
    program, fields = _status(pid)
    return (program, fields[19]) if fields else ("", "")


def _lineage(pid: int) -> Iterator[int]:
    """Yield a process and those that it descends from, but the first of all."""
    while pid > 1:
        yield pid
        _program, fields = _status(pid)
        pid = int(fields[1]) if fields else 0


def _status(pid: int) -> tuple[str, list[str]]:
    """Return number and program of a process, and the fields that follow; nothing when it is gone."""
    program, _parenthesis, fields = read_text(f"/proc/{pid}/stat").rpartition(")")
    return program, fields.split()


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


@dataclass
class Writer:
    """What is kept of the processes of one unit and container that run one command.

    :ivar pid: the latest of them.
    :ivar processes: how many there were; one that writes in turn with another one counts each time.
    :ivar files: the first ones; ``more_files`` says whether there were others.
    :ivar kinds: what was done, as keys of ``fanotify.KINDS``.
    :ivar first: in seconds since the epoch, as is ``last``.
    """

    pid: int
    command: str
    unit: str
    user_unit: str
    container: str
    gone: bool
    first: float
    last: float
    processes: int = 1
    events: int = 0
    kinds: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    more_files: bool = False

    def note(self, pid: int, path: str, *, kinds: Sequence[str], moment: float) -> None:
        """Count what one of the processes has done."""
        self.processes += pid != self.pid
        self.pid, self.last = pid, moment
        self.events += 1
        self.kinds += [kind for kind in kinds if kind not in self.kinds]
        if path not in self.files:
            self.more_files = self.more_files or len(self.files) >= _MOST_FILES
            self.files += [path] if len(self.files) < _MOST_FILES else []

    def is_listed(self, units: Collection[str], containers: Collection[str]) -> bool:
        """Return whether it belongs to one of some units, or containers by name or id."""
        return bool({self.unit, self.user_unit} & {*units} - {""}) or self.container in {*containers} - {""}

    def line(self) -> str:
        """Return what an operator reads of it."""
        container = f"container {self.container[:12]}" if self.container else ""
        owner = ", ".join(filter(None, (container, self.unit or self.user_unit))) or "of no unit"
        more = ", and others" if self.more_files or len(self.files) > _SHOWN_FILES else ""
        files = ", ".join(self.files[:_SHOWN_FILES])
        return f"process {self.pid} ({self.command}; {owner}): {files}{more} ({', '.join(self.kinds)})"

    def as_dict(self) -> dict[str, Any]:
        """Return the values for a file and for a module's result."""
        return asdict(self)


class Writers:
    """All that is kept.

    :ivar own_events: how many events were of the move itself.
    :ivar dropped: how many events were of writers that there was no room for.
    """

    def __init__(self) -> None:
        self.own_events = 0
        self.dropped = 0
        self._found: dict[Who, Writer] = {}

    def note(self, pid: int, who: Who, path: bytes, *, kinds: Sequence[str], moment: float) -> None:
        """Count one event."""
        if who.own:
            self.own_events += 1
            return
        if who not in self._found:
            if len(self._found) >= _MOST_WRITERS:
                self.dropped += 1
                return
            names = (who.command, who.unit, who.user_unit, who.container, who.gone)
            self._found[who] = Writer(pid, *names, first=moment, last=moment)
        self._found[who].note(pid, printable(path), kinds=kinds, moment=moment)

    def found(self) -> list[Writer]:
        """Return the writers, the first one first."""
        return list(self._found.values())


def unlisted(
    writers: Iterable[Writer], *, units: Collection[str], containers: Collection[str], known: re.Pattern[str]
) -> list[Writer]:
    """Return the writers that belong to none of some units and containers, and of which no name may go on.

    :param known: what matches a command, a unit, or each of the files of a writer that may go on.
    """
    return [
        one
        for one in writers
        if not one.is_listed(units, containers)
        and not any(known.match(name) for name in (one.command, one.unit, one.user_unit) if name)
        and (one.more_files or not all(known.match(name) for name in one.files))
    ]
