# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags of inodes, as chattr(1) sets them and ioctl_iflags(2) describes them.

A copy has those of ``CARRIED``. ``UNCARRIED`` are named as lost wherever the copy goes: a file that is immutable or append-only
could not be replaced by the next pass, and the others need a journal or a device that takes part. Compression is an extended
attribute where a file system keeps it as one. All other flags say how a file system stores a file, and are its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "APPEND_ONLY",
    "CARRIED",
    "IMMUTABLE",
    "NO_COPY_ON_WRITE",
    "UNCARRIED",
    "add_flags",
    "each_of",
    "flags_of",
    "letters_of",
]

_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602  # where a long has 8 bytes
_HAS_NONE = (errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

IMMUTABLE, APPEND_ONLY, NO_COPY_ON_WRITE = 0x10, 0x20, 0x800000
_LETTERS = {
    "S": 0x8,
    "i": IMMUTABLE,
    "a": APPEND_ONLY,
    "d": 0x40,
    "A": 0x80,
    "j": 0x4000,
    "D": 0x10000,
    "C": NO_COPY_ON_WRITE,
    "x": 0x2000000,
}


def _flags_in(letters: Iterable[str]) -> int:
    return sum(_LETTERS[letter] for letter in letters)


#: Synchronous writes, left out by dump(8), no access times, no copy on write.
CARRIED = _flags_in("SdAC")
#: Immutable, append-only, journaled data, synchronous directory, direct access.
UNCARRIED = _flags_in("iajDx")


def flags_of(descriptor: int) -> int:
    """Return the flags of an open file or directory, 0 where its file system has none. Raises OSError."""
    try:
        answer = fcntl.ioctl(descriptor, _GETFLAGS, bytes(struct.calcsize("l")))
    except OSError as error:
        if error.errno in _HAS_NONE:
            return 0
        raise
    return int(struct.unpack_from("I", answer)[0])


def add_flags(descriptor: int, wanted: int) -> None:
    """Give flags to an open file or directory, and look whether it has them then.

    What a directory passes on to what is made in it stays.

    :raises OSError: ``ENOTSUP`` where the file system takes them without keeping them.
    """
    present = flags_of(descriptor)
    if wanted & ~present:
        fcntl.ioctl(descriptor, _SETFLAGS, struct.pack("l", present | wanted))
        if wanted & ~flags_of(descriptor):
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def each_of(flags: int) -> Iterator[int]:
    """Yield flags one by one: a file system that lacks one of them refuses all that come in one call."""
    return (bit for bit in _LETTERS.values() if flags & bit)


def letters_of(flags: int) -> str:
    """Return the letters by which lsattr(1) shows those flags that a copy carries or names."""
    return "".join(letter for letter, bit in _LETTERS.items() if flags & bit)
