# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite's own locks of a database, taken and asked for as a reader. Bytes: the SQLite file format, "WAL-index Format".

They are locks of the open file (``F_OFD_SETLK``): SQLite's are lost as soon as this process closes the file anywhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "ATTEMPTS",
    "PAUSE_SECONDS",
    "checkpoints_kept_away",
    "has_writer",
    "is_being_written",
    "lock_exclusively",
    "writers_kept_away",
]

#: How often, and how many seconds apart, something is tried that another process may prevent for a moment.
ATTEMPTS, PAUSE_SECONDS = 50, 0.1

_WAL_WRITE_LOCK = 120  # byte of the -shm that a writer in WAL mode holds exclusively
_CHECKPOINT_LOCK = 121  # byte of the -shm that a checkpoint holds exclusively
_RESERVED_LOCK = 0x40000001  # byte of the main file that a writer holds in rollback mode
_PENDING_LOCK = 0x40000000  # byte that a writer holds while it waits for readers to leave
_SHARED_LOCK, _SHARED_BYTES = 0x40000002, 510  # what each reader holds in rollback mode
_OFD_GETLK, _OFD_SETLK = 36, 37


def is_being_written(descriptor: int) -> bool:
    """Return whether a process holds the lock of a writer in rollback mode, or in an exclusive one. Raises OSError."""
    return _is_locked(descriptor, _RESERVED_LOCK)


def has_writer(path: str) -> bool:
    """Return whether a process holds the lock of a writer or of a checkpoint, in whatever mode. Raises OSError, ContimgError.

    :param path: the database, no symbolic link.
    """
    with contextlib.ExitStack() as held:
        if is_being_written(held.enter_context(_opened(path))):
            return True
        if not kind_of(path + "-shm"):
            return False
        shared_memory = held.enter_context(_opened(path + "-shm"))
        return any(_is_locked(shared_memory, byte) for byte in (_WAL_WRITE_LOCK, _CHECKPOINT_LOCK))


def _is_locked(descriptor: int, byte: int) -> bool:
    answer = fcntl.fcntl(descriptor, _OFD_GETLK, _lock(fcntl.F_RDLCK, byte))
    return bool(struct.unpack_from("h", answer)[0] != fcntl.F_UNLCK)


def lock_exclusively(descriptor: int) -> None:
    """Take SQLite's exclusive lock of a database: no connection can then read or write it.

    A connection in WAL mode, or within a transaction, keeps it from being taken.

    :param descriptor: of the main file, open for reading and writing.
    :raises OSError: when another process holds any lock of it.
    """
    length = _SHARED_LOCK + _SHARED_BYTES - _PENDING_LOCK
    fcntl.fcntl(descriptor, _OFD_SETLK, _lock(fcntl.F_WRLCK, _PENDING_LOCK, length))


@contextlib.contextmanager
def checkpoints_kept_away(path: str) -> Iterator[None]:
    """Hold the checkpoint lock of a database in use, shared: its main file then stays as it is, writers go on."""
    shm = path + "-shm"
    if not kind_of(shm):
        yield
        return
    with error_context("open the shared memory of the database", shm), _opened(shm) as descriptor:
        hint = "Try again later."
        _insist(lambda: _take(descriptor, _CHECKPOINT_LOCK), path, "is locked by a checkpoint that does not end", hint)
        yield


@contextlib.contextmanager
def writers_kept_away(path: str) -> Iterator[None]:
    """Hold SQLite's shared lock of a database in rollback mode: no writer can then change the file."""
    with error_context("lock the database for reading", path), _opened(path) as descriptor:
        hint = "Try again later, or stop its writers first."
        _insist(lambda: _take_shared(descriptor), path, "is locked by a writer", hint)
        yield


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = open_regular(path, hint="Nothing was changed. Remove it, or name another database.")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _insist(take: Callable[[], None], path: str, what: str, hint: str) -> None:
    """Take a lock that another process may hold for a moment. Raises ContimgError when that moment does not end."""
    for _attempt in range(ATTEMPTS):
        with contextlib.suppress(BlockingIOError, PermissionError):
            take()
            return
        time.sleep(PAUSE_SECONDS)
    raise ContimgError(what, path=path, hint=hint)


def _lock(kind: int, start: int, length: int = 1) -> bytes:
    """Return a ``struct flock`` for some bytes."""
    return struct.pack("hhqqi", kind, os.SEEK_SET, start, length, 0)


def _take(descriptor: int, start: int, length: int = 1) -> None:
    fcntl.fcntl(descriptor, _OFD_SETLK, _lock(fcntl.F_RDLCK, start, length))


def _take_shared(descriptor: int) -> None:
    """Take the shared lock as SQLite does: under the pending lock, which goes again."""
    _take(descriptor, _PENDING_LOCK)
    try:
        _take(descriptor, _SHARED_LOCK, _SHARED_BYTES)
    finally:
        fcntl.fcntl(descriptor, _OFD_SETLK, _lock(fcntl.F_UNLCK, _PENDING_LOCK))
