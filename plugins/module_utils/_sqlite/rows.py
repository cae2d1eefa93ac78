# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of an SQLite table, their canonical bytes, and the digests of their chunks.

The canonical bytes of a row (docs/checksum.md) are those of ``marshal`` in its version 2, because nothing else in the
standard library encodes rows in C. :func:`encoded` writes the same in Python: for an interpreter whose ``marshal`` differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import sqlite3
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = [
    "CHUNK_ROWS",
    "Table",
    "chunk_digests",
    "chunk_ranges",
    "collations_stood_in",
    "encoded",
    "exact_rows",
    "quoted",
    "row_key",
    "select_rows",
    "stand_in_for_collations",
    "table_names",
    "table_of",
]

CHUNK_ROWS = 4096
_BATCH_ROWS = 64
_LARGE_BYTES = 1 << 18  # rows above this size are read one by one, so that a batch stays small
_LIST_HEADER_BYTES = 5
_COLLATIONS = ("BINARY", "NOCASE", "RTRIM")  # SQLite's own; a connection of ours has no others
_LENGTH_LIMIT = 0  # SQLITE_LIMIT_LENGTH


def quoted(name: str) -> str:
    """Return an SQL identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def _name(raw: bytes | str) -> str:
    try:
        return raw if isinstance(raw, str) else str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise ContimgError(f"a table or column has a name that is no text: {raw!r}", hint="Rename it first.") from error


def table_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of all tables with rows of their own, sorted: virtual tables count through their shadow tables.

    SQLite's statistics (``sqlite_stat*``) are no content: ``ANALYZE`` makes them.
    """
    rows = connection.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND rootpage > 0 AND name NOT GLOB 'sqlite_stat*'"
    )
    return sorted(_name(name) for (name,) in rows)


@dataclass(frozen=True)
class Table:
    """What one has to know to read a table.

    :ivar columns: the stored columns in the order of their definition: all but VIRTUAL generated ones.
    :ivar rowid: a name by which SQL knows the rowid, empty where it has none.
    :ivar utf16: whether the database holds its text in UTF-16.
    """

    name: str
    columns: tuple[str, ...]
    rowid: str
    utf16: bool

    def select(self) -> str:
        """Return the statement that reads all stored columns from the table itself, never from an index."""
        columns = ", ".join(self._values())
        return f"SELECT {columns} FROM main.{quoted(self.name)} NOT INDEXED"  # noqa: S608

    def select_range(self) -> str:
        """Return the same for the rowids between two parameters, in their order."""
        return f"{self.select()} WHERE {self.rowid} BETWEEN ? AND ? ORDER BY {self.rowid}"

    def _values(self) -> Iterator[str]:
        """Yield the expressions to select. In UTF-16 SQLite would repair what is no valid text: take its bytes instead."""
        for column in map(quoted, self.columns):
            yield (
                column
                if not self.utf16
                else f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END"
            )
        if self.utf16:
            for column in map(quoted, self.columns):
                yield f"typeof({column}) = 'text'"


def table_of(connection: sqlite3.Connection, name: str) -> Table:
    """Look at a table, and make its rows readable; ``connection`` gives TEXT as bytes."""
    found = connection.execute(f"PRAGMA main.table_xinfo({quoted(name)})").fetchall()
    columns = [_name(row[1]) for row in found]
    stored = tuple(column for column, row in zip(columns, found) if row[6] in (0, 3))
    taken = {column.lower() for column in columns}
    rowids = (rowid for rowid in ("rowid", "_rowid_", "oid") if rowid not in taken)
    known = next((rowid for rowid in rowids if _knows(connection, name, rowid)), "")
    if not known:
        stand_in_for_collations(connection, name)
    return Table(name, stored, known, _utf16(connection))


def stand_in_for_collations(connection: sqlite3.Connection, table: str) -> list[str]:
    """Give SQLite something by the name of each collation that it lacks: it will neither scan nor count such an index before.

    Scans and counts compare nothing, so what stands in is never asked. SQLite's own check would be misled by it.

    :returns: the names of these collations.
    """
    lacking = []
    for index in connection.execute(f"PRAGMA main.index_list({quoted(table)})").fetchall():
        for row in connection.execute(f"PRAGMA main.index_xinfo({quoted(_name(index[1]))})").fetchall():
            if _name(row[4]).upper() not in _COLLATIONS:
                lacking.append(_name(row[4]))
                connection.create_collation(lacking[-1], lambda _one, _two: 0)
    return lacking


