# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the relation of two databases; sqldiff and ``.sha3sum`` judge it on random ones."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import relate
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import make, with_connection

SCHEMA = (
    "CREATE TABLE keyed(id INTEGER PRIMARY KEY, v, r REAL);"
    "CREATE TABLE named(name TEXT PRIMARY KEY, v TEXT COLLATE NOCASE);"
    "CREATE TABLE plain(a, b);"
    "CREATE TABLE w(a TEXT, b, PRIMARY KEY(b, a)) WITHOUT ROWID;"
    "CREATE TABLE taken(rowid, _rowid_, oid);"
    "INSERT INTO keyed VALUES(1, 1, 0.5), (2, 'two', NULL), (3, x'03', 9e999);"
    "INSERT INTO named VALUES('a', 'A'), ('b', 'B'); INSERT INTO plain VALUES(1, 2), (1, 2), (3, 4);"
    "INSERT INTO w VALUES('x', 1), ('y', 2); INSERT INTO taken VALUES(1, 2, 3), (4, 5, 6);"
)


def pair(directory: pathlib.Path, here: str, there: str = "") -> tuple[str, str]:
    """Make two databases of the same schema and rows, and change them."""
    one, two = make(directory / "here.db", SCHEMA), directory / "there.db"
    shutil.copy(one, two)
    with_connection(one, here)
    with_connection(two, there)
    return str(one), str(two)


RELATIONS = [
    ("", "", "identical", {}),
    ("VACUUM", "PRAGMA page_size = 8192; VACUUM", "identical", {}),
    ("INSERT INTO keyed VALUES(9, 9, 9)", "", "ahead", {"keyed": (1, 0, ("id=9",))}),
    ("", "INSERT INTO keyed VALUES(9, 9, 9), (-9, 9, 9)", "behind", {"keyed": (0, 2, ("id=-9", "id=9"))}),
    ("UPDATE keyed SET v = 2 WHERE id = 1", "", "diverged", {"keyed": (1, 1, ("id=1", "id=1"))}),
    ("UPDATE keyed SET v = 1.0 WHERE id = 1", "", "diverged", {"keyed": (1, 1, ("id=1", "id=1"))}),
    ("UPDATE keyed SET v = '1' WHERE id = 1", "", "diverged", {"keyed": (1, 1, ("id=1", "id=1"))}),
    ("UPDATE named SET v = 'a' WHERE name = 'a'", "", "diverged", {"named": (1, 1, ("name=a", "name=a"))}),
    ("DELETE FROM named WHERE name = 'a'; INSERT INTO named VALUES('a', 'A')", "", "identical", {}),
    ("DELETE FROM plain WHERE rowid = 2", "", "behind", {"plain": (0, 1, ("a=1, b=2",))}),
    ("INSERT INTO plain VALUES(1, 2)", "", "ahead", {"plain": (1, 0, ("a=1, b=2",))}),
    ("DELETE FROM w WHERE a = 'x'", "", "behind", {"w": (0, 1, ("b=1, a=x",))}),
    ("DELETE FROM taken WHERE oid = 6", "", "behind", {"taken": (0, 1, ("rowid=4, _rowid_=5, oid=6",))}),
    (
        "INSERT INTO plain VALUES(5, 5)",
        "INSERT INTO keyed VALUES(5, 5, 5)",
        "diverged",
        {"keyed": (0, 1, ("id=5",)), "plain": (1, 0, ("a=5, b=5",))},
    ),
    ("CREATE INDEX i ON plain(a)", "", "other_schema", {}),
    ("CREATE VIEW x AS SELECT 1", "CREATE  VIEW x\nAS SELECT 1", "identical", {}),
    ("CREATE TRIGGER x AFTER INSERT ON plain BEGIN SELECT 1; END", "", "other_schema", {}),
    ("ALTER TABLE plain ADD COLUMN c", "", "other_schema", {"plain": (3, 3, None)}),
    ("CREATE TABLE more(a)", "", "other_schema", {"more": (0, 0, ())}),
    ("PRAGMA user_version = 3", "", "other_schema", {}),
]


@pytest.mark.parametrize(("here", "there", "kind", "tables"), RELATIONS)
def test_the_relation_and_the_tables_that_differ(
    tmp_path: pathlib.Path, here: str, there: str, kind: str, tables: dict[str, tuple[int, int, Any]]
) -> None:
    found = relate(*pair(tmp_path, here, there))
    assert found.kind == kind
    assert {one.name: (one.only_here, one.only_there) for one in found.tables} == {
        name: expected[:2] for name, expected in tables.items()
    }
    assert [one.sample for one in found.tables if tables[one.name][2] is not None] == [
        expected[2] for _name, expected in sorted(tables.items()) if expected[2] is not None
    ]


def test_what_is_not_there_is_absent(tmp_path: pathlib.Path) -> None:
    one, _two = pair(tmp_path, "")
    assert relate(str(tmp_path / "none.db"), one).kind == "absent"


def test_zeros_of_both_signs_are_two_values(tmp_path: pathlib.Path) -> None:
    one, two = pair(tmp_path, "INSERT INTO plain VALUES(0.0, 1)")
    with contextlib.closing(sqlite3.connect(two, isolation_level=None)) as connection:
        connection.execute("INSERT INTO plain VALUES(?, 1)", (-0.0,))
    assert relate(one, two).kind == "diverged"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", ["i", "-3 * i", "i * i * i * 1000"])
