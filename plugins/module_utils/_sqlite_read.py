# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an SQLite database without leaving a trace: no byte, no ``-shm``, no timestamp changes.

Why not simply ``mode=ro``: SQLite then makes a ``-shm`` and a ``-wal`` and leaves them; with ``readonly_shm`` it still
calls ``fchown`` on the ``-wal`` when it runs as root, which changes its ctime. So a database whose truth lies partly in
a ``-wal`` or a hot ``-journal`` is read from a private copy, taken while a lock keeps checkpoints away.
Byte offsets of locks and headers: the SQLite file format and WAL-index documentation.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import stat
import struct
import tempfile
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

__all__ = [
    "SIDECARS",
    "Header",
    "Snapshot",
    "Text",
    "is_database",
    "lock_exclusively",
    "open_readonly",
    "read_header",
    "sidecars",
    "snapshot",
    "uri_of",
]

SIDECARS = ("-wal", "-shm", "-journal")

_MAGIC = b"SQLite format 3\x00"
_WAL_HEADER_BYTES = 32
_CHECKPOINT_LOCK = 121  # byte of the -shm that a checkpoint holds exclusively
_RESERVED_LOCK = 0x40000001  # byte of the main file that a writer holds in rollback mode
_PENDING_LOCK = 0x40000000  # byte that a writer holds while it waits for readers to leave
_SHARED_LOCK, _SHARED_BYTES = 0x40000002, 510  # what each reader holds in rollback mode
_OFD_GETLK, _OFD_SETLK = 36, 37  # locks of the open file: closing another descriptor does not drop them
_ATTEMPTS = 50
_PAUSE_SECONDS = 0.1
_DAMAGED = "It was not changed. If it is damaged, restore it from a backup."


class Text(bytes):
    """A TEXT value as its UTF-8 bytes, which need not be valid; a BLOB arrives as plain ``bytes``."""


class Header:
    """What the first 100 bytes of a database say, and how long its write-ahead log is.

    :ivar page_size: bytes a page.
    :ivar journal_mode: ``wal`` or ``rollback``, the two that a file can tell apart.
    """

    def __init__(self, raw: bytes) -> None:
        size = struct.unpack(">H", raw[16:18])[0]
        self.page_size = 65536 if size == 1 else size
        self.journal_mode = "wal" if raw[18] == 2 else "rollback"


def read_header(path: str) -> Header | None:
    """Return the header of a database, ``None`` for anything else that can be read.

    :raises ContimgError: when the path cannot be opened or is no regular file.
    """
    with failing("open the database", path, "Nothing was changed. Name a database that can be read."):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ContimgError("is not a database but no regular file at all", path=path, hint="Name a database file.")
        with failing("read the database's header", path, _DAMAGED):
            raw = os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)
    return Header(raw) if len(raw) == 100 and raw.startswith(_MAGIC) else None


def is_database(path: str) -> bool:
    """Tell whether a regular file starts with SQLite's header; its name does not matter. Raises ContimgError."""
    return stat.S_ISREG(_stat(path).st_mode) and read_header(path) is not None


def sidecars(path: str) -> tuple[str, ...]:
    """Return the paths of the ``-wal``, ``-shm`` and ``-journal`` that stand beside a database."""
    return tuple(path + suffix for suffix in SIDECARS if os.path.lexists(path + suffix))


def _stat(path: str) -> os.stat_result:
    with failing("look at the file", path):
        return os.stat(path)


@dataclass(frozen=True)
class Snapshot:
    """One state of a database that stays as it is while the snapshot is held; any process may read it.

    :ivar path: the database, as the operator named it.
    :ivar opened: the file to open: the database itself, or a private copy of it.
    :ivar hot: whether a ``-wal`` or a hot ``-journal`` had a part in it.
    """

    path: str
    opened: str
    hot: bool

    def uri(self) -> str:
        """Return the URI by which SQLite opens the state."""
        return uri_of(self.opened, "mode=ro&immutable=1")  # without mode=ro, closing looks like the end of writing

    @contextlib.contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Open the state for reading; TEXT arrives as :class:`Text`. Raises ContimgError."""
        with failing("read the database", self.path, _DAMAGED):
            connection = sqlite3.connect(self.uri(), uri=True, isolation_level=None)
            connection.text_factory = Text
            try:
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM main.sqlite_master").fetchone()
                yield connection
            finally:
                connection.close()


@contextlib.contextmanager
def snapshot(path: str) -> Iterator[Snapshot]:
    """Hold a database, with what its ``-wal`` or hot ``-journal`` adds, in one state, and leave no trace.

    :raises ContimgError: when the path is no database, cannot be read, is locked, or changed while it was read.
    """
    header = read_header(path)
    if header is None:
        found = "an empty file" if _stat(path).st_size == 0 else "some other kind of file, or encrypted"
        raise ContimgError(f"is not an SQLite database but {found}", path=path, hint="Name a database, or exclude it.")
    with _checkpoints_kept_away(path) if header.journal_mode == "wal" else _writers_kept_away(path):
        if _holds_bytes(path + "-wal") or _has_hot_journal(path):
            with _private_copy(path) as copy:
                yield Snapshot(path, copy, hot=True)
        else:
            with _unmoved(path):
                yield Snapshot(path, path, hot=False)


@contextlib.contextmanager
def open_readonly(path: str) -> Iterator[sqlite3.Connection]:
    """Open a :func:`snapshot` of a database for reading. TEXT arrives as :class:`Text`. Raises what that raises."""
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(snapshot(path))
        yield stack.enter_context(state.connected())


def _settle(path: str, copy: str) -> None:
    """Let SQLite bring a private copy's log into its main file, so that this file alone is the state."""
    with failing("read the database with its log", path, _DAMAGED):
        connection = sqlite3.connect(uri_of(copy, "mode=rw"), uri=True, isolation_level=None)
        try:
            connection.execute("SELECT count(*) FROM main.sqlite_master").fetchone()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()


