# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the content checksum: what changes it and what does not."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import checksum as checksum_module
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum, describe
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import (
    make,
    reference_checksum,
    with_connection,
)

if TYPE_CHECKING:
    import pathlib

MANY = (
    "CREATE TABLE many(id INTEGER PRIMARY KEY, t TEXT, b BLOB);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)"
    " INSERT INTO many SELECT i * 2, 'row ' || i, randomblob(200) FROM n;"
)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_the_checksum_is_the_one_that_the_document_describes(tmp_path: pathlib.Path, encoding: str) -> None:
    path = make(tmp_path / "a.db", before=f"PRAGMA encoding = '{encoding}';")
    assert content_checksum(str(path)) == reference_checksum(path)


@pytest.mark.parametrize("workers", [1, 2, 3, None])
def test_how_many_read_does_not_matter(tmp_path: pathlib.Path, workers: int | None) -> None:
    path = make(
        tmp_path / "a.db",
        MANY + "CREATE TABLE w(a PRIMARY KEY) WITHOUT ROWID; INSERT INTO w SELECT id FROM many;"
        "CREATE INDEX unknown ON many(t COLLATE OURS);",
    )
    assert path.stat().st_size > 4 << 20, "large enough to be spread"
    assert content_checksum(str(path), workers=workers) == reference_checksum(path)


def test_an_index_that_counts_wrong_is_an_error_and_no_checksum(tmp_path: pathlib.Path) -> None:
    path = make(
        tmp_path / "a.db",
        MANY + "UPDATE many SET id = id / 2; CREATE INDEX i ON many(id); CREATE TABLE full AS SELECT id FROM many;"
        "CREATE INDEX f ON full(id); DELETE FROM many WHERE id = 5; PRAGMA writable_schema = on;"
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'f') WHERE name = 'i'",
    )
    with pytest.raises(ContimgError, match="damaged table many"):
        content_checksum(str(path), workers=2)


def test_an_encoding_is_no_content_where_text_is_valid(tmp_path: pathlib.Path) -> None:
    script = "CREATE TABLE t(a); INSERT INTO t VALUES('ü€😀'), (1.5), (x'00')"
    found = {
        content_checksum(str(make(tmp_path / name, script, before=f"PRAGMA encoding = '{name}';")))
        for name in ("UTF-8", "UTF-16le", "UTF-16be")
    }
    assert len(found) == 1


NO_CHANGES = {
    "vacuum": "VACUUM",
    "reindex": "REINDEX",
    "analyze": "ANALYZE",
    "page size": "PRAGMA page_size = 1024; VACUUM",
    "auto vacuum": "PRAGMA auto_vacuum = 1; VACUUM",
    "write-ahead log": "PRAGMA journal_mode = wal",
    "an update to the same": "UPDATE plain SET v = v, t = t",
    "gone and back": "CREATE TABLE x(a); DROP TABLE x",
    "optimize": "PRAGMA optimize",
}


@pytest.mark.parametrize("script", NO_CHANGES.values(), ids=NO_CHANGES)
def test_what_is_no_content_does_not_change_it(tmp_path: pathlib.Path, script: str) -> None:
    path = make(tmp_path / "a.db")
    with_connection(path, "DELETE FROM no_key WHERE rowid = 1")  # a gap, that VACUUM may close
    before = content_checksum(str(path))
    with_connection(path, script)
    assert content_checksum(str(path)) == before


def test_copies_and_checkpoints_do_not_change_it(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "a.db")
    before = content_checksum(str(path))
    shutil.copy(path, tmp_path / "bytes.db")
    with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(
        sqlite3.connect(tmp_path / "api.db")
    ) as target:
        source.backup(target)
        source.execute("VACUUM INTO ?", (str(tmp_path / "into.db"),))
    assert {content_checksum(str(tmp_path / name)) for name in ("bytes.db", "api.db", "into.db")} == {before}


def test_rows_in_the_log_count_before_and_after_a_checkpoint(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "a.db", before="PRAGMA journal_mode = wal;")
    before = content_checksum(str(path))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript("PRAGMA wal_autocheckpoint = 0; INSERT INTO no_key VALUES(9, 9);")
    pending = content_checksum(str(path))
    assert os.stat(f"{path}-wal").st_size > 0
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    after = content_checksum(str(path))
    writer.close()
    assert (before != pending, pending) == (True, after)


