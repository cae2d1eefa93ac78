# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module that opens a database can do: with schemas that are not known here, with links, and with long names."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.tests.support.databases.foreign_schemas import FOREIGN, make_foreign
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    file_row,
    make_hdf5,
    make_products,
    new_row,
    rows_of,
    snapshot,
)
from ansible_collections.dsa110.contimg.tests.support.databases.hot_journals import interrupt
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module

if TYPE_CHECKING:
    import pathlib

_REPOINT = [{"from": "/stage", "to": "/fast"}]


def mapped(name: str, **further: Any) -> list[dict[str, Any]]:
    return [{"name": "it", "src": [name], "dest": name, **further}]


@pytest.fixture(name="state")
def _state(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("state", "dest", "sets"):
        (tmp_path / name).mkdir()
    return tmp_path / "state"


@pytest.mark.parametrize("integrity", ["quick", "full"])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_only_its_own_program_knows_is_no_damage(state: pathlib.Path, name: str, integrity: str) -> None:
    path = make_foreign(state / "a.db", name)
    make_foreign(state.parent / "dest" / "a.db", name, "DELETE FROM t WHERE a = '/stage/two'")
    before = snapshot(state)
    checked = run_module("sqlite_checksum", {"path": str(path), "integrity": integrity, "tables": True})["databases"][0]
    assert checked["tables"]["t"]["rows"] == 2
    assert checked["integrity"] == "ok" or (
        checked["integrity"].startswith("not made: SQLite reports '")
        and name != "JSON"
        and "unsafe" not in checked["integrity"]
    )
    map_ = {"src": str(state), "dest": str(state.parent / "dest"), "databases": mapped("a.db"), "integrity": integrity}
    found = run_module("state_databases_info", map_)
    assert (found["databases"][0]["relation"], found["databases"][0]["integrity"]) == ("behind", checked["integrity"])
    assert found["databases"][0]["newest"]["src"].startswith("2026-01-02")
    assert ("not made" in found["table"]) == ("not made" in checked["integrity"])
    paths = {"databases": [{"path": str(path)}], "repoint": _REPOINT}
    assert run_module("database_paths", paths)["totals"]["rows"] == 2
    copy = run_module("sqlite_backup", {"path": str(path), "backup_dir": str(state.parent / "backups")})
    assert copy["checksum"] == checked["checksum"]
    misplaced = {"databases": [str(state.parent / "dest" / "a.db")], "places": [str(path)]}
    assert run_module("misplaced_databases", misplaced)["databases"][0]["relation"] == "ahead"
    assert snapshot(state) == before


@pytest.mark.parametrize("name", ["an index on a function", "a collation", "a key by a collation"])
def test_what_cannot_be_rewritten_here_is_not_called_damaged(state: pathlib.Path, name: str) -> None:
    path = make_foreign(state / "a.db", name)
    paths = {"databases": [{"path": str(path)}], "repoint": _REPOINT, "state": "rewritten"}
    with pytest.raises(ContimgError) as caught:
        run_module("database_paths", paths)
    assert "It is not damaged" in caught.value.message
    assert "estore" not in caught.value.message


def test_rows_under_a_check_of_json_are_rewritten(state: pathlib.Path) -> None:
    path = make_foreign(state / "a.db", "JSON")
    paths = {"databases": [{"path": str(path)}], "repoint": _REPOINT, "state": "rewritten"}
    assert run_module("database_paths", paths)["totals"]["rows"] == 2
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT a, b FROM t ORDER BY a").fetchone() == ("/fast/one", '["/fast/one"]')


def test_the_check_can_be_left_out_for_one_database(state: pathlib.Path) -> None:
    """SQLite's check also finds rows that a constraint forbids which came later: that is no damage, and stops a move."""
    path = state / "a.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("CREATE TABLE t(a); INSERT INTO t VALUES(NULL); PRAGMA writable_schema = 1;")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE t(a NOT NULL)'")
    values = {"src": str(state), "dest": str(state.parent / "dest"), "integrity": "quick"}
    with pytest.raises(ContimgError) as caught:
        run_module("state_databases_info", {**values, "databases": mapped("a.db")})
    assert "holds rows that its own schema forbids: NULL value in t.a" in caught.value.message
    assert "It is not damaged" in caught.value.message
    found = run_module("state_databases_info", {**values, "databases": mapped("a.db", integrity="none")})
    assert found["databases"][0]["integrity"] == "not checked"
    interrupt(path, "wal", "CREATE TABLE further(a)")
    run_module("state_databases_info", {**values, "databases": mapped("a.db", integrity="none")})


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_link_to_a_database_is_read_with_what_stands_beside_the_real_one(state: pathlib.Path, mode: str) -> None:
    path = state / "a.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("CREATE TABLE t(a); INSERT INTO t VALUES('/stage/one')")
    interrupt(path, mode, "UPDATE t SET a = '/stage/' || hex(zeroblob(5000))")
    (state.parent / "near").symlink_to("state/a.db")
    link = state.parent / "dest" / "far"
    link.symlink_to("../near")
    before = snapshot(state)
    found = [
        run_module("sqlite_checksum", {"path": str(one), "integrity": "quick"})["databases"][0] for one in (path, link)
    ]
    assert found[0]["checksum"] == found[1]["checksum"]
    assert found[0]["wal_bytes"] == found[1]["wal_bytes"]
    backups = str(state.parent / "backups")
    copies = [run_module("sqlite_backup", {"path": str(one), "backup_dir": backups}) for one in (path, link)]
    assert copies[0]["checksum"] == copies[1]["checksum"] == found[0]["checksum"]
    with contextlib.closing(sqlite3.connect(copies[1]["backup_file"])) as copy:
        assert (len(copy.execute("SELECT a FROM t").fetchone()[0]) > 100) == (mode == "wal"), "only a WAL was committed"
    assert snapshot(state) == before
    beside = state / "beside"
    beside.symlink_to("a.db")
    paths = {"databases": [{"path": str(beside)}], "repoint": _REPOINT, "state": "rewritten"}
    assert run_module("database_paths", paths)["totals"]["rows"] == 1
    assert not [name for name in os.listdir(state) if name.startswith("beside-")], "sidecars stand beside the real one"
    assert beside.is_symlink()


