# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the paths inside databases: what is counted is what is rewritten, and nothing else changes."""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import Moves, paths_in
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rewrite import rewrite, run

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
    b"\x8c\x61/stage/x/state\x94": b"\x8c\x61/stage/x/state\x94",
    f"{OLD}/a\0b": f"{NEW}/a\0b",
    f'{{"path": "{OLD}/a"}}': f'{{"path": "{OLD}/a"}}',
    json.dumps({"path": OLD}).replace("/", "\\/"): json.dumps({"path": OLD}).replace("/", "\\/"),
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
    path: pathlib.Path,
    state: str = "rewritten",
    *,
    check: bool = False,
    preview: str | None = None,
    replaced: bool = False,
) -> dict[str, Any]:
    """Run the module's logic on one database."""
    repoint = [{"from": old, "to": new} for old, new in PAIRS]
    databases = [{"path": str(path), "preview_from": preview, "replaced": replaced}]
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
    assert found == [
        ('odd "one', "a path", 6, 5),
        ("storage_locations", "base_path", 1, 0),
        ("words_content", "c0", 0, 1),
    ]
    assert moments(database.parent) == before


def test_what_is_counted_is_rewritten_and_nothing_else(database: pathlib.Path) -> None:
    preview = ask(database, check=True)
    result = ask(database)
    assert preview == result
    assert result["changed"]
    assert result["totals"] == {"rows": 7, "mentions": 6}
    assert rows(database, 'SELECT "a path" FROM "odd ""one" ORDER BY id') == list(VALUES.values())
    assert rows(database, "SELECT base_path FROM storage_locations ORDER BY kind") == [NEW, "/stage/x/ms"]
    again = ask(database)
    assert not again["changed"]
    assert again["totals"]["rows"] == 0
    assert [one.name for one in database.parent.iterdir()] == [database.name]


def test_an_audit_changes_nothing(database: pathlib.Path) -> None:
    before = database.read_bytes()
    result = ask(database, "audited")
    assert (result["changed"], result["totals"]["rows"], result["diff"]) == (False, 7, {})
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
        rewrite({str(database): columns}, Moves(PAIRS))
    assert rows(database, 'SELECT "a path" FROM "odd ""one" ORDER BY id') == list(VALUES)


def test_a_preview_reads_the_source_where_there_is_no_copy_yet(database: pathlib.Path) -> None:
    result = ask(database.parent / "none", check=True, preview=str(database))
    assert (result["changed"], result["totals"]["rows"]) == (True, 7)
    result = ask(database.parent / "none", preview=str(database))
    assert (result["changed"], result["missing"]) == (False, [f"{database.parent}/none"])


def test_a_preview_reads_the_source_of_a_copy_that_is_replaced_before(tmp_path: pathlib.Path) -> None:
    conflict = f"CREATE UNIQUE INDEX u ON t(p); INSERT INTO t(p) VALUES ('{NEW}/a');"
    source, copy = make(tmp_path / "source", conflict), make(tmp_path / "copy", "")
    assert ask(copy)["changed"]  # an earlier run has rewritten it
    assert not ask(copy, check=True, preview=str(source))["changed"]
    with pytest.raises(ContimgError, match=r"copy: t\.p cannot take the new paths: .*UNIQUE") as preview:
        ask(copy, check=True, preview=str(source), replaced=True)
    assert not ask(copy, preview=str(source), replaced=True)["changed"]  # a run reads what is there
    copy.write_bytes(source.read_bytes())
    with pytest.raises(ContimgError) as run_:
        ask(copy, preview=str(source), replaced=True)
    assert preview.value.message == run_.value.message


def make(path: pathlib.Path, script: str, encoding: str = "UTF-8") -> pathlib.Path:
    """Make a database with one table of three paths, and what a script adds."""
    connection = sqlite3.connect(path)
    connection.create_function("of_the_application", 1, lambda value: value)
    connection.create_collation("ALPHA", lambda one, two: (one > two) - (one < two))
    connection.execute(f"PRAGMA encoding = '{encoding}'")
    connection.executescript(f"""CREATE TABLE t (id INTEGER PRIMARY KEY, p TEXT); {script}
        INSERT INTO t(p) VALUES ('{OLD}'), ('{OLD}/a'), ('{OLD}/b'), ('/elsewhere');""")
    connection.commit()
    connection.close()
    return path


