# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both databases of a split in one connection: the products database as ``src``, the HDF5 database as ``dst``."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, cause_of, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import register
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import attach, connect
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import Text, snapshot
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rewrite import rewritten
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import Connection, Place
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import Moves

__all__ = ["attached", "columns_of", "connected", "number", "reading", "sqlite_failing", "text_of"]

_CACHE_KIBIBYTES = 65536
_SORT_KIBIBYTES = (
    131072  # enough to sort the entries of an index of two million rows in memory, without a temporary file
)


@contextlib.contextmanager
def sqlite_failing(doing: str, path: str, state: str) -> Iterator[None]:
    """Turn an error of SQLite or of the system into one that says what is the matter with the database.

    :param state: what state things are in, as a sentence.
    :raises ContimgError: for a lock, a database that cannot be written, damage and a full device each in its own words.
    """
    with error_context(doing, path, state):
        try:
            yield
        except sqlite3.Error as error:
            what, advice = cause_of(error)
            if not what:
                raise
            raise ContimgError(f"{what} (SQLite reports '{error}')", path=path, hint=f"{state} {advice}") from error


@contextlib.contextmanager
def connected() -> Iterator[Connection]:
    """Give a connection to nothing yet, with the functions of derivation. TEXT arrives as :class:`Text`.

    Any thread may use it, one at a time.
    """
    connection = connect(any_thread=True)
    connection.text_factory = Text
    try:
        register(connection)
        connection.execute(f"PRAGMA main.cache_size = -{_SORT_KIBIBYTES}")  # what sorts go by, whatever they sort
        yield connection
    finally:
        connection.close()


def attached(connection: Connection, alias: str, place: Place) -> None:
    """Attach a database, and read its schema, so that whatever keeps it from being read comes out. Raises sqlite3.Error."""
    attach(connection, alias, place)
    connection.execute(f"PRAGMA {alias}.cache_size = -{_CACHE_KIBIBYTES}")
    connection.execute(f"SELECT count(*) FROM {alias}.sqlite_master")  # noqa: S608


@contextlib.contextmanager
def reading(products: str, hdf5: str | None, *, moves: Moves | None = None) -> Iterator[Connection]:
    """Connect to both databases without leaving a trace. TEXT arrives as :class:`Text`.

    :param hdf5: ``None`` where there is none; then there is no ``dst``.
    :param moves: paths to read as if they had been rewritten in the rows of both.
    :raises ContimgError: when either cannot be read, or its paths could not be rewritten.
    """
    with contextlib.ExitStack() as stack:
        places = {
            alias: (path, stack.enter_context(_state(path, moves)))
            for alias, path in (("src", products), ("dst", hdf5))
            if path is not None
        }
        connection = stack.enter_context(connected())
        for alias, (path, place) in places.items():
            with sqlite_failing("read the database", path, "It was not changed."):
                attached(connection, alias, place)
        with sqlite_failing("read the database", products, "Nothing was touched."):
            yield connection


@contextlib.contextmanager
def _state(path: str, moves: Moves | None) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        yield (
            stack.enter_context(snapshot(path)).place if moves is None else stack.enter_context(rewritten(path, moves))
        )


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
