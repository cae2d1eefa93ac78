# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database with old paths in plain and odd columns, for tests that count or rewrite them."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib

__all__ = ["NEW", "OLD", "PAIRS", "VALUES", "make_database_with_paths"]

OLD, NEW = "/stage/x/state", "/data/x/state"
PAIRS = [(OLD, NEW), (f"{OLD}/db/p.sqlite3", f"{NEW}/p.sqlite3")]
#: What a column holds, and what that is when it is rewritten.
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


def make_database_with_paths(directory: pathlib.Path, journal_mode: str) -> pathlib.Path:
    """Make the database in a directory, and return its path."""
    path = directory / "products.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode = {journal_mode}")
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
