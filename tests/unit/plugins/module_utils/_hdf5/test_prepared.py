# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A split that begins with a prepared database ends as one that does not, whatever has changed meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5 import apply, prepared, split
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.prepared import prepared_in
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import remembered
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import read_header
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import remembering
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import file_row, make_products, snapshot
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module

INDEX = "hdf5_file_index"


class Case:
    """A products database, what is prepared of it, and a run directory."""

    def __init__(self, root: Path) -> None:
        self.root, self.products, self.hdf5 = root, root / "products.sqlite3", root / "hdf5.sqlite3"
        self.prepared, self.proofs = root / "run" / "prepared", root / "run" / "proofs.json"
        make_products(self.products, [file_row(number) for number in range(100)])

    def split(self, **changed: Any) -> dict[str, Any]:
        """Run the module."""
        places = {"products_db": str(self.products), "hdf5_db": str(self.hdf5), "proofs": str(self.proofs)}
        given = {"prepared_dir": str(self.prepared), "backup_dir": str(self.root / "run" / "backups")}
        return run_module("hdf5_db_split", {**places, **given, "compare_groups": True, **changed})

    def prepare(self) -> dict[str, Any]:
        """Prepare from databases that nothing has changed for a while."""
        time.sleep(0.05)
        return self.split(prepare=True)

    def execute(self, statement: str) -> None:
        """Change products."""
        with contextlib.closing(sqlite3.connect(self.products, isolation_level=None)) as connection:
            connection.execute(statement)

    def journal_modes(self) -> set[str]:
        """Return the journal mode of the HDF5 database, if there is one."""
        header = read_header(str(self.hdf5)) if self.hdf5.exists() else None
        return {header.journal_mode} if header else set()

    def is_current(self) -> bool:
        """Return whether what is prepared is certainly what a split makes."""
        with remembering(str(self.proofs), write=False, warn=pytest.fail) as proofs:
            found = prepared_in(str(self.prepared), str(self.products), proofs)
        assert found is not None
        return found.products is not None

    def made_without(self) -> str:
        """Return the content checksum of the HDF5 database that a split makes without anything prepared."""
        other = self.root / "other"
        other.mkdir()
        shutil.copy(self.products, other / "products.sqlite3")
        run_module("hdf5_db_split", {"products_db": str(other / "products.sqlite3"), "hdf5_db": str(other / "hdf5")})
        return content_checksum(str(other / "hdf5"))


