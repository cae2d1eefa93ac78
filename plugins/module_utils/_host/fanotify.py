# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fanotify(7) and file handles, through the C library: what changes on whole file systems, and which process does it.

Events name directories and files by handles, not by open descriptors: an event holds nothing open, entries of directories are
reported too, and a handle stands for the same directory under each bind mount and in each mount namespace.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ENDED",
    "KINDS",
    "MODIFY",
    "OVERFLOW",
    "Event",
    "handle_of",
    "mark",
    "mark_file",
    "new_group",
    "open_handle",
    "parse",
    "path_of",
]

MODIFY = 0x2
#: What counts as writing. A descriptor that could write and is closed counts: a shared mapping for writing ends by that.
KINDS = {
    "modify": MODIFY,
    "attrib": 0x4,
    "close_write": 0x8,
    "moved_from": 0x40,
    "moved_to": 0x80,
    "create": 0x100,
    "delete": 0x200,
}
OVERFLOW = 0x4000
#: Instead of the descriptor of a process that has ended before its event was read.
ENDED = -1

_MOVED = 0xC0
_CLOEXEC, _NONBLOCK = 0x1, 0x2
_REPORT_PIDFD, _REPORT_FID, _REPORT_DIR_NAME = 0x80, 0x200, 0xC00
#: The best first: with directories and names (Linux 5.9), with descriptors of processes (5.15), with files alone (5.1).
_GROUPS = (
    _REPORT_FID | _REPORT_DIR_NAME | _REPORT_PIDFD,
    _REPORT_FID | _REPORT_DIR_NAME,
    _REPORT_FID,
)
_MARK_ADD, _MARK_FILESYSTEM, _ONDIR = 0x1, 0x100, 0x40000000
_AT_FDCWD = -100
_ANCHOR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC  # what a handle belongs to has to be really open
_HEAD = struct.Struct("=IBBHQii")  # struct fanotify_event_metadata
_INFO = struct.Struct("=BBH")
_HANDLE = struct.Struct("=Ii")
_FID, _DIR_NAME, _DIR, _PIDFD = 1, 2, 3, 4
_MOST_HANDLE = 128
_ATTEMPTS, _PAUSE = 20, 0.001

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Event:
    """What a process has done.

    :ivar pid: 0 for a process outside of this PID namespace.
    :ivar pidfd: a descriptor of the process that the reader closes; :data:`ENDED` for one that has ended; ``None`` where the
        kernel reports none.
    :ivar fsid: the file system, as ``os.statvfs`` numbers it.
    :ivar directory: the handle of the directory that holds the name, empty where only the file is known.
    :ivar name: in that directory; ``.`` for the directory itself.
    :ivar file: the handle of the file itself, empty where the kernel does not report it.
    """

    mask: int
    pid: int
    pidfd: int | None = None
    fsid: int = 0
    directory: bytes = b""
    name: bytes = b""
    file: bytes = b""

    @property
    def kinds(self) -> list[str]:
        """What was done, as keys of :data:`KINDS`."""
        return [kind for kind, bit in KINDS.items() if self.mask & bit]

    @property
    def moves_directory(self) -> bool:
        """Whether a directory has another path since."""
        return bool(self.mask & _ONDIR and self.mask & _MOVED)

    def close(self) -> None:
        """Close the descriptor of its process."""
        if self.pidfd is not None and self.pidfd != ENDED:
            os.close(self.pidfd)