def test_many_rows_are_compared_by_several_processes(tmp_path: pathlib.Path, workers: int, place: str) -> None:
    script = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE"
        f" i < 12000) INSERT INTO t SELECT {place}, zeroblob(400) FROM n;"
    )
    one = make(tmp_path / "one.db", script)
    two = tmp_path / "two.db"
    shutil.copy(one, two)
    some = "WHERE id IN (SELECT id FROM t ORDER BY id LIMIT 150 OFFSET {})"
    with_connection(one, f"DELETE FROM t {some.format(4050)}")
    with_connection(two, f"UPDATE t SET v = 'x' {some.format(8000)}; INSERT INTO t VALUES(-9000000000000000000, 1)")
    (found,) = relate(str(one), str(two), sample=3, workers=workers).tables
    ours, theirs = (set(sqlite3.connect(path).execute("SELECT id, v FROM t")) for path in (one, two))
    assert (found.rows, found.other_rows) == (len(ours), len(theirs))
    assert (found.only_here, found.only_there) == (len(ours - theirs), len(theirs - ours))
    assert len(found.sample) == 3


def test_all_rows_in_another_order_are_the_same_rows(tmp_path: pathlib.Path) -> None:
    script = "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
    one = make(tmp_path / "one.db", f"{script} INSERT INTO t SELECT i FROM n")
    two = make(tmp_path / "two.db", f"{script} INSERT INTO t SELECT 9001 - i FROM n")
    assert relate(str(one), str(two)).kind == "identical"
    assert content_checksum(str(one)) != content_checksum(str(two))


VALUES = st.one_of(
    st.none(),
    st.sampled_from([0, 1, -1, 2**31, 2**63 - 1, 0.5, 1.0, float("inf"), "", "1", "é", "nul\0in", b"", b"1"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
)
KEYS = st.sampled_from(["a", "b", "C", "1", "é"])
TYPES = st.sampled_from(["", "TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB", "TEXT COLLATE NOCASE"])
IDENTITIES = [
    "id INTEGER PRIMARY KEY",
    "id TEXT PRIMARY KEY NOT NULL",
    "id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID --",
]
EDITS = st.one_of(
    st.tuples(st.just("DELETE FROM t WHERE id = ?"), KEYS, st.none(), st.none()),
    st.tuples(st.just("UPDATE t SET a = ?2 WHERE id = ?1"), KEYS, VALUES, st.none()),
    st.tuples(st.just("REPLACE INTO t VALUES(?, ?, ?)"), KEYS, VALUES, VALUES),
    st.tuples(st.just("VACUUM"), st.none(), st.none(), st.none()),
    st.tuples(st.just("CREATE INDEX IF NOT EXISTS i ON t(a)"), st.none(), st.none(), st.none()),
)
ROWS = st.lists(st.tuples(KEYS, VALUES, VALUES), max_size=6)


def filled(path: pathlib.Path, create: str, rows: list[tuple[Any, ...]], numbers: bool) -> None:  # noqa: FBT001
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(create)
        connection.executemany("REPLACE INTO t VALUES(?, ?, ?)", [(key(row[0], numbers), *row[1:]) for row in rows])


def key(value: str | None, numbers: bool) -> Any:  # noqa: FBT001
    return ord(value) if numbers and value else value


def edited(path: pathlib.Path, edits: list[tuple[Any, ...]], numbers: bool) -> None:  # noqa: FBT001
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement, name, *values in edits:
            count = 3 if statement.count("?") == 3 else statement.count("?")
            connection.execute(statement, [key(name, numbers), *values][:count])


def contents(path: pathlib.Path) -> list[str]:
    """Return the rows in an order of their own, each with its types."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return sorted(map(repr, connection.execute("SELECT id, typeof(id), a, typeof(a), b, typeof(b) FROM t")))


def said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(IDENTITIES), TYPES, TYPES, ROWS, st.lists(EDITS, max_size=3), st.lists(EDITS, max_size=1))
def test_sqldiff_and_sha3sum_judge_the_same(
    identity: str,
    first: str,
    second: str,
    rows: list[tuple[Any, ...]],
    here: list[tuple[Any, ...]],
    there: list[tuple[Any, ...]],
) -> None:
    numbers = "INTEGER" in identity
    name, _bracket, options = identity.partition(")")
    create = f"CREATE TABLE t({name}, a {first}, b {second}){options.replace('--', '')}"
    with tempfile.TemporaryDirectory() as directory:
        one, two = pathlib.Path(directory, "one.db"), pathlib.Path(directory, "two.db")
        filled(one, create, rows, numbers)
        shutil.copy(one, two)
        edited(one, here, numbers)
        edited(two, there, numbers)
        kind, checksums = relate(str(one), str(two)).kind, [content_checksum(str(path)) for path in (one, two)]
        hashes = [said("sqlite3", str(path), ".sha3sum") for path in (one, two)]
        hashes_with_schema = [said("sqlite3", str(path), ".sha3sum --schema") for path in (one, two)]
        differences = said("sqldiff", str(one), str(two))
        reordered = contents(one) == contents(two)  # the judges see it; to a relation the order of rows is nothing
    assert (checksums[0] == checksums[1]) == (hashes_with_schema[0] == hashes_with_schema[1])
    if kind != "other_schema" and (hashes[0] == hashes[1]) == (not differences):
        assert (kind == "identical") == (not differences or reordered)
    if checksums[0] == checksums[1]:
        assert kind == "identical"
