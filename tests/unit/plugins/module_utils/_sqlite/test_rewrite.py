# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of paths that are rewritten in rows of real databases, and of what the module reports."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import Moves, paths_in
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rewrite import next_step, rewrite, run
from ansible_collections.dsa110.contimg.tests.support.databases.paths_in_rows import (
    NEW,
    OLD,
    PAIRS,
    VALUES,
    make_database_with_paths,
)
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import default_options

if TYPE_CHECKING:
    import pathlib


#: The options of the module that most tests leave as they are.
PLAIN = default_options("database_paths")


@pytest.fixture(params=["wal", "delete"])
def database(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> pathlib.Path:
    """A database with paths in plain and odd columns."""
    return make_database_with_paths(tmp_path, request.param)


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
    return run({**PLAIN, "databases": databases, "repoint": repoint, "state": state}, check=check)


def rows(path: pathlib.Path, query: str) -> list[Any]:
    """Return the first column of what a query gives."""
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()


def test_what_is_counted_is_rewritten_and_nothing_else(database: pathlib.Path) -> None:
    preview = ask(database, check=True)
    result = ask(database)
    assert preview == result
    assert result["changed"]
    assert result["totals"] == {"rows": 7, "mentions": 6, "live": 13}
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


def test_a_line_for_each_column_leaves_out_what_is_known(database: pathlib.Path) -> None:
    def lines(*known: str) -> tuple[list[str], int]:
        asked = {**PLAIN, "paths": [str(database)], "known": known, "databases": [], "state": "audited"}
        found = run({**asked, "repoint": [{"from": OLD, "to": NEW}]}, check=False)
        return found["live_lines"], found["totals"]["live"]

    odd, locations = (
        f'{database}: odd "one.a path: 6 rows, 5 other values',
        f"{database}: storage_locations.base_path: 1 rows",
    )
    found, live = lines()
    assert (found[0].startswith(odd), found[1], live) == (True, locations, 13)
    assert lines(f"{database}:(odd.*|words.*)") == ([locations], 1)
    assert lines(str(database)) == ([], 0)
    with pytest.raises(ContimgError, match="is not a regular expression"):
        lines("(")


def test_a_preview_reads_the_copy_where_none_is_made_before(tmp_path: pathlib.Path) -> None:
    one = {"path": str(tmp_path / "copy"), "preview_from": str(tmp_path / "source"), "replaced": True}
    for name, value in (("source", OLD), ("copy", NEW)):
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.execute("CREATE TABLE t (path TEXT)")
            connection.execute("INSERT INTO t VALUES (?)", (value,))
            connection.commit()
    for pending, count in ((True, 1), (False, 0)):
        asked = {**PLAIN, "copies_pending": pending, "databases": [one], "repoint": [{"from": OLD, "to": NEW}]}
        assert run({**asked, "state": "rewritten"}, check=True)["totals"]["rows"] == count


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
        r"t\.p cannot be changed outside the application: SQLite reports 'no such function: of_the_application'",
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
        r"t\.p cannot take the new paths: SQLite reports 'rows are final'.*A trigger refuses the change in these words. Drop it",
    ),
    "a check": (
        f"CREATE TABLE c (p TEXT CHECK (p LIKE '/stage/%')); INSERT INTO c VALUES ('{OLD}/a');",
        r"c\.p cannot take the new paths: SQLite reports 'CHECK .*The constraint forbids the new path",
    ),
    "a trigger that sets no value": (
        (
            "CREATE TABLE n (p TEXT NOT NULL); INSERT INTO n VALUES ('x');"
            " CREATE TRIGGER g AFTER UPDATE ON t BEGIN UPDATE n SET p = NULL; END;"
        ),
        r"t\.p cannot take the new paths: SQLite reports 'NOT NULL constraint failed: n\.p'.*has no value for the new path",
    ),
    "a key with an unknown collation": (
        f"CREATE TABLE k (p TEXT COLLATE alpha PRIMARY KEY, q TEXT) WITHOUT ROWID; INSERT INTO k VALUES ('k', '{OLD}/a');",
        r"k\.q cannot be changed outside the application: SQLite reports 'no such collation sequence: alpha'",
    ),
    "a unique new path": (
        f"CREATE UNIQUE INDEX u ON t(p); INSERT INTO t(p) VALUES ('{NEW}/a');",
        r"t\.p cannot take the new paths: SQLite reports 'UNIQUE constraint failed: t\.p'.*Decide which of the rows stays\.$",
    ),
    "a constraint that replaces": (
        f"CREATE TABLE r (p TEXT UNIQUE ON CONFLICT REPLACE); INSERT INTO r VALUES ('{OLD}'), ('{NEW}');",
        r"r\.p cannot take the new paths: SQLite reports 'UNIQUE constraint failed: r\.p'",
    ),
    "an index with an unknown collation": (
        "CREATE INDEX i ON t(p COLLATE alpha);",
        r"t\.p cannot be changed outside the application: SQLite reports 'no such collation sequence: alpha'",
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


CONSTRAINTS = {
    "UPDATE c SET p = 'b' WHERE p = 'a'": "Decide which of the rows stays.",
    "UPDATE c SET q = 0": "The constraint forbids the new path.",
    "UPDATE c SET r = NULL": "has no value for the new path.",
    "UPDATE c SET s = 'x'": "Another table refers to the old path.",
    "UPDATE c SET t = 1": "A trigger refuses the change in these words.",
}


@pytest.mark.parametrize(("statement", "step"), CONSTRAINTS.items())
def test_each_kind_of_constraint_has_its_own_next_step(statement: str, step: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript("""PRAGMA foreign_keys = ON;
        CREATE TABLE c (p PRIMARY KEY, q CHECK (q > 0), r NOT NULL, s REFERENCES c(p), t);
        CREATE TRIGGER g BEFORE UPDATE OF t ON c BEGIN SELECT RAISE(ABORT, 'rows are final'); END;
        INSERT INTO c VALUES ('a', 1, 1, NULL, 0), ('b', 1, 1, NULL, 0);""")
    with pytest.raises(sqlite3.IntegrityError) as caught:
        connection.execute(statement)
    connection.close()
    assert step in next_step(str(caught.value))


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


READABLE = {
    "of a column": "CREATE TABLE c (p TEXT COLLATE alpha, q TEXT COLLATE alpha);",
    "of a column beside a key": "CREATE TABLE c (p TEXT COLLATE alpha, q TEXT COLLATE alpha, k PRIMARY KEY) WITHOUT ROWID;",
    "of another table's key": (
        "CREATE TABLE c (p TEXT COLLATE alpha, q TEXT); CREATE TABLE k (p TEXT COLLATE alpha PRIMARY KEY) WITHOUT ROWID;"
        " INSERT INTO k VALUES ('a'), ('b');"
    ),
}


@pytest.mark.parametrize("script", READABLE.values(), ids=READABLE)
def test_an_unknown_collation_stops_nothing_that_does_not_need_it(tmp_path: pathlib.Path, script: str) -> None:
    key = ", k" if " k PRIMARY KEY" in script else ""
    values = [(f"{OLD}/x", f"in {OLD}"), ("other", f"{OLD}/y")]
    rows_ = ", ".join(f"('{p}', '{q}'{key and f', {number}'})" for number, (p, q) in enumerate(values))
    path = make(tmp_path / "db", f"{script} INSERT INTO c(p, q{key}) VALUES {rows_};")
    assert ask(path, "audited")["totals"] == {"rows": 5, "mentions": 1, "live": 6}
    preview, result = ask(path, check=True), ask(path)
    assert preview == result
    assert (result["changed"], result["totals"]) == (True, {"rows": 5, "mentions": 1, "live": 6})
    assert (rows(path, "SELECT p FROM c"), rows(path, "SELECT q FROM c")) == (
        [f"{NEW}/x", "other"],
        [f"in {OLD}", f"{NEW}/y"],
    )


FOLLOWED = (
    "CREATE TRIGGER d AFTER UPDATE ON t BEGIN INSERT INTO f(f, rowid, p) VALUES ('delete', old.id, old.p);"
    " INSERT INTO f(rowid, p) VALUES (new.id, new.p); END;"
)
FOLLOWED_4 = (
    "CREATE TRIGGER b BEFORE UPDATE ON t BEGIN DELETE FROM f WHERE docid = old.id; END;"
    " CREATE TRIGGER d AFTER UPDATE ON t BEGIN INSERT INTO f(docid, p) VALUES (new.id, new.p); END;"
)
FILLED = "CREATE TRIGGER i AFTER INSERT ON t BEGIN INSERT INTO f(rowid, p) VALUES (new.id, new.p); END;"
FTS5, FTS5_VIEW = (f"CREATE VIRTUAL TABLE f USING fts5(p, content={name}, content_rowid=id);" for name in ("'t'", "v"))
FTS4 = 'CREATE VIRTUAL TABLE f USING fts4(content="t", p);'
REBUILT, FOLLOWS = (
    "the full-text index f is rebuilt from {}",
    r"triggers change \d+ further rows, with those in which full-text",
)
INDEXES = {
    "fts5": (FTS5 + FILLED, REBUILT.format("t")),
    "fts5 of a view": ("CREATE VIEW v AS SELECT id, p FROM t;" + FTS5_VIEW + FILLED, REBUILT.format("v")),
    "fts4": (FTS4 + FILLED, REBUILT.format("t")),
    "fts5 and triggers": (FTS5 + FILLED + FOLLOWED, FOLLOWS),
    "fts4 and triggers": (FTS4 + FILLED + FOLLOWED_4, FOLLOWS),
}


@pytest.mark.parametrize(("script", "effect"), INDEXES.values(), ids=INDEXES)
def test_a_full_text_index_of_changed_rows_stays_in_step(tmp_path: pathlib.Path, script: str, effect: str) -> None:
    path = make(tmp_path / "db", script)
    preview, result = ask(path, check=True), ask(path)
    assert preview == result
    assert result["changed"]
    (warning,) = result["warnings"]
    assert re.match(re.escape(f"{path}: ") + effect, warning)
    assert sorted(rows(path, "SELECT rowid FROM f WHERE f MATCH 'data'")) == [1, 2, 3]
    assert rows(path, "SELECT rowid FROM f WHERE f MATCH 'stage'") == []
    assert sound(path)
    again = ask(path)
    assert (again["changed"], again["warnings"]) == (False, [])


def sound(path: pathlib.Path) -> bool:
    """Return whether the full-text index of a database passes its own check."""
    (sql,) = rows(path, "SELECT sql FROM sqlite_master WHERE name = 'f'")
    check = "f(f, rank) VALUES ('integrity-check', 1)" if "fts5" in sql else "f(f) VALUES ('integrity-check')"
    try:
        rows(path, f"INSERT INTO {check}")
    except sqlite3.DatabaseError:
        return False
    return True


def test_an_index_that_matched_nothing_before_is_left_with_its_next_step(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "db", FTS5)
    before = rows(path, "SELECT hex(block) FROM f_data")
    assert not sound(path)
    preview, result = ask(path, check=True), ask(path)
    assert preview == result
    rebuild = """INSERT INTO main."f"("f") VALUES ('rebuild')"""
    assert result["warnings"] == [
        f"{path}: the full-text index f did not match t before. This makes it match: {rebuild}"
    ]
    assert rows(path, "SELECT hex(block) FROM f_data") == before


CONTENTLESS = {
    "filled": ("CREATE VIRTUAL TABLE f USING fts5(p, content='');" + FILLED, True),
    "filled without positions": ("CREATE VIRTUAL TABLE f USING fts5(p, content='', detail=none);" + FILLED, True),
    "fts4": ('CREATE VIRTUAL TABLE f USING fts4(p, content="");' + FILLED, True),
    "kept in step": ("CREATE VIRTUAL TABLE f USING fts5(p, content='');" + FILLED + FOLLOWED, False),
    "of something else": ("CREATE VIRTUAL TABLE f USING fts5(p, content='');", False),
}


@pytest.mark.parametrize(("script", "may_find"), CONTENTLESS.values(), ids=CONTENTLESS)
def test_an_index_without_rows_that_may_find_old_paths_is_reported(
    tmp_path: pathlib.Path, script: str, *, may_find: bool
) -> None:
    path = make(tmp_path / "db", script)
    preview, result = ask(path, check=True), ask(path)
    assert preview == result
    warning = f"{path}: the full-text index f keeps no rows and may find old paths. Let the application fill it again"
    assert (warning in result["warnings"]) is may_find


def test_an_index_with_a_tokenizer_of_the_application_stops_the_change_of_its_rows(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "db", FTS5)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'content_', 'tokenize=mine, content_') WHERE name = 'f'"
        )
    connection.close()
    before = path.read_bytes()
    for check in (True, False):
        with pytest.raises(ContimgError, match=r"the full-text index f cannot be checked.*The database is as it was\."):
            ask(path, check=check)
    assert path.read_bytes() == before


