# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a power loss after success could take: read from a log of strace, with the path of each descriptor (``-y``)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.tests.support.faults.traced import numbered_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CALLS", "unflushed"]

CALLS = (
    "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,"
    "symlinkat,mknodat,newfstatat"
)
_DESCRIPTOR = re.compile(r"(?:\d+|AT_FDCWD)<([^>]*)>")
_NAME = re.compile(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
#: SQLite makes both anew; a WAL that is left holds what its database has.
_VOLATILE = ("-shm", "-wal")


class _Disk:
    """What has not been flushed: content of files, and entries of directories."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.directories: dict[str, str] = {}
        self.wrong: list[str] = []

    def write(self, path: str) -> None:
        self.files.add(path)

    def flush(self, path: str) -> None:
        self.files.discard(path)
        self.directories.pop(path, None)

    def enter(self, path: str, doing: str) -> None:
        """An entry of a directory has been made or removed."""
        if not path.endswith(_VOLATILE):
            self.directories[os.path.dirname(path)] = f"{doing} {os.path.basename(path)}"

    def rename(self, old: str, new: str) -> None:
        if old in self.files:
            self.wrong.append(f"{new} gets its name before its content is flushed")
        self.files = {new + path[len(old) :] if _is_below(path, old) else path for path in self.files}
        self.enter(old, "rename of")
        self.enter(new, "rename to")

    def remove(self, path: str) -> None:
        self.files.discard(path)
        self.directories.pop(path, None)
        self.enter(path, "removal of")


def unflushed(log: Iterable[str], top: str, *, after: str) -> list[str]:
    """Return what was written below a directory and not flushed at the end, or got its name before.

    :param after: what is in the arguments of the call behind which the work begins.
    """
    disk, begun = _Disk(), False
    for name, _ordinal, rest in numbered_calls(log):
        if begun and " = -1 " not in rest:
            _follow(disk, name, rest)
        begun = begun or after in rest
    lost = [f"{path} is not flushed" for path in sorted(disk.files) if _is_below(path, top) and os.path.exists(path)]
    lost += [
        f"{path} is not flushed after the {doing}"
        for path, doing in sorted(disk.directories.items())
        if _is_below(path, top) and os.path.exists(path)
    ]
    return [*disk.wrong, *(one for one in lost if not one.split(" is ")[0].endswith(_VOLATILE))]


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")


def _follow(disk: _Disk, name: str, rest: str) -> None:
    paths = list(_paths(rest))
    held = _DESCRIPTOR.match(rest)
    if name in ("write", "pwrite64", "ftruncate") and held:
        disk.write(held.group(1))
    elif name in ("fsync", "fdatasync") and held:
        disk.flush(held.group(1))
    elif name.startswith("rename"):
        disk.rename(*paths[:2])
    elif name in ("unlink", "unlinkat", "rmdir"):
        disk.remove(paths[0])
    elif name in ("mkdir", "mkdirat", "link", "linkat", "symlinkat", "mknodat") or "O_CREAT" in rest:
        disk.enter(paths[-1], "making of")


def _paths(rest: str) -> Iterator[str]:
    """Yield the paths in the arguments of a call."""
    for directory, name in _NAME.findall(rest):
        yield os.path.normpath(os.path.join(directory, name))
