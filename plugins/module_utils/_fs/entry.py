# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name in a directory tree and its packed status."""

from __future__ import annotations

import operator
import os
import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["IDENTITY", "Entry", "Status", "ancestors", "entry_of", "is_racy", "name_of", "parent_of"]

#: How many leading bytes of an entry's facts say what the entry is. A link count may change with another name, blocks
#: with a delayed allocation, and a device number with a reboot; those follow.
IDENTITY = 52
# Nanoseconds since 1970 in 96 bits: 64 bits end in 2262, and file systems keep any number of seconds that has 64 bits.
_FACTS = struct.Struct("<IIIQ12s12sQIQQQ")
_TIME = 12  # bytes
_SECOND = 1_000_000_000
_TICKS = 20_000_000  # nanoseconds: two ticks of the coarsest kernel clock
_WHOLE_SECONDS = 2 * _SECOND  # the coarsest that file systems keep: ext3, ext4 with small inodes, FAT
_NAMES = ("mode", "uid", "gid", "size", "mtime_ns", "ctime_ns", "ino", "nlink", "dev", "blocks", "rdev")
_fields = operator.attrgetter(*(f"st_{name}" for name in _NAMES))


class Status(NamedTuple):
    """What ``lstat`` says of a name, times in nanoseconds."""

    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    links: int
    device: int
    blocks: int
    rdev: int


class Entry(NamedTuple):
    """A name in a tree. A tree may have hundreds of thousands, so its status is kept packed.

    :ivar path: relative to the root, empty for the root itself.
    :ivar facts: its packed :class:`Status`.
    :ivar target: what a symbolic link points to.
    """

    path: bytes
    facts: bytes
    target: bytes = b""

    @property
    def status(self) -> Status:
        """What ``lstat`` said."""
        mode, uid, gid, size, mtime, ctime, *rest = _FACTS.unpack(self.facts)
        times = (int.from_bytes(packed, "little", signed=True) for packed in (mtime, ctime))
        return Status(mode, uid, gid, size, *times, *rest)

    @property
    def size(self) -> int:
        """Bytes; of all names of a tree, so it does without the whole status."""
        return int.from_bytes(self.facts[12:20], "little")

    @property
    def links(self) -> int:
        """How many names it has; likewise."""
        return int.from_bytes(self.facts[IDENTITY : IDENTITY + 4], "little")

    @property
    def owner(self) -> tuple[int, int]:
        """The numeric owner and group; likewise."""
        return (int.from_bytes(self.facts[4:8], "little"), int.from_bytes(self.facts[8:12], "little"))

    @property
    def kind(self) -> int:
        """The file type bits of the mode."""
        return (self.facts[1] & 0xF0) << 8  # as S_IFMT, of the packed mode

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file."""
        return self.kind == stat.S_IFREG

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return self.kind == stat.S_IFDIR

    @property
    def identity(self) -> bytes:
        """What tells this state of this file from any other: mode, owner, size, times and inode."""
        return self.facts[:IDENTITY]

    @property
    def shown(self) -> tuple[bytes, bytes]:
        """Mode, owner and group, and mtime, for comparisons; likewise."""
        return self.facts[:12], self.facts[20:32]

    @property
    def file_key(self) -> bytes:
        """The same for all names of one file, for comparisons; likewise."""
        return self.facts[44:IDENTITY] + self.facts[IDENTITY + 4 : IDENTITY + 12]

    def same_state(self, other: Entry) -> bool:
        """Return whether size, mtime, ctime and inode number are the same."""
        return self.facts[12:IDENTITY] == other.facts[12:IDENTITY]

    @property
    def inode(self) -> tuple[int, int]:
        """What tells one file from another, whatever its names."""
        status = self.status
        return (status.device, status.inode)


def entry_of(path: bytes, status: os.stat_result, target: bytes = b"") -> Entry:
    """Return the entry for a status that the system gave."""
    mode, uid, gid, size, mtime, ctime, *rest = _fields(status)
    times = (mtime.to_bytes(_TIME, "little", signed=True), ctime.to_bytes(_TIME, "little", signed=True))
    return Entry(path, _FACTS.pack(mode, uid, gid, size, *times, *rest), target)


def is_racy(entry: Entry, started_ns: int) -> bool:
    """Return whether a file changed so shortly before a moment, or after it, that a later change might not show in its ctime.

    What changes twice within one tick of the clock has the same ctime after both, as git's racy entries have. A ctime of whole
    seconds is taken for one of a file system that keeps no parts of seconds.

    :param started_ns: in nanoseconds since the epoch, before the file is read.
    """
    ctime = entry.status.ctime_ns
    return ctime >= started_ns - (_TICKS if ctime % _SECOND else _WHOLE_SECONDS)


def parent_of(path: bytes) -> bytes:
    """Return the directory that a path stands in, empty for the root."""
    return path.rpartition(b"/")[0]


def name_of(path: bytes) -> bytes:
    """Return the last name of a path."""
    return path.rpartition(b"/")[2]


def ancestors(path: bytes) -> Iterator[bytes]:
    """Yield every directory that a path stands in, but the root."""
    while b"/" in path:
        path = parent_of(path)
        yield path
