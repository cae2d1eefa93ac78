# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the way back of a split, on real databases."""

from __future__ import annotations

import contextlib
import pathlib
import random
import sqlite3
from typing import Any, Callable

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5 import unsplit as hdf5_unsplit
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.groups import groups_report
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import split
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit import unsplit
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit_plan import UnsplitOptions
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import connection as sqlite_connection
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    OLD_COLUMNS,
    dump,
    file_row,
    insert_rows,
    make_products,
    new_row,
    options_for,
    rows_of,
    snapshot,
)
from ansible_collections.dsa110.contimg.tests.support.faults.split_cases import UNSPLIT_CASES, UnsplitCase

INDEX = "hdf5_file_index"
ROWS = [file_row(number, stored=1) for number in range(40)]


def execute(path: pathlib.Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def schema(path: pathlib.Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


@pytest.fixture
def products(tmp_path: pathlib.Path) -> pathlib.Path:
    """A products database that was split."""
    path = make_products(tmp_path / "products.sqlite3", ROWS)
    split(options_for(path, tmp_path / "hdf5.sqlite3"), check=False)
    return path


@pytest.fixture
def hdf5(products: pathlib.Path) -> pathlib.Path:
    return products.with_name("hdf5.sqlite3")


def back(products: pathlib.Path, *, check: bool = False, **changed: Any) -> dict[str, Any]:
    values = {"on_conflict": "fail", "backup_dir": None, **changed}
    return unsplit(UnsplitOptions(str(products), str(products.with_name("hdf5.sqlite3")), **values), check=check)


def counts(result: dict[str, Any]) -> tuple[int, ...]:
    return tuple(result["tables"][INDEX][name] for name in ("moved", "merged", "conflicts", "own"))


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_the_index_comes_back_whole_and_a_second_run_has_nothing_to_do(
    tmp_path: pathlib.Path, journal_mode: str
) -> None:
    products = make_products(tmp_path / "products.sqlite3", ROWS, journal_mode=journal_mode)
    before, there = rows_of(products), schema(products)
    split(options_for(products, tmp_path / "hdf5.sqlite3"), check=False)
    execute(products, "INSERT INTO ms_index VALUES ('/stage/ms/since.ms', 'done')")
    kept = dump(tmp_path / "hdf5.sqlite3")
    unchanged = snapshot(tmp_path)
    preview = back(products, check=True)
    assert snapshot(tmp_path) == unchanged
    result = back(products)
    assert {**preview, "checksums": None} == {**result, "checksums": None}
    assert (result["changed"], counts(result)) == (True, (40, 0, 0, 0))
    assert rows_of(products) == before
    assert dump(tmp_path / "hdf5.sqlite3") == kept
    assert len(rows_of(products, "ms_index")) == 2
    after = schema(products)
    assert there.items() - after.items() <= {(INDEX, there[INDEX])}
    assert {"idx_hdf5_group_id", "idx_hdf5_timestamp_mjd", "idx_hdf5_group_subband", "idx_hdf5_stored"} <= after.keys()
    again = back(products)
    assert (again["changed"], counts(again), again["checksums"]) == (False, (0, 40, 0, 0), result["checksums"])


def test_the_table_has_the_deployed_schema_and_a_later_split_merges(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    execute(hdf5, f"UPDATE {INDEX} SET indexed_at = NULL WHERE rowid = 2")
    kept = rows_of(hdf5)
    back(products)
    with contextlib.closing(sqlite3.connect(products)) as connection:
        columns = [(row[1], row[2], row[3]) for row in connection.execute(f"PRAGMA table_info({INDEX})")]
    assert columns == [(name, kind.split()[0], int("NOT NULL" in kind)) for name, kind in OLD_COLUMNS.items()] + [
        ("stored", "INTEGER", 0)
    ]
    assert rows_of(products)[1]["indexed_at"] == 0
    insert_rows_into(products, file_row(90))
    forward = split(options_for(products, hdf5), check=False)
    assert (forward["tables"][INDEX]["moved"], forward["tables"][INDEX]["merged"]) == (1, 40)
    assert rows_of(hdf5)[:40] == kept
    assert counts(back(products)) == (41, 0, 0, 0)


def insert_rows_into(path: pathlib.Path, *rows: dict[str, Any]) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        insert_rows(connection, rows)


def test_the_empty_table_of_the_application_gets_the_rows_and_keeps_what_is_its_own(
    products: pathlib.Path, hdf5: pathlib.Path
) -> None:
    execute(
        products,
        f"CREATE TABLE {INDEX} (path TEXT PRIMARY KEY, filename TEXT NOT NULL, group_id TEXT NOT NULL,"
        " subband_code TEXT NOT NULL, indexed_at REAL, seen INTEGER DEFAULT 7)",
        f"CREATE INDEX idx_hdf5_stored ON {INDEX}(seen)",
    )
    preview = back(products, check=True)
    result = back(products)
    assert preview["diff"] == result["diff"]
    assert counts(result) == (40, 0, 0, 0)
    rows = rows_of(products)
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == ROWS
    assert {row["seen"] for row in rows} == {7}
    assert schema(products)["idx_hdf5_stored"].endswith("(seen)")
    assert not back(products)["changed"]
    assert hdf5.exists()


@pytest.mark.parametrize(
    "table", ["(file TEXT)", "(path TEXT PRIMARY KEY, filename TEXT, group_id TEXT, must TEXT NOT NULL)"]
)
def test_an_empty_table_in_which_no_row_has_a_place_is_made_anew(products: pathlib.Path, table: str) -> None:
    name = table.partition(" ")[0].strip("(")
    execute(products, f"CREATE TABLE {INDEX} {table}", f"CREATE INDEX idx_hdf5_stored ON {INDEX}({name})")
    result = back(products)
    assert f"CREATE TABLE {INDEX} {table}" not in result["diff"]["after"]
    assert len(rows_of(products)) == 40
    assert schema(products)["idx_hdf5_stored"].endswith("(stored)")


def test_columns_of_ones_own_and_what_cannot_be_derived_come_along(tmp_path: pathlib.Path) -> None:
    columns = {**OLD_COLUMNS, "note x": "TEXT", "digest": "BLOB"}
    rows = [file_row(number, **{"note x": f"n{number}", "digest": b"\x00\xff"}) for number in range(20)]
    products = make_products(tmp_path / "products.sqlite3", rows, columns=columns)
    hdf5 = tmp_path / "hdf5.sqlite3"
    split(options_for(products, hdf5), check=False)
    execute(
        hdf5, f"UPDATE {INDEX} SET subband_num = 33 WHERE rowid = 1", f"UPDATE {INDEX} SET ra_deg = 1.5 WHERE rowid = 4"
    )
    groups = groups_of(hdf5)
    back(products)
    found = rows_of(products)
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert (found[0]["subband_num"], found[3]["ra_deg"]) == (33, 1.5)
    assert "obs_date" not in found[0]
    assert groups_of(products) == groups
    hdf5.unlink()
    split(options_for(products, hdf5), check=False)
    assert (rows_of(hdf5)[0]["subband_num"], rows_of(hdf5)[3]["ra_deg"]) == (33, 1.5)


def groups_of(path: pathlib.Path) -> Any:
    found = groups_report(path=str(path), start=None, end=None, tolerance=60.0, check_files=False)
    return found["groups"], found["groups_digest"]


def test_rows_that_only_products_has_stay(products: pathlib.Path) -> None:
    back(products)
    insert_rows_into(products, file_row(99))
    execute(products, f"DELETE FROM {INDEX} WHERE rowid = 5")
    result = back(products)
    assert counts(result) == (1, 39, 0, 1)
    assert len(rows_of(products)) == 41


def test_rows_that_differ_wait_for_a_decision(
    tmp_path: pathlib.Path, products: pathlib.Path, hdf5: pathlib.Path
) -> None:
    back(products)
    execute(products, f"UPDATE {INDEX} SET file_size_bytes = 1, indexed_at = 1 WHERE path = '{ROWS[2]['path']}'")
    execute(products, f"UPDATE {INDEX} SET file_size_bytes = 2, indexed_at = 9e9 WHERE path = '{ROWS[3]['path']}'")
    before = snapshot(tmp_path)
    for check in (True, False):
        with pytest.raises(ContimgError, match="2 rows differ from those of") as caught:
            back(products, check=check)
        assert ROWS[2]["path"] in caught.value.message
        assert snapshot(tmp_path) == before
    assert not back(products, on_conflict="keep")["changed"]
    result = back(products, on_conflict="newest")
    assert (result["changed"], counts(result)) == (True, (0, 38, 2, 0))
    found = {row["path"]: row["file_size_bytes"] for row in rows_of(products)}
    assert (found[ROWS[2]["path"]], found[ROWS[3]["path"]]) == (102, 2)
    assert not back(products, on_conflict="newest")["changed"]
    assert len(rows_of(hdf5)) == 40


def _none(_products: pathlib.Path, hdf5: pathlib.Path) -> None:
    hdf5.unlink()


def _empty(_products: pathlib.Path, hdf5: pathlib.Path) -> None:
    hdf5.unlink()
    hdf5.touch()


def _same(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    hdf5.unlink()
    hdf5.symlink_to(products)


def _swapped(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    hdf5.unlink()
    make_products(hdf5, ROWS)
    assert products.exists()


def _other(_products: pathlib.Path, hdf5: pathlib.Path) -> None:
    execute(hdf5, f"DROP TABLE {INDEX}")


def _trigger(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    execute(
        products,
        f"CREATE TABLE {INDEX} AS SELECT * FROM (SELECT '' AS path, '' AS filename, '' AS group_id, '' AS subband_code) WHERE 0",
        f"CREATE TRIGGER seen AFTER INSERT ON {INDEX} BEGIN DELETE FROM ms_index; END",
    )


def _mandatory(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    columns = {**OLD_COLUMNS, "stored": "INTEGER", "must": "TEXT NOT NULL"}
    defined = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    execute(products, f"CREATE TABLE {INDEX} ({defined})")
    insert_rows_into(products, file_row(99, must="yes"))


def _unified(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    execute(products, "CREATE TABLE hdf5_files (path TEXT)")


def _pathless(_products: pathlib.Path, hdf5: pathlib.Path) -> None:
    execute(hdf5, f"UPDATE {INDEX} SET path = NULL WHERE rowid = 1")


def _damaged(_products: pathlib.Path, hdf5: pathlib.Path) -> None:
    with hdf5.open("r+b") as file:
        file.truncate(hdf5.stat().st_size // 2)


REFUSALS: dict[str, tuple[Callable[[pathlib.Path, pathlib.Path], None], str]] = {
    "no HDF5 database": (_none, "hdf5.sqlite3: the HDF5 database does not exist"),
    "an empty file": (_empty, "hdf5.sqlite3: the HDF5 database does not exist"),
    "one and the same": (_same, "hdf5.sqlite3: is the products database itself"),
    "the wrong one": (_swapped, "hdf5.sqlite3: has a table hdf5_file_index without subband_num"),
    "no index": (_other, "hdf5.sqlite3: has no table hdf5_file_index"),
    "a trigger": (_trigger, "products.sqlite3: these triggers would run for every row: seen"),
    "a column that cannot be filled": (_mandatory, "whose must only its application can fill"),
    "the unified layout": (_unified, "products.sqlite3: is the newer unified layout"),
    "a row without a path": (_pathless, "hdf5.sqlite3: 1 rows of hdf5_file_index lack one of path"),
    "damage": (_damaged, "SQLite reports 'database disk image is malformed'"),
    "no products database": (lambda products, _hdf5: products.unlink(), "the products database does not exist"),
}


@pytest.mark.parametrize(("prepare", "message"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("check", [True, False])
def test_what_cannot_go_back_is_refused_in_its_own_words(
    tmp_path: pathlib.Path,
    products: pathlib.Path,
    hdf5: pathlib.Path,
    prepare: Callable[[pathlib.Path, pathlib.Path], None],
    message: str,
    *,
    check: bool,
) -> None:
    prepare(products, hdf5)
    before = snapshot(tmp_path)
    with pytest.raises(ContimgError) as caught:
        back(products, check=check, backup_dir=str(tmp_path / "backups"))
    assert message in caught.value.message
    assert snapshot(tmp_path) == before


def test_the_backup_is_the_products_database_as_it_was(tmp_path: pathlib.Path, products: pathlib.Path) -> None:
    before = dump(products)
    result = back(products, backup_dir=str(tmp_path / "backups"))
    assert dump(pathlib.Path(result["backup_file"])) == before


@pytest.mark.parametrize("locked", ["products.sqlite3", "hdf5.sqlite3"])
def test_no_process_writes_to_either_meanwhile(
    products: pathlib.Path, locked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connection, "_BUSY_SECONDS", 0.1)
    before = dump(products)
    with contextlib.closing(sqlite3.connect(products.with_name(locked), isolation_level=None)) as user:
        user.execute("BEGIN IMMEDIATE")
        with pytest.raises(ContimgError, match="is locked: another program is using it"):
            back(products)
    assert dump(products) == before
    tried: list[str] = []

    def write(*_values: Any) -> None:
        with contextlib.closing(sqlite3.connect(products.with_name(locked), timeout=0.1)) as writer:
            with pytest.raises(sqlite3.OperationalError, match="database is locked") as caught:
                writer.execute("DELETE FROM storage_locations")
            tried.append(str(caught.value))

    monkeypatch.setattr(hdf5_unsplit, "_prove", write)
    back(products)
    assert tried


@pytest.mark.parametrize("table", [INDEX, "storage_locations"])
@pytest.mark.parametrize("where", ["products.sqlite3", "hdf5.sqlite3"])
def test_rows_that_come_after_the_plan_are_noticed_or_kept(
    products: pathlib.Path, monkeypatch: pytest.MonkeyPatch, where: str, table: str
) -> None:
    """What is written between the plan and the lock is part of the result, or stops the run; nothing is lost in silence."""
    execute(products, f"CREATE TABLE {INDEX} (path TEXT PRIMARY KEY, filename TEXT, group_id TEXT, subband_code TEXT)")
    write = hdf5_unsplit._apply

    def late(*values: Any) -> None:
        if table == INDEX:
            row = (
                new_row(98)
                if where == "hdf5.sqlite3"
                else dict.fromkeys(("path", "filename", "group_id", "subband_code"), "late")
            )
            insert_rows_into(products.with_name(where), row)
        else:
            execute(products.with_name(where), "DELETE FROM storage_locations")
        write(*values)

    monkeypatch.setattr(hdf5_unsplit, "_apply", late)
    if table == INDEX:
        with pytest.raises(ContimgError, match="The products database is as it was"):
            back(products)
        assert len(rows_of(products)) == (1 if where == "products.sqlite3" else 0)
    else:
        assert back(products)["changed"]
        assert rows_of(products.with_name(where), "storage_locations") == []


def test_a_row_that_is_not_what_it_was_is_found_before_the_commit(
    products: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(products)
    values = hdf5_unsplit._values
    wrong = {'"file_size_bytes"': "s.file_size_bytes + (s.path GLOB '*sb03*')"}
    monkeypatch.setattr(hdf5_unsplit, "_values", lambda plan: {**values(plan), **wrong})
    with pytest.raises(ContimgError, match=r"would not hold what the HDF5 database does: 3 rows.*as it was"):
        back(products)
    assert dump(products) == before


def test_a_name_is_never_that_of_a_table_of_the_other_database(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    """Where products has no table, a bare name would be that of the HDF5 database, and its table would go."""
    for _attempt in range(2):
        back(products)
        assert (len(rows_of(products)), len(rows_of(hdf5))) == (40, 40)
        split(options_for(products, hdf5), check=False)


#: Statements with which the products database comes to answer otherwise, and whether that is wrong beside rows of its own, too.
OTHERWISE = {
    "files are lost": (f"DELETE FROM {INDEX} WHERE rowid <= 2", True),
    "files are not stored": (f"UPDATE {INDEX} SET stored = 0 WHERE rowid <= 2", True),
    "a file is in another group": (f"UPDATE {INDEX} SET group_id = 'other' WHERE rowid = 1", False),
}


def write_otherwise(monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """Let a way back also run a statement on the products database that it has proved."""
    write = hdf5_unsplit._apply

    def wrong(options: UnsplitOptions, plan: Any) -> None:
        write(options, plan)
        execute(pathlib.Path(options.products), statement)

    monkeypatch.setattr(hdf5_unsplit, "_apply", wrong)


@pytest.mark.parametrize(("statement", "always"), OTHERWISE.values(), ids=OTHERWISE)
@pytest.mark.parametrize("own", [False, True])
def test_other_answers_are_an_error(
    products: pathlib.Path,
    hdf5: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    *,
    always: bool,
    own: bool,
) -> None:
    if own:
        back(products)
        insert_rows_into(products, file_row(99, stored=1))
        execute(products, f"DELETE FROM {INDEX} WHERE rowid = 5")
    kept = dump(hdf5)
    write_otherwise(monkeypatch, statement)
    assert back(products, check=True, compare_groups=True)["changed"]
    if own and not always:
        assert counts(back(products, compare_groups=True)) == (1, 39, 0, 1)
    else:
        with pytest.raises(ContimgError, match=f"^{products}: answers otherwise than {hdf5} did: .* 40 before"):
            back(products, compare_groups=True)
    assert dump(hdf5) == kept


def test_an_error_of_other_answers_names_the_copy(products: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, backups = dump(products), products.with_name("backups")
    write_otherwise(monkeypatch, OTHERWISE["files are lost"][0])
    with pytest.raises(ContimgError) as caught:
        back(products, compare_groups=True, backup_dir=str(backups))
    (backup,) = backups.iterdir()
    assert dump(backup) == before
    assert caught.value.hint == (
        "Every row was proved. The HDF5 database is unchanged; the products database as it was is"
        f" {backup}. To go back, put that copy in its place while the services are stopped."
        " hdf5_groups_info on each shows which groups differ."
    )
    execute(products, f"DROP TABLE {INDEX}")
    with pytest.raises(ContimgError, match=r"as it was is not kept\. hdf5_groups_info"):
        back(products, compare_groups=True)


def test_answers_are_compared_where_a_run_has_nothing_to_write(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    assert back(products, compare_groups=True)["changed"]
    assert not back(products, compare_groups=True)["changed"]
    execute(products, f"UPDATE {INDEX} SET stored = 0 WHERE rowid = 1")
    assert not back(products, on_conflict="keep")["changed"]
    with pytest.raises(ContimgError, match="the products database as it was is the same"):
        back(products, on_conflict="keep", compare_groups=True)
    execute(products, f"DROP TABLE {INDEX}")
    execute(hdf5, f"DELETE FROM {INDEX}")
    assert not back(products, compare_groups=True)["changed"]


@pytest.mark.parametrize("name", UNSPLIT_CASES)
def test_killed_at_a_sample_of_calls_the_next_run_finishes(tmp_path: pathlib.Path, name: str) -> None:
    case = UnsplitCase(name, tmp_path)
    chosen = random.Random(name)  # the same sample each time
    deciding = [call for call in case.points() if call.name in ("rename", "fsync", "fdatasync", "unlink", "ftruncate")]
    sample = [*chosen.sample(deciding, min(8, len(deciding))), *chosen.sample(case.points(), 4)]
    assert {call: breach for call in sample for breach in [case.breach(call)] if breach} == {}
