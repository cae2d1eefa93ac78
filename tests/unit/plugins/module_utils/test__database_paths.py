# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the paths inside databases: what is counted is what is rewritten, and nothing else changes."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._database_paths import Moves, paths_in, rewrite, run
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    import pathlib

OLD, NEW = "/stage/x/state", "/data/x/state"
PAIRS = [(OLD, NEW), (f"{OLD}/db/p.sqlite3", f"{NEW}/p.sqlite3")]
VALUES = {
    OLD: NEW,
    f"{OLD}/": f"{NEW}/",
    f"{OLD}/a'b": f"{NEW}/a'b",
    f"{OLD}/db/p.sqlite3": f"{NEW}/p.sqlite3",
    f"{OLD}/db/p.sqlite3-wal": f"{NEW}/db/p.sqlite3-wal",
    f"{OLD}-old": f"{OLD}-old",
    f"see {OLD}": f"see {OLD}",
    "/stage/x/ms": "/stage/x/ms",
    OLD.upper(): OLD.upper(),
    b"/stage/x/state": b"/stage/x/state",
    None: None,
    7: 7,
    "é": "é",
}


@pytest.fixture(params=["wal", "delete"])
def database(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> pathlib.Path:
    """A database with paths in plain and odd columns."""
    path = tmp_path / "products.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {request.param}")
    connection.execute('CREATE TABLE "odd ""one" (id INTEGER PRIMARY KEY, "a path", n REAL)')
    connection.executemany('INSERT INTO "odd ""one" ("a path") VALUES (?)', [(value,) for value in VALUES])
    connection.execute("CREATE TABLE storage_locations (kind TEXT, base_path TEXT NOT NULL, UNIQUE (kind, base_path))")
    connection.executemany("INSERT INTO storage_locations VALUES (?, ?)", [("a", OLD), ("b", "/stage/x/ms")])
    connection.execute("CREATE TABLE empty (path TEXT)")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5(path)")
    connection.execute("INSERT INTO words VALUES (?)", (OLD,))
    connection.commit()
    connection.close()
    return path


def ask(
    path: pathlib.Path, state: str = "rewritten", *, check: bool = False, preview: str | None = None
) -> dict[str, Any]:
    """Run the module's logic on one database."""
    repoint = [{"from": old, "to": new} for old, new in PAIRS]
    databases = [{"path": str(path), "preview_from": preview}]
    return run({"databases": databases, "repoint": repoint, "state": state}, check=check)


def rows(path: pathlib.Path, query: str) -> list[Any]:
    """Return the first column of what a query gives."""
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()


def moments(folder: pathlib.Path) -> list[tuple[str, int, int]]:
    """Return every file of a folder with its times."""
    return sorted((one.name, os.stat(one).st_mtime_ns, os.stat(one).st_ctime_ns) for one in folder.iterdir())


def test_paths_are_counted_without_a_trace(database: pathlib.Path) -> None:
    before = moments(database.parent)
    found = [(one.table, one.name, one.rows, one.mentions) for one in paths_in(str(database), Moves(PAIRS))]
    assert found == [('odd "one', "a path", 5, 2), ("storage_locations", "base_path", 1, 0)]
    assert moments(database.parent) == before


def test_what_is_counted_is_rewritten_and_nothing_else(database: pathlib.Path) -> None:
    preview = ask(database, check=True)
    result = ask(database)
    assert preview == result
    assert result["changed"]
    assert result["totals"] == {"rows": 6, "mentions": 2}
    assert rows(database, 'SELECT "a path" FROM "odd ""one" ORDER BY id') == list(VALUES.values())
    assert rows(database, "SELECT base_path FROM storage_locations ORDER BY kind") == [NEW, "/stage/x/ms"]
    again = ask(database)
    assert not again["changed"]
    assert again["totals"]["rows"] == 0
    assert [one.name for one in database.parent.iterdir()] == [database.name]


def test_an_audit_changes_nothing(database: pathlib.Path) -> None:
    before = database.read_bytes()
    result = ask(database, "audited")
    assert (result["changed"], result["totals"]["rows"], result["diff"]) == (False, 6, {})
    assert database.read_bytes() == before


def test_a_new_path_that_is_there_already_stops_the_whole_database(database: pathlib.Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("INSERT INTO storage_locations VALUES ('a', ?)", (NEW,))
    connection.commit()
    connection.close()
    with pytest.raises(
        ContimgError, match=r"storage_locations\.base_path cannot take the new paths.*The database is as it was"
    ):
        ask(database)
    assert rows(database, 'SELECT "a path" FROM "odd ""one" ORDER BY id') == list(VALUES)


def test_rows_that_changed_since_they_were_counted_stop_it(database: pathlib.Path) -> None:
    columns = paths_in(str(database), Moves(PAIRS))
    connection = sqlite3.connect(database)
    connection.execute("INSERT INTO storage_locations VALUES ('c', ?)", (OLD,))
    connection.commit()
    connection.close()
    with pytest.raises(ContimgError, match="had 1 rows to change, now 2"):
        rewrite(str(database), columns, Moves(PAIRS))
    assert rows(database, 'SELECT "a path" FROM "odd ""one" ORDER BY id') == list(VALUES)


def test_a_preview_reads_the_source_where_there_is_no_copy_yet(database: pathlib.Path) -> None:
    result = ask(database.parent / "none", check=True, preview=str(database))
    assert (result["changed"], result["totals"]["rows"]) == (True, 6)
    result = ask(database.parent / "none", preview=str(database))
    assert (result["changed"], result["missing"]) == (False, [f"{database.parent}/none"])


@pytest.mark.parametrize("pair", [("state", "/data"), ("/", "/data"), ("/a/../b", "/c"), ("/a", "/a/b"), ("/a", "/a")])
def test_moves_that_make_no_sense_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ContimgError):
        Moves([pair])
