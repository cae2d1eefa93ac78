# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the report on one database or on all below a folder."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.report import find_databases, report
from ansible_collections.dsa110.contimg.tests.support.sqlite_cases import make, with_connection

if TYPE_CHECKING:
    import pathlib

SCRIPT = "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'one');"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with two databases of any name, one further below, and what is none."""
    here = tmp_path / "here"
    (here / "below").mkdir(parents=True)
    for name in ("a.sqlite3", "without-suffix", "below/c.db"):
        make(here / name, SCRIPT)
    make(here / "linked-from", SCRIPT).rename(tmp_path / "elsewhere")
    (here / "link").symlink_to(tmp_path / "elsewhere")
    (here / "notes.txt").write_text("no database")
    (here / "a.sqlite3-wal").write_bytes(b"")
    os.mkfifo(here / "pipe")
    return here


def asked(path: pathlib.Path, **options: Any) -> dict[str, Any]:
    defaults = {"recurse": False, "compare_to": None, "integrity": "none", "tables": False, "workers": 1}
    return report(str(path), **{**defaults, **options})


def test_databases_are_found_by_their_header(folder: pathlib.Path) -> None:
    assert find_databases(str(folder), recurse=False) == [f"{folder}/a.sqlite3", f"{folder}/without-suffix"]
    assert find_databases(str(folder), recurse=True)[1:] == [f"{folder}/below/c.db", f"{folder}/without-suffix"]
    assert find_databases(str(folder / "a.sqlite3"), recurse=False) == [f"{folder}/a.sqlite3"]


@pytest.mark.parametrize("name", ["x.sqlite3", "x.sqlite", "x.db"])
def test_what_is_only_named_as_a_database_is_reported(folder: pathlib.Path, name: str) -> None:
    (folder / name).write_text("no database")
    with pytest.raises(ContimgError, match=f"{name}: is named as a database but is not a database"):
        find_databases(str(folder), recurse=False)


def test_a_folder_is_compared_name_by_name(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    there = tmp_path / "there"
    (there / "below").mkdir(parents=True)
    for name in ("a.sqlite3", "below/c.db"):
        shutil.copy(folder / name, there / name)
    with_connection(there / "a.sqlite3", "INSERT INTO t VALUES(2, 'two')")
    found = asked(folder, recurse=True, compare_to=str(there))
    assert [one["relation"] for one in found["databases"]] == ["behind", "identical", "ahead"]
    assert found["identical"] is False
    assert found["differences"][f"{folder}/without-suffix"]["missing"] is True
    difference = found["differences"][f"{folder}/a.sqlite3"]
    assert difference["compared_to"] == f"{there}/a.sqlite3"
    assert (difference["tables"]["t"]["only_there"], difference["tables"]["t"]["sample"]) == (1, ("id=2",))


def test_one_database_is_compared_with_its_namesake_in_a_folder(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "there").mkdir()
    shutil.copy(folder / "a.sqlite3", tmp_path / "there")
    assert asked(folder / "a.sqlite3", compare_to=str(tmp_path / "there"))["identical"] is True
    assert asked(folder / "a.sqlite3", compare_to=str(folder / "without-suffix"))["identical"] is True


def test_a_name_that_is_no_text_is_compared_too(tmp_path: pathlib.Path) -> None:
    name = os.fsdecode(b"\xff.db")
    make(tmp_path / name, SCRIPT)
    (tmp_path / "there").mkdir()
    shutil.copy(tmp_path / name, tmp_path / "there")
    found = asked(tmp_path, compare_to=str(tmp_path / "there"))
    assert (found["databases"][0]["path"], found["identical"]) == (f"{tmp_path}/\\xff.db", True)
