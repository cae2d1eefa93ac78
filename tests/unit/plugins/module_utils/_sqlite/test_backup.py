# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of real databases, one of them with rows in its log alone."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.backup import back_up_database, plan_backup
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_within

if TYPE_CHECKING:
    from pathlib import Path

FULL = """
import os, subprocess, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.backup import back_up_database, plan_backup
path, directory = sys.argv[1:]
subprocess.run(["mount", "-o", "remount,size=1m", directory], check=True)
try:
    back_up_database(plan_backup(path, directory))
except ContimgError as error:
    print(error.message, os.listdir(directory))
"""


def rows(path: str) -> list[tuple[int]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT a FROM t ORDER BY a").fetchall()


def test_a_backup_holds_what_stands_in_the_log_and_is_made_once(tmp_path: Path) -> None:
    path, kept = str(tmp_path / "a.sqlite3"), str(tmp_path / "kept")
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE t (a)")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.commit()
        plan = plan_backup(path, kept)
        assert not plan.exists
        assert not os.path.exists(kept)
        target = back_up_database(plan)
        assert plan_backup(path, kept).exists
        writer.execute("INSERT INTO t VALUES (2)")
        writer.commit()
        other = back_up_database(plan_backup(path, kept))
    assert (rows(target), rows(other)) == ([(1,)], [(1,), (2,)])
    assert sorted(os.listdir(kept)) == sorted(map(os.path.basename, (target, other)))
    assert os.stat(kept).st_mode & 0o777 == 0o700


def test_a_copy_that_was_damaged_since_does_not_count(tmp_path: Path) -> None:
    path, kept = str(tmp_path / "a.sqlite3"), str(tmp_path / "kept")
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("CREATE TABLE t (a)")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.commit()
    target = back_up_database(plan_backup(path, kept))
    with contextlib.closing(sqlite3.connect(target)) as vandal:
        vandal.execute("DELETE FROM t")
        vandal.commit()
    plan = plan_backup(path, kept)
    assert not plan.exists
    back_up_database(plan)
    assert rows(target) == [(1,)]


def test_what_is_no_database_is_not_backed_up(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ContimgError, match=r"a\.txt: is not an SQLite database"):
        plan_backup(str(tmp_path / "a.txt"), str(tmp_path))


def test_a_disk_that_is_full_is_that_of_the_copy(tmp_path: Path) -> None:
    path, kept = str(tmp_path / "a.sqlite3"), tmp_path / "kept"
    kept.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("CREATE TABLE t AS SELECT randomblob(2000000) AS a")
        writer.commit()
    said = run_within([(None, kept)], FULL, path, kept)
    where = rf"{re.escape(str(kept))}/a\.sqlite3\.[0-9a-f]+"
    assert re.match(where + r": could not write the backup: SQLite reports '.*is full'.*Make room.* \[\]$", said), said
