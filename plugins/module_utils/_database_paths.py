# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths inside the rows of databases: counted without a trace, rewritten in one transaction a database."""

from __future__ import annotations

import contextlib
import os
import posixpath
import sqlite3
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._links import require_own_place
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_connection import connect
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_journal import writable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import open_readonly
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_rows import stand_in_for_collations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

__all__ = ["Column", "Moves", "paths_in", "rewrite", "run"]

_UNTOUCHED = "Nothing was touched."
_AS_BEFORE = "The database is as it was."


@dataclass(frozen=True)
class Column:
    """A column with paths in it.

    :ivar rows: how many of its values are an old path, or lie below one.
    :ivar mentions: how many other texts hold an old path somewhere; these are never changed.
    """

    table: str
    name: str
    rows: int
    mentions: int


class Moves:
    """Old and new paths; the longest old path that matches decides.

    :raises ContimgError: when a path is not absolute and normal, or a new one lies below an old one.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = sorted(pairs, key=lambda pair: -len(pair[0]))
        for path in (path for pair in pairs for path in pair):
            if not path.startswith("/") or path == "/" or posixpath.normpath(path) != path:
                raise ContimgError("is no absolute, normal path other than /", path=path, hint=_UNTOUCHED)
        for old, new in ((old, new) for old, _to in pairs for _from, new in pairs):
            if new == old or new.startswith(old + "/"):
                raise ContimgError(f"lies below {old}, so it would be moved again", path=new, hint=_UNTOUCHED)

    def is_old(self, column: str) -> str:
        """Return an SQL condition: the value is a text that is an old path, or lies below one."""
        either = " OR ".join(f"{_is(column, old)} OR {_starts(column, old)}" for old, _new in self._pairs)
        return f"(typeof({column}) = 'text' AND ({either}))"

    def mentions(self, column: str) -> str:
        """Return an SQL condition: the value is a text that holds an old path anywhere."""
        either = " OR ".join(f"instr({column}, {_text(old)}) > 0" for old, _new in self._pairs)
        return f"(typeof({column}) = 'text' AND ({either}))"

    def moved(self, column: str) -> str:
        """Return an SQL expression: the value with its old path replaced."""
        cases = " ".join(
            f"WHEN {_is(column, old)} OR {_starts(column, old)} THEN {_text(new)} || substr({column}, {len(old) + 1})"
            for old, new in self._pairs
        )
        return f"CASE {cases} ELSE {column} END"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _is(column: str, old: str) -> str:
    """A path is its bytes, whatever collation the column has, which may be one that only its own program knows."""
    return f"{column} = {_text(old)} COLLATE BINARY"


def _starts(column: str, old: str) -> str:
    return f"substr({column}, 1, {len(old) + 1}) = {_text(old + '/')}"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def paths_in(path: str, moves: Moves) -> list[Column]:
    """Return the columns of a database with old paths in them, and leave no trace.

    :raises ContimgError: when the path is no database, or cannot be read.
    """
    with open_readonly(path) as connection:
        return list(_columns(connection, moves))


def _columns(connection: sqlite3.Connection, moves: Moves) -> Iterator[Column]:
    for table in _tables(connection):
        stand_in_for_collations(connection, table)
        names = [_decoded(row[1]) for row in connection.execute(f"PRAGMA main.table_info({_name(table)})")]
        counted = ", ".join(
            f"coalesce(sum({moves.is_old(_name(name))}), 0), coalesce(sum({moves.mentions(_name(name))}), 0)"
            for name in names
        )
        counts = connection.execute(f"SELECT {counted} FROM main.{_name(table)}").fetchone()  # noqa: S608
        for name, rows, all_texts in zip(names, counts[::2], counts[1::2]):
            if all_texts:
                yield Column(table, name, rows, all_texts - rows)


def _tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that hold rows themselves; a virtual table keeps its own in tables that begin with its name."""
    found = connection.execute("SELECT name, sql FROM main.sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    tables = {_decoded(name): _decoded(sql or b"") for name, sql in found}
    virtual = tuple(name for name, sql in tables.items() if sql.upper().startswith("CREATE VIRTUAL"))
    shadows = tuple(f"{name}_" for name in virtual)
    return [name for name in tables if name not in virtual and not name.startswith(("sqlite_", *shadows))]


def _decoded(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def rewrite(path: str, columns: Sequence[Column], moves: Moves) -> None:
    """Rewrite what was counted, in one transaction.

    :raises ContimgError: when the database cannot be written, a new path stands in another row already, or the rows are
        no longer those that were counted. The database is as it was then.
    """
    with failing("rewrite the paths in the database", path, _AS_BEFORE), contextlib.closing(
        connect(writable(path), timeout=30)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for column in columns:
                _update(connection, path, column, moves)
        except BaseException:
            connection.rollback()
            raise
        connection.execute("COMMIT")


def _update(connection: sqlite3.Connection, path: str, column: Column, moves: Moves) -> None:
    name = _name(column.name)
    statement = f"UPDATE main.{_name(column.table)} SET {name} = {moves.moved(name)} WHERE {moves.is_old(name)}"  # noqa: S608
    where = f"{column.table}.{column.name}"
    try:
        changed = connection.execute(statement).rowcount
    except sqlite3.IntegrityError as error:
        hint = f"{_AS_BEFORE} Decide which of the rows stays."
        raise ContimgError(f"{where} cannot take the new paths: SQLite says '{error}'", path=path, hint=hint) from error
    if changed != column.rows:
        raise ContimgError(
            f"{where} had {column.rows} rows to change, now {changed}: somebody writes to it",
            path=path,
            hint=f"{_AS_BEFORE} Stop its writers, and run it again.",
        )


def run(parameters: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the module's parameters ask for.

    :raises ContimgError: see :func:`paths_in` and :func:`rewrite`.
    """
    moves = Moves([(pair["from"], pair["to"]) for pair in parameters["repoint"]])
    asked = {one["path"]: _readable(one["path"], one["preview_from"], check=check) for one in parameters["databases"]}
    found = {path: paths_in(readable, moves) for path, readable in asked.items() if os.path.lexists(readable)}
    rewriting = parameters["state"] == "rewritten"
    for path in asked.values() if rewriting else ():
        require_own_place(path)
    plans = {path: [column for column in found[path] if column.rows] for path in found}
    if rewriting and not check:
        for path, columns in plans.items():
            if columns:
                rewrite(path, columns, moves)
    listed = [{"database": display(path), **asdict(column)} for path in found for column in found[path]]
    rows = sum(one["rows"] for one in listed)
    changed = rewriting and rows > 0
    return {
        "changed": changed,
        "columns": listed,
        "missing": [display(path) for path in asked if path not in found],
        "totals": {"rows": rows, "mentions": sum(one["mentions"] for one in listed)},
        "diff": _diff(listed) if changed else {},
    }


def _readable(path: str, source: str | None, *, check: bool) -> str:
    """Return the database to read: in check mode, where it will be copied from if it is not there yet."""
    return source if check and source is not None and not os.path.exists(path) else path


def _diff(columns: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    lines = [
        f"{one['database']}: {one['table']}.{one['name']}: {one['rows']} rows below" for one in columns if one["rows"]
    ]
    return {
        side: "".join(f"{line} the {side_name} path\n" for line in lines)
        for side, side_name in (("before", "old"), ("after", "new"))
    }
