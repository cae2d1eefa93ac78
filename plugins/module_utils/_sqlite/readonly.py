# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an SQLite database without leaving a trace: no byte, no ``-shm``, no timestamp changes.

Why not simply ``mode=ro``: SQLite then makes a ``-shm`` and a ``-wal`` and leaves them; with ``readonly_shm`` it still
calls ``fchown`` on the ``-wal`` when it runs as root, which changes its ctime. So a database whose truth lies partly in
a ``-wal`` or a hot ``-journal`` is read from a private copy, taken while a lock keeps checkpoints away. The copy of a
journal names no super-journal: what SQLite would do by that name is judged before (``_sqlite/journal``).

As SQLite does, a symbolic link is resolved first: the sidecars are those beside the real file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of, status_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.private_directory import (
    PRIVATE_NAME,
    private_directory,
    private_place,
    remove_abandoned_once,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import JOURNAL, SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import (
    IMMUTABLE,
    READ_WRITE,
    Place,
    connect,
    real_path,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import (
    is_hot,
    open_beside,
    refuse_foreign_super_journal,
    strip_super_journal,
    super_journal_named_by,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.locks import (
    ATTEMPTS,
    PAUSE_SECONDS,
    checkpoints_kept_away,
    is_being_written,
    writers_kept_away,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import Connection

__all__ = [
    "Header",
    "Snapshot",
    "Text",
    "copy_in",
    "holds_bytes",
    "is_database",
    "open_readonly",
    "read_header",
    "settle",
    "sidecars",
    "snapshot",
    "super_journal_of",
]

_MAGIC = b"SQLite format 3\x00"
_WAL_HEADER_BYTES = 32
_PART = 1 << 20
_UNCHANGED = "It was not changed."


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

    :raises ContimgError: when the path cannot be opened or is not a regular file.
    """
    with error_context("open the database", path, "Nothing was changed. Name a database that can be read."):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ContimgError("is not a database but no regular file at all", path=path, hint="Name a database file.")
        with error_context("read the database's header", path, f"{_UNCHANGED} Check its device."):
            raw = os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)
    return Header(raw) if len(raw) == 100 and raw.startswith(_MAGIC) else None


def is_database(path: str) -> bool:
    """Return whether a regular file starts with SQLite's header; its name does not matter. Raises ContimgError."""
    return stat.S_ISREG(_stat(path).st_mode) and read_header(path) is not None


def sidecars(path: str) -> tuple[str, ...]:
    """Return the paths of the ``-wal``, ``-shm`` and ``-journal`` that stand beside a database, wherever it really is."""
    real = real_path(path)
    return tuple(real + suffix for suffix in SIDECARS if kind_of(real + suffix))


def _stat(path: str) -> os.stat_result:
    with error_context("look at the file", path):
        return os.stat(path)


@dataclass(frozen=True)
class Snapshot:
    """One state of a database that stays as it is while the snapshot is held; any process may read it.

    :ivar path: the database, as the operator named it.
    :ivar real: the same, no symbolic link; its sidecars stand beside it.
    :ivar opened: the file to open: the database itself, or a private copy of it.
    :ivar hot: whether a ``-wal`` or a hot ``-journal`` had a part in it.
    """

    path: str
    real: str
    opened: str
    hot: bool

    @property
    def place(self) -> Place:
        """How SQLite opens the state."""
        return Place(self.opened, IMMUTABLE)

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """Open the state for reading; TEXT arrives as :class:`Text`. Raises ContimgError."""
        with error_context("read the database", self.path, _UNCHANGED):
            connection = connect(self.place)
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

    :raises ContimgError: when the path is not a database, cannot be read, is locked, or changed while it was read; and when
        its journal names a super-journal that does not stand beside it.
    """
    remove_abandoned_once(private_place())
    header = read_header(path)
    if header is None:
        found = "an empty file" if _stat(path).st_size == 0 else "some other kind of file, or encrypted"
        raise ContimgError(f"is not an SQLite database but {found}", path=path, hint="Name a database, or exclude it.")
    real = real_path(path)
    with checkpoints_kept_away(real) if header.journal_mode == "wal" else writers_kept_away(real):
        if holds_bytes(real, "-wal") or _has_hot_journal(real):
            with _private_copy(path, real) as copy:
                yield Snapshot(path, real, copy, hot=True)
        else:
            with _unmoved(real):
                yield Snapshot(path, real, real, hot=False)


@contextlib.contextmanager
def open_readonly(path: str) -> Iterator[Connection]:
    """Open a :func:`snapshot` of a database for reading. TEXT arrives as :class:`Text`. Raises what that raises."""
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(snapshot(path))
        yield stack.enter_context(state.connected())


def holds_bytes(real: str, suffix: str) -> bool:
    """Return whether a file that belongs to a database, which is no symbolic link, holds anything. Raises ContimgError."""
    with open_beside(real, suffix) as file:
        return file is not None and os.fstat(file).st_size > 0


def _has_hot_journal(real: str) -> bool:
    """Return whether SQLite would play the journal back: its writer, who would hold the reserved lock, is gone."""
    with open_beside(real, JOURNAL) as journal:
        if journal is None or not is_hot(journal):
            return False
    with open_beside(real, "") as database:
        return database is not None and not is_being_written(database)


@contextlib.contextmanager
def _private_copy(path: str, real: str) -> Iterator[str]:
    """Copy a database with its ``-wal`` or ``-journal`` into a private directory; the copy is one consistent state."""
    with private_directory(state=_UNCHANGED) as directory:
        copy = os.path.join(directory, PRIVATE_NAME)
        name = _copy_one_state(path, real, copy)
        if name:
            refuse_foreign_super_journal(real, name, shown=path)
        with error_context("read the database with its WAL or journal", path, _UNCHANGED):
            settle(copy, shown=path)
        yield copy


def _copy_one_state(path: str, real: str, copy: str) -> bytes:
    """Copy a database while it does not change; return the super-journal that its hot journal names."""
    for _attempt in range(ATTEMPTS):
        before = _moment(real)
        for suffix in ("", "-wal", JOURNAL):
            with open_beside(real, suffix) as source:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(copy + suffix)
                if source is not None:
                    copy_in(source, copy + suffix, shown=path)
        if _moment(real) == before:
            return super_journal_of(copy)
        time.sleep(PAUSE_SECONDS)
    raise ContimgError("changes faster than it can be read", path=path, hint="Stop its writers first.")


def super_journal_of(copy: str) -> bytes:
    """Return the super-journal that the hot journal of a private copy names, empty where it names none. Raises ContimgError."""
    with open_beside(copy, JOURNAL) as journal:
        return b"" if journal is None or not is_hot(journal) else super_journal_named_by(journal)


def copy_in(source: int, target: str, *, shown: str) -> None:
    """Copy an open file into a private directory.

    :param shown: the database as the operator knows it.
    :raises ContimgError: naming the database where it cannot be read, and the place of private copies where these lack room.
    """
    reading = error_context("read the database for a private copy", shown, f"{_UNCHANGED} Check its device.")
    with _writing_copy(shown), open(target, "xb", buffering=0) as file:
        position = 0
        while True:
            with reading:
                part = os.pread(source, _PART, position)
            if not part:
                return
            position += file.write(part)


def _writing_copy(shown: str) -> error_context:
    hint = f"{_UNCHANGED} Make room there for the database and its WAL twice, or set TMPDIR to a directory that has it."
    return error_context(f"write a private copy of {printable(shown)}", private_place(), hint)


def settle(copy: str, *, shown: str) -> None:
    """Let SQLite bring the WAL or journal of a private copy into its main file, so that this file alone is the state.

    :param shown: the database as the operator knows it.
    :raises sqlite3.Error: when SQLite cannot.
    :raises ContimgError: when there is no room for it.
    """
    try:
        _settle(copy)
    except sqlite3.OperationalError as error:
        if "is full" not in str(error):
            raise
        with _writing_copy(shown):
            raise


def _settle(copy: str) -> None:
    with open_beside(copy, JOURNAL, os.O_RDWR) as journal:
        if journal is not None:
            strip_super_journal(journal)
    with contextlib.closing(connect(Place(copy, READ_WRITE))) as connection:
        connection.execute("SELECT count(*) FROM main.sqlite_master").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _moment(path: str) -> tuple[object, ...]:
    """Return what tells whether a copy was torn: the main file's times, the header of the WAL, the journal's times.

    A writer may append to the WAL meanwhile: its tail is a transaction that is whole or is ignored.
    """
    found = [status_of(name) for name in (path, path + JOURNAL)]
    header = b""
    with open_beside(path, "-wal") as wal:
        if wal is not None:
            header = os.pread(wal, _WAL_HEADER_BYTES, 0)
    return (header, *((status.st_mtime_ns, status.st_ctime_ns, status.st_size) for status in found if status))


@contextlib.contextmanager
def _unmoved(path: str) -> Iterator[None]:
    """Make sure that a database read without locks has not changed under the reader."""
    before = _moment(path)[1:2]
    yield
    if _moment(path)[1:2] != before:
        raise ContimgError("changed while it was read", path=path, hint="Run again, or stop its writers first.")
