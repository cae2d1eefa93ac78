# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that are sound, and use what only the program that wrote them brings to SQLite, or what SQLite once called unsafe."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib

__all__ = ["FOREIGN", "make_foreign"]

_ROWS = "INSERT INTO t(a, created_at) VALUES('/stage/one', '2026-01-01'), ('/stage/two', '2026-01-02');"
_WORDS = "CREATE TABLE t(a, created_at); CREATE VIRTUAL TABLE w USING fts5(b); INSERT INTO w VALUES('a word');"
_REPLACED = (
    "PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = 'CREATE VIRTUAL TABLE w USING {}' WHERE name = 'w';"
)
#: By name: what makes the database.
FOREIGN = {
    "an index on a function": f"CREATE TABLE t(a, created_at); {_ROWS} CREATE INDEX i ON t(ours(a));",
    "an index where a function says so": f"CREATE TABLE t(a, created_at); {_ROWS} CREATE INDEX i ON t(a) WHERE ours(a) > 0;",
    "a check by a function": f"CREATE TABLE t(a CHECK(ours(a) IS NOT 0), created_at); {_ROWS}",
    "a default by a function": f"CREATE TABLE t(a, created_at, c DEFAULT (ours(1))); {_ROWS}",
    "a computed column": f"CREATE TABLE t(a, created_at, b AS (ours(a)) VIRTUAL); {_ROWS}",
    "a stored computed column": f"CREATE TABLE t(a, created_at, b AS (ours(a)) STORED); {_ROWS}",
    "a view": f"CREATE TABLE t(a, created_at); {_ROWS} CREATE VIEW v AS SELECT ours(a) FROM t;",
    "a trigger": f"CREATE TABLE t(a, created_at); {_ROWS} CREATE TRIGGER g AFTER DELETE ON t BEGIN SELECT ours(1); END;",
    "a collation": f"CREATE TABLE t(a COLLATE OURS, created_at COLLATE OURS); {_ROWS} CREATE INDEX i ON t(a);",
    "a key by a collation": f"CREATE TABLE t(a TEXT COLLATE OURS PRIMARY KEY, created_at COLLATE OURS) WITHOUT ROWID; {_ROWS}",
    "a module": _WORDS + _ROWS + _REPLACED.format("vec99(b)"),
    "a tokenizer": _WORDS + _ROWS + _REPLACED.format("fts5(b, tokenize=ours)"),
    "JSON": (
        "CREATE TABLE t(a CHECK(json_valid('[]')), created_at, b AS (json_array(a)), c AS (json_type('[1]') || '$') STORED);"
        f"{_ROWS} CREATE INDEX i ON t(json_quote(a)); CREATE INDEX j ON t(a) WHERE json_quote(a) > '';"
    ),
}


def make_foreign(path: pathlib.Path, name: str, further: str = "") -> pathlib.Path:
    """Make one of these by a connection that knows the function and the collation."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_function("ours", 1, lambda value: value, deterministic=True)
    connection.create_collation("OURS", lambda one, two: (one > two) - (one < two))
    connection.executescript(FOREIGN[name] + further)
    connection.close()
    return path
