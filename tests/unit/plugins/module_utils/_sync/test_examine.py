# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of files before a plan is made: what it needs to know, and no file more often than once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import examine
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Sides
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.observe import observe
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import copy, values_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    for side in ("src", "dest"):
        (tmp_path / side).mkdir()
    return tmp_path


@pytest.fixture(name="read", autouse=True)
def _read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the files that are read as a whole, in their order, as they are called in the source or at the destination."""
    read: list[str] = []

    def reading(root: int, path: bytes) -> str:
        read.append(os.fsdecode(path))
        return hash_file(root, path)

    monkeypatch.setattr(examine, "hash_file", reading)
    return read


def found(base: Path, **changed: Any) -> examine.Findings:
    options = options_from(values_of(base, **changed))
    with open_root(options.src) as source, open_root(options.dest) as target:
        return observe(Sides(source, target), options).findings


def write(base: Path, path: str, here: str, there: str) -> None:
    (base / "src" / path).write_text(here)
    (base / "dest" / path).write_text(there)


def make_database(path: Path, rows: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO t VALUES (?)", ((row,) for row in range(rows)))
        connection.commit()


def test_only_unknown_files_of_equal_size_are_read(base: Path, read: list[str]) -> None:
    write(base, "equal", "same", "same")
    write(base, "other", "this", "that")
    write(base, "longer", "longer", "short")
    (base / "src" / "new").write_text("new")
    assert list(found(base).equal) == [b"equal"]
    assert read == ["equal", "equal", "other", "other"]


def test_what_an_earlier_pass_knows_is_not_read(base: Path, read: list[str]) -> None:
    (base / "src" / "a").write_text("a")
    os.link(base / "src" / "a", base / "src" / "b")  # names of one file are judged together, whatever is known of them
    time.sleep(0.05)  # a change just before the pass might not show in a ctime
    copy(base)
    read.clear()
    assert found(base).equal == {}
    assert read == []


def test_names_of_one_file_are_compared_once(base: Path, read: list[str]) -> None:
    write(base, "a", "same", "same")
    for side in ("src", "dest"):
        for name in ("b", "c"):
            os.link(base / side / "a", base / side / name)
    assert sorted(found(base).equal) == [b"a", b"b", b"c"]
    assert read == ["a", "a"]


def test_other_attributes_of_an_equal_file_are_found(base: Path) -> None:
    write(base, "a", "same", "same")
    write(base, "b", "same", "same")
    for path in (base / "src" / "a", base / "src" / "b", base / "dest" / "b"):
        os.setxattr(path, "user.note", b"1")
    for name in ("a", "b"):
        os.utime(base / "src" / name, (5, 5))
        os.utime(base / "dest" / name, (5, 5))
    assert found(base).altered == {b"a"}


def test_a_database_that_is_not_of_this_copy_is_compared_as_a_whole(base: Path, read: list[str]) -> None:
    make_database(base / "src" / "p", 1)
    make_database(base / "dest" / "p", 5)
    write(base, "p-wal", "", "log!")
    (base / "src" / "p-wal").write_text("log?")
    findings = found(base)
    assert list(findings.relations) == [b"p"]
    assert read == ["p", "p"]  # and no log: it goes with its database, whatever is in it


def test_a_database_of_which_the_operator_has_decided_is_not_compared_by_rows(base: Path) -> None:
    make_database(base / "src" / "p", 1)
    (base / "dest" / "p").mkdir()
    assert found(base, decisions={"p": "keep"}).relations == {b"p": examine.UNASKED}