CHANGE_IT = "Let the application change its definition"
DEFINITIONS = {
    "table d": f"CREATE TABLE d (p TEXT DEFAULT '{OLD}/d');",
    "table e": f"CREATE TABLE e (p TEXT, q AS ('{OLD}/' || p));",
    "trigger g": f"CREATE TRIGGER g AFTER INSERT ON t WHEN new.p IS NULL BEGIN UPDATE t SET p = '{OLD}'; END;",
    "view v": f"CREATE VIEW v AS SELECT '{OLD}/v' AS p;",
    "index i": f"CREATE INDEX i ON t(id) WHERE p > '{OLD}';",
    "": f"CREATE TABLE n (p TEXT DEFAULT '{OLD}-old');",
}


@pytest.mark.parametrize(("name", "script"), DEFINITIONS.items())
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_old_paths_in_the_schema_are_counted_and_left(
    tmp_path: pathlib.Path, name: str, script: str, encoding: str
) -> None:
    path = make(tmp_path / "db", script, encoding)
    schema = rows(path, "SELECT sql FROM sqlite_master")
    for state, check in (("audited", False), ("rewritten", True), ("rewritten", False), ("rewritten", False)):
        result = ask(path, state, check=check)
        assert [(one["name"], one["mentions"]) for one in result["columns"] if one["table"] == "sqlite_master"] == (
            [(name, 1)] if name else []
        )
        warning = f"{path}: {name} names an old path in the schema, from which new rows may get it. {CHANGE_IT}"
        assert [one for one in result["warnings"] if "triggers" not in one] == (
            [warning] if state == "rewritten" and name else []
        )
        definition = f"{path}: sqlite_master.{name}: a definition that mentions it"
        assert (definition in result["live_lines"]) is bool(name)
    assert (result["changed"], result["totals"]["rows"]) == (False, 0)
    assert rows(path, "SELECT sql FROM sqlite_master") == schema


