# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has files open, from ``/proc``: descriptors, mappings and locks of every process in every namespace."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import stat
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import (
    Mount,
    Place,
    is_within,
    mount_of,
    mounts_of,
    places_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import command_of, owner_of, process_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

__all__ = ["Holder", "Holders", "find_holders", "is_open_for_writing", "mapped_for_writing", "require_none"]

_WRITING = os.O_WRONLY | os.O_RDWR
_GONE = (errno.ENOENT, errno.ESRCH)
_DELETED = " (deleted)"
_MAPPING = re.compile(r"^(\S+) (\S{4}) \S+ ([0-9a-f]+):([0-9a-f]+) ([1-9][0-9]*) +(.*)$", re.MULTILINE)
_SHARED_WRITABLE = re.compile(rb"^\S+ .w.s \S+ \S+ ([1-9][0-9]*) ", re.MULTILINE)


@dataclass(frozen=True)
class Holder:
    """A process that has files of a tree open.

    :ivar unit: its systemd unit, empty where it has none.
    :ivar user_unit: the unit of its user's own systemd, empty where it has none.
    :ivar container: the id of its container, empty where it has none.
    :ivar files: the files, as the process names them.
    :ivar mode: ``write`` where any of them is open, mapped or locked for writing, else ``read``; ``inside`` for a process
        that has none open, but whose working directory, root or program lies there.
    """

    pid: int
    command: str
    unit: str
    user_unit: str
    container: str
    files: tuple[str, ...]
    mode: str

    def as_dict(self) -> dict[str, Any]:
        """Return the values for a module's result."""
        return {**asdict(self), "files": list(self.files)}

    def summary(self) -> str:
        """Return one line for an operator."""
        where = f" of {self.unit}" if self.unit else ""
        return f"process {self.pid} ({self.command}){where}: {', '.join(self.files[:3])}"


@dataclass(frozen=True)
class Holders:
    """All that was found.

    :ivar complete: false where a process's open files could not be read, so that nothing is proved.
    :ivar inside: processes that hold nothing, but whose working directory, root or program lies there.
    """

    holders: tuple[Holder, ...]
    complete: bool
    inside: tuple[Holder, ...] = ()


def find_holders(paths: Sequence[str], *, writers_only: bool = False, pids: Iterable[int] | None = None) -> Holders:
    """Return the processes that hold, map or lock anything below the given directories (or the given files).

    A path that does not exist holds nothing. The calling process does not count. Files are known by inode; deleted ones
    by their place in their file system, so that other names and other mount namespaces make no difference.

    :param writers_only: only those that can write.
    :param pids: look at these processes only.
    """
    trees = _Trees.below(paths)
    holders, inside, complete = [], [], pids is not None or _sees_everybody()
    for pid in process_ids() if pids is None else pids:
        process = _Process(pid, trees)
        try:
            process.look()
        except OSError as error:
            complete = complete and error.errno in _GONE
        complete = complete and not process.unseen
        found = {name: writes for name, writes in process.files.items() if writes or not writers_only}
        if found:
            holders.append(_holder(pid, found, "write" if any(found.values()) else "read"))
        elif process.inside and not writers_only:
            inside.append(_holder(pid, process.inside, "inside"))
    return Holders(tuple(holders), complete, tuple(inside))


def require_none(found: Holders, paths: Sequence[str], fail_on: Sequence[str]) -> None:
    """Check what was found below paths, after the services that use them were stopped.

    :param fail_on: ``holders``, for each process that was found; ``incomplete``, where a process could not be looked at.
    :raises ContimgError: naming the processes, with ``holders`` and ``complete``.
    """
    report: dict[str, Any] = {"holders": [one.as_dict() for one in found.holders], "complete": found.complete}
    if "holders" in fail_on and found.holders:
        does = "writes to" if any(one.mode == "write" for one in found.holders) else "has a file open in"
        hint = (
            "This task changed nothing. Stop the process, or name its unit in contimg_units or its container in"
            " contimg_containers, and run again."
        )
        raise ContimgError(f"{'; '.join(map(_named, found.holders))}: still {does} the state", hint=hint, **report)
    if "incomplete" in fail_on and not found.complete:
        what = f"not every process's open files can be read, so the quiet of {', '.join(map(printable, paths))} is unproved"
        hint = "This task changed nothing. Run as root, or accept the missing proof with contimg_require_proof: false."
        raise ContimgError(what, hint=hint, **report)


def _named(holder: Holder) -> str:
    owner = holder.user_unit or holder.container
    return holder.summary() if holder.unit or not owner else f"{owner}: {holder.summary()}"


def _holder(pid: int, files: Iterable[str], mode: str) -> Holder:
    owner = owner_of(pid)
    return Holder(
        pid=pid,
        command=command_of(pid),
        unit=owner.unit,
        user_unit=owner.user_unit,
        container=owner.container,
        files=tuple(sorted(printable(name) for name in files)),
        mode=mode,
    )


def _sees_everybody() -> bool:
    """Return whether /proc shows all processes: it may be mounted with hidepid."""
    return os.path.exists("/proc/1/status") and os.geteuid() == 0


def is_open_for_writing(descriptor: int) -> bool:
    """Return whether any process, in any namespace, has a file open or mapped for writing, or the kernel does not say.

    The kernel gives a lease on a file only where that is not so; it is given back at once. Whoever opens the file just then waits.

    :param descriptor: of the file, open for reading only.
    """
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how the kernel asks for a lease back; it ends a process
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    finally:
        signal.signal(signal.SIGIO, before)
    return False


def mapped_for_writing(pids: Iterable[int] | None = None) -> frozenset[int] | None:
    """Return the inode numbers of all files that a process maps shared and writable, ``None`` where not all can be seen.

    A store into such a mapping moves the file's times only where the page was clean: later ones leave no trace until it is written
    back. The numbers alone count, since the devices in ``/proc/PID/maps`` are others than those of ``stat`` on some file systems.

    :param pids: look at these processes only.
    """
    numbers: set[int] = set()
    if pids is None and not _sees_everybody():
        return None
    for pid in process_ids() if pids is None else pids:
        try:
            with open(f"/proc/{pid}/maps", "rb") as file:
                numbers.update(map(int, _SHARED_WRITABLE.findall(file.read())))
        except OSError as error:
            if error.errno not in _GONE:
                return None
    return frozenset(numbers)


@dataclass(frozen=True)
class _Trees:
    """What is looked for.

    :ivar inodes: device and number of everything there is.
    :ivar numbers: the numbers alone: ``/proc/PID/maps`` shows other devices than ``stat`` on btrfs and overlays.
    :ivar places: where the trees lie in their file systems, for what is deleted.
    """

    inodes: frozenset[tuple[int, int]]
    numbers: frozenset[int]
    places: tuple[Place, ...]
    own_mounts: dict[int, Mount]

    @classmethod
    def below(cls, paths: Sequence[str]) -> _Trees:
        inodes = frozenset(_inodes(paths))
        mounts = mounts_of()
        numbers = frozenset(number for _device, number in inodes)
        return cls(inodes, numbers, places_of(paths, mounts), {one.number: one for one in mounts})

    def holds(self, place: Place | None) -> bool:
        return any(place and place.device == one.device and is_within(place.path, one.path) for one in self.places)

    def is_on(self, mount: Mount | None) -> bool:
        """Return whether a mount shows a file system of the trees; of an unknown one it has to be assumed."""
        return mount is None or any(mount.device == place.device for place in self.places)


def _inodes(paths: Sequence[str]) -> Iterator[tuple[int, int]]:
    pending = list(paths)
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            yield status.st_dev, status.st_ino
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    yield status.st_dev, status.st_ino
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)


