# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No database that a module opens makes it create, change or remove anything outside of where the operator sent it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    file_row,
    make_hdf5,
    make_products,
    new_row,
    snapshot,
)
from ansible_collections.dsa110.contimg.tests.support.databases.hot_journals import (
    JOURNAL_MODES,
    content,
    interrupt,
    interrupt_pair,
    make_pair,
    plant,
)
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import Writer
from ansible_collections.dsa110.contimg.tests.support.modules.confined_modules import calls_of_all_modules, run_modules
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module

if TYPE_CHECKING:
    import pathlib

#: Where Python, SQLite and Ansible may look for a terminal or a lock of their own.
_HARMLESS = ("/dev/",)


@pytest.mark.parametrize("planted", ["", "products", "both"])
@pytest.mark.parametrize("mode", JOURNAL_MODES)
def test_no_module_changes_anything_outside_of_its_directories(tmp_path: pathlib.Path, mode: str, planted: str) -> None:
    state, place, outside = tmp_path / "state", tmp_path / "place", tmp_path / "outside"
    for directory in (state, place / "sets", place / "run", outside):
        directory.mkdir(parents=True)
    victim = outside / "a.db-mj012345678"
    victim.write_text("victim")
    rows = [file_row(number) for number in range(300)]
    products = make_products(state / "products.sqlite3", rows, journal_mode="WAL" if mode == "wal" else "DELETE")
    hdf5 = make_hdf5(state / "hdf5.sqlite3", [new_row(900)])
    interrupt(products, mode, "UPDATE hdf5_file_index SET path = path || zeroblob(500)")
    if planted:
        plant(products, victim)
    if planted == "both":
        plant(hdf5, victim)
    before = snapshot(outside)
    run = run_modules(calls_of_all_modules(state, place), tmp_path / "tmp")
    allowed = (*(f"{directory}/" for directory in (state, place, tmp_path / "tmp")), str(place), *_HARMLESS)
    assert [path for path in sorted(run.changed) if not os.path.abspath(path).startswith(allowed)] == []
    assert (snapshot(outside), str(victim) in run.log) == (before, False)
    refused = {name for name, result in run.results if "super-journal" in result.get("msg", "")}
    assert bool(refused) == bool(planted)
    assert not [result for _name, result in run.results if "Traceback" in str(result)]


@pytest.mark.parametrize("hdf5", [False, True])
@pytest.mark.parametrize("kind", ["idle", "interrupted", "in use"])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_no_preview_opens_anything_of_the_source_for_writing(
    tmp_path: pathlib.Path, mode: str, kind: str, *, hdf5: bool
) -> None:
    state, place = tmp_path / "state", tmp_path / "place"
    for directory in (state, place / "sets", place / "run"):
        directory.mkdir(parents=True)
    journal_mode = "WAL" if mode == "wal" else "DELETE"
    rows = [file_row(number) for number in range(300)]
    databases = [make_products(state / "products.sqlite3", rows, journal_mode=journal_mode)]
    if hdf5:
        databases.append(make_hdf5(state / "hdf5.sqlite3", [new_row(900)]))
    if kind == "interrupted":
        interrupt(databases[0], mode, "UPDATE hdf5_file_index SET path = path || zeroblob(500)")
    with contextlib.ExitStack() as stack:
        if kind == "in use":
            for database in databases:
                stack.enter_context(contextlib.closing(Writer(database)))("SELECT count(*) FROM sqlite_master")
        before = snapshot(tmp_path)
        checks = [call for call in calls_of_all_modules(state, place) if call[2]]
        run = run_modules(checks, tmp_path / "tmp")
        assert [path for path in sorted(run.changed) if f"{os.path.abspath(path)}/".startswith(f"{state}/")] == []
        assert {path: facts for path, facts in snapshot(tmp_path).items() if path in before} == before
    done = {name for name, result in run.results if "msg" not in result}
    assert {"hdf5_db_split", "state_sync", "sqlite_backup", "ms_index_reconcile", "database_paths"} <= done
    assert not [result for _name, result in run.results if "Traceback" in str(result)]


@pytest.mark.parametrize("answer", ["fail", "replace"])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_what_is_planted_at_the_destination_of_a_copy_reaches_nothing_else(
    tmp_path: pathlib.Path, mode: str, answer: str
) -> None:
    state, place, outside = tmp_path / "state", tmp_path / "place", tmp_path / "outside"
    for directory in (state, place, outside):
        directory.mkdir()
    victim = outside / "a.db-mj012345678"
    victim.write_text("victim")
    products = make_products(
        state / "products.sqlite3", [file_row(number) for number in range(300)], journal_mode="DELETE"
    )
    sync = {"src": str(state), "dest": str(place / "dest"), "manifest": str(place / "MANIFEST"), "workers": 1}
    sync |= {"on_conflict": answer, "backup_dir": str(place / "backups")}
    first = run_modules([("state_sync", sync, False)], tmp_path / "tmp")
    assert first.results[0][1]["changed"]
    interrupt(products, mode, "UPDATE hdf5_file_index SET path = path || zeroblob(500)")
    copy = place / "dest" / "products.sqlite3"
    plant(copy, victim)
    run = run_modules([("state_sync", sync, True), ("state_sync", sync, False)], tmp_path / "tmp")
    allowed = (f"{place}/", f"{tmp_path}/tmp/", *_HARMLESS)
    assert [path for path in sorted(run.changed) if not os.path.abspath(path).startswith(allowed)] == []
    assert (victim.read_text(), str(victim) in run.log) == ("victim", False)
    told = run.results[1][1]
    if answer == "fail":
        assert "not comparable: has a journal of an interrupted transaction over several databases" in told["msg"]
    else:
        assert told["changed"]
        assert content_checksum(str(copy)) == content_checksum(str(products))


def test_a_copy_refuses_a_database_whose_transaction_cannot_be_finished_elsewhere(tmp_path: pathlib.Path) -> None:
    super_journal = interrupt_pair(tmp_path / "state", "delete")
    sync = {"src": str(tmp_path / "state"), "dest": str(tmp_path / "dest"), "manifest": str(tmp_path / "MANIFEST")}
    before = snapshot(tmp_path / "state")
    for live in (True, False):
        for check in (True, False):
            with pytest.raises(ContimgError) as caught:
                run_module("state_sync", {**sync, "live": live}, check=check)
            assert f"part of an interrupted transaction over several databases: its journal names {super_journal}" in (
                caught.value.message
            )
            assert "Nothing was touched. Open each database" in caught.value.message
    assert (snapshot(tmp_path / "state"), (tmp_path / "dest").exists()) == (before, False)
    for name in ("a.db", "b.db"):
        content(tmp_path / "state" / name)  # as its service does
    assert run_module("state_sync", sync)["changed"]
    assert content_checksum(str(tmp_path / "dest" / "a.db")) == content_checksum(str(tmp_path / "state" / "a.db"))


def test_a_live_copy_takes_no_writer_at_work_for_an_interrupted_one(tmp_path: pathlib.Path) -> None:
    make_pair(tmp_path / "state")
    sync = {"src": str(tmp_path / "state"), "dest": str(tmp_path / "dest"), "manifest": str(tmp_path / "MANIFEST")}
    with contextlib.closing(Writer(tmp_path / "state" / "a.db")) as writer:
        writer("BEGIN IMMEDIATE")
        plant(tmp_path / "state" / "a.db", tmp_path / "state" / "a.db-mj012345678")
        assert run_module("state_sync", {**sync, "live": True})["changed"]
