# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which databases are opened: what a schema may not do, and what may not take for ever."""

from __future__ import annotations

import ast
import contextlib
import pathlib
import sqlite3
import sys
import threading

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.measurement_sets import reconcile
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import connection as sqlite_connection
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import (
    IMMUTABLE,
    READ_WRITE,
    Place,
    attach,
    connect,
    real_path,
)
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import make, with_connection

PLUGINS = pathlib.Path(__file__).parents[5] / "plugins"
_ENDLESS = "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g) SELECT i AS path FROM g WHERE i < 0"


def test_nothing_else_opens_a_database() -> None:
    """A connection that is made elsewhere is neither limited nor judged."""
    found = [
        f"{path.parent.name}/{path.name}:{node.lineno}"
        for path in sorted(PLUGINS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("sqlite3", "connect"), ("sqlite3", "dbapi2")}
    ]
    assert len(found) == 1
    assert found[0].startswith("_sqlite/connection.py")


@pytest.mark.parametrize("place", [":memory:", "", "file"])
def test_nothing_that_a_schema_names_is_trusted(tmp_path: pathlib.Path, place: str) -> None:
    path = make(tmp_path / "a.db")
    with contextlib.closing(connect(Place(str(path), IMMUTABLE) if place == "file" else place)) as connection:
        settings = {name: connection.execute(f"PRAGMA {name}").fetchone() for name in ("trusted_schema", "mmap_size")}
        assert settings["trusted_schema"] == (0,)
        assert settings["mmap_size"] in (None, (0,))


def test_only_json_of_an_old_sqlite_makes_a_schema_trusted(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t(a, b AS (json_type(a))); INSERT INTO t VALUES('[]')")
    other = make(tmp_path / "b.db", "CREATE TABLE t(a CHECK(length(a) > 0))")
    for place, query in ((path, IMMUTABLE), (path, READ_WRITE)):
        with contextlib.closing(connect(Place(str(place), query))) as connection:
            assert connection.execute("SELECT a FROM t").fetchone() == ("[]",)
            assert connection.execute("PRAGMA trusted_schema").fetchone()[0] == (sqlite3.sqlite_version_info < (3, 41))
    with contextlib.closing(connect(Place(str(other), IMMUTABLE))) as connection:
        attach(connection, "json", Place(str(path), IMMUTABLE))
        assert connection.execute("SELECT a FROM json.t").fetchone() == ("[]",)


def test_a_function_that_a_view_calls_is_not_called_unless_it_is_harmless(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "a.db", "CREATE VIEW v AS SELECT fts3_tokenizer('simple') AS a")
    with contextlib.closing(connect(Place(str(path), IMMUTABLE))) as connection:
        connection.create_function("fts3_tokenizer", 1, lambda name: name)
        with pytest.raises(sqlite3.OperationalError, match="unsafe use of"):
            connection.execute("SELECT * FROM v")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python cannot set limits before 3.11")
def test_values_and_statements_are_limited_by_the_size_of_the_databases(tmp_path: pathlib.Path) -> None:
    small, large = make(tmp_path / "small.db"), make(tmp_path / "large.db", "CREATE TABLE t(a)")
    with_connection(large, "INSERT INTO t VALUES(zeroblob(30000000))")
    with contextlib.closing(connect(Place(str(small), IMMUTABLE))) as connection:
        with pytest.raises(sqlite3.DataError, match="too big"):
            connection.execute("SELECT zeroblob(30000000)").fetchone()
        attach(connection, "large", Place(str(large), IMMUTABLE))
        assert len(connection.execute("SELECT a FROM large.t").fetchone()[0]) == 30000000
        for alias in ("one", "two", "three"):
            attach(connection, alias, Place(str(small), IMMUTABLE))
        with pytest.raises(sqlite3.OperationalError, match="too many attached"):
            attach(connection, "four", Place(str(small), IMMUTABLE))


def test_a_statement_that_does_not_end_is_ended(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_connection, "_LEAST_SECONDS", 0.2)
    (tmp_path / "sets").mkdir()
    path = make(tmp_path / "a.db", f"CREATE VIEW ms_index AS {_ENDLESS}")
    with pytest.raises(ContimgError) as caught:
        reconcile(
            products_db=str(path), roots=[str(tmp_path / "sets")], max_removed_fraction=1, backup_dir="", check=True
        )
    assert "takes more processor time than a database of its size needs" in caught.value.message
    assert "Its schema may hold a view that does not end" in caught.value.hint


def test_time_that_other_work_takes_does_not_count(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_connection, "_LEAST_SECONDS", 0.5)
    monkeypatch.setattr(sqlite_connection, "_OPCODES", 1)
    with contextlib.closing(connect()) as connection:
        threading.Event().wait(0.6)
        assert connection.execute("SELECT count(*) FROM (VALUES (1), (2), (3))").fetchone() == (3,)


def test_a_large_database_is_given_more_time(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_connection, "_LEAST_SECONDS", 0)
    monkeypatch.setattr(sqlite_connection, "_BYTES_A_SECOND", 4096)
    path = make(tmp_path / "a.db")
    assert content_checksum(str(path))
    monkeypatch.setattr(sqlite_connection, "_BYTES_A_SECOND", 1 << 60)
    monkeypatch.setattr(sqlite_connection, "_OPCODES", 1)
    with pytest.raises(ContimgError, match="interrupted"):
        content_checksum(str(path))


def test_a_chain_of_links_leads_to_the_database(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    path = make(directory / "a.db")
    (directory / "second").symlink_to("a.db")
    (tmp_path / "first").symlink_to(directory / "second")
    assert real_path(str(tmp_path / "first")) == str(path)
    (tmp_path / "loop").symlink_to("loop")
    assert real_path(str(tmp_path / "loop")) == str(tmp_path / "loop")


def test_any_name_is_opened(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "a ?#%41&\udcff.db", "CREATE TABLE t(a); INSERT INTO t VALUES(7)")
    for query in (IMMUTABLE, READ_WRITE):
        with contextlib.closing(connect(Place(str(path), query))) as connection:
            assert connection.execute("SELECT a FROM t").fetchone() == (7,)