def test_a_real_table_is_not_taken_for_that_of_a_virtual_one(tmp_path: pathlib.Path) -> None:
    script = "CREATE VIRTUAL TABLE files USING fts5(words); CREATE TABLE files_locations (p TEXT);"
    path = make(tmp_path / "db", f"{script} INSERT INTO files_locations VALUES ('{OLD}/x');")
    assert ask(path)["totals"] == {"rows": 4, "mentions": 0, "live": 4}
    assert rows(path, "SELECT p FROM files_locations") == [f"{NEW}/x"]


def test_a_table_with_as_many_columns_as_sqlite_takes_is_counted(tmp_path: pathlib.Path) -> None:
    columns = ", ".join(f"c{number}" for number in range(2000))
    values = f"INSERT INTO wide (c7, c1999) VALUES ('in {OLD}', '{OLD}/x'), ('{OLD}', 1);"
    path = make(tmp_path / "db", f"CREATE TABLE wide ({columns}); {values}")
    found = {one["name"]: (one["rows"], one["mentions"]) for one in ask(path)["columns"] if one["table"] == "wide"}
    assert found == {"c7": (1, 1), "c1999": (1, 0)}


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
        run({**PLAIN, "databases": databases, "repoint": [{"from": OLD, "to": NEW}], "state": "rewritten"}, check=False)
    assert OLD in rows(good, "SELECT p FROM t")