@dataclass
class _Process:
    """One process under the eye.

    :ivar files: each file of the trees that it has open, maps or locks, and whether it can write to it.
    :ivar inside: which of its working directory, root and program lie in the trees.
    :ivar unseen: whether it has anything open that could be of the trees and cannot be looked at.
    """

    pid: int
    trees: _Trees
    files: dict[str, bool] = field(default_factory=dict)
    inside: dict[str, bool] = field(default_factory=dict)
    unseen: bool = False

    def look(self) -> None:
        """Find its files. Raises OSError where it cannot be looked at, or is gone; what was found till then stays."""
        for directory in self._tasks():
            for name in os.listdir(f"{directory}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    self._descriptor(directory, name)
        self._mappings()
        for name in ("cwd", "root", "exe"):
            link = f"/proc/{self.pid}/{name}"
            with contextlib.suppress(FileNotFoundError):
                if self._is_wanted(os.stat(link)):
                    self.inside[os.readlink(link)] = False

    def _tasks(self) -> list[str]:
        """Return its directories of ``/proc``: a process whose first thread has ended shows its files in the others only."""
        own = f"/proc/{self.pid}"
        if os.listdir(f"{own}/fd"):
            return [own]
        return [f"{own}/task/{task}" for task in os.listdir(f"{own}/task")]

    def _is_wanted(self, status: os.stat_result) -> bool:
        return (status.st_dev, status.st_ino) in self.trees.inodes

    def _descriptor(self, directory: str, name: str) -> None:
        link = f"{directory}/fd/{name}"
        try:
            status = os.stat(link)
        except FileNotFoundError:
            raise
        except OSError:  # a dead server, or another user's FUSE, which hides its files even from root
            self.unseen = self.unseen or self.trees.is_on(self._mount(_details(directory, name)[1]))
            return
        target = os.readlink(link)
        if self._is_wanted(status) or (target.endswith(_DELETED) and self._was_there(directory, name, target)):
            writes = not stat.S_ISDIR(status.st_mode) and _details(directory, name)[0]
            self.files[target] = self.files.get(target, False) or writes

    def _was_there(self, directory: str, name: str, target: str) -> bool:
        mount = self._mount(_details(directory, name)[1])
        path = target[: -len(_DELETED)]
        return mount is not None and is_within(path, mount.point) and self.trees.holds(mount.place(path))

    def _mount(self, number: int) -> Mount | None:
        """Return a mount by its number: one that we see too, else one of the process's own namespace."""
        if number in self.trees.own_mounts:
            return self.trees.own_mounts[number]
        return next((mount for mount in mounts_of(self.pid) if mount.number == number), None)

    def _mappings(self) -> None:
        with open(f"/proc/{self.pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        for span, permissions, major, minor, number, name in _MAPPING.findall(text):
            wanted = int(number) in self.trees.numbers or name.endswith(_DELETED)
            if wanted and self._is_mapped(span, os.makedev(int(major, 16), int(minor, 16)), int(number), name):
                writes = permissions[1] == "w" and permissions[3] == "s"
                self.files[name] = self.files.get(name, False) or writes

    def _is_mapped(self, span: str, device: int, number: int, name: str) -> bool:
        if (device, number) in self.trees.inodes:
            return True
        if name.endswith(_DELETED):
            path = name[: -len(_DELETED)]
            mount = mount_of(mounts_of(self.pid), path)
            return mount is not None and self.trees.holds(mount.place(path))
        for link in (f"/proc/{self.pid}/map_files/{span}", f"/proc/{self.pid}/root{name}"):
            with contextlib.suppress(OSError):
                return self._is_wanted(os.stat(link))
        return False


def _details(directory: str, name: str) -> tuple[bool, int]:
    """Return whether a descriptor can write, or holds a lock that keeps others from it, and the number of its mount."""
    writes, mount = False, -1
    with open(f"{directory}/fdinfo/{name}", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("flags:"):
                writes = writes or bool(int(line.split()[1], 8) & _WRITING)
            elif line.startswith("mnt_id:"):
                mount = int(line.split()[1])
            elif line.startswith("lock:"):
                writes = writes or " WRITE " in line
    return writes, mount
