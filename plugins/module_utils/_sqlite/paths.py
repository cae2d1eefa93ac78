# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths inside the rows of databases: which columns hold them, as SQL over the bytes of their values.

Bytes, because SQLite's own text functions stop at a NUL, and because a comparison of texts asks the column's collation, which
may be one that only its own program knows. What mentions a path within a longer value is judged by the rule of all other texts.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import PathText, is_below
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import open_readonly
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import collations_stood_in, quoted
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.virtual import (
    plain_tables,
    shadow_tables,
    text_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

__all__ = ["SCHEMA", "Column", "Moves", "columns_with_paths", "encoding_of", "paths_in"]

_UNTOUCHED = "Nothing was touched."
_NAMES_ONE = "contimg_names_old_path"
_TOGETHER = 100  # columns in one condition: SQLite takes a depth of 1,000, a table 2,000 columns
#: The table that stands for the schema where a definition in it has a path.
SCHEMA = "sqlite_master"


@dataclass(frozen=True)
class Column:
    """A column with paths in it; or, in ``sqlite_master``, what the schema defines with a path in it, like ``trigger g``.

    :ivar rows: how many of its values are an old path, or lie below one.
    :ivar mentions: how many other values hold an old path somewhere: longer texts, JSON, BLOBs, what is indexed for searching in
        full text, definitions in the schema. These are never changed.
    """

    table: str
    name: str
    rows: int
    mentions: int


class Moves:
    """Old and new paths; the longest old path that matches decides.

    :ivar old: the old paths, the longest first.
    :raises ContimgError: when a path is not absolute and in its shortest form, or a new one lies below an old one.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = sorted(pairs, key=lambda pair: -len(pair[0]))
        self.old = tuple(old for old, _new in self._pairs)
        self._texts = [PathText(old) for old in self.old]
        for path in (path for pair in pairs for path in pair):
            if not path.startswith("/") or path == "/" or posixpath.normpath(path) != path:
                raise ContimgError("is not an absolute path in its shortest form", path=path, hint=_UNTOUCHED)
        for old, new in ((old, new) for old, _to in pairs for _from, new in pairs):
            if is_below(new, old):
                raise ContimgError(f"lies below {old}, so it would be moved again", path=new, hint=_UNTOUCHED)

    def is_old(self, column: str, encoding: str) -> str:
        """Return an SQL condition: the value is a text that is an old path, or lies below one.

        :param encoding: that of the texts of the database, by Python's name.
        """
        either = " OR ".join(_is_or_is_below(column, old, encoding) for old, _new in self._pairs)
        return f"(typeof({column}) = 'text' AND ({either}))"

    def may_mention(self, column: str, encoding: str) -> str:
        """Return an SQL condition: the value is a text or a BLOB that has what every spelling of an old path has."""
        kinds = {"text": encoding, "blob": "utf-8"}
        parts = sorted({path.part.decode() for path in self._texts})
        either = " OR ".join(
            f"typeof({column}) = '{kind}' AND ({_has_one_of(column, parts, code)})" for kind, code in kinds.items()
        )
        return f"({either})"

    def mentions(self, column: str, encoding: str) -> str:
        """Return an SQL condition: the value is not an old path, but mentions one, in any of its spellings.

        It asks :meth:`names_one`, but only about what may mention one.
        """
        # CASE evaluates nothing but what it needs, in this order.
        return (
            f"CASE WHEN NOT {self.may_mention(column, encoding)} OR {self.is_old(column, encoding)} THEN 0"
            f" ELSE {_NAMES_ONE}(CAST({column} AS BLOB), typeof({column})) END"
        )

    def names_one(self, value: bytes, kind: str, encoding: str) -> bool:
        """Return whether a value mentions an old path. In a BLOB, whose bytes need not be text, no boundary is known."""
        if kind == "blob":
            return any(path.may_be_in(bytearray(value), len(value)) for path in self._texts)
        return self.search(value.decode(encoding, "replace"))

    def search(self, text: str) -> bool:
        """Return whether a text mentions an old path."""
        return any(path.search(text) for path in self._texts)

    def moved(self, column: str, encoding: str) -> str:
        """Return an SQL expression: the value with its old path replaced."""
        cases = " ".join(
            f"WHEN {_is_or_is_below(column, old, encoding)} THEN CAST({_bytes(new, encoding)}"
            f" || substr(CAST({column} AS BLOB), {len(old.encode(encoding)) + 1}) AS TEXT)"
            for old, new in self._pairs
        )
        return f"CASE {cases} ELSE {column} END"


def _bytes(text: str, encoding: str) -> str:
    return f"x'{text.encode(encoding).hex()}'"


def _has_one_of(column: str, parts: Sequence[str], encoding: str) -> str:
    return " OR ".join(f"instr(CAST({column} AS BLOB), {_bytes(part, encoding)}) > 0" for part in parts)


def _is_or_is_below(column: str, old: str, encoding: str) -> str:
    below = f"{old}/".encode(encoding)
    value = f"CAST({column} AS BLOB)"  # which keeps the column's collation
    return f"({value} COLLATE BINARY = {_bytes(old, encoding)} OR substr({value}, 1, {len(below)}) = x'{below.hex()}')"


def paths_in(path: str, moves: Moves) -> list[Column]:
    """Return the columns of a database with old paths in them, and leave no trace.

    :raises ContimgError: when the path is not a database, or cannot be read.
    """
    with open_readonly(path) as connection:
        return columns_with_paths(connection, moves)


def encoding_of(connection: sqlite3.Connection) -> str:
    """Return the encoding of the texts of a database, by Python's name."""
    found = text_of(connection.execute("PRAGMA main.encoding").fetchone()[0])
    return {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}.get(found, "utf-8")


def columns_with_paths(connection: sqlite3.Connection, moves: Moves) -> list[Column]:
    """Return the columns with old paths in them, and what the schema defines with one. Raises sqlite3.Error."""
    encoding, tables = encoding_of(connection), plain_tables(connection)
    connection.create_function(_NAMES_ONE, 2, lambda value, kind: moves.names_one(value, kind, encoding))
    with collations_stood_in(connection, tables):
        return [*_columns(connection, tables, moves, encoding), *_definitions(connection, moves)]


def _columns(connection: sqlite3.Connection, tables: Sequence[str], moves: Moves, encoding: str) -> Iterator[Column]:
    shadows = shadow_tables(connection)
    for table in tables:
        for name in _mentioning(connection, table, moves, encoding):
            rows = _count(connection, table, moves.is_old(quoted(name), encoding))
            mentions = _count(connection, table, moves.mentions(quoted(name), encoding))
            changeable = 0 if table in shadows else rows
            if rows or mentions:
                yield Column(table, name, changeable, rows - changeable + mentions)


def _definitions(connection: sqlite3.Connection, moves: Moves) -> Iterator[Column]:
    """Yield what the schema defines with an old path in it. A row that is written later may get the path from there."""
    found = connection.execute(f"SELECT type, name, sql FROM main.{SCHEMA} WHERE sql IS NOT NULL ORDER BY type, name")  # noqa: S608
    for kind, name, sql in found.fetchall():
        if moves.search(text_of(sql)):
            yield Column(SCHEMA, f"{text_of(kind)} {text_of(name)}", 0, 1)


def _mentioning(connection: sqlite3.Connection, table: str, moves: Moves, encoding: str) -> Iterator[str]:
    """Yield the columns that may hold an old path.

    As one condition of the row, SQLite passes over the rest as soon as it knows: most tables cost one such pass alone.
    """
    names = [text_of(row[1]) for row in connection.execute(f"PRAGMA main.table_info({quoted(table)})")]
    conditions = {name: moves.may_mention(quoted(name), encoding) for name in names}
    for start in range(0, len(names), _TOGETHER):
        together = names[start : start + _TOGETHER]
        if _has(connection, table, " OR ".join(conditions[name] for name in together)):
            yield from (name for name in together if _has(connection, table, conditions[name]))


def _has(connection: sqlite3.Connection, table: str, condition: str) -> bool:
    statement = f"SELECT EXISTS (SELECT 1 FROM main.{quoted(table)} NOT INDEXED WHERE {condition})"  # noqa: S608
    return bool(connection.execute(statement).fetchone()[0])


def _count(connection: sqlite3.Connection, table: str, condition: str) -> int:
    statement = f"SELECT count(*) FROM main.{quoted(table)} NOT INDEXED WHERE {condition}"  # noqa: S608
    return int(connection.execute(statement).fetchone()[0])
