# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of a table that only one of two databases holds.

Rows are a multiset: their order and their rowids do not count. But most rows of two copies have the same rowid, so SQLite
first joins both by it and drops, in C, the pairs that are surely equal. What is left is compared by canonical bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import attach, connect
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import (
    CHUNK_ROWS,
    Table,
    chunk_ranges,
    encoded,
    exact_rows,
    quoted,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._workers import forked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import Connection
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import Snapshot

    Found = tuple[bytes, int, int]  # digest of a row, 1 here or -1 there, rowid or position

__all__ = ["Differences", "joined", "row_at", "scanned"]

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
_DIGEST_BYTES = 16
_MOST_RANGES = 20000


class Differences:
    """Rows that may differ, kept on disk: memory stays the same however many they are."""

    def __init__(self) -> None:
        self._kept = connect("")
        self._kept.execute("CREATE TABLE main.found(digest BLOB, side INTEGER, place INTEGER)")
        self._kept.execute("BEGIN")

    def add(self, found: list[Found] | Iterator[Found]) -> None:
        """Add rows of either side."""
        self._kept.executemany("INSERT INTO main.found VALUES(?, ?, ?)", found)

    def settle(self) -> tuple[int, int]:
        """Let equal rows of both sides cancel out; return how many are left here and there."""
        self._kept.execute(
            "CREATE TABLE main.left_over AS"
            " SELECT digest, sum(side) AS balance FROM main.found GROUP BY digest HAVING sum(side) <> 0"
        )
        here, there = self._kept.execute(
            "SELECT total(max(balance, 0)), total(max(-balance, 0)) FROM main.left_over"
        ).fetchone()
        return int(here), int(there)

    def first(self, most: int) -> list[tuple[int, int]]:
        """Return side and place of the first rows that are left."""
        rows = self._kept.execute(
            "SELECT side, min(place) FROM main.found JOIN main.left_over USING (digest) WHERE side * balance > 0"
            " GROUP BY digest, side ORDER BY side DESC, min(place) LIMIT ?",
            (most,),
        )
        return list(rows)

    def close(self) -> None:
        """Forget all."""
        self._kept.close()


def _digest(row: tuple[Any, ...]) -> bytes:
    return hashlib.sha256(encoded(row)).digest()[:_DIGEST_BYTES]


def scanned(connection: sqlite3.Connection, table: Table, side: int) -> Iterator[Found]:
    """Yield every row of a table; its place is its position."""
    for place, row in enumerate(exact_rows(connection, table)):
        yield _digest(row), side, place


def joined(
    here: Snapshot, there: Snapshot, table: Table, *, affinities: tuple[str, ...], workers: int
) -> Iterator[tuple[int, int, list[Found]]]:
    """Compare a table that has the same columns and rowids on both sides, range by range of the rowids.

    Yields the rows here, the rows there and those that may differ; their place is the rowid.

    :raises ContimgError: when either side cannot be read.
    """
    with here.connected() as connection, error_context("read the database", here.path):
        starts = [_LOWEST, *_inner_starts(connection, table)]
    ranges = list(zip(starts, [start - 1 for start in starts[1:]] + [_HIGHEST]))
    with error_context("compare the database", here.path), contextlib.ExitStack() as held:
        join = _Join(here, there, table, affinities, held)
        for _index, (rows, other_rows, found) in forked(lambda index: join(ranges[index]), len(ranges), workers):
            yield rows, other_rows, [(bytes(digest), side, place) for digest, side, place in found]


def _inner_starts(connection: sqlite3.Connection, table: Table) -> list[int]:
    """Return where each range but the first begins: at even distances, or by counting where rowids are far apart."""
    first, last = connection.execute(
        f"SELECT min({table.rowid}), max({table.rowid}) FROM main.{quoted(table.name)} NOT INDEXED"  # noqa: S608
    ).fetchone()
    if first is None:
        return []
    if (last - first) // CHUNK_ROWS < _MOST_RANGES:
        return list(range(first + CHUNK_ROWS, last + 1, CHUNK_ROWS))
    return [low for low, _high in chunk_ranges(connection, table)[1:]]


class _Join:
    """Compares a range of rowids; each process that calls it has a connection of its own to both databases."""

    def __init__(
        self,
        here: Snapshot,
        there: Snapshot,
        table: Table,
        affinities: tuple[str, ...],
        held: contextlib.ExitStack,
    ) -> None:
        self._here, self._there, self._table, self._held = here, there, table, held
        self._ours: Connection | None = None
        self._theirs: Connection | None = None
        name, rowid = quoted(table.name), table.rowid
        between = f"{rowid} BETWEEN ? AND ?"
        surely = " AND ".join(_surely_equal(quoted(column), kind) for column, kind in zip(table.columns, affinities))
        self._candidates = (
            f"SELECT a.{rowid}, b.{rowid} IS NULL FROM main.{name} a NOT INDEXED LEFT JOIN there.{name} b NOT INDEXED"  # noqa: S608
            f" ON a.{rowid} = b.{rowid} WHERE a.{between} AND (b.{rowid} IS NULL OR NOT coalesce({surely}, 0))"
        )
        self._count = " UNION ALL ".join(
            f"SELECT count(*) FROM {schema}.{name} NOT INDEXED WHERE {between}"  # noqa: S608
            for schema in ("main", "there")
        )
        self._only_there = (
            f"SELECT b.{rowid} FROM there.{name} b NOT INDEXED WHERE b.{between}"  # noqa: S608
            f" AND NOT EXISTS (SELECT 1 FROM main.{name} a NOT INDEXED WHERE a.{rowid} = b.{rowid})"
        )

    def _connect(self) -> tuple[Connection, Connection]:
        if self._ours is None or self._theirs is None:
            self._ours = self._held.enter_context(self._here.connected())
            self._theirs = self._held.enter_context(self._there.connected())
            self._ours.execute("COMMIT")
            attach(self._ours, "there", self._there.place)
        return self._ours, self._theirs

    def __call__(self, between: tuple[int, int]) -> tuple[int, int, list[Found]]:
        with error_context(f"compare with {self._there.path}", self._here.path):
            ours, theirs = self._connect()
            pairs = ours.execute(self._candidates, between).fetchall()
            missing = sum(is_missing for _rowid, is_missing in pairs)
            counts = [count for (count,) in ours.execute(self._count, (*between, *between))]
            more = ours.execute(self._only_there, between).fetchall() if counts[1] > counts[0] - missing else []
            here = _rows_at(ours, self._table, between, {rowid for rowid, _is_missing in pairs})
            both = {rowid for rowid, is_missing in pairs if not is_missing}
            there = _rows_at(theirs, self._table, between, both | {rowid for (rowid,) in more})
            return counts[0], counts[1], _without_common(here, there)


def _rows_at(
    connection: sqlite3.Connection, table: Table, between: tuple[int, int], rowids: set[int]
) -> list[tuple[bytes, int]]:
    """Return digest and rowid of some rows: one by one if they are few, else all of the range."""
    if len(rowids) <= 100:
        return [
            (_digest(row), rowid) for rowid in sorted(rowids) for row in exact_rows(connection, table, (rowid, rowid))
        ]
    numbers = connection.execute(
        f"SELECT {table.rowid} FROM main.{quoted(table.name)} NOT INDEXED"  # noqa: S608
        f" WHERE {table.rowid} BETWEEN ? AND ? ORDER BY {table.rowid}",
        between,
    )
    rows = zip(numbers, exact_rows(connection, table, between))
    return [(_digest(row), rowid) for (rowid,), row in rows if rowid in rowids]


def _without_common(here: list[tuple[bytes, int]], there: list[tuple[bytes, int]]) -> list[Found]:
    common = Counter(digest for digest, _rowid in here) & Counter(digest for digest, _rowid in there)
    return [*_left_over(here, Counter(common), 1), *_left_over(there, Counter(common), -1)]


def _left_over(rows: list[tuple[bytes, int]], common: Counter[bytes], side: int) -> Iterator[Found]:
    for digest, rowid in rows:
        if common[digest]:
            common[digest] -= 1
        else:
            yield digest, side, rowid


def _surely_equal(column: str, affinity: str) -> str:
    """Return SQL that is true only if a value is the same on both sides, with type and bits.

    SQL says that 1 is 1.0 and 0.0 is -0.0. Columns of most affinities hold no such pairs (REAL has no -0.0, for SQLite
    stores its whole numbers as integers; INTEGER has one, the lowest integer). Else a zero's row is compared by its bytes.
    """
    ours, theirs = f"a.{column}", f"b.{column}"
    same = f"{ours} IS {theirs} COLLATE BINARY"
    if affinity in ("TEXT", "REAL"):
        return same
    if affinity == "INTEGER":
        return f"{same} AND ({ours} > {_LOWEST} OR {ours} IS NULL)"
    return (
        f"{same} AND ({ours} >= '' COLLATE BINARY OR {ours} IS NULL OR ({ours} AND typeof({ours}) = typeof({theirs})))"
    )


def row_at(connection: sqlite3.Connection, table: Table, place: int, *, by_rowid: bool) -> tuple[Any, ...]:
    """Return a row by its place."""
    if by_rowid:
        return next(exact_rows(connection, table, (place, place)))
    return next(itertools.islice(exact_rows(connection, table), place, None))
