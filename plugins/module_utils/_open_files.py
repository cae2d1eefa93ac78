# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has files open, from ``/proc``: descriptors, mappings and locks of every process in every namespace."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import display

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["Holder", "Holders", "find_holders", "tree_changes", "tree_moment"]

_UNIT = re.compile(r"/([^/]+\.(?:service|scope|socket|mount|slice))$")
_CONTAINER = re.compile(
    r"(?:docker|libpod|cri-containerd|crio)-([0-9a-f]{12,64})|/(?:docker|lxc|libpod)/([0-9a-zA-Z]+)"
)
_WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Holder:
    """A process that has files of a tree open.

    :ivar unit: its systemd unit, empty where it has none.
    :ivar container: the id of its container, empty where it has none.
    :ivar files: the files, as the process names them.
    :ivar mode: ``write`` where any of them is open, mapped or locked for writing, else ``read``.
    """

    pid: int
    command: str
    unit: str
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
    """

    holders: tuple[Holder, ...]
    complete: bool


def find_holders(paths: Sequence[str], *, writers_only: bool = False) -> Holders:
    """Return the processes that hold, map or lock anything below the given directories (or the given files).

    A path that does not exist holds nothing. The calling process does not count.

    :param writers_only: only those that can write.
    """
    wanted = _inodes(paths)
    roots = tuple(os.path.realpath(path) for path in paths)
    locked = _locked_for_writing(wanted)
    holders, complete = [], _sees_everybody()
    for pid in _processes():
        try:
            found = dict(_held(pid, wanted, roots))
        except PermissionError:
            complete = False
            continue
        except (FileNotFoundError, ProcessLookupError):
            continue
        writes = pid in locked or any(found.values())
        if found and (writes or not writers_only):
            files = tuple(
                sorted(name for name, writing in found.items() if writing or not writers_only or pid in locked)
            )
            holders.append(_holder(pid, files, writes=writes))
    return Holders(tuple(holders), complete)


def _inodes(paths: Sequence[str]) -> set[tuple[int, int]]:
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found.add((status.st_dev, status.st_ino))
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                with contextlib.suppress(OSError):
                    status = os.lstat(os.path.join(folder, name))
                    found.add((status.st_dev, status.st_ino))
    return found


def _sees_everybody() -> bool:
    """Tell whether /proc shows all processes: it may be mounted with hidepid, or belong to a PID namespace."""
    return os.path.exists("/proc/1/status") and os.geteuid() == 0


def _processes() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def _held(pid: int, wanted: set[tuple[int, int]], roots: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each file of the trees that a process has open or mapped, and whether it can write to it."""
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            link = f"{folder}/{name}"
            status, target = os.stat(link), os.readlink(link)
            if (status.st_dev, status.st_ino) in wanted or _is_deleted_below(target, roots):
                yield display(target), _is_writing(pid, name) and not stat.S_ISDIR(status.st_mode)
    yield from _mapped(pid, wanted)


def _is_deleted_below(target: str, roots: Sequence[str]) -> bool:
    return target.endswith(" (deleted)") and any(target.startswith(root + "/") for root in roots)


def _is_writing(pid: int, descriptor: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("flags:"):
                return bool(int(line.split()[1], 8) & _WRITING)
    return False


def _mapped(pid: int, wanted: set[tuple[int, int]]) -> Iterator[tuple[str, bool]]:
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            _range, permissions, _offset, device, inode, *name = line.split(None, 5)
            major, minor = (int(number, 16) for number in device.split(":"))
            if int(inode) and (os.makedev(major, minor), int(inode)) in wanted:
                yield display(name[0].strip()), permissions[1] == "w" and permissions[3] == "s"


def _locked_for_writing(wanted: set[tuple[int, int]]) -> set[int]:
    found = set()
    with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii") as file:
        for line in file:
            fields = line.replace("->", "").split()
            major, minor, inode = fields[5].split(":")
            if fields[3] == "WRITE" and (os.makedev(int(major, 16), int(minor, 16)), int(inode)) in wanted:
                found.add(int(fields[4]))
    return found


def _holder(pid: int, files: tuple[str, ...], *, writes: bool) -> Holder:
    cgroup = _read(f"/proc/{pid}/cgroup")
    unit = next((match.group(1) for match in map(_UNIT.search, cgroup.splitlines()) if match), "")
    container = _CONTAINER.search(cgroup)
    return Holder(
        pid=pid,
        command=_read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()[:200] or _read(f"/proc/{pid}/comm").strip(),
        unit=unit,
        container=next(filter(None, container.groups())) if container else "",
        files=files,
        mode="write" if writes else "read",
    )


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="backslashreplace") as file:
        return file.read()
    return ""


def tree_moment(paths: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return what tells whether a file has changed, for every name below the given paths."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        for folder, folders, files in os.walk(path):
            for name in (".", *folders, *files):
                with contextlib.suppress(OSError):
                    status = os.lstat(os.path.join(folder, name))
                    found[os.path.normpath(os.path.join(folder, name))] = (
                        status.st_ino,
                        status.st_size,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                    )
    return found


def tree_changes(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> list[dict[str, str]]:
    """Return what happened between two moments: ``path`` and ``what`` (``appeared``, ``vanished`` or ``changed``)."""
    kinds = {(False, True): "appeared", (True, False): "vanished", (True, True): "changed"}
    return [
        {"path": display(path), "what": kinds[(path in before, path in after)]}
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]
