# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both databases of a split in one connection: the products database as ``src``, the HDF5 database as ``dst``."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_derive import register
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_content import quoted
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import Text, open_readonly, uri_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["attached", "columns_of", "connected", "number", "reading", "sqlite_failing", "text_of", "untouched"]

_BUSY_SECONDS = 5.0
_CACHE_KIBIBYTES = 65536
_SORT_KIBIBYTES = (
    131072  # enough to sort the entries of an index of two million rows in memory, without a temporary file
)
_MAKE_WRITABLE = "Make the file, its folder and its file system writable, and run again."
_CAUSES = {
    "locked": ("is locked: another program is using it", "Stop that program (open_files_info names it) and run again."),
    "readonly": ("cannot be written", _MAKE_WRITABLE),
    "unable to open": (
        "cannot be opened for writing",
        _MAKE_WRITABLE,
    ),  # so does WAL mode on a read-only file system end
    "malformed": ("is damaged", "Restore it from a backup."),
    "not a database": ("is damaged or no database", "Restore it from a backup."),
    "is full": ("found no space left on its device", "Make room and run again."),
}


@contextlib.contextmanager
def sqlite_failing(doing: str, path: str, state: str) -> Iterator[None]:
    """Turn an error of SQLite or of the system into one that says what is the matter with the database.

    :param state: what state things are in, as a sentence.
    :raises ContimgError: for a lock, a database that cannot be written, damage and a full device each in its own words.
    """
    with failing(doing, path, state):
        try:
            yield
        except sqlite3.Error as error:
            for sign, (what, advice) in _CAUSES.items():
                if sign in str(error):
                    hint = f"{state} {advice}"
                    raise ContimgError(f"{what} (SQLite says '{error}')", path=path, hint=hint) from error
            raise


@contextlib.contextmanager
def connected() -> Iterator[sqlite3.Connection]:
    """Give a connection to nothing yet, with the functions of derivation. TEXT arrives as :class:`Text`.

    Any thread may use it, one at a time.
    """
    connection = sqlite3.connect(
        ":memory:", uri=True, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
    )
    connection.text_factory = Text
    try:
        register(connection)
        connection.execute(f"PRAGMA main.cache_size = -{_SORT_KIBIBYTES}")  # what sorts go by, whatever they sort
        yield connection
    finally:
        connection.close()


def attached(connection: sqlite3.Connection, alias: str, uri: str) -> None:
    """Attach a database, and read its schema, so that whatever keeps it from being read comes out. Raises sqlite3.Error."""
    connection.execute(f"ATTACH ? AS {alias}", (uri,))
    connection.execute(f"PRAGMA {alias}.cache_size = -{_CACHE_KIBIBYTES}")
    connection.execute(f"SELECT count(*) FROM {alias}.sqlite_master")  # noqa: S608


@contextlib.contextmanager
def untouched(path: str) -> Iterator[str]:
    """Give the URI by which another connection reads what :func:`open_readonly` reads, as long as this context lasts.

    The lock that the reader holds meanwhile is what makes ``immutable`` true.
    """
    with open_readonly(path) as reader:
        read = reader.execute("PRAGMA database_list").fetchone()[2]
        same = os.path.samefile(read, path)
        yield uri_of(os.fsdecode(read), "immutable=1" if same else "mode=rw")


@contextlib.contextmanager
def reading(products: str, hdf5: str | None) -> Iterator[sqlite3.Connection]:
    """Connect to both databases without leaving a trace. TEXT arrives as :class:`Text`.

    :param hdf5: ``None`` where there is none; then there is no ``dst``.
    :raises ContimgError: when either cannot be read.
    """
    with contextlib.ExitStack() as stack:
        places = {
            alias: (path, stack.enter_context(untouched(path)))
            for alias, path in (("src", products), ("dst", hdf5))
            if path is not None
        }
        connection = stack.enter_context(connected())
        for alias, (path, uri) in places.items():
            with sqlite_failing("read the database", path, "It was not changed."):
                attached(connection, alias, uri)
        with sqlite_failing("read the database", products, "Nothing was touched."):
            yield connection


def columns_of(connection: sqlite3.Connection, alias: str, table: str) -> dict[str, str]:
    """Return the columns of a table or view with their types, empty where there is none of that name."""
    rows = connection.execute(f"PRAGMA {alias}.table_xinfo({quoted(table)})")
    return {text_of(row[1]): text_of(row[2]) for row in rows}


def number(connection: sqlite3.Connection, statement: str) -> int:
    """Return the one whole number that a statement gives."""
    return int(connection.execute(statement).fetchone()[0])


def text_of(value: object) -> str:
    """Return a value for an operator to read."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