def uri_of(path: str, query: str) -> str:
    """Return the URI by which SQLite opens a file of any name."""
    return f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(path)))}?{query}"


def _holds_bytes(path: str) -> bool:
    return os.path.exists(path) and os.stat(path).st_size > 0


def _has_hot_journal(path: str) -> bool:
    """Tell whether SQLite would open the journal: its writer, who would hold the reserved lock, is gone."""
    if not _holds_bytes(path + "-journal"):
        return False
    with failing("ask for the lock of the database", path), _opened(path) as file:
        answer = fcntl.fcntl(file.fileno(), _OFD_GETLK, _lock(fcntl.F_RDLCK, _RESERVED_LOCK))
    return bool(struct.unpack_from("h", answer)[0] == fcntl.F_UNLCK)


def _opened(path: str) -> IO[bytes]:
    """Open a file for reading. Where it is a FIFO, nobody is waited for."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def _lock(kind: int, start: int, length: int = 1) -> bytes:
    """Return a ``struct flock`` for some bytes."""
    return struct.pack("hhqqi", kind, os.SEEK_SET, start, length, 0)


@contextlib.contextmanager
def _checkpoints_kept_away(path: str) -> Iterator[None]:
    """Hold the checkpoint lock of a database in use, shared: its main file then stays as it is, writers go on."""
    shm = path + "-shm"
    if not os.path.exists(shm):
        yield
        return
    with failing("open the shared memory of the database", shm), _opened(shm) as file:
        hint = "Try again later."
        _insist(lambda: _take(file, _CHECKPOINT_LOCK), path, "is locked by a checkpoint that does not end", hint)
        yield


@contextlib.contextmanager
def _writers_kept_away(path: str) -> Iterator[None]:
    """Hold SQLite's shared lock of a database in rollback mode: no writer can then change the file.

    As a lock of the open file, for SQLite's own is lost as soon as this process closes the file anywhere.
    """
    with failing("lock the database for reading", path), _opened(path) as file:
        hint = "Try again later, or stop its writers first."
        _insist(lambda: _take_shared(file), path, "is locked by a writer", hint)
        yield


def lock_exclusively(descriptor: int) -> None:
    """Take SQLite's exclusive lock of a database, as a lock of the open file: no connection can then read or write it.

    A connection in WAL mode, or within a transaction, keeps it from being taken.

    :param descriptor: of the main file, open for reading and writing.
    :raises OSError: when another process holds any lock of it.
    """
    length = _SHARED_LOCK + _SHARED_BYTES - _PENDING_LOCK
    fcntl.fcntl(descriptor, _OFD_SETLK, _lock(fcntl.F_WRLCK, _PENDING_LOCK, length))


def _insist(take: Callable[[], None], path: str, what: str, hint: str) -> None:
    """Take a lock that another process may hold for a moment. Raises ContimgError when that moment does not end."""
    for _attempt in range(_ATTEMPTS):
        with contextlib.suppress(BlockingIOError, PermissionError):
            take()
            return
        time.sleep(_PAUSE_SECONDS)
    raise ContimgError(what, path=path, hint=hint)


def _take(file: IO[bytes], start: int, length: int = 1) -> None:
    fcntl.fcntl(file.fileno(), _OFD_SETLK, _lock(fcntl.F_RDLCK, start, length))


def _take_shared(file: IO[bytes]) -> None:
    """Take the shared lock as SQLite does: under the pending lock, which goes again."""
    _take(file, _PENDING_LOCK)
    try:
        _take(file, _SHARED_LOCK, _SHARED_BYTES)
    finally:
        fcntl.fcntl(file.fileno(), _OFD_SETLK, _lock(fcntl.F_UNLCK, _PENDING_LOCK))


@contextlib.contextmanager
def _private_copy(path: str) -> Iterator[str]:
    """Copy a database with its ``-wal`` or ``-journal`` into a private folder; the copy is one consistent state."""
    folder = tempfile.mkdtemp(prefix="contimg-", dir=os.environ.get("TMPDIR", "/var/tmp"))  # noqa: S108
    copy = os.path.join(folder, "database")
    try:
        with failing("copy the database for reading", path, "It was not changed."):
            for _attempt in range(_ATTEMPTS):
                before = _moment(path)
                for suffix in ("", "-wal", "-journal"):
                    _copy_if_there(path + suffix, copy + suffix)
                if _moment(path) == before:
                    break
                time.sleep(_PAUSE_SECONDS)
            else:
                raise ContimgError("changes faster than it can be read", path=path, hint="Stop its writers first.")
        _settle(path, copy)
        yield copy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_if_there(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(source, target)


def _moment(path: str) -> tuple[object, ...]:
    """Return what tells whether a copy was torn: the main file's times, the header of the log, the journal's times.

    A writer may append to the log meanwhile: its tail is a transaction that is whole or is ignored.
    """
    journal = path + "-journal"
    times = [os.stat(name) for name in (path, journal) if os.path.exists(name)]
    header = b""
    with contextlib.suppress(FileNotFoundError), _opened(path + "-wal") as log:
        header = log.read(_WAL_HEADER_BYTES)
    return (header, *((status.st_mtime_ns, status.st_ctime_ns, status.st_size) for status in times))


@contextlib.contextmanager
def _unmoved(path: str) -> Iterator[None]:
    """Make sure that a database read without locks has not changed under the reader."""
    before = _moment(path)[1:2]
    yield
    if _moment(path)[1:2] != before:
        raise ContimgError("changed while it was read", path=path, hint="Run again, or stop its writers first.")