def _split_through_links(state: pathlib.Path, journal_mode: str) -> None:
    rows = [file_row(number) for number in range(5)]
    make_products(state / "products.sqlite3", rows[:3], journal_mode=journal_mode)
    with contextlib.closing(sqlite3.connect(state / "products.sqlite3")) as connection:
        names = ", ".join(rows[0])
        marks = ", ".join("?" for _name in rows[0])
        connection.executemany(
            f"INSERT INTO hdf5_file_index({names}) VALUES({marks})", [tuple(row.values()) for row in rows[3:]]
        )
        connection.commit()


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("there", [False, True])
def test_a_split_through_links_leaves_both_where_they_are(
    state: pathlib.Path,
    journal_mode: str,
    there: bool,  # noqa: FBT001
) -> None:
    _split_through_links(state, journal_mode)
    if there:
        make_hdf5(state / "hdf5.sqlite3", [new_row(900)])
    else:
        (state / "hdf5.sqlite3").touch()  # as an application leaves it that has only connected
    for name in ("products.sqlite3", "hdf5.sqlite3"):
        (state / f"link.{name}").symlink_to(name)
    split = {"products_db": str(state / "link.products.sqlite3"), "hdf5_db": str(state / "link.hdf5.sqlite3")}
    run_module("hdf5_db_split", {**split, "vacuum": True})
    assert len(rows_of(state / "hdf5.sqlite3")) == 5 + there
    assert rows_of(state / "products.sqlite3") == []
    assert sorted(path.name for path in state.iterdir() if path.is_symlink()) == [
        "link.hdf5.sqlite3",
        "link.products.sqlite3",
    ]
    assert not [path for path in state.glob("link.*") if path.name.endswith(("-wal", "-shm", "-journal"))]


#: Bytes of a name, and whether SQLite can write such a database: it makes a journal or a WAL beside it.
LENGTHS = [(225, "wal", True), (247, "delete", True), (251, "wal", True), (248, "delete", False), (255, "wal", False)]


@pytest.mark.parametrize(("length", "mode", "can_be_written"), LENGTHS)
def test_a_long_name_is_a_name(
    state: pathlib.Path,
    length: int,
    mode: str,
    can_be_written: bool,  # noqa: FBT001
) -> None:
    rows = [file_row(number) for number in range(5)]
    name = ("ä" * 200).encode()[: length - length % 2].decode() + "n" * (length % 2)
    path = make_products(state / "short", rows, journal_mode=mode.upper()).rename(state / name)
    hdf5 = make_hdf5(state / "short", [new_row(900)]).rename(state / f"h{name}"[: -1 if length % 2 else None][:200])
    paths = {"databases": [{"path": str(path)}], "repoint": _REPOINT}
    backups = str(state.parent / "backups")
    checksum = run_module("sqlite_checksum", {"path": str(path), "integrity": "full"})["databases"][0]["checksum"]
    for _again in range(2):
        backup = run_module("sqlite_backup", {"path": str(path), "backup_dir": backups})
    assert (backup["changed"], backup["checksum"]) == (False, checksum)
    run_module(
        "state_databases_info", {"src": str(state), "dest": str(state.parent / "dest"), "databases": mapped(name)}
    )
    run_module("database_paths", paths)
    run_module("hdf5_groups_info", {"path": str(hdf5)})
    _copy_and_quarantine(state, path, name)
    changing = _changing(state, path, hdf5)
    for module, parameters in changing:
        for check in (True, False):
            if can_be_written:
                assert run_module(module, parameters, check=check)["changed"], module
            else:
                with pytest.raises(ContimgError, match="has a name so long that SQLite cannot make the file"):
                    run_module(module, parameters, check=check)
    assert not list(state.glob(".contimg-*"))


