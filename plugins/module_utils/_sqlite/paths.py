# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths inside the rows of databases: which columns hold them, as SQL over the bytes of their values.

Bytes, because SQLite's own text functions stop at a NUL, and because a comparison of texts asks the column's collation, which
may be one that only its own program knows. What mentions a path within a longer value is judged by the rule of all other texts.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import PathText, is_below
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import open_readonly
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted, stand_in_for_collations

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

__all__ = ["Column", "Moves", "columns_with_paths", "encoding_of", "paths_in"]

_UNTOUCHED = "Nothing was touched."
_NAMES_ONE = "contimg_names_old_path"
_MODULE = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\b.*?\bUSING\s+([\w]+)", re.IGNORECASE | re.DOTALL)
# The tables in which the modules that come with SQLite keep the rows of a virtual table (the documentation of each).
_SHADOWS = {
    "fts3": ("content", "segments", "segdir", "docsize", "stat"),
    "fts4": ("content", "segments", "segdir", "docsize", "stat"),
    "fts5": ("data", "idx", "content", "docsize", "config"),
    "rtree": ("node", "rowid", "parent"),
    "rtree_i32": ("node", "rowid", "parent"),
    "geopoly": ("node", "rowid", "parent"),
}


@dataclass(frozen=True)
class Column:
    """A column with paths in it.

    :ivar rows: how many of its values are an old path, or lie below one.
    :ivar mentions: how many other values hold an old path somewhere: longer texts, JSON, BLOBs, what is indexed for searching in
        full text. These are never changed.
    """

    table: str
    name: str
    rows: int
    mentions: int


class Moves:
    """Old and new paths; the longest old path that matches decides.

    :raises ContimgError: when a path is not absolute and in its shortest form, or a new one lies below an old one.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = sorted(pairs, key=lambda pair: -len(pair[0]))
        self._texts = [PathText(old) for old, _new in self._pairs]
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

    def mentions(self, column: str, encoding: str) -> str:
        """Return an SQL condition: the value is a text or a BLOB that mentions an old path, in any of its spellings.

        It asks :meth:`names_one`, but only about a value that has what every spelling of an old path has.
        """
        kinds = {"text": encoding, "blob": "utf-8"}
        parts = {path.part.decode() for path in self._texts}
        either = " OR ".join(
            f"(typeof({column}) = '{kind}' AND instr(CAST({column} AS BLOB), {_bytes(part, code)}) > 0)"
            for kind, code in kinds.items()
            for part in parts
        )
        # CASE evaluates just what it needs; AND, as a value, evaluates both of its sides.
        return f"CASE WHEN {either} THEN {_NAMES_ONE}(CAST({column} AS BLOB), typeof({column})) ELSE 0 END"

    def names_one(self, value: bytes, kind: str, encoding: str) -> bool:
        """Tell whether a value mentions an old path. In a BLOB, whose bytes need not be text, no boundary is known."""
        if kind == "blob":
            return any(path.may_be_in(bytearray(value), len(value)) for path in self._texts)
        text = value.decode(encoding, "replace")
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


def _is_or_is_below(column: str, old: str, encoding: str) -> str:
    below = f"{old}/".encode(encoding)
    value = f"CAST({column} AS BLOB)"
    return f"({value} = {_bytes(old, encoding)} OR substr({value}, 1, {len(below)}) = x'{below.hex()}')"


def paths_in(path: str, moves: Moves) -> list[Column]:
    """Return the columns of a database with old paths in them, and leave no trace.

    :raises ContimgError: when the path is not a database, or cannot be read.
    """
    with open_readonly(path) as connection:
        for table in _tables(connection):
            stand_in_for_collations(connection, table)  # never where rows are changed: that would damage an index
        return list(columns_with_paths(connection, moves))


def encoding_of(connection: sqlite3.Connection) -> str:
    """Return the encoding of the texts of a database, by Python's name."""
    found = _text(connection.execute("PRAGMA main.encoding").fetchone()[0])
    return {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}.get(found, "utf-8")


def columns_with_paths(connection: sqlite3.Connection, moves: Moves) -> Iterator[Column]:
    """Yield the columns with old paths in them. Raises sqlite3.Error."""
    encoding = encoding_of(connection)
    connection.create_function(_NAMES_ONE, 2, lambda value, kind: moves.names_one(value, kind, encoding))
    shadows = _shadow_tables(connection)
    for table in _tables(connection):
        names = [_text(row[1]) for row in connection.execute(f"PRAGMA main.table_info({quoted(table)})")]
        counted = ", ".join(
            f"total({moves.is_old(quoted(name), encoding)}), total({moves.mentions(quoted(name), encoding)})"
            for name in names
        )
        counts = connection.execute(f"SELECT {counted} FROM main.{quoted(table)} NOT INDEXED").fetchone()  # noqa: S608
        for name, rows, holding in zip(names, map(int, counts[::2]), map(int, counts[1::2])):
            changeable = 0 if table in shadows else rows
            if holding:
                yield Column(table, name, changeable, holding - changeable)


def _tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that hold rows themselves: also those behind a virtual table, but not the virtual table."""
    found = connection.execute("SELECT name, sql FROM main.sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    tables = {_text(name): _text(sql or "") for name, sql in found}
    return [name for name, sql in tables.items() if not (name.startswith("sqlite_") or _MODULE.match(sql))]


def _shadow_tables(connection: sqlite3.Connection) -> set[str]:
    """Return the tables in which virtual tables keep their rows. A virtual table's rows are changed through it or not at all."""
    found = connection.execute("SELECT name, sql FROM main.sqlite_master WHERE type = 'table'").fetchall()
    virtual = {_text(name): _MODULE.match(_text(sql or "")) for name, sql in found}
    return {
        f"{name}_{suffix}"
        for name, module in virtual.items()
        if module
        for suffix in _SHADOWS.get(module[1].lower(), ())
    }


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
