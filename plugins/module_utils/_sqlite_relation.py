# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How two databases relate, decided by their rows and never by a timestamp."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_content import (
    content_checksum,
    quoted,
    row_key,
    select_rows,
    table_names,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import Text, open_readonly

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from typing import Any

__all__ = ["Relation", "TableDifference", "relate"]


@dataclass(frozen=True)
class TableDifference:
    """A table on both sides.

    :ivar rows: rows here, -1 where the table is missing here.
    :ivar other_rows: rows there, -1 where it is missing there.
    :ivar only_here: rows that exist only here.
    :ivar only_there: rows that exist only there.
    :ivar sample: the first few rows that differ, as text.
    """

    name: str
    rows: int
    other_rows: int
    only_here: int
    only_there: int
    sample: tuple[str, ...] = ()


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


def relate(path: str, other: str, *, sample: int = 5) -> Relation:
    """Tell what the database at ``path`` is to the one at ``other``.

    ``ahead`` means that it holds all rows of the other and more. Rows of ``sqlite_sequence`` do not count.

    :param sample: how many differing rows a table names at most.
    :raises ContimgError: when either cannot be read.
    """
    if not os.path.exists(path):
        return Relation("absent")
    if content_checksum(path) == content_checksum(other):
        return Relation("identical")
    with open_readonly(path) as here, open_readonly(other) as there:
        tables = _compare_tables(here, there, sample)
        same_schema = _schema(here) == _schema(there)
    return Relation(_kind(tables) if same_schema else "other_schema", tables)


def _kind(tables: tuple[TableDifference, ...]) -> str:
    here = any(table.only_here for table in tables)
    there = any(table.only_there for table in tables)
    if here and there:
        return "diverged"
    if there:
        return "behind"
    return "ahead" if here else "identical"


def _schema(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: [tuple(column) for column in connection.execute(f"PRAGMA table_info({quoted(table)})")]
        for table in table_names(connection)
    }


def _compare_tables(here: sqlite3.Connection, there: sqlite3.Connection, sample: int) -> tuple[TableDifference, ...]:
    ours, theirs = set(table_names(here)), set(table_names(there))
    compared = (_compare(here, there, table, sample) for table in sorted(ours & theirs) if table != "sqlite_sequence")
    only_here = (
        TableDifference(table, _rows(here, table), -1, _rows(here, table), 0) for table in sorted(ours - theirs)
    )
    only_there = (
        TableDifference(table, -1, _rows(there, table), 0, _rows(there, table)) for table in sorted(theirs - ours)
    )
    everything = (*compared, *only_here, *only_there)
    return tuple(
        table for table in everything if table.only_here or table.only_there or -1 in (table.rows, table.other_rows)
    )


def _rows(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0])  # noqa: S608


def _compare(here: sqlite3.Connection, there: sqlite3.Connection, table: str, sample: int) -> TableDifference:
    """Compare the rows of a table as multisets of 16-byte digests: 16 bytes a row of memory, no order needed."""
    ours, theirs = _digests(here, table), _digests(there, table)
    only_here = [digest for digest, count in ours.items() if theirs.get(digest, 0) < count]
    only_there = [digest for digest, count in theirs.items() if ours.get(digest, 0) < count]
    named = _named(here, table, set(only_here), sample) + _named(there, table, set(only_there), sample)
    return TableDifference(
        name=table,
        rows=sum(ours.values()),
        other_rows=sum(theirs.values()),
        only_here=sum(ours[digest] - theirs.get(digest, 0) for digest in only_here),
        only_there=sum(theirs[digest] - ours.get(digest, 0) for digest in only_there),
        sample=tuple(named[:sample]),
    )


def _digest(row: Iterable[object]) -> bytes:
    return hashlib.sha256(row_key(row)).digest()[:16]


def _digests(connection: sqlite3.Connection, table: str) -> dict[bytes, int]:
    counted: dict[bytes, int] = {}
    for row in select_rows(connection, table):
        digest = _digest(row)
        counted[digest] = counted.get(digest, 0) + 1
    return counted


def _named(connection: sqlite3.Connection, table: str, wanted: set[bytes], sample: int) -> list[str]:
    found: list[str] = []
    if wanted:
        for row in select_rows(connection, table):
            if _digest(row) in wanted:
                found.append(_shown(row))
                if len(found) >= sample:
                    break
    return found


def _shown(row: Iterable[object]) -> str:
    values = (str(value, "utf-8", "backslashreplace") if isinstance(value, Text) else repr(value) for value in row)
    text = ", ".join(values)
    return text if len(text) <= 120 else text[:117] + "..."