OBSTACLES = {
    "an unknown function": (
        "CREATE TABLE log (x); CREATE TRIGGER g AFTER UPDATE ON t BEGIN SELECT of_the_application(1); END;",
        r"t\.p cannot be changed outside the application: SQLite says 'no such function: of_the_application'",
    ),
    "a trigger that ignores": (
        "CREATE TRIGGER g BEFORE UPDATE ON t WHEN old.id = 2 BEGIN SELECT RAISE(IGNORE); END;",
        r"a trigger \(g\) keeps the old path in 1 rows of t\.p",
    ),
    "a trigger that logs the old path": (
        "CREATE TABLE log (x TEXT); CREATE TRIGGER g AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (old.p); END;",
        r"a trigger \(g\) writes the old path to 3 rows of log\.x",
    ),
    "a trigger that removes": (
        "CREATE TRIGGER g AFTER UPDATE ON t BEGIN DELETE FROM t WHERE id = 4; END;",
        r"removes rows of t when paths are changed",
    ),
    "a trigger that refuses": (
        "CREATE TRIGGER g BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'rows are final'); END;",
        r"t\.p cannot take the new paths: SQLite says 'rows are final'",
    ),
    "a unique new path": (
        f"CREATE UNIQUE INDEX u ON t(p); INSERT INTO t(p) VALUES ('{NEW}/a');",
        r"t\.p cannot take the new paths: SQLite says 'UNIQUE constraint failed: t\.p'",
    ),
    "a constraint that replaces": (
        f"CREATE TABLE r (p TEXT UNIQUE ON CONFLICT REPLACE); INSERT INTO r VALUES ('{OLD}'), ('{NEW}');",
        r"r\.p cannot take the new paths: SQLite says 'UNIQUE constraint failed: r\.p'",
    ),
    "an index with an unknown collation": (
        "CREATE INDEX i ON t(p COLLATE alpha);",
        r"t\.p cannot be changed outside the application: SQLite says 'no such collation sequence: alpha'",
    ),
}


@pytest.mark.parametrize(("script", "message"), OBSTACLES.values(), ids=OBSTACLES)
def test_what_would_stop_a_run_is_found_by_its_preview(tmp_path: pathlib.Path, script: str, message: str) -> None:
    path = make(tmp_path / "db", script)
    before = path.read_bytes()
    ask(path, "audited")
    for check in (True, False, True):
        with pytest.raises(ContimgError, match=message) as caught:
            ask(path, check=check)
        assert "The database is as it was." in caught.value.message
        assert path.read_bytes() == before


EFFECTS = {
    "a trigger that logs": (
        "CREATE TABLE log (x); CREATE TRIGGER g AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (new.id); END;",
        "triggers add 3 rows to log",
    ),
    "a trigger that propagates": (
        (
            f"CREATE TABLE c (p TEXT); INSERT INTO c VALUES ('{OLD}/a');"
            " CREATE TRIGGER g AFTER UPDATE ON t BEGIN UPDATE c SET p = new.p WHERE p = old.p; END;"
        ),
        "",
    ),
    "a trigger that marks": (
        (
            "CREATE TABLE m (n INTEGER); INSERT INTO m VALUES (0);"
            " CREATE TRIGGER g AFTER UPDATE ON t BEGIN UPDATE m SET n = n + 1; END;"
        ),
        "triggers change 3 further rows",
    ),
}


@pytest.mark.parametrize(("script", "effect"), EFFECTS.values(), ids=EFFECTS)
def test_what_triggers_do_besides_is_reported_and_a_second_run_changes_nothing(
    tmp_path: pathlib.Path, script: str, effect: str
) -> None:
    path = make(tmp_path / "db", script)
    preview, result = ask(path, check=True), ask(path)
    assert preview == result
    assert result["changed"]
    assert result["warnings"] == ([f"{path}: {effect}"] if effect else [])
    assert rows(path, "SELECT p FROM t ORDER BY id") == [NEW, f"{NEW}/a", f"{NEW}/b", "/elsewhere"]
    assert not ask(path)["changed"]


def test_a_real_table_is_not_taken_for_that_of_a_virtual_one(tmp_path: pathlib.Path) -> None:
    script = "CREATE VIRTUAL TABLE files USING fts5(words); CREATE TABLE files_locations (p TEXT);"
    path = make(tmp_path / "db", f"{script} INSERT INTO files_locations VALUES ('{OLD}/x');")
    assert ask(path)["totals"] == {"rows": 4, "mentions": 0}
    assert rows(path, "SELECT p FROM files_locations") == [f"{NEW}/x"]


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_texts_of_every_encoding_are_rewritten_whole(tmp_path: pathlib.Path, encoding: str) -> None:
    path = make(tmp_path / "db", f"INSERT INTO t(p) VALUES ('{OLD}/' || char(233, 0, 128512));", encoding)
    assert ask(path)["totals"]["rows"] == 4
    assert f"{NEW}/é\0\U0001f600" in rows(path, "SELECT p FROM t")
    assert rows(path, "PRAGMA integrity_check") == ["ok"]


def test_all_databases_are_rewritten_or_none(tmp_path: pathlib.Path) -> None:
    good = make(tmp_path / "good", "")
    bad = make(tmp_path / "bad", OBSTACLES["a trigger that ignores"][0])
    databases = [{"path": str(path), "preview_from": None, "replaced": False} for path in (good, bad)]
    with pytest.raises(ContimgError, match="keeps the old path"):
        run({"databases": databases, "repoint": [{"from": OLD, "to": NEW}], "state": "rewritten"}, check=False)
    assert OLD in rows(good, "SELECT p FROM t")


@pytest.mark.parametrize("pair", [("state", "/data"), ("/", "/data"), ("/a/../b", "/c"), ("/a", "/a/b"), ("/a", "/a")])
def test_moves_that_make_no_sense_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ContimgError):
        Moves([pair])