def _checked(function: str, *arguments: object) -> int:
    """Call a function of the C library. Raises OSError, also where it lacks the function."""
    try:
        called = getattr(_libc, function)
    except AttributeError as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    result = called(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


def new_group() -> tuple[int, bool]:
    """Return a descriptor from which events are read, with the best reports that the kernel has, and whether they have names.

    The kernel limits the queue of events, so its memory is bounded; what does not fit is reported as :data:`OVERFLOW`.

    :raises OSError: ``EPERM`` without the capability, ``ENOSYS`` or ``EINVAL`` where the kernel has no such reports.
    """
    for flags in _GROUPS:
        try:
            group = _checked("fanotify_init", ctypes.c_uint(flags | _CLOEXEC | _NONBLOCK), ctypes.c_uint(os.O_RDONLY))
            return group, bool(flags & _REPORT_DIR_NAME)
        except OSError as error:
            if error.errno != errno.EINVAL or flags == _GROUPS[-1]:
                raise
    raise AssertionError("unreachable")


def mark(group: int, path: str) -> None:
    """Have everything reported that is done to the file system of a path.

    :raises OSError: where it cannot be: ``ENODEV``, ``EOPNOTSUPP`` or ``EXDEV`` where the file system has no handles.
    """
    _mark(group, path, sum(KINDS.values()) | _ONDIR, _MARK_ADD | _MARK_FILESYSTEM)


def mark_file(group: int, path: str) -> None:
    """Have writes to one file reported.

    :raises OSError: as :func:`mark`; on a tmpfs before Linux 5.13, too.
    """
    _mark(group, path, MODIFY, _MARK_ADD)


def _mark(group: int, path: str, mask: int, flags: int) -> None:
    _checked("fanotify_mark", group, ctypes.c_uint(flags), ctypes.c_uint64(mask), _AT_FDCWD, os.fsencode(path))


def parse(buffer: bytes) -> Iterator[Event]:
    """Yield the events that were read at once."""
    position = 0
    while position < len(buffer):
        length, _version, _reserved, header, mask, _descriptor, pid = _HEAD.unpack_from(buffer, position)
        fields: dict[str, int | bytes] = {}
        at = position + header
        while at < position + length:
            kind, _pad, size = _INFO.unpack_from(buffer, at)
            fields.update(_record(kind, buffer[at + _INFO.size : at + size]))
            at += size
        yield Event(mask, pid, **fields)  # type: ignore[arg-type]
        position += length


def _record(kind: int, content: bytes) -> dict[str, int | bytes]:
    if kind == _PIDFD:
        (descriptor,) = struct.unpack_from("=i", content)
        return {"pidfd": descriptor} if descriptor >= ENDED else {}
    if kind not in (_FID, _DIR_NAME, _DIR):
        return {}
    fsid, length = struct.unpack_from("=QI", content)
    end = 8 + _HANDLE.size + length
    handle, rest = content[8:end], content[end:]
    if kind == _FID:
        return {"fsid": fsid, "file": handle}
    return {"fsid": fsid, "directory": handle, "name": rest.partition(b"\0")[0]}


def handle_of(path: str | bytes) -> bytes:
    """Return the handle of a file or directory, as events have it; a link is not followed. Raises OSError."""
    buffer = ctypes.create_string_buffer(_HANDLE.pack(_MOST_HANDLE, 0), _HANDLE.size + _MOST_HANDLE)
    mount = ctypes.c_int()
    _checked("name_to_handle_at", _AT_FDCWD, os.fsencode(path), buffer, ctypes.byref(mount), 0)
    return buffer.raw[: _HANDLE.size + _HANDLE.unpack_from(buffer)[0]]


def open_handle(anchor: str, handle: bytes) -> int:
    """Open what a handle stands for, only to name it, on the mount of a directory.

    :raises OSError: ``ESTALE`` when it is gone, ``EOPNOTSUPP`` where the file system cannot tell.
    """
    mount = os.open(anchor, _ANCHOR)
    try:
        for _attempt in range(_ATTEMPTS):
            try:
                return _checked("open_by_handle_at", mount, handle, os.O_PATH | os.O_CLOEXEC)
            except OSError as error:
                # So it is for as long as another process removes the directory, or one above it.
                if error.errno != errno.ENOMEM:
                    raise
            time.sleep(_PAUSE)
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    finally:
        os.close(mount)


def path_of(anchor: str, handle: bytes) -> bytes | None:
    """Return the present path of what a handle stands for, as the mount of a directory shows it.

    :returns: ``None`` for what is gone, and for what that mount does not show, as a bind mount of another directory.
    :raises OSError: see :func:`open_handle`.
    """
    descriptor = open_handle(anchor, handle)
    try:
        status = os.fstat(descriptor)
        path = os.readlink(os.fsencode(f"/proc/self/fd/{descriptor}"))
        try:
            # The kernel names what a mount does not show as if the file system's root were mounted at "/".
            above = os.stat("..", dir_fd=descriptor) if stat.S_ISDIR(status.st_mode) else os.lstat(path)
        except OSError:
            return None
    finally:
        os.close(descriptor)
    shown = stat.S_ISDIR(status.st_mode) or (above.st_dev, above.st_ino) == (status.st_dev, status.st_ino)
    return path if shown and status.st_nlink else None