@pytest.fixture(name="case")
def _case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_a_prepared_database_is_taken_as_it_is_where_nothing_has_changed(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(case.products.parent)
    made = case.prepare()
    assert made["changed"]
    assert not case.hdf5.exists()
    assert snapshot(case.products.parent)[str(case.products)] == before[str(case.products)]
    assert not case.prepare()["changed"]
    assert case.is_current()
    wanted = case.made_without()
    with monkeypatch.context() as patched:
        patched.setattr(apply, "_write_rows", lambda *_arguments: pytest.fail("it is made anew"))
        patched.setattr(apply, "_bring_up_to_date", lambda *_arguments: pytest.fail("rows are compared"))
        patched.setattr(remembered, "is_racy", lambda *_arguments: False)  # a larger one takes longer
        done = case.split()
    found = run_module("state_rows_info", {"path": str(case.root), "proofs": str(case.proofs)})
    assert str(case.hdf5) in found["remembered"]
    assert found["rows"]["./hdf5.sqlite3"]["tables"][INDEX]["rows"] == 100
    assert content_checksum(str(case.hdf5)) == wanted
    assert case.journal_modes() == {"wal"}
    assert case.hdf5.stat().st_mode == case.products.stat().st_mode
    assert done["tables"][INDEX]["moved"] == 100
    assert not case.prepared.exists()
    assert not case.split()["changed"]


@pytest.mark.parametrize(
    "change",
    [
        f"UPDATE {INDEX} SET group_id = 'other' WHERE rowid = 7",
        f"DELETE FROM {INDEX} WHERE rowid IN (3, 4)",
        f"INSERT INTO {INDEX} SELECT * FROM (SELECT * FROM {INDEX} LIMIT 0)",
        f"UPDATE {INDEX} SET rowid = rowid + 1000 WHERE rowid < 5",
        f"UPDATE {INDEX} SET path = path || '.new' WHERE rowid = 9",
        f"UPDATE {INDEX} SET file_size_bytes = NULL",
        f"DELETE FROM {INDEX}",
    ],
)
def test_rows_that_have_changed_since_are_written_anew(
    case: Case, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.prepare()
    case.execute(change)
    wanted = case.made_without() if change != f"DELETE FROM {INDEX}" else ""
    monkeypatch.setattr(apply, "_write_rows", lambda *_arguments: pytest.fail("it is made anew"))
    case.split()
    assert (content_checksum(str(case.hdf5)) if case.hdf5.exists() else "") == wanted
    assert case.journal_modes() <= {"wal"}


def test_new_rows_and_locations_are_added(case: Case) -> None:
    case.prepare()
    make_products(case.root / "more", [file_row(number) for number in range(100, 140)])
    with contextlib.closing(sqlite3.connect(case.products, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS more", (str(case.root / "more"),))
        connection.execute(f"INSERT INTO {INDEX} SELECT * FROM more.{INDEX}")
    wanted = case.made_without()
    case.split()
    assert content_checksum(str(case.hdf5)) == wanted


@pytest.mark.parametrize("damage", ["truncated", "other schema", "no database", "second one"])
def test_what_cannot_be_used_is_made_anew(case: Case, damage: str) -> None:
    case.prepare()
    (made,) = case.prepared.iterdir()
    if damage == "truncated":
        made.write_bytes(made.read_bytes()[:5000])
    elif damage == "no database":
        made.write_bytes(b"nothing")
    elif damage == "second one":
        shutil.copy(made, made.with_name("0" * 32 + ".prepared"))
    else:
        with contextlib.closing(sqlite3.connect(made, isolation_level=None)) as connection:
            connection.execute(f"DROP INDEX {one_index(connection)}")
    wanted = case.made_without()
    case.split()
    assert content_checksum(str(case.hdf5)) == wanted
    assert not case.prepared.exists()


def one_index(connection: sqlite3.Connection) -> str:
    """Return the name of an index."""
    query = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    return str(connection.execute(query).fetchone()[0])


def test_a_change_of_products_ends_the_certainty(case: Case) -> None:
    case.prepare()
    with contextlib.closing(sqlite3.connect(case.products, isolation_level=None)) as connection:
        connection.execute(f"UPDATE {INDEX} SET group_id = 'other' WHERE rowid = 7")
    assert not case.is_current()
    wanted = case.made_without()
    case.split()
    assert content_checksum(str(case.hdf5)) == wanted


def test_bytes_that_are_not_those_that_were_proved_are_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage of a device changes no time: what is remembered of the file says that it is the same."""
    case.prepare()
    wanted = case.made_without()
    (made,) = case.prepared.iterdir()
    other = case.root / "damaged"
    other.write_bytes(made.read_bytes()[:-1] + b"x")
    assert case.is_current()
    monkeypatch.setattr(prepared, "open_regular", lambda _path: os.open(other, os.O_RDONLY))
    case.split()
    assert content_checksum(str(case.hdf5)) == wanted


def test_a_file_that_was_not_prepared_is_neither_used_nor_removed(case: Case) -> None:
    case.prepare()
    observation = case.prepared / "2025-10-02T00:00:00_sb00.hdf5"
    observation.touch()
    case.split()
    assert [path.name for path in case.prepared.iterdir()] == [observation.name]


def test_a_directory_that_is_a_link_or_that_others_may_write_to_is_left_alone(case: Case) -> None:
    elsewhere = case.root / "elsewhere"
    case.prepare()
    case.prepared.rename(elsewhere)
    case.prepared.symlink_to(elsewhere)
    elsewhere.chmod(0o700)
    (made,) = elsewhere.iterdir()
    case.split()
    assert made.exists()
    case.prepared.unlink()
    elsewhere.rename(case.prepared)
    case.prepared.chmod(0o777)
    case.split()
    assert len(list(case.prepared.iterdir())) == 1


def test_what_is_known_of_a_prepared_database_is_not_noted_of_one_that_has_changed_since(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(_directory: object) -> None:
        with contextlib.closing(sqlite3.connect(case.hdf5, isolation_level=None)) as connection:
            connection.execute(f"DELETE FROM {INDEX} WHERE rowid < 11")
        time.sleep(0.05)

    case.prepare()
    monkeypatch.setattr(split, "forget", changed)
    case.split()
    found = run_module("state_rows_info", {"path": str(case.root), "proofs": str(case.proofs)})
    assert found["rows"]["./hdf5.sqlite3"]["tables"][INDEX]["rows"] == 90


def test_what_is_prepared_is_given_up_where_there_is_no_room_else(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def room(*arguments: Any) -> None:
        if case.prepared.exists():
            raise ContimgError("has not enough space")
        required(*arguments)

    case.prepare()
    wanted = case.made_without()
    required = split._require_space
    monkeypatch.setattr(split, "_require_space", room)
    case.split()
    assert content_checksum(str(case.hdf5)) == wanted


def test_groups_are_compared_where_what_is_prepared_turns_out_to_be_another_one(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.prepare()
    seen: list[str] = []
    monkeypatch.setattr(prepared.Prepared, "is_current", lambda *_arguments: False)
    monkeypatch.setattr(split, "require_same_answers", lambda *_arguments, **sides: seen.append(sides["target"]))
    case.split()
    assert seen == [str(case.hdf5)]


@pytest.mark.parametrize(
    ("changes", "later"),
    [
        (["ALTER TABLE {0} ADD COLUMN note", "UPDATE {0} SET note = 1"], "UPDATE {0} SET note = 1.0"),
        (["ALTER TABLE {0} ADD COLUMN subband_num REAL"], "UPDATE {0} SET subband_num = 5"),
        (["ALTER TABLE {0} ADD COLUMN _rowid_ TEXT"], "UPDATE {0} SET file_size_bytes = NULL"),
    ],
    ids=["without a type", "a number as REAL", "named as the number of a row"],
)
def test_a_column_of_another_form_ends_as_without_anything_prepared(case: Case, changes: list[str], later: str) -> None:
    for change in changes:
        case.execute(change.format(INDEX))
    case.prepare()
    case.execute(later.format(INDEX) + " WHERE filename LIKE '%sb03%'")
    wanted = case.made_without()
    case.split()
    assert content_checksum(str(case.hdf5)) == wanted


def test_rows_without_numbers_keep_their_order(case: Case) -> None:
    with contextlib.closing(sqlite3.connect(case.products, isolation_level=None)) as connection:
        (table,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (INDEX,)).fetchone()
        connection.execute(f"ALTER TABLE {INDEX} RENAME TO kept")
        connection.execute(f"{table} WITHOUT ROWID")
        connection.execute(f"INSERT INTO {INDEX} SELECT * FROM kept")
        connection.execute("DROP TABLE kept")
    case.prepare()
    case.execute(f"UPDATE {INDEX} SET group_id = 'other' WHERE filename LIKE '%sb03%'")
    wanted = case.made_without()
    case.split()
    assert content_checksum(str(case.hdf5)) == wanted


def test_only_a_plan_is_made_in_check_mode(case: Case) -> None:
    before = snapshot(case.root)
    assert run_module(
        "hdf5_db_split",
        {
            "products_db": str(case.products),
            "hdf5_db": str(case.hdf5),
            "prepared_dir": str(case.prepared),
            "prepare": True,
        },
        check=True,
    )["changed"]
    assert snapshot(case.root) == before


def test_a_column_that_was_added_since_is_kept(case: Case) -> None:
    case.prepare()
    case.execute(f"ALTER TABLE {INDEX} ADD COLUMN note TEXT DEFAULT 'x'")
    wanted = case.made_without()
    case.split()
    assert content_checksum(str(case.hdf5)) == wanted
