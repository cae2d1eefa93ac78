# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts, as ``/proc/PID/mountinfo`` shows them, and where a path lies in its file system whatever it is called."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Mount",
    "Place",
    "is_within",
    "mount_at",
    "mount_number",
    "mount_of",
    "mounts_of",
    "parse_mounts",
    "places_of",
]

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Place:
    """Where a file lies, the same in every mount namespace and under every bind mount.

    :ivar device: ``major:minor`` of the file system.
    :ivar path: below the root of that file system.
    """

    device: str
    path: str


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo; see proc(5).

    :ivar root: what of the file system is mounted.
    :ivar point: where, as the process sees it.
    """

    number: int
    device: str
    root: str
    point: str
    kind: str
    source: str

    def place(self, path: str) -> Place:
        """Return the place of a path below the mount point."""
        below = os.path.relpath(path, self.point)
        return Place(self.device, os.path.normpath(os.path.join(self.root, below)))


def parse_mounts(text: str) -> list[Mount]:
    """Return the mounts of a mountinfo file, in its order."""
    mounts = []
    for line in text.splitlines():
        before, _separator, after = line.partition(" - ")
        fields, (kind, source) = before.split(" "), after.split(" ")[:2]
        number, device, root, point = fields[0], fields[2], _plain(fields[3]), _plain(fields[4])
        mounts.append(Mount(int(number), device, root, point, kind, _plain(source)))
    return mounts


def _plain(field: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found.group(1), 8)), field)


def mounts_of(pid: int | str = "self") -> list[Mount]:
    """Return the mounts that a process sees. Raises OSError when it is gone or may not be looked at."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return parse_mounts(file.read())


def mount_number(path: str) -> int:
    """Return the number of the mount that a path lies on, as mountinfo counts them; that of a mount point is the mount's.

    :raises OSError: when the path cannot be looked at.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="utf-8") as file:  # Python loads no other codec for it
            return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))
    finally:
        os.close(descriptor)


def mount_at(mounts: Sequence[Mount], path: str) -> Mount | None:
    """Return the mount that a path lies on. The kernel is asked: a mount may hide another one.

    :raises OSError: when the path cannot be looked at.
    """
    number = mount_number(path)
    return next((mount for mount in mounts if mount.number == number), None)


def mount_of(mounts: Sequence[Mount], path: str) -> Mount | None:
    """Return the mount that a path lies on: that of the longest mount point, the last one where several are stacked."""
    found = None
    for mount in mounts:
        if is_within(path, mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def is_within(path: str, directory: str) -> bool:
    """Return whether an absolute path is a directory or lies below it, by its name."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def places_of(paths: Iterable[str], mounts: Sequence[Mount]) -> tuple[Place, ...]:
    """Return where paths, and all that is mounted below them, lie in their file systems."""
    found = []
    for path in map(os.path.realpath, paths):
        mount = mount_of(mounts, path)
        found += [mount.place(path)] if mount else []
        found += [below.place(below.point) for below in mounts if below.point != path and is_within(below.point, path)]
    return tuple(found)
