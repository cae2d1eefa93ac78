# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of canonical rows and their chunks."""

from __future__ import annotations

import sqlite3
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import rows as sqlite_rows
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import (
    CHUNK_ROWS,
    chunk_digests,
    chunk_ranges,
    encoded,
    exact_rows,
    table_of,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(),
    st.tuples(st.binary()),
)


@given(st.lists(VALUES, max_size=8).map(tuple))
def test_marshal_writes_what_the_document_says(row: tuple[Any, ...]) -> None:
    assert encoded(row) == sqlite_rows._written(row)


@given(st.lists(VALUES, max_size=4).map(tuple), st.lists(VALUES, max_size=4).map(tuple))
def test_two_rows_have_the_same_bytes_only_if_they_are_the_same(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    def identity(row: tuple[Any, ...]) -> list[tuple[str, object]]:
        return [
            (type(value).__name__, struct.pack("<d", value) if isinstance(value, float) else value) for value in row
        ]

    assert (encoded(one) == encoded(two)) == (identity(one) == identity(two))


def filled(script: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(script)
    connection.text_factory = bytes
    return connection


def counted(rows: int) -> str:
    return f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "


@pytest.mark.parametrize("rows", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 3 * CHUNK_ROWS])
@pytest.mark.parametrize("place", ["i", "-i", "i * 3", "i * i", "i - 10000 * (i % 2)"])
def test_ranges_of_rowids_give_the_chunks_of_the_whole(rows: int, place: str) -> None:
    connection = filled(
        f"CREATE TABLE t(a); {counted(rows)} INSERT INTO t(rowid, a) SELECT {place}, i FROM n WHERE i <= {rows}"
    )
    table = table_of(connection, "t")
    ranges = chunk_ranges(connection, table)
    by_range = [digest for between in ranges for digest in chunk_digests(connection, table, between)]
    assert by_range == chunk_digests(connection, table)
    assert len(ranges) == -(-rows // CHUNK_ROWS)


@pytest.mark.parametrize(
    ("definition", "columns", "rowid"),
    [
        ("t(a, b)", ("a", "b"), "rowid"),
        ("t(rowid, b)", ("rowid", "b"), "_rowid_"),
        ("t(ROWID, _Rowid_)", ("ROWID", "_Rowid_"), "oid"),
        ("t(rowid, _rowid_, oid)", ("rowid", "_rowid_", "oid"), ""),
        ("t(a PRIMARY KEY) WITHOUT ROWID", ("a",), ""),
        ("t(a, b AS (a) VIRTUAL, c AS (a) STORED)", ("a", "c"), "rowid"),
    ],
)
def test_a_table_is_known_by_its_stored_columns_and_its_rowid(
    definition: str, columns: tuple[str, ...], rowid: str
) -> None:
    table = table_of(filled(f"CREATE TABLE {definition}"), "t")
    assert (table.columns, table.rowid) == (columns, rowid)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("'ü😀' || char(0)", "ü😀\0"),
        ("CAST(x'ff' AS TEXT)", (b"\xff",)),
        ("CAST(x'd800' AS TEXT)", (b"\xd8\x00",)),
        ("CAST(x'00d8' AS TEXT)", (b"\x00\xd8",)),
        ("x'ff'", b"\xff"),
    ],
)
def test_text_keeps_every_byte(encoding: str, stored: str, expected: object) -> None:
    connection = filled(f"PRAGMA encoding = '{encoding}'; CREATE TABLE t(a); INSERT INTO t VALUES({stored})")
    table = table_of(connection, "t")
    ((raw, kind),) = connection.execute("SELECT CAST(a AS BLOB), typeof(a) FROM t").fetchall()
    codec = encoding.lower().replace("utf-16", "utf-16-")
    try:
        value: object = raw.decode(codec) if kind == b"text" else raw
    except UnicodeDecodeError:
        value = (raw,)
    assert list(exact_rows(connection, table)) == [(value,)]
    if encoding == "UTF-8":
        assert value == expected


def test_invalid_text_in_one_row_does_not_change_how_others_count() -> None:
    script = f"CREATE TABLE t(a); {counted(9000)} INSERT INTO t SELECT 'row ' || i FROM n;"
    plain, mixed = filled(script), filled(script + "UPDATE t SET a = CAST(x'fe' AS TEXT) WHERE rowid = 5000")
    one, two = (chunk_digests(connection, table_of(connection, "t")) for connection in (plain, mixed))
    assert [left == right for left, right in zip(one, two)] == [True, False, True]


def test_large_values_after_small_ones_are_read_one_by_one() -> None:
    connection = filled(
        f"CREATE TABLE t(a); {counted(40)} INSERT INTO t SELECT CASE WHEN i < 3 THEN i ELSE zeroblob(4000000) END FROM n"
    )
    table = table_of(connection, "t")
    tracemalloc.start()
    chunk_digests(connection, table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (16_000_000 if hasattr(connection, "setlimit") else 400_000_000)
