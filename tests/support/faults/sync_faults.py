# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small tree with all that a copy treats differently, and what is to be seen of a copy of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_file, read_manifest
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree_digest import tree_digest
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import scan
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values
from ansible_collections.dsa110.contimg.tests.support.trees import differences

if TYPE_CHECKING:
    import pathlib

__all__ = [
    "NEW_BIG",
    "OLD_BIG",
    "add_rows",
    "copy",
    "digest_of",
    "first_version",
    "found_differences",
    "is_told",
    "prepare",
    "rows",
    "second_version",
    "values_of",
]

OLD_BIG, NEW_BIG = b"old" * 400_000, b"new" * 500_000
_ROWS = """
import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("PRAGMA journal_mode=wal")
c.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)")
[c.execute("INSERT INTO t DEFAULT VALUES") for _ in range(int(sys.argv[2]))]
c.commit()
os._exit(0)
"""
_databases: dict[str, dict[str, bytes]] = {}


def values_of(base: pathlib.Path, **changed: Any) -> dict[str, Any]:
    """Return the parameters of the copy."""
    return sync_values(base, **{"exclude": ["*.sqlite3-shm"], "delete": True, "workers": 1, **changed})


def copy(base: pathlib.Path, *, check: bool = False, **changed: Any) -> dict[str, Any]:
    """Copy in this process."""
    return synchronize(options_from(values_of(base, **changed)), check=check)


def first_version(base: pathlib.Path) -> None:
    """Make a source anew; nothing has been copied yet."""
    shutil.rmtree(base, ignore_errors=True)
    src = base / "src"
    (src / "logs").mkdir(parents=True)
    (src / "logs" / "a.log").write_text("old\n" * 100)
    os.link(src / "logs" / "a.log", src / "hard")
    (src / "link").symlink_to("old")
    (src / "big").write_bytes(OLD_BIG)
    (src / "gone").write_text("gone")
    _place_database(src, "old")


def second_version(base: pathlib.Path) -> None:
    """Change the source in every way: replaced, new, removed; a log of a database, links, a hole, a FIFO."""
    src = base / "src"
    (src / "logs" / "a.log").write_text("new\n" * 200)
    (src / "logs" / "c.log").write_text("new")
    (src / "new").mkdir()
    (src / "new" / "b.log").write_text("new")
    (src / "link").unlink()
    (src / "link").symlink_to("new")
    (src / "big").write_bytes(NEW_BIG)
    (src / "gone").unlink()
    with open(src / "sparse", "wb") as file:
        file.truncate(3 << 20)
        file.write(b"start")
    os.setxattr(src / "sparse", "user.note", b"kept")
    os.link(src / "new" / "b.log", src / "harder")
    os.mkfifo(src / "fifo")
    _place_database(src, "new")


def prepare(base: pathlib.Path) -> None:
    """Copy a first version, and make the second one."""
    first_version(base)
    copy(base)
    second_version(base)


def _place_database(src: pathlib.Path, version: str) -> None:
    """Put a database with rows that stand in its log alone."""
    for name, content in (_databases or _made_databases())[version].items():
        (src / name).write_bytes(content)


def _made_databases() -> dict[str, dict[str, bytes]]:
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "p.sqlite3")
        for version, count in (("old", 5), ("new", 4)):
            if os.path.exists(path):
                with contextlib.closing(sqlite3.connect(path)) as connection:  # folds the old log in
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            add_rows(path, count)
            _databases[version] = {}
            for name in ("p.sqlite3", "p.sqlite3-wal"):
                with open(os.path.join(directory, name), "rb") as file:
                    _databases[version][name] = file.read()
    return _databases


def add_rows(path: str | pathlib.Path, count: int) -> None:
    """Add rows to a database and die, so that they stand in the log alone."""
    subprocess.run([sys.executable, "-c", _ROWS, str(path), str(count)], check=True)


def rows(directory: pathlib.Path) -> int:
    """Return how many rows whoever opens the database finds, -1 where it is torn; it is not opened where it stands."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("p.sqlite3", "p.sqlite3-wal"):
            if (directory / name).exists():
                shutil.copy(directory / name, scratch)
        with contextlib.closing(sqlite3.connect(os.path.join(scratch, "p.sqlite3"))) as connection:
            try:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])
            except (sqlite3.DatabaseError, AssertionError):
                return -1


def digest_of(root: pathlib.Path) -> str:
    """Return the digest of a tree."""
    with open_root(str(root)) as opened:
        return tree_digest(scan(opened))


def found_differences(base: pathlib.Path, dest: pathlib.Path | None = None) -> list[str]:
    """Return what the judge finds, but for the memory that the databases' users share."""
    return [line for line in differences(base / "src", dest or base / "dest").splitlines() if "-shm" not in line]


def is_told(base: pathlib.Path) -> bool:
    """Return whether the manifest says what stands at the destination."""
    with open_root(str(base / "dest")) as root:
        files = [path for path, entry in scan(root).items() if entry.is_file]
        return read_manifest(f"{base}/dest.sha256") == {path: hash_file(root, path) for path in files}
