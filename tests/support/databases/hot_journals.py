# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that were left in the middle of a transaction: over one database, over two, and with a journal that lies."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib

__all__ = ["JOURNAL_MODES", "content", "interrupt", "interrupt_pair", "make_pair", "plant", "trailer"]

#: All that SQLite has. ``memory`` and ``off`` leave nothing beside the database.
JOURNAL_MODES = ("delete", "truncate", "persist", "wal", "memory", "off")

_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_ONE = """
import os, sqlite3, sys
path, mode, statement = sys.argv[1:]
c = sqlite3.connect(path, isolation_level=None)
c.executescript(f"PRAGMA journal_mode = {mode}; PRAGMA cache_size = 1; PRAGMA cache_spill = 1")
c.executescript(statement if mode == "wal" else f"BEGIN; {statement}")
os._exit(0)
"""
_TWO = """
import sqlite3, sys
directory, mode = sys.argv[1:]
c = sqlite3.connect(directory + "/a.db", isolation_level=None)
c.execute("ATTACH ? AS b", (directory + "/b.db",))
c.executescript(f"PRAGMA main.journal_mode = {mode}; PRAGMA b.journal_mode = {mode}")
c.executescript("BEGIN; UPDATE main.t SET x = 'new'; UPDATE b.t SET x = 'new'; COMMIT")
"""


def interrupt(path: pathlib.Path, mode: str, statement: str) -> None:
    """Let a writer of a database die: in WAL mode after its commit, else within its transaction, with pages written."""
    subprocess.run([sys.executable, "-c", _ONE, str(path), mode, statement], check=True)


def make_pair(directory: pathlib.Path) -> None:
    """Make ``a.db`` and ``b.db``, each with ``old`` in the rows of its table."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("a.db", "b.db"):
        with contextlib.closing(sqlite3.connect(directory / name, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE t(x)")
            connection.executemany("INSERT INTO t VALUES(?)", [("old",)] * 100)


def interrupt_pair(directory: pathlib.Path, mode: str) -> pathlib.Path:
    """Make a pair whose writer dies in a transaction over both, just before it is committed; return the super-journal.

    The removal of the super-journal is what commits it. Both databases hold ``new`` by then.
    """
    make_pair(directory)
    inject = ["-e", "trace=unlink", "-e", "inject=unlink:signal=KILL:when=1", "-o", os.devnull]
    command = ["strace", "-f", "-qq", *inject, sys.executable, "-c", _TWO, str(directory), mode]
    assert subprocess.run(command, check=False).returncode in (-9, 137)
    (found,) = directory.glob("a.db-mj*")
    return found


def trailer(name: bytes) -> bytes:
    """Return what makes a journal name a super-journal, when it stands at the journal's end."""
    return name + struct.pack(">II8s", len(name), sum(name), _MAGIC)


def plant(database: pathlib.Path, victim: pathlib.Path) -> None:
    """Lay a journal beside a database, or extend the one that is there, so that it names a victim as its super-journal."""
    with open(f"{database}-journal", "ab") as journal:
        if not journal.tell():
            journal.write(b"hot" * 500)
        journal.write(trailer(os.fsencode(victim)))


def content(path: str | pathlib.Path) -> set[str]:
    """Return the values in the table of one of a pair, as SQLite itself finds them, which plays a hot journal back."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {value for (value,) in connection.execute("SELECT DISTINCT x FROM t")}
