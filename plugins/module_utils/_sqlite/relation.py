# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How two databases relate, decided by their rows and never by a timestamp."""

from __future__ import annotations

import contextlib
import filecmp
import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import attach
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.difference import (
    Differences,
    joined,
    row_at,
    scanned,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import snapshot
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING, Facts
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted, table_names, table_of
from ansible_collections.dsa110.contimg.plugins.module_utils._workers import available_processors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import Snapshot
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Note, Proofs
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import Table

__all__ = ["Relation", "TableDifference", "relate"]

_LARGE_BYTES = 4 << 20  # below this, starting processes costs more than it saves


@dataclass(frozen=True)
class TableDifference:
    """A table on both sides.

    :ivar rows: rows here, -1 where the table is missing here.
    :ivar other_rows: rows there, -1 where it is missing there.
    :ivar only_here: rows that exist only here.
    :ivar only_there: rows that exist only there.
    :ivar columns: in how many rows with the same key a column differs, for each that does; empty where the table has no key.
    :ivar sample: the keys of the first few rows that differ, as text; whole rows where the table has no key.
    """

    name: str
    rows: int
    other_rows: int
    only_here: int
    only_there: int
    sample: tuple[str, ...] = ()
    columns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Relation:
    """What one database is to another.

    :ivar kind: ``absent``, ``identical``, ``ahead``, ``behind``, ``diverged`` or ``other_schema``.
    :ivar tables: the tables that differ.
    """

    kind: str
    tables: tuple[TableDifference, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the differing tables for a module's result."""
        return {table.name: asdict(table) for table in self.tables}


def relate(path: str, other: str, *, sample: int = 5, workers: int | None = None, proofs: Proofs = NOTHING) -> Relation:
    """Tell what the database at ``path`` is to the one at ``other``.

    ``ahead`` means that it holds all rows of the other and more. ``other_schema``: tables, columns, indexes, triggers,
    views or ``user_version`` differ. The order of rows does not count, nor do rows of ``sqlite_sequence``.

    :param sample: how many differing rows a table names at most.
    :param workers: how many processes read; ``None`` for as many as there are processors, four at most.
    :param proofs: what is known of both. Where they are the same to the byte, what is known of one is noted of the other.
    :raises ContimgError: when either cannot be read.
    """
    if not target_exists(path):
        return Relation("absent")
    one, two = _known(path, proofs), _known(other, proofs)
    if one.checksum and one.checksum == two.checksum:
        return Relation("identical")
    with proofs.taking(path, other) as note, snapshot(path) as here, snapshot(other) as there:
        with _Sides(here, there, sample, workers or available_processors()) as sides:
            if sides.same_file():
                _share(proofs, note, here, there)
                return Relation("identical")
            same_schema = sides.schema(0) == sides.schema(1)
            tables = sides.compared(by_rowid=True)
            if same_schema and not tables and not sides.same_content():
                tables = sides.compared(by_rowid=False)
    return Relation(_kind(tables) if same_schema else "other_schema", tables)


def _known(path: str, proofs: Proofs) -> Facts:
    known = proofs.recall(path)
    return Facts() if known is None else known.facts


def _share(proofs: Proofs, note: Note, here: Snapshot, there: Snapshot) -> None:
    """Note of each of two states with the same bytes what is known of the other."""
    known = {state.real: _known(state.path, proofs) for state in (here, there)}
    for state, facts in ((here, known[there.real]), (there, known[here.real])):
        if facts != Facts():  # the file's own checksum is not that of a state to which a WAL or journal belongs
            note(state.real, replace(facts, file_checksum="") if here.hot or there.hot else facts)


def _kind(tables: tuple[TableDifference, ...]) -> str:
    here = any(table.only_here for table in tables)
    there = any(table.only_there for table in tables)
    if here and there:
        return "diverged"
    if there:
        return "behind"
    return "ahead" if here else "identical"


class _Sides:
    """Two databases, each held in one state, with a connection to both."""

    def __init__(self, here: Snapshot, there: Snapshot, sample: int, workers: int) -> None:
        self._states, self._sample, self._workers = (here, there), sample, workers
        self._large = any(os.path.getsize(state.opened) >= _LARGE_BYTES for state in self._states)
        self._held = contextlib.ExitStack()

    def __enter__(self) -> _Sides:
        self._connections = tuple(self._held.enter_context(state.connected()) for state in self._states)
        self._names = tuple(set(table_names(connection)) for connection in self._connections)
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def schema(self, side: int) -> dict[str, Any]:
        """Return what must be the same on both sides: columns by table, and other definitions but for their spaces."""
        connection = self._connections[side]
        with error_context("read the schema", self._states[side].path):
            columns = {name: _columns(connection, name) for name in self._names[side]}
            others = connection.execute(
                "SELECT type, name, tbl_name, sql FROM main.sqlite_master WHERE type <> 'table' OR rootpage = 0"
            )
            definitions = sorted((*row[:3], b" ".join((row[3] or b"").split())) for row in others)
            version = connection.execute("PRAGMA user_version").fetchone()
            return {"columns": columns, "definitions": definitions, "version": version}

    def same_file(self) -> bool:
        """Return whether both are the same to the byte, as copies are; most others differ in their first bytes."""
        with error_context("compare the files", self._states[0].path):
            return filecmp.cmp(self._states[0].opened, self._states[1].opened, shallow=False)

    def same_content(self) -> bool:
        """Return whether the checksums of both are the same."""
        checksums = {content_of(state, workers=self._workers).checksum for state in self._states}
        return len(checksums) == 1

    def compared(self, *, by_rowid: bool) -> tuple[TableDifference, ...]:
        """Return the tables that differ."""
        names = sorted((self._names[0] | self._names[1]) - {"sqlite_sequence"})
        found = (self._table(name, by_rowid=by_rowid) for name in names)
        return tuple(one for one in found if one.only_here or one.only_there or -1 in (one.rows, one.other_rows))

    def _rows(self, side: int, name: str) -> int:
        if name not in self._names[side]:
            return -1
        with error_context("read the database", self._states[side].path):
            table_of(self._connections[side], name)
            row = self._connections[side].execute(f"SELECT count(*) FROM main.{quoted(name)} NOT INDEXED")  # noqa: S608
            return int(row.fetchone()[0])

    def _table(self, name: str, *, by_rowid: bool) -> TableDifference:
        if name not in self._names[0] & self._names[1]:
            rows, other_rows = self._rows(0, name), self._rows(1, name)
            return TableDifference(name, rows, other_rows, max(rows, 0), max(other_rows, 0))
        tables = tuple(table_of(connection, name) for connection in self._connections)
        by_rowid = by_rowid and bool(tables[0].rowid) and tables[0] == tables[1]
        with contextlib.closing(Differences()) as differences:
            if by_rowid:
                rows, other_rows = self._join(differences, tables[0])
            else:
                rows, other_rows = self._rows(0, name), self._rows(1, name)
                self._scan(differences, tables)
            only_here, only_there = differences.settle()
            sample = self._named(differences, tables, by_rowid=by_rowid) if only_here or only_there else ()
        columns = self._differing_columns(tables[0]) if only_here and only_there and tables[0] == tables[1] else {}
        return TableDifference(name, rows, other_rows, only_here, only_there, sample, columns)

    def _differing_columns(self, table: Table) -> dict[str, int]:
        """Return in how many rows with the same key each column differs, where any does."""
        key = _key(self._connections[0], table.name)
        others = [column for column in table.columns if column not in key]
        if not key or not others:
            return {}
        counts = ", ".join(f"total(a.{quoted(one)} IS NOT b.{quoted(one)} COLLATE BINARY)" for one in others)
        same_key = " AND ".join(f"a.{quoted(one)} = b.{quoted(one)} COLLATE BINARY" for one in key)
        with self._states[0].connected() as connection, error_context("compare the rows", self._states[0].path):
            connection.execute("COMMIT")
            attach(connection, "there", self._states[1].place)
            name = quoted(table.name)
            query = f"SELECT {counts} FROM main.{name} a JOIN there.{name} b ON {same_key}"  # noqa: S608
            found = connection.execute(query).fetchone()
        return {column: int(rows) for column, rows in zip(others, found) if rows}

    def _join(self, differences: Differences, table: Table) -> tuple[int, int]:
        declared = dict(_declared(self._connections[0], table.name))
        affinities = tuple(_affinity(declared[name]) for name in table.columns)
        workers = self._workers if self._large else 1
        rows = other_rows = 0
        for ours, theirs, found in joined(*self._states, table, affinities=affinities, workers=workers):
            rows, other_rows = rows + ours, other_rows + theirs
            differences.add(found)
        return rows, other_rows

    def _scan(self, differences: Differences, tables: tuple[Table, ...]) -> None:
        for state, connection, table, side in zip(self._states, self._connections, tables, (1, -1)):
            with error_context("read the database", state.path):
                differences.add(scanned(connection, table, side))

    def _named(self, differences: Differences, tables: tuple[Table, ...], *, by_rowid: bool) -> tuple[str, ...]:
        found = []
        for side, place in differences.first(self._sample):
            index = 0 if side == 1 else 1
            row = row_at(self._connections[index], tables[index], place, by_rowid=by_rowid)
            found.append(_shown(row, tables[index], _key(self._connections[index], tables[index].name)))
        return tuple(found)


def _columns(connection: sqlite3.Connection, name: str) -> list[tuple[object, ...]]:
    return [tuple(column) for column in connection.execute(f"PRAGMA main.table_xinfo({quoted(name)})")]


def _declared(connection: sqlite3.Connection, name: str) -> list[tuple[str, str]]:
    return [(row[1].decode(), row[2].decode(errors="replace")) for row in _raw_columns(connection, name)]


def _raw_columns(connection: sqlite3.Connection, name: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"PRAGMA main.table_xinfo({quoted(name)})").fetchall()


def _key(connection: sqlite3.Connection, name: str) -> list[str]:
    """Return the columns of the primary key, in its order."""
    keyed = sorted((row[5], row[1].decode()) for row in _raw_columns(connection, name) if row[5])
    return [column for _position, column in keyed]


def _affinity(declared: str) -> str:
    """Return the affinity of a declared type (SQLite, "Determination Of Column Affinity")."""
    kind = declared.upper()
    rules = (
        ("INTEGER", ("INT",)),
        ("TEXT", ("CHAR", "CLOB", "TEXT")),
        ("BLOB", ("BLOB",)),
        ("REAL", ("REAL", "FLOA", "DOUB")),
    )
    return next((affinity for affinity, parts in rules if any(part in kind for part in parts)), "NUMERIC")


def _shown(row: tuple[Any, ...], table: Table, key: list[str]) -> str:
    values = dict(zip(table.columns, row))
    text = ", ".join(f"{name}={_value(values[name])}" for name in (key or table.columns) if name in values)
    return text if len(text) <= 120 else text[:117] + "..."


def _value(value: Any) -> str:
    return str(value[0], "utf-8", "backslashreplace") if isinstance(value, tuple) else str(value)