@contextlib.contextmanager
def collations_stood_in(connection: sqlite3.Connection, tables: Sequence[str]) -> Iterator[None]:
    """Let tables be read, and take what stands in for collations away again: a change would damage an index with it."""
    lacking: list[str] = []
    try:
        for table in tables:
            lacking += stand_in_for_collations(connection, table)
        yield
    finally:
        for name in dict.fromkeys(lacking):
            connection.create_collation(name, None)


def _utf16(connection: sqlite3.Connection) -> bool:
    return bytes(connection.execute("PRAGMA encoding").fetchone()[0]) != b"UTF-8"


def _knows(connection: sqlite3.Connection, table: str, rowid: str) -> bool:
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute(f"SELECT {rowid} FROM main.{quoted(table)} LIMIT 0")  # noqa: S608
        return True
    return False


def chunk_ranges(connection: sqlite3.Connection, table: Table) -> list[tuple[int, int]]:
    """Return the first and last rowid of each chunk of a table with rowids; all chunks but the last are full."""
    # Each is asked by itself: SQLite then seeks, or counts the entries of the smallest index. Were that index damaged and the count
    # wrong, chunks that are not full would tell.
    first, last = (
        connection.execute(f"SELECT {end}({table.rowid}) FROM main.{quoted(table.name)} NOT INDEXED").fetchone()[0]  # noqa: S608
        for end in ("min", "max")
    )
    stand_in_for_collations(connection, table.name)
    count = connection.execute(f"SELECT count(*) FROM main.{quoted(table.name)}").fetchone()[0]  # noqa: S608
    if first is None:
        return []
    dense = last - first + 1 == count
    starts = list(range(first, last + 1, CHUNK_ROWS) if dense else _starts(connection, table, first))
    return list(zip(starts, [start - 1 for start in starts[1:]] + [last]))


def _starts(connection: sqlite3.Connection, table: Table, first: int) -> Iterator[int]:
    step = (
        f"SELECT {table.rowid} FROM main.{quoted(table.name)} NOT INDEXED WHERE {table.rowid} >= ?"  # noqa: S608
        f" ORDER BY {table.rowid} LIMIT 1 OFFSET {CHUNK_ROWS}"
    )
    found: tuple[int] | None = (first,)
    while found:
        yield found[0]
        found = connection.execute(step, found).fetchone()


def chunk_digests(
    connection: sqlite3.Connection, table: Table, between: tuple[int, int] | None = None
) -> list[tuple[int, bytes]]:
    """Return the number of rows and the SHA-256 of each chunk of a table, or of its rows between two rowids.

    Most text is valid and most rows are small: that is tried first, and done at C's speed.
    """
    if not table.utf16:
        with contextlib.suppress(_NotPlainError), _text_as(connection, str), _rows_limited(connection):
            return list(_digested(_batches(_cursor(connection, table, between), _BATCH_ROWS)))
    return list(_digested(_exact_batches(connection, table, between)))


