# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small state that has really been moved, with everything that a move leaves behind, and its retirement."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import sqlite3
import tempfile
import time
from typing import Any

from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import (
    advance,
    keep,
    move_of,
    read_record,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire import retire, retire_options
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import describe
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values, synchronized

__all__ = ["FILES", "RENAME", "Moved", "insert", "retire_values", "way_of"]

RENAME = {"db/products.sqlite3": "products.sqlite3"}
#: Rows of each database of the state.
ROWS = 5
_PLAIN = {
    "logs/old/a b\n.log": b"",
    "logs/a.log": b"lines\n" * 99,
    "x\udcff": b"y",
    "notes": b"n",
    "notes-journal": b"j",
}
_HALF_A_MINUTE = 30


def insert(path: pathlib.Path, count: int, *, journal_mode: str = "delete") -> None:
    """Add rows to a database, which is made where there is none."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT)")
        connection.executemany("INSERT INTO t (b) VALUES (?)", [("x" * 500,)] * count)


@functools.lru_cache(maxsize=None)
def _databases() -> dict[str, bytes]:
    """Return the files of two databases: of one, some rows are in the WAL alone, as a service leaves it that was killed."""
    with tempfile.TemporaryDirectory() as directory:
        database, catalog = (os.path.join(directory, name) for name in ("products.sqlite3", "catalog"))
        insert(pathlib.Path(catalog), ROWS)
        insert(pathlib.Path(database), ROWS - 2, journal_mode="wal")
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("INSERT INTO t (b) VALUES ('in the WAL'), ('in the WAL')")
            connection.commit()
            found = {"db/products.sqlite3": database, "db/products.sqlite3-wal": f"{database}-wal"}
            return {
                name: pathlib.Path(path).read_bytes() for name, path in {**found, "catalogs/c.sqlite3": catalog}.items()
            }


#: The files of the state, by path below it.
FILES: dict[str, bytes] = {**_PLAIN, **_databases()}
WAY = ("presynced", "held", "proved", "split", "repointed", "started", "done")


def way_of(run_dir: pathlib.Path, src: pathlib.Path, dest: pathlib.Path) -> None:
    """Record that a move of a state is done."""
    record = read_record(str(run_dir))
    move = move_of({"src": str(src), "dest": str(dest), "databases": [], "exclude": []})
    for phase in WAY:
        record = advance(record, phase, {}, at=0, move=move)
    keep(str(run_dir), record)


def retire_values(root: pathlib.Path, **changed: Any) -> dict[str, Any]:
    """Return the parameters of ``state_retire`` for a state that was moved below a directory half a minute ago."""
    return {
        "src": str(root / "state"),
        "dest": str(root / "new"),
        "manifest": None,
        "rename": RENAME,
        "moved_at": time.time() - _HALF_A_MINUTE,
        "state": "archived",
        "archive": None,
        "compression": "gzip",
        "accept": [],
        "exclude": [],
        "baseline": {},
        "names": {"products": "products.sqlite3"},
        "run_dir": str(root / "run"),
        "require_proof": False,
        **changed,
    }


class Moved:
    """A state that was moved below a directory.

    :ivar baseline: what is known of the products database at the new place since the move.
    """

    def __init__(self, root: pathlib.Path, *, ahead: float | None = None) -> None:
        """Make and copy it.

        :param ahead: how many seconds after now the times of its files are; they are old unless told.
        """
        self.root, self.src, self.dest, self.run_dir = root, root / "state", root / "new", root / "run"
        self.archive, self.tombstone, self.ledger = (
            root / "state.tar.gz",
            self.run_dir / "retired.json",
            root / "new.sha256.ledger",
        )
        for name, content in FILES.items():
            (self.src / name).parent.mkdir(parents=True, exist_ok=True)
            (self.src / name).write_bytes(content)
        os.link(self.src / "logs" / "old" / "a b\n.log", self.src / "logs" / "link")
        for number, name in enumerate(FILES):
            moment = 1e9 + number if ahead is None else time.time() + ahead
            os.utime(self.src / name, (moment, moment))
        synchronized(sync_values(root, src=str(self.src), dest=str(self.dest), rename=RENAME, workers=1))
        way_of(self.run_dir, self.src, self.dest)
        self.baseline = {"products": self.rows_of("products.sqlite3")}

    def rows_of(self, name: str) -> dict[str, Any]:
        """Return what ``state_rows_info`` reports of a database at the new place."""
        return {"tables": describe(str(self.dest / name), tables=True)["tables"]}

    def values(self, **more: Any) -> dict[str, Any]:
        """Return the parameters of the module, some of them other."""
        return retire_values(self.root, baseline=self.baseline, **more)

    def retire(self, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """Retire it."""
        return retire(retire_options(self.values(**more)), check=check)

    def here(self) -> set[str]:
        """Return every name of the old tree."""
        return {
            os.path.relpath(os.path.join(directory, name), self.src)
            for directory, dirs, files in os.walk(self.src)
            for name in (*dirs, *files)
        }

    @property
    def phase(self) -> str:
        """The phase of the host."""
        return str(read_record(str(self.run_dir))["phase"])