@pytest.mark.parametrize("check", [True, False])
def test_a_new_database_whose_name_is_too_long_to_be_written_is_not_made(
    state: pathlib.Path,
    check: bool,  # noqa: FBT001
) -> None:
    products = make_products(state / "products.sqlite3", [file_row(0)])
    before = snapshot(state)
    with pytest.raises(ContimgError, match="has a name so long that SQLite cannot make the file that ends in -wal"):
        run_module("hdf5_db_split", {"products_db": str(products), "hdf5_db": str(state / ("n" * 252))}, check=check)
    assert snapshot(state) == before
    run_module("hdf5_db_split", {"products_db": str(products), "hdf5_db": str(state / ("n" * 251))}, check=check)


def _changing(state: pathlib.Path, path: pathlib.Path, hdf5: pathlib.Path) -> list[tuple[str, dict[str, Any]]]:
    """Return what writes a products database."""
    (state.parent / "sets" / "2026-01-01T00:00:00.ms").mkdir()
    backups, sets = str(state.parent / "backups"), [str(state.parent / "sets")]
    sets_of = {"products_db": str(path), "roots": sets, "max_removed_fraction": 1, "backup_dir": backups}
    paths = {"databases": [{"path": str(path)}], "repoint": _REPOINT, "state": "rewritten"}
    split = {"products_db": str(path), "hdf5_db": str(hdf5), "backup_dir": backups, "vacuum": True}
    return [("database_paths", paths), ("ms_index_reconcile", sets_of), ("hdf5_db_split", split)]


def _copy_and_quarantine(state: pathlib.Path, path: pathlib.Path, name: str) -> None:
    """Copy the tree, then take the copy for a misplaced one."""
    dest = state.parent / "copy"
    run = {"src": str(state), "dest": str(dest), "manifest": str(state.parent / "MANIFEST"), "workers": 1}
    run_module("state_sync", run)
    assert (dest / name).read_bytes() == path.read_bytes()
    found: dict[str, Any] = {
        "databases": [str(path)],
        "places": [str(dest / name)],
        "quarantine_dir": str(state.parent / "quarantine"),
    }
    found["require_proof"] = False  # that no process has it open, which only root can tell
    assert run_module("misplaced_databases", found)["databases"][0]["relation"] == "identical"
    assert not (dest / name).exists()
    assert len(list((state.parent / "quarantine").rglob(name))) == 1


_FULL = """
import sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module
name, *pairs = sys.argv[1:]
try:
    print(run_module(name, dict(pair.split("=", 1) for pair in pairs)))
except ContimgError as error:
    print(error.message)
"""


def run_with_small_tmpdir(tmp_path: pathlib.Path, size: str, *arguments: str) -> str:
    """Return what a module reports whose ``TMPDIR`` is on a file system of this size."""
    place = tmp_path / "tmp"
    place.mkdir(exist_ok=True)
    script = 'mount -t tmpfs -o size="$1" none "$2" && export TMPDIR="$2" && shift 2 && "$@" && ls -A "$TMPDIR"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", size, str(place), sys.executable, "-c", _FULL, *arguments]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, check=True, env=settings, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("size", ["16k", "300k", "600k", "900k"])
def test_a_private_copy_without_room_is_an_error_that_names_the_place(tmp_path: pathlib.Path, size: str) -> None:
    (tmp_path / "state").mkdir()
    path = make_products(tmp_path / "state" / "products.sqlite3", [file_row(number) for number in range(1500)])
    interrupt(path, "wal", "UPDATE hdf5_file_index SET filename = hex(zeroblob(50))")
    before = snapshot(tmp_path / "state")
    said = run_with_small_tmpdir(tmp_path, size, "sqlite_checksum", f"path={path}")
    assert "Traceback" not in said
    assert "No space left on device [errno 28]" in said or "is full" in said
    assert f"{tmp_path}/tmp" in said
    assert str(path) in said
    assert len(said.splitlines()) == 1, "nothing is left in the place"
    assert snapshot(tmp_path / "state") == before


def test_enough_room_is_enough(tmp_path: pathlib.Path) -> None:
    path = make_products(tmp_path / "products.sqlite3", [file_row(number) for number in range(1500)])
    interrupt(path, "wal", "UPDATE hdf5_file_index SET filename = hex(zeroblob(50))")
    assert "contimg1:sha256:" in run_with_small_tmpdir(tmp_path, "8m", "sqlite_checksum", f"path={path}")


def test_a_wal_without_a_database_beside_it_is_told_of_the_real_one(state: pathlib.Path) -> None:
    """A link whose target is gone is neither empty nor absent."""
    (state / "link.db").symlink_to("gone.db")
    shutil.copy(make_products(state / "a.db", []), state / "gone.db-wal")
    with pytest.raises(ContimgError, match=r"link\.db: could not open the database: No such file"):
        run_module("sqlite_checksum", {"path": str(state / "link.db")})
