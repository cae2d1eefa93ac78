# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the report on one database or on all below a directory."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.report import (
    find_databases,
    report,
    report_all,
)
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import make, with_connection

if TYPE_CHECKING:
    import pathlib

SCRIPT = "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'one');"


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with two databases of any name, one further below, and what is none."""
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


def test_databases_are_found_by_their_header(directory: pathlib.Path) -> None:
    assert find_databases(str(directory), recurse=False) == [f"{directory}/a.sqlite3", f"{directory}/without-suffix"]
    assert find_databases(str(directory), recurse=True)[1:] == [
        f"{directory}/below/c.db",
        f"{directory}/without-suffix",
    ]
    assert find_databases(str(directory / "a.sqlite3"), recurse=False) == [f"{directory}/a.sqlite3"]


@pytest.mark.parametrize("name", ["x.sqlite3", "x.sqlite", "x.db"])
def test_what_is_only_named_as_a_database_is_reported(directory: pathlib.Path, name: str) -> None:
    (directory / name).write_text("no database")
    with pytest.raises(ContimgError, match=f"{name}: is named as a database but is not a database"):
        find_databases(str(directory), recurse=False)


def test_a_directory_is_compared_name_by_name(directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    there = tmp_path / "there"
    (there / "below").mkdir(parents=True)
    for name in ("a.sqlite3", "below/c.db"):
        shutil.copy(directory / name, there / name)
    with_connection(there / "a.sqlite3", "INSERT INTO t VALUES(2, 'two')")
    found = asked(directory, recurse=True, compare_to=str(there))
    assert [one["relation"] for one in found["databases"]] == ["behind", "identical", "ahead"]
    assert found["identical"] is False
    assert found["differences"][f"{directory}/without-suffix"]["missing"] is True
    difference = found["differences"][f"{directory}/a.sqlite3"]
    assert difference["compared_to"] == f"{there}/a.sqlite3"
    assert (difference["tables"]["t"]["only_there"], difference["tables"]["t"]["sample"]) == (1, ("id=2",))


def test_one_database_is_compared_with_its_namesake_in_a_directory(
    directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "there").mkdir()
    shutil.copy(directory / "a.sqlite3", tmp_path / "there")
    assert asked(directory / "a.sqlite3", compare_to=str(tmp_path / "there"))["identical"] is True
    assert asked(directory / "a.sqlite3", compare_to=str(directory / "without-suffix"))["identical"] is True


def test_a_name_that_is_no_text_is_compared_too(tmp_path: pathlib.Path) -> None:
    name = os.fsdecode(b"\xff.db")
    make(tmp_path / name, SCRIPT)
    (tmp_path / "there").mkdir()
    shutil.copy(tmp_path / name, tmp_path / "there")
    found = asked(tmp_path, compare_to=str(tmp_path / "there"))
    assert (found["databases"][0]["path"], found["identical"]) == (f"{tmp_path}/\\xff.db", True)


def several(*databases: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Return what ``sqlite_checksum`` reports of the databases of its list."""
    listed = [{"compare_to": None, "integrity": "none", **one, "path": str(one["path"])} for one in databases]
    path = {"path": None, "compare_to": None, "integrity": "none"}
    return report_all({**path, "recurse": False, "tables": False, "workers": 1, "databases": listed, **values})


def test_each_of_several_databases_is_reported_as_it_is_alone(directory: pathlib.Path) -> None:
    one, other = directory / "a.sqlite3", directory / "below" / "c.db"
    with_connection(other, "INSERT INTO t VALUES(2, 'two')")
    found = several({"path": other, "compare_to": str(one), "integrity": "full"}, {"path": one, "compare_to": str(one)})
    alone = [asked(other, compare_to=str(one), integrity="full"), asked(one, compare_to=str(one))]
    assert found["databases"] == [*alone[0]["databases"], *alone[1]["databases"]]
    assert [(checked["relation"], checked["integrity"]) for checked in found["databases"]] == [
        ("ahead", "ok"),
        ("identical", "not checked"),
    ]
    assert (found["identical"], found["differences"]) == (False, alone[0]["differences"])
    assert several({"path": one})["identical"] is True
    assert several() == {"databases": [], "identical": True, "differences": {}, "remembered": {}}


def test_each_of_several_databases_has_its_own_check(directory: pathlib.Path) -> None:
    """Rows that the schema forbids are an error only where the check of that database was asked for."""
    forbidden = directory / "forbidden.sqlite3"
    declared = "UPDATE sqlite_master SET sql = 'CREATE TABLE t(v NOT NULL)' WHERE name = 't'"
    make(forbidden, f"CREATE TABLE t(v); INSERT INTO t VALUES(NULL); PRAGMA writable_schema = 1; {declared}")
    sound = {"path": directory / "a.sqlite3", "integrity": "full"}
    assert several(sound, {"path": forbidden})["databases"][1]["integrity"] == "not checked"
    with pytest.raises(ContimgError, match="holds rows that its own schema forbids"):
        several(sound, {"path": forbidden, "integrity": "full"})
