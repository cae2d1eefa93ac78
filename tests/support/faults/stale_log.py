# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database whose log stands at the destination and no longer at the source: beside the new database it is poison."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import copy

if TYPE_CHECKING:
    import pathlib

__all__ = ["NEW", "OLD", "content", "prepare_stale_log"]

#: How many rows the two tables have before and after. The old log holds pages of one of them alone.
OLD, NEW = (300, 2), (900, 3)
_OLD = """
import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("PRAGMA journal_mode=wal")
c.execute("CREATE TABLE one (a)")
c.execute("CREATE TABLE two (a)")
c.executemany("INSERT INTO one VALUES (?)", [("old" * 20,)] * 300)
c.execute("INSERT INTO two VALUES (1)")
c.commit()
c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
c.execute("INSERT INTO two VALUES (2)")
c.commit()
os._exit(0)
"""
_made: dict[str, bytes] = {}


def prepare_stale_log(base: pathlib.Path) -> None:
    """Copy a database with its log, and fold the log of the source in; rows are added there."""
    shutil.rmtree(base, ignore_errors=True)
    src = base / "src"
    src.mkdir(parents=True)
    made = _made or _databases()
    for name in ("p.sqlite3", "p.sqlite3-wal"):
        (src / name).write_bytes(made[name])
    copy(base)
    (src / "p.sqlite3-wal").unlink()
    (src / "p.sqlite3").write_bytes(made["new"])


def _databases() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/p.sqlite3"
        subprocess.run([sys.executable, "-c", _OLD, path], check=True)
        for name in ("p.sqlite3", "p.sqlite3-wal"):
            with open(f"{directory}/{name}", "rb") as file:
                _made[name] = file.read()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executemany("INSERT INTO one VALUES (?)", [("new" * 20,)] * 600)
            connection.execute("INSERT INTO two VALUES (3)")
            connection.commit()
        with open(path, "rb") as file:  # whoever closes it last has folded its log in
            _made["new"] = file.read()
    return _made


def content(directory: pathlib.Path) -> tuple[int, ...] | str:
    """Return how many rows whoever opens the database finds in each table, or what SQLite reports; it is not opened there."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("p.sqlite3", "p.sqlite3-wal"):
            if (directory / name).exists():
                shutil.copy(directory / name, scratch)
        with contextlib.closing(sqlite3.connect(f"{scratch}/p.sqlite3")) as connection:
            try:
                state = connection.execute("PRAGMA integrity_check").fetchone()[0]
                counts = (connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("one", "two"))
                return tuple(counts) if state == "ok" else str(state)
            except sqlite3.DatabaseError as error:
                return str(error)
