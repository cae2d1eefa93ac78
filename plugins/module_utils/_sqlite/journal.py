# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollback journals that name a super-journal, judged before SQLite sees them.

A transaction over several databases writes the name of one super-journal at the end of each database's journal. Whoever
opens a database with such a hot journal lets SQLite look for that file by that name: where it exists the transaction is
rolled back, and the file is removed with the last journal that names it; where it does not, the transaction counts as
committed. So the journal of a database that another user has written makes root remove any file, and a name that means
nothing here (the container's ``/app``, the directory that the database was copied from) makes a torn transaction the truth.

Format: "The Rollback Journal" in SQLite's file format, ``readSuperJournal`` and ``pager_delsuper`` in its ``pager.c``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import JOURNAL
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import (
    READ_WRITE,
    Place,
    real_path,
    require_own_place,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.locks import (
    ATTEMPTS,
    PAUSE_SECONDS,
    is_being_written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FINISH_TRANSACTION",
    "is_hot",
    "open_beside",
    "refuse_foreign_super_journal",
    "require_short_name",
    "strip_super_journal",
    "super_journal_named_by",
    "writable",
]


_WRITE_VERSION = 18  # byte of the database that is 2 in WAL mode
_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_TRAILER = struct.Struct(">II8s")  # length of the name, sum of its bytes, magic
_MARK = b"-mj"  # stands in the name of every super-journal
_LONGEST_NAME = 4096  # bytes; SQLite itself takes none above 512
_LARGEST_SUPER_JOURNAL = 1 << 20  # bytes; it has one name for each of at most 125 databases
_UNCHANGED = "It was not changed."
#: What an operator does about an interrupted transaction over several databases.
FINISH_TRANSACTION = (
    "Open each database of that transaction once where it was written: start its service, in its container if it has one, or run"
    " 'sqlite3 FILE .tables' there as the user of the service. SQLite then finishes the transaction. Run again after that."
)


def super_journal_named_by(journal: int) -> bytes:
    """Return the name of the super-journal at the end of an open journal, empty where there is none. Raises OSError."""
    size = os.fstat(journal).st_size
    trailer = os.pread(journal, _TRAILER.size, max(0, size - _TRAILER.size))
    if len(trailer) < _TRAILER.size:
        return b""
    length, checksum, magic = _TRAILER.unpack(trailer)
    if magic != _MAGIC or not 0 < length <= min(_LONGEST_NAME, size - _TRAILER.size):
        return b""
    name = os.pread(journal, length, size - _TRAILER.size - length)
    return name.split(b"\0")[0] if checksum in _sums(name) else b""


def _sums(name: bytes) -> tuple[int, int]:
    """Return the sum of a name's bytes, which a C compiler may take for signed numbers or for unsigned ones."""
    signed = sum(byte - 256 if byte > 127 else byte for byte in name)
    return signed & 0xFFFFFFFF, sum(name)


def is_hot(journal: int) -> bool:
    """Return whether SQLite would play an open journal back, if its writer is gone. Raises OSError.

    One that was truncated or whose header was zeroed (``journal_mode`` ``truncate`` and ``persist``) is finished.
    """
    return os.pread(journal, 1, 0) not in (b"", b"\0")


def strip_super_journal(journal: int) -> bytes:
    """Take the name of a super-journal out of an open private copy of a journal, and return it. Raises OSError.

    SQLite knows the name by the magic at its end, and by nothing else.
    """
    name = super_journal_named_by(journal)
    end = os.fstat(journal).st_size - len(_MAGIC)
    if end >= 0 and os.pread(journal, len(_MAGIC), end) == _MAGIC:
        os.pwrite(journal, b"\0" * len(_MAGIC), end)
    return name


def refuse_foreign_super_journal(path: str, name: bytes, *, shown: str = "") -> None:
    """Check that a super-journal stands in the database's own directory, names its journal, and others of that directory only.

    The transaction was then not committed, and rolls back in each of its databases.

    :param path: the database, no symbolic link.
    :param name: what its journal names.
    :param shown: the database as the operator knows it.
    :raises ContimgError: otherwise; it says what that means and what to do.
    """
    with error_context("look at the super-journal of the database", path, _UNCHANGED):
        wrong = _what_is_wrong(path, name)
    if wrong:
        what = f"has a journal of an interrupted transaction over several databases, and {wrong}"
        raise ContimgError(
            what, path=shown or path, hint=f"{_UNCHANGED} {FINISH_TRANSACTION}", super_journal=printable(name)
        )


def _what_is_wrong(path: str, name: bytes) -> str:
    directory, base = os.path.split(os.path.abspath(path))
    known = f"the super-journal that it names, {printable(name)},"
    if not _lies_in(directory, name):
        return (
            f"{known} lies outside of its directory."
            " Whether that transaction was committed can only be seen where this name leads to that file"
        )
    here = os.path.join(directory, os.fsdecode(os.path.basename(name)))
    if not is_there(here):
        return (
            f"{known} is not there."
            " SQLite takes such a transaction for committed; a copy that has left that file behind looks the same, and is torn"
        )
    if not _is_regular(here) or _MARK not in os.path.basename(name):
        return f"{known} is no such file"
    descriptor = open_regular(here, hint=_UNCHANGED)
    try:
        children = os.pread(descriptor, _LARGEST_SUPER_JOURNAL, 0).split(b"\0")
    finally:
        os.close(descriptor)
    return _what_is_wrong_with(directory, os.fsencode(base + JOURNAL), [child for child in children if child])


def _what_is_wrong_with(directory: str, journal: bytes, children: list[bytes]) -> str:
    """Check what a super-journal names: SQLite opens these files before it removes it."""
    names = [os.path.basename(child) for child in children]
    elsewhere = [child for child in children if not _lies_in(directory, child)]
    if elsewhere:
        return f"the journal of another of them, {printable(elsewhere[0])}, lies outside of its directory"
    if journal not in names:
        return "what it names as its super-journal does not name it"
    places = [os.path.join(directory, os.fsdecode(name)) for name in names]
    strange = [place for place in places if is_there(place) and not _is_regular(place)]
    return f"the journal of another of them, {printable(strange[0])}, is not a regular file" if strange else ""


def _is_regular(path: str) -> bool:
    return stat.S_ISREG(os.lstat(path).st_mode)


def _lies_in(directory: str, name: bytes) -> bool:
    place, base = os.path.split(name)
    if not name.startswith(b"/") or base in (b"", b".", b".."):
        return False
    try:
        return os.path.samestat(os.stat(place), os.stat(directory))
    except OSError:
        return False


@contextlib.contextmanager
def open_beside(path: str, suffix: str, flags: int = os.O_RDONLY) -> Iterator[int | None]:
    """Hold a descriptor of a database (no suffix) or of a file that belongs to it, ``None`` where nothing is.

    A name that is too long for the file system stands nowhere, and SQLite does without it.

    :param path: the database, no symbolic link.
    :raises ContimgError: when it cannot be opened, or is not a regular file. A link there is not followed, nor does SQLite.
    """
    hint = f"{_UNCHANGED} Remove it if it does not belong to the database." if suffix else _UNCHANGED
    with error_context("open a file of the database", path + suffix, _UNCHANGED):
        try:
            descriptor = open_regular(path + suffix, flags=flags, hint=hint)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                raise
            descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def writable(path: str) -> Place:
    """Return how SQLite opens a database for writing, and check that this changes nothing but its own directory.

    :raises ContimgError: when it is a symbolic link out of its directory, a hot journal names a super-journal that does not
        stand beside it, a sidecar is not a regular file, or SQLite could not make a journal beside a name that long. Nothing was
        changed then.
    """
    require_own_place(path)
    real = real_path(path)
    for suffix in ("-wal", "-shm"):
        with open_beside(real, suffix):
            pass
    require_short_name(path)
    for _attempt in range(ATTEMPTS):
        with open_beside(real, JOURNAL) as journal:
            name = super_journal_named_by(journal) if journal is not None and is_hot(journal) else b""
        if not name:
            break
        with open_beside(real, "") as database:
            written = database is not None and is_being_written(database)
        if not written:
            refuse_foreign_super_journal(real, name, shown=path)
            break
        time.sleep(PAUSE_SECONDS)
    else:
        raise ContimgError("is locked by a writer", path=path, hint="Try again later, or stop its writers first.")
    return Place(real, READ_WRITE)


def require_short_name(path: str, *, like: str | None = None) -> None:
    """Check that SQLite can make the files beside a database without which it does not write.

    :param like: the database that will be there, where another one is not there yet.
    :raises ContimgError: when its name is too long; nothing was changed.
    """
    with open_beside(real_path(like or path), "") as database:
        version = b"" if database is None else os.pread(database, 1, _WRITE_VERSION)
    suffix = JOURNAL if version == b"\1" else "-wal"  # a new one of ours is in WAL mode
    try:
        os.lstat(real_path(path) + suffix)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            what = f"has a name so long that SQLite cannot make the file that ends in {suffix} beside it, and so cannot write it"
            raise ContimgError(what, path=path, hint="Nothing was changed. Rename it.") from error