CHANGES = {
    "integer to real": "UPDATE no_key SET a = 1.0 WHERE rowid = 1",
    "integer to text": "UPDATE no_key SET a = '1' WHERE rowid = 1",
    "integer to blob": "UPDATE no_key SET a = x'31' WHERE rowid = 1",
    "text to blob": "UPDATE no_key SET b = CAST(b AS BLOB) WHERE rowid = 1",
    "value to null": "UPDATE no_key SET a = NULL WHERE rowid = 1",
    "null to empty": "UPDATE no_key SET a = '' WHERE rowid = 3",
    "infinity": "UPDATE plain SET r = 1.7976931348623157e308 WHERE id = 4",
    "one more bit": "UPDATE plain SET r = 0.10000000000000002 WHERE id = 7",
    "after a NUL": "UPDATE plain SET t = 'nul' || char(0) || 'insidf' WHERE id = 4",
    "invalid text": "UPDATE plain SET t = CAST(x'c329' AS TEXT) WHERE id = 9",
    "a row less": "DELETE FROM plain WHERE id = 3",
    "a duplicate less": "DELETE FROM no_key WHERE rowid = 2",
    "a row more": "INSERT INTO no_key VALUES(NULL, NULL)",
    "a key": "UPDATE plain SET id = 1000 WHERE id = 9",
    "values exchanged between columns": "UPDATE no_key SET a = b, b = a WHERE rowid = 1",
    "a row of a table without rowid": "UPDATE without_rowid SET c = 1 WHERE b = 2 AND a = 'x'",
    "a stored generated column's source": "UPDATE made SET a = 3 WHERE a = 2",
    "full text": "INSERT INTO words VALUES('lazy dog')",
    "a box": "UPDATE boxes SET x1 = 8 WHERE id = 2",
    "the sequence": "UPDATE sqlite_sequence SET seq = 77",
    "an index": "DROP INDEX part; CREATE INDEX part ON plain(t) WHERE r > 2",
    "an index's name": "DROP INDEX by_v; CREATE INDEX by_w ON plain(v)",
    "a trigger": "DROP TRIGGER fires; CREATE TRIGGER fires AFTER INSERT ON no_key BEGIN SELECT 2; END",
    "a view": "DROP VIEW seen",
    "an empty table": "CREATE TABLE empty(a)",
    "a table's name": "ALTER TABLE no_key RENAME TO other_name",
    "a column's name": "ALTER TABLE no_key RENAME COLUMN a TO c",
    "a column": "ALTER TABLE no_key ADD COLUMN c DEFAULT 1",
    "user_version": "PRAGMA user_version = 8",
    "application_id": "PRAGMA application_id = 8",
}


@pytest.mark.parametrize("script", CHANGES.values(), ids=CHANGES)
def test_every_change_of_content_changes_it(tmp_path: pathlib.Path, script: str) -> None:
    path = make(tmp_path / "a.db")
    before = content_checksum(str(path))
    with_connection(path, script)
    assert content_checksum(str(path)) != before


def test_the_sign_of_zero_counts_where_sqlite_keeps_it(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t(a)")
    found = []
    for zero in (0.0, -0.0):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM t")
            connection.execute("INSERT INTO t VALUES(?)", (zero,))
        found.append(content_checksum(str(path)))
    assert found[0] != found[1]


def test_a_collation_that_nobody_knows_is_read(tmp_path: pathlib.Path) -> None:
    script = (
        "CREATE TABLE t(a TEXT COLLATE OURS PRIMARY KEY, b); INSERT INTO t VALUES('a', 1), ('B', 2);"
        "CREATE TABLE w(a TEXT COLLATE OURS PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO w VALUES('a', 1), ('B', 2);"
    )
    path = make(tmp_path / "a.db", script)
    before = content_checksum(str(path))
    with_connection(path, "UPDATE w SET b = 3 WHERE a = 'B'")
    assert content_checksum(str(path)) != before
    found = describe(str(path), integrity="full")
    assert found["integrity"] == "not made: SQLite reports 'no such collation sequence: OURS'"
    assert found["checksum"] == content_checksum(str(path))


def test_a_description_tells_tables_pages_and_the_check(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "a.db")
    found = describe(str(path), integrity="full", tables=True)
    assert found["integrity"] == "ok"
    assert found["page_size"] * found["page_count"] == path.stat().st_size
    assert found["tables"]["plain"]["rows"] == 10
    assert found["tables"]["plain"]["checksum"] != found["tables"]["no_key"]["checksum"]
    assert found["checksum"] == content_checksum(str(path))
    assert {"words_content", "boxes_node", "sqlite_sequence"} <= set(found["tables"])
    assert describe(str(path))["integrity"] == "not checked"


def test_findings_of_the_check_are_an_error_that_tells_them(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path / "a.db", "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES(1), (2);")
    with_connection(
        path,
        "PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = 'CREATE INDEX i ON t(a) WHERE a > 1' WHERE name = 'i'",
    )
    content_checksum(str(path))
    with pytest.raises(ContimgError, match="is damaged: wrong # of entries in index i") as caught:
        describe(str(path), integrity="full")
    assert caught.value.details["integrity"] == ["wrong # of entries in index i"]


_MEMORY = """
import resource, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import describe
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
describe(sys.argv[1], integrity="quick", workers=int(sys.argv[2]))
most = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(max(0, most[0] - own) + int(sys.argv[2]) * max(0, most[1] - own))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_database(tmp_path: pathlib.Path, workers: int) -> None:
    script = (
        "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
        " INSERT INTO t SELECT CASE WHEN i % 2000 = 0 THEN zeroblob(3000000) ELSE hex(randomblob(100)) END FROM n;"
    )
    path = make(tmp_path / "a.db", script, before="PRAGMA journal_mode = off; PRAGMA synchronous = off;")
    assert path.stat().st_size > 96 << 20
    root = next(directory for directory in sys.path if directory.endswith(".build/collections"))
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-c", _MEMORY, str(path), str(workers)]
    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert int(ran.stdout) < 64 << 10, "kilobytes"


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        ("Page 2: unable to get the page. error code=8458", "cannot be read .*Check its device"),
        ("Page 2: unable to get the page. error code=11", "is damaged.*Restore it"),
        ("wrong # of entries in index i", "is damaged.*Restore it"),
    ],
)
def test_a_page_that_cannot_be_read_is_no_damage(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, finding: str, words: str
) -> None:
    """The fault suite of the modules lets SQLite itself say this; here is what is said about it."""
    make(tmp_path / "a.db")
    monkeypatch.setitem(checksum_module._INTEGRITY, "quick", f"SELECT '{finding}'")
    with pytest.raises(ContimgError, match=words):
        describe(str(tmp_path / "a.db"), integrity="quick")
