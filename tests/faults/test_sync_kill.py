# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy killed before each call that writes; the sample of the unit tests takes some points, ``make faults`` all.

A second version of a tree is copied over a first one: a database with rows in its log on both sides, hard links, a log
that grew, a link that points elsewhere.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.plugins.module_utils._sync import options_from, synchronize
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import open_root, scan, tree_digest
from ansible_collections.dsa110.contimg.tests.support.sync_options import sync_values
from ansible_collections.dsa110.contimg.tests.support.trees import differences

if TYPE_CHECKING:
    import pathlib

# How many points are tried of all that there are; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "12"))
CALLS = (
    "pwrite64 rename renameat fsync mkdirat linkat symlinkat mknodat unlinkat fchmod fchown chown utimensat ftruncate"
)
RUN = "import json, sys; from ansible_collections.dsa110.contimg.plugins.module_utils._sync import *; "
RUN += "synchronize(options_from(json.loads(sys.argv[1])), check=False)"
ROWS = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode=wal'); "
ROWS += "c.execute('CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)'); "
ROWS += "[c.execute('INSERT INTO t DEFAULT VALUES') for _ in range(int(sys.argv[2]))]; c.commit(); os._exit(0)"


def options(base: pathlib.Path) -> dict[str, Any]:
    return sync_values(base, exclude=["*.sqlite3-shm"], delete=True, workers=1)


def copy(base: pathlib.Path) -> dict[str, Any]:
    return synchronize(options_from(options(base)), check=False)


def add_rows(path: pathlib.Path, count: int) -> None:
    """Add rows and die, so that they stand in the log alone."""
    subprocess.run([sys.executable, "-c", ROWS, str(path), str(count)], check=True)


def prepare(base: pathlib.Path) -> None:
    """Copy a first version, and make the second one."""
    shutil.rmtree(base, ignore_errors=True)
    src = base / "src"
    (src / "logs").mkdir(parents=True)
    (src / "logs" / "a.log").write_text("old\n" * 100)
    os.link(src / "logs" / "a.log", src / "hard")
    (src / "link").symlink_to("old")
    (src / "big").write_bytes(b"old" * 400_000)
    add_rows(src / "p.sqlite3", 5)
    copy(base)
    (src / "logs" / "a.log").write_text("new\n" * 200)
    (src / "logs" / "b.log").write_text("new")
    (src / "link").unlink()
    (src / "link").symlink_to("new")
    (src / "big").write_bytes(b"new" * 500_000)
    os.mkfifo(src / "fifo")
    with contextlib.closing(sqlite3.connect(src / "p.sqlite3")) as connection:  # folds the old log in
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    add_rows(src / "p.sqlite3", 4)


def killed_at(base: pathlib.Path, *inject: str) -> subprocess.CompletedProcess[str]:
    """Copy under ``strace``."""
    log = ["strace", "-f", "-qq", "-o", str(base / "trace"), "-e", f"trace={','.join(CALLS.split())}", *inject]
    command = [*log, os.path.realpath(sys.executable), "-c", RUN, json.dumps(options(base))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True)


def all_points(base: pathlib.Path) -> list[tuple[str, int]]:
    """Return each call that a whole run makes, with its ordinal among those of its name; a thread counts for itself."""
    prepare(base)
    assert killed_at(base).returncode == 0
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for line in (base / "trace").read_text().splitlines():
        thread, call = line.split(maxsplit=1)
        if call.partition("(")[0] in CALLS.split():
            counts[thread, call.partition("(")[0]] += 1
    return sorted({(name, ordinal + 1) for (_thread, name), count in counts.items() for ordinal in range(count)})


def rows(folder: pathlib.Path, scratch: pathlib.Path) -> int:
    """Return how many rows whoever opens the database finds, without opening it."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for name in ("p.sqlite3", "p.sqlite3-wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, scratch / name)
    with contextlib.closing(sqlite3.connect(scratch / "p.sqlite3")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def state_of(root: pathlib.Path) -> str:
    with open_root(str(root)) as opened:
        return tree_digest(scan(opened))


def check(base: pathlib.Path) -> None:
    """Nothing is torn, and the next run finishes."""
    assert rows(base / "dest", base / "scratch") in (5, 9)
    assert (base / "dest" / "big").read_bytes() in (b"old" * 400_000, b"new" * 500_000)
    for name in ("hard", "logs/a.log"):
        assert (base / "dest" / name).read_text() in ("old\n" * 100, "new\n" * 200)
    assert os.readlink(base / "dest" / "link") in ("old", "new")
    copy(base)
    found = [line for line in differences(base / "src", base / "dest").splitlines() if "-shm" not in line]
    assert found == []
    assert rows(base / "dest", base / "scratch") == 9
    assert copy(base)["changed"] is False


def test_a_copy_killed_before_any_call_loses_and_tears_nothing(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    points = all_points(base)
    assert len(points) > 60
    step = max(1, len(points) // POINTS) if POINTS else 1
    for name, ordinal in points[::step]:
        prepare(base)
        before = state_of(base / "src")
        died = killed_at(base, "-e", f"inject={name}:signal=KILL:when={ordinal}")
        assert died.returncode != 0, (name, ordinal)
        assert state_of(base / "src") == before, (name, ordinal)
        try:
            check(base)
        except AssertionError as error:
            raise AssertionError(f"killed before {name} number {ordinal}") from error