def exact_rows(
    connection: sqlite3.Connection, table: Table, between: tuple[int, int] | None = None
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table as canonical values: text is ``str``, or a 1-tuple of its bytes where it is not valid."""
    decode = _text_of_utf16(connection) if table.utf16 else _text_of_utf8
    width = len(table.columns)
    with _text_as(connection, bytes if table.utf16 else decode):
        for row in _cursor(connection, table, between):
            yield (
                row
                if not table.utf16
                else tuple(decode(value) if is_text else value for value, is_text in zip(row[:width], row[width:]))
            )


class _NotPlainError(Exception):
    """Rows that the fast way cannot read: text that is not valid, or large values."""


def _cursor(connection: sqlite3.Connection, table: Table, between: tuple[int, int] | None) -> sqlite3.Cursor:
    return connection.execute(*((table.select(),) if between is None else (table.select_range(), between)))


def _batches(cursor: sqlite3.Cursor, most: int) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the canonical bytes of some rows at a time; no batch runs over the end of a chunk."""
    done, size = 0, 1
    while True:
        batch = cursor.fetchmany(min(size, CHUNK_ROWS - done))
        if not batch:
            return
        data = memoryview(_dumps(batch))[_LIST_HEADER_BYTES:]
        yield len(batch), data
        done = (done + len(batch)) % CHUNK_ROWS
        size = most if len(data) < _LARGE_BYTES * len(batch) else 1


def _exact_batches(
    connection: sqlite3.Connection, table: Table, between: tuple[int, int] | None
) -> Iterator[tuple[int, memoryview]]:
    for row in exact_rows(connection, table, between):
        yield 1, memoryview(encoded(row))


def _digested(batches: Iterator[tuple[int, memoryview]]) -> Iterator[tuple[int, bytes]]:
    rows, digest = 0, hashlib.sha256()
    for count, data in batches:
        digest.update(data)
        rows += count
        if rows == CHUNK_ROWS:
            yield rows, digest.digest()
            rows, digest = 0, hashlib.sha256()
    if rows:
        yield rows, digest.digest()


@contextlib.contextmanager
def _text_as(connection: sqlite3.Connection, factory: Any) -> Iterator[None]:
    before, connection.text_factory = connection.text_factory, factory
    try:
        yield
    finally:
        connection.text_factory = before


@contextlib.contextmanager
def _rows_limited(connection: sqlite3.Connection) -> Iterator[None]:
    """Raise :class:`_NotPlainError` at text that is not valid and, where Python can limit it (3.11), at a large value."""
    limit = getattr(connection, "setlimit", None)
    before = limit(_LENGTH_LIMIT, _LARGE_BYTES) if limit else 0
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DataError) as error:
        if "decode to UTF-8" in str(error) or "too big" in str(error):
            raise _NotPlainError from error
        raise
    finally:
        if limit:
            limit(_LENGTH_LIMIT, before)


def _text_of_utf8(raw: bytes) -> str | tuple[bytes]:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        return (raw,)


def _text_of_utf16(connection: sqlite3.Connection) -> Any:
    name = str(connection.execute("PRAGMA encoding").fetchone()[0], "ascii").replace("UTF-16", "utf-16-")

    def decoded(raw: bytes) -> str | tuple[bytes]:
        try:
            return raw.decode(name)
        except UnicodeDecodeError:
            return (raw,)

    return decoded


def row_key(row: Sequence[Any]) -> bytes:
    """Return the canonical bytes of a row in which TEXT is :class:`Text`."""
    return encoded(tuple(_text_of_utf8(bytes(value)) if isinstance(value, Text) else value for value in row))


def select_rows(connection: sqlite3.Connection, name: str) -> sqlite3.Cursor:
    """Return a cursor over the rows of a table, with all stored columns in the order of their definition."""
    return connection.execute(table_of(connection, name).select())


def encoded(row: tuple[Any, ...]) -> bytes:
    """Return the canonical bytes of a row of canonical values."""
    return _dumps(row)


def _written(value: Any) -> bytes:
    """Return the canonical bytes of a value, row or list of rows, in Python; docs/checksum.md describes the same."""
    if value is None:
        return b"N"
    if isinstance(value, int):
        return _written_int(value)
    if isinstance(value, float):
        return b"g" + struct.pack("<d", value)
    if isinstance(value, (str, bytes)):
        data = value.encode() if isinstance(value, str) else value
        return (b"u" if isinstance(value, str) else b"s") + struct.pack("<I", len(data)) + data
    return (b"(" if isinstance(value, tuple) else b"[") + struct.pack("<I", len(value)) + b"".join(map(_written, value))


def _written_int(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"i" + struct.pack("<i", value)
    digits = []
    rest = abs(value)
    while rest:
        digits.append(rest & 0x7FFF)
        rest >>= 15
    return b"l" + struct.pack(f"<i{len(digits)}H", len(digits) if value > 0 else -len(digits), *digits)


def _marshalled(value: Any) -> bytes:
    return marshal.dumps(value, 2)


_PROBE = [(None, 0, -1, 1 << 31, -(1 << 63), 1.5, -0.0, "a\0\u00e9\U0001f600", b"", b"\xff", (b"\xff",))]
_dumps = _marshalled if _marshalled(_PROBE) == _written(_PROBE) else _written
