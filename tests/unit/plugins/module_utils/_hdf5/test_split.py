# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the split as a module runs it, on real databases in every variant that hosts have."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5 import apply
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5 import split as hdf5_split
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import COLUMNS, SCHEMA
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import split
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit import unsplit
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit_plan import UnsplitOptions
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import connection as sqlite_connection
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import Moves, paths_in
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rewrite import rewrite
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    OLD_COLUMNS,
    dump,
    file_row,
    insert_rows,
    make_hdf5,
    make_products,
    new_row,
    options_for,
    rows_of,
    snapshot,
)
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_read_only
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import default_options

INDEX = "hdf5_file_index"


@pytest.fixture
def products(tmp_path: pathlib.Path) -> pathlib.Path:
    return make_products(tmp_path / "products.sqlite3", [file_row(number) for number in range(40)])


@pytest.fixture
def hdf5(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "hdf5.sqlite3"


def counts(result: dict[str, Any], table: str = INDEX) -> tuple[int, ...]:
    found = result["tables"][table]
    return tuple(found[name] for name in ("moved", "merged", "conflicts", "derived", "rejected"))


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_the_index_moves_whole_and_a_second_run_has_nothing_to_do(tmp_path: pathlib.Path, journal_mode: str) -> None:
    before = [file_row(number) for number in range(40)]
    products = make_products(tmp_path / "products.sqlite3", before, journal_mode=journal_mode)
    os.chmod(products, 0o664)
    hdf5 = tmp_path / "hdf5.sqlite3"
    options = options_for(products, hdf5)
    unchanged = snapshot(tmp_path)
    preview = split(options, check=True)
    assert snapshot(tmp_path) == unchanged
    result = split(options, check=False)
    assert (result["changed"], counts(result), counts(result, "storage_locations")) == (
        True,
        (40, 0, 0, 40, 0),
        (2, 0, 0, 0, 0),
    )
    assert {**preview, "checksums": None} == {**result, "checksums": None}
    assert [{name: row[name] for name in OLD_COLUMNS} for row in rows_of(hdf5)] == before
    assert rows_of(hdf5)[3]["subband_num"] == 3
    assert [(row["name"], row["path"], row["description"]) for row in rows_of(hdf5, "storage_locations")] == [
        ("hdf5_incoming", "/data/incoming", "Now"),
        ("hdf5_staging", "/stage/hdf5", None),
    ]
    assert not rows_of(products)
    assert len(rows_of(products, "storage_locations")) == 5
    assert sorted(os.listdir(tmp_path)) == ["hdf5.sqlite3", "products.sqlite3"]
    assert hdf5.stat().st_mode & 0o7777 == 0o664
    again = split(options, check=False)
    assert (again["changed"], again["checksums"], again["diff"]) == (False, result["checksums"], {})


def test_the_database_has_the_deployed_schema(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    split(options_for(products, hdf5), check=False)
    connection = sqlite3.connect(str(hdf5))
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({INDEX})")]
    journal_mode, check = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "integrity_check")
    )
    connection.close()
    assert found == SCHEMA
    assert columns == list(COLUMNS)
    assert len([name for name in found if name.startswith("idx_hdf5_")]) == 8
    assert (journal_mode, check) == ("wal", "ok")


def test_the_diff_shows_both_schemas_as_they_were_and_as_they_are(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    difference = split(options_for(products, hdf5), check=True)["diff"]
    split(options_for(products, hdf5), check=False)
    assert f"CREATE TABLE {INDEX}" in difference["before"].partition("-- hdf5")[0]
    ours, _mark, theirs = difference["after"].partition("-- hdf5\n")
    for shown, path in ((ours.replace("-- products\n", ""), products), (theirs, hdf5)):
        connection = sqlite3.connect(str(path))
        there = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
        connection.close()
        assert sorted(shown.splitlines()) == sorted(there)


VARIANTS = {
    "without stored": (OLD_COLUMNS, {}),
    "newer columns already there": (
        {**OLD_COLUMNS, "stored": "INTEGER DEFAULT 1", "subband_num": "INTEGER", "ra_deg": "REAL", "obs_date": "TEXT"},
        {"subband_num": 5, "ra_deg": 1.25, "obs_date": "yesterday"},
    ),
    "further columns": ({**OLD_COLUMNS, "note x": "TEXT", "digest": "BLOB"}, {"note x": "kept", "digest": b"\x00\xff"}),
    "other case": ({name.upper(): kind for name, kind in OLD_COLUMNS.items()}, {}),
}


@pytest.mark.parametrize(("columns", "values"), VARIANTS.values(), ids=VARIANTS)
def test_every_variant_of_the_table_is_moved_with_all_it_holds(
    tmp_path: pathlib.Path, hdf5: pathlib.Path, columns: dict[str, str], values: dict[str, object]
) -> None:
    rows = [file_row(number, **values) for number in range(5)]
    split(options_for(make_products(tmp_path / "p", rows, columns=columns), hdf5), check=False)
    found = rows_of(hdf5)
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert {row["stored"] for row in found} == {1}
    assert None not in {row["subband_num"] for row in found}


def test_text_that_is_not_utf8_is_kept_byte_for_byte(tmp_path: pathlib.Path, hdf5: pathlib.Path) -> None:
    more = f"UPDATE {INDEX} SET filename = CAST(x'66ff' AS TEXT), path = CAST(x'2fff' AS TEXT);"
    products = make_products(tmp_path / "p", [file_row(0)], further=more)
    split(options_for(products, hdf5), check=False)
    connection = sqlite3.connect(str(hdf5))
    assert connection.execute(f"SELECT hex(path), hex(filename), typeof(path) FROM {INDEX}").fetchall() == [
        ("2FFF", "66FF", "text")
    ]
    connection.close()


@pytest.mark.parametrize("table", ["none", "empty", "empty and of another layout"])
@pytest.mark.parametrize("there", [True, False])
def test_no_table_or_an_empty_one_is_as_good_as_split(
    tmp_path: pathlib.Path,
    hdf5: pathlib.Path,
    table: str,
    there: bool,  # noqa: FBT001
) -> None:
    further = {"empty": "", "none": f"DROP TABLE {INDEX};"}
    other = f"DROP TABLE {INDEX}; CREATE TABLE {INDEX} (path TEXT PRIMARY KEY, filename TEXT NOT NULL);"
    products = make_products(tmp_path / "p", [], further=further.get(table, other))
    if there:
        make_hdf5(hdf5, [new_row(number) for number in range(3)])
    before = snapshot(tmp_path)
    result = split(options_for(products, hdf5, backup_dir=str(tmp_path / "backups")), check=False)
    assert (result["changed"], counts(result), snapshot(tmp_path)) == (False, (0, 0, 0, 0, 0), before)


def test_an_empty_file_counts_as_no_database(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    hdf5.touch()
    assert split(options_for(products, hdf5), check=False)["changed"]
    assert len(rows_of(hdf5)) == 40


def test_keep_source_leaves_products_as_it_is(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    before = (products.read_bytes(), products.stat().st_mtime_ns)
    options = options_for(products, hdf5, keep_source=True)
    assert split(options, check=False)["changed"]
    assert len(rows_of(hdf5)) == 40
    again = split(options, check=False)
    assert (again["changed"], counts(again)) == (False, (0, 40, 0, 40, 0))
    assert (products.read_bytes(), products.stat().st_mtime_ns) == before


def target_with_conflicts(hdf5: pathlib.Path) -> None:
    """Hold file 0 as products does, 1 with coordinates besides, 2 older and different, 3 newer and different, and one more."""
    rows = [
        new_row(0),
        new_row(1, ra_deg=10.5, stored=1),
        new_row(2, file_size_bytes=1, indexed_at=1.0, dec_deg=3.5),
        new_row(3, file_size_bytes=1, indexed_at=9e9),
        new_row(99),
    ]
    make_hdf5(hdf5, rows)


@pytest.mark.parametrize(
    ("rule", "older", "newer"),
    [("newest", {"file_size_bytes": 102, "dec_deg": 3.5}, 1), ("keep", {"file_size_bytes": 1}, 1)],
)
def test_equal_rows_merge_and_differing_ones_follow_the_rule(
    products: pathlib.Path, hdf5: pathlib.Path, rule: str, older: dict[str, object], newer: int
) -> None:
    target_with_conflicts(hdf5)
    options = options_for(products, hdf5, on_conflict=rule)
    preview = split(options, check=True)
    result = split(options, check=False)
    assert counts(preview) == counts(result) == (36, 2, 2, 40, 0)
    found = {row["path"]: row for row in rows_of(hdf5)}
    assert len(found) == 41
    assert found[file_row(1)["path"]]["ra_deg"] == 10.5
    assert {**found[file_row(2)["path"]], **older} == found[file_row(2)["path"]]
    assert found[file_row(3)["path"]]["file_size_bytes"] == newer
    assert not rows_of(products)


OLD, NEW = "/stage/state", "/data/state"
MOVES = Moves([(OLD, NEW)])


@pytest.mark.parametrize("rejected", ["fail", "quarantine"])
@pytest.mark.parametrize("rule", ["fail", "keep"])
@pytest.mark.parametrize("theirs", [{}, {"file_size_bytes": 1}], ids=["equal there", "another there"])
def test_a_preview_plans_on_rows_whose_paths_a_run_has_rewritten_before(
    tmp_path: pathlib.Path, hdf5: pathlib.Path, rejected: str, rule: str, theirs: dict[str, object]
) -> None:
    """A row of products becomes one that the HDF5 database has; a location does; one that is unfit is named by its new path."""
    rows = [file_row(0), file_row(1, path=f"{OLD}/1.hdf5"), file_row(2, path=f"{OLD}/2.hdf5", group_id=None)]
    columns = {**OLD_COLUMNS, "group_id": "TEXT"}
    further = f"UPDATE storage_locations SET base_path = '{OLD}/in' WHERE base_path = '/data/incoming'"
    products = make_products(tmp_path / "p.sqlite3", rows, columns=columns, further=further)
    make_hdf5(hdf5, [new_row(1, path=f"{NEW}/1.hdf5", **theirs)])
    with contextlib.closing(sqlite3.connect(str(hdf5))) as connection:
        connection.execute(
            "INSERT INTO storage_locations (name, path, description) VALUES ('hdf5_incoming', ?, 'Now')", (f"{NEW}/in",)
        )
        connection.commit()
    options = options_for(products, hdf5, on_conflict=rule, rejected=rejected, backup_dir=str(tmp_path / "kept"))
    before = snapshot(tmp_path)
    preview = outcome(replace(options, moves=MOVES), check=True)
    assert snapshot(tmp_path) == before
    rewrite({str(path): paths_in(str(path), MOVES) for path in (products, hdf5)}, MOVES)
    assert preview == outcome(options, check=False)
    assert OLD not in str(preview)


def test_a_preview_of_a_split_names_paths_that_could_not_be_rewritten(
    tmp_path: pathlib.Path, hdf5: pathlib.Path
) -> None:
    products = make_products(tmp_path / "p.sqlite3", [file_row(1, path=f"{root}/1.hdf5") for root in (OLD, NEW)])
    with pytest.raises(ContimgError, match=r"cannot take the new paths: SQLite reports 'UNIQUE") as caught:
        split(options_for(products, hdf5, moves=MOVES), check=True)
    assert caught.value.message.startswith(str(products))


def test_conflicts_stop_the_split_by_name_before_any_change(
    tmp_path: pathlib.Path, products: pathlib.Path, hdf5: pathlib.Path
) -> None:
    target_with_conflicts(hdf5)
    before = snapshot(tmp_path)
    with pytest.raises(ContimgError, match="2 rows differ") as caught:
        split(options_for(products, hdf5), check=False)
    assert file_row(2)["path"] in caught.value.message
    assert file_row(3)["path"] in caught.value.message
    assert "by column in file_size_bytes (2), indexed_at (2): /data" in caught.value.message
    assert "contimg_hdf5_on_conflict" in caught.value.message
    assert counts(caught.value.details) == (36, 2, 2, 40, 0)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(("rule", "stored"), [("newest", [1, 0, 0]), ("keep", [0, 0, 0])])
def test_an_index_that_both_sides_have_built_is_settled_by_a_decision(
    tmp_path: pathlib.Path, hdf5: pathlib.Path, rule: str, stored: list[int]
) -> None:
    columns = {**OLD_COLUMNS, "stored": "INTEGER DEFAULT 1"}
    built = [(5.0, 1), (3.0, 1), (4.0, 0)]
    rows = [file_row(number, indexed_at=moment, stored=found) for number, (moment, found) in enumerate(built)]
    products = make_products(tmp_path / "p", rows, columns=columns)
    make_hdf5(hdf5, [new_row(number, indexed_at=4.0, stored=found) for number, found in enumerate((0, 0, 0))])
    with pytest.raises(ContimgError, match=r"2 rows differ .* by column in indexed_at \(2\), stored \(2\): /data"):
        split(options_for(products, hdf5), check=False)
    result = split(options_for(products, hdf5, on_conflict=rule), check=False)
    assert result["conflict_columns"] == {"indexed_at": 2, "stored": 2}
    assert [row["stored"] for row in rows_of(hdf5)] == stored
    assert not rows_of(products)
    back = unsplit(UnsplitOptions(str(products), str(hdf5), "fail", None), check=False)
    assert back["conflict_columns"] == {}


def test_a_large_merge_rebuilds_the_indexes_and_keeps_those_of_others(
    tmp_path: pathlib.Path, hdf5: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "_MANY_ROWS", 3)
    make_hdf5(hdf5, [new_row(number) for number in range(100, 110)])
    connection = sqlite3.connect(str(hdf5))
    connection.execute(f"CREATE UNIQUE INDEX mine ON {INDEX}(filename) WHERE stored = 1")
    connection.execute("DROP INDEX idx_hdf5_ra_dec")
    connection.commit()
    names = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1"
    assert len(connection.execute(names).fetchall()) == 8
    connection.close()
    products = make_products(tmp_path / "p", [file_row(number) for number in range(90, 105)])
    result = split(options_for(products, hdf5), check=False)
    assert counts(result)[:2] == (10, 5)
    connection = sqlite3.connect(str(hdf5))
    assert [name for (name,) in connection.execute(names)] == sorted([*list(SCHEMA)[2:], "mine"])
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()


def test_a_copy_of_the_old_table_as_hdf5_database_gets_what_it_lacks(
    tmp_path: pathlib.Path, hdf5: pathlib.Path
) -> None:
    rows = [file_row(number) for number in range(4)]
    products = make_products(tmp_path / "p", rows)
    connection = sqlite3.connect(str(make_products(hdf5, rows[:2])))
    connection.execute("DROP TABLE storage_locations")
    connection.close()
    result = split(options_for(products, hdf5), check=False)
    assert counts(result)[:2] == (2, 2)
    assert [row["subband_num"] for row in rows_of(hdf5)] == [None, None, 2, 3]
    assert len(rows_of(hdf5, "storage_locations")) == 2


def test_unfit_rows_stop_the_split_and_are_listed(tmp_path: pathlib.Path, hdf5: pathlib.Path) -> None:
    bad = [file_row(number, group_id="none", timestamp_iso=None, timestamp_mjd=None) for number in range(30)]
    products = make_products(tmp_path / "p", [*bad, file_row(40), file_row(41, subband_code="x")])
    before = snapshot(tmp_path)
    for check in (True, False):
        with pytest.raises(ContimgError, match="30 rows of hdf5_file_index cannot satisfy the new schema") as caught:
            split(options_for(products, hdf5), check=check)
        assert caught.value.message.count("its group 'none' is none") == 20
        assert re.search("contimg_hdf5_rejected .*: fail .*keep_in_products .*quarantine ", caught.value.message)
        assert counts(caught.value.details) == (2, 0, 0, 2, 30)
        assert snapshot(tmp_path) == before


def _odd_rows() -> list[dict[str, Any]]:
    """Rows as an application that takes every name has indexed them: the first two have no time."""
    named = {"timestamp_iso": None, "timestamp_mjd": None}
    return [
        file_row(0, group_id="test", path="/data/test_sb00.hdf5", **named),
        file_row(1, group_id="late", path="/data/late_sb01.hdf5", **named),
        file_row(2, group_id="20251002T154135", path="/data/20251002T154135_sb02.hdf5", **named),
        file_row(3, subband_code="sb00_spl", path="/data/2025-10-02T00:00:00_sb00_spl.hdf5"),
        *(file_row(number) for number in range(10, 40)),
    ]


ODD_TABLES = {
    "usual": (dict(OLD_COLUMNS), ""),
    "without row numbers": (dict(OLD_COLUMNS), " WITHOUT ROWID"),
    "a column named as the number": ({**OLD_COLUMNS, "_rowid_": "TEXT", "note x": "BLOB"}, ""),
    "a path that is no key": ({**OLD_COLUMNS, "path": "TEXT"}, ""),
}


@pytest.fixture(params=ODD_TABLES.values(), ids=list(ODD_TABLES))
def odd(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    columns, end = request.param
    products = make_products(tmp_path / "products.sqlite3", [])
    declared = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    _execute(products, f"DROP TABLE {INDEX}", f"CREATE TABLE {INDEX} ({declared}){end}")
    with contextlib.closing(sqlite3.connect(str(products))) as connection:
        insert_rows(connection, _odd_rows())
        connection.commit()
    return products


@pytest.mark.parametrize("there", [True, False])
def test_rows_that_do_not_fit_stay_in_products_and_the_others_move(
    odd: pathlib.Path,
    hdf5: pathlib.Path,
    there: bool,  # noqa: FBT001
) -> None:
    if there:
        make_hdf5(hdf5, [new_row(10), new_row(99)])
    unfit = [row for row in rows_of(odd) if row["group_id"] in ("test", "late")]
    options = options_for(odd, hdf5, rejected="keep_in_products", vacuum=True)
    before = snapshot(odd.parent)
    preview = split(options, check=True)
    assert snapshot(odd.parent) == before
    result = split(options, check=False)
    assert {**preview, "checksums": None} == {**result, "checksums": None}
    assert (counts(result)[0], counts(result)[4]) == (31 if there else 32, 2)
    assert "2 rows that do not fit the HDF5 database stay" in result["diff"]["after"]
    assert result["rejected_rows"][0].startswith("/data/")
    assert rows_of(odd) == unfit
    found = {row["path"]: row for row in rows_of(hdf5)}
    assert len(found) == (33 if there else 32)
    assert found["/data/20251002T154135_sb02.hdf5"]["obs_time"] == "15:41:35"
    assert found["/data/2025-10-02T00:00:00_sb00_spl.hdf5"]["subband_num"] is None
    again = split(options, check=False)
    assert (again["changed"], again["checksums"], again["diff"]) == (False, result["checksums"], {})

    back = unsplit(UnsplitOptions(str(odd), str(hdf5), "fail", None), check=False)
    assert (back["tables"][INDEX]["moved"], back["tables"][INDEX]["own"]) == (len(found), 2)
    assert split(options, check=False)["changed"]
    assert [row["path"] for row in rows_of(odd)] == [row["path"] for row in unfit]


def test_rows_that_do_not_fit_are_exported_before_they_leave_products(odd: pathlib.Path, hdf5: pathlib.Path) -> None:
    unlike = (
        "UPDATE hdf5_file_index SET filename = CAST(x'66ff' AS TEXT), file_size_bytes = 9e999, modified_time = x'00ff'"
    )
    _execute(odd, f"{unlike} WHERE group_id = 'late'")
    backups = odd.parent / "backups"
    options = options_for(odd, hdf5, rejected="quarantine", backup_dir=str(backups))
    before = snapshot(odd.parent)
    assert "2 rows that do not fit the HDF5 database are exported" in split(options, check=True)["diff"]["after"]
    assert snapshot(odd.parent) == before
    result = split(options, check=False)
    exported = pathlib.Path(result["rejected_file"])
    assert (exported.parent, exported.stat().st_mode & 0o7777) == (backups, 0o600)
    lines = {row["path"]: row for row in map(json.loads, exported.read_text().splitlines())}
    assert {name: lines["/data/test_sb00.hdf5"][name] for name in OLD_COLUMNS} == _odd_rows()[0]
    late = lines.pop("/data/late_sb01.hdf5")
    assert (late["filename"], late["file_size_bytes"], late["modified_time"]) == (
        {"text": "66ff"},
        {"real": "inf"},
        {"blob": "00ff"},
    )
    assert len(lines) == 1
    assert not rows_of(odd)
    assert len(rows_of(hdf5)) == 32
    again = split(options, check=False)
    assert (again["changed"], sorted(os.listdir(backups))) == (
        False,
        sorted([exported.name, pathlib.Path(result["backup_file"]).name]),
    )


def test_a_damaged_export_keeps_every_row_in_products(odd: pathlib.Path, hdf5: pathlib.Path) -> None:
    backups = odd.parent / "backups"
    copy = shutil.copy(odd, odd.with_name("copy"))
    options = options_for(odd, hdf5, rejected="quarantine", backup_dir=str(backups))
    exported = pathlib.Path(split(options, check=False)["rejected_file"])
    exported.write_bytes(exported.read_bytes()[:-1])
    shutil.copy(copy, odd)
    with pytest.raises(ContimgError, match=r"jsonl: has 2 rows or others than the 2 .*No row was removed"):
        split(options, check=False)
    assert len(rows_of(odd)) == 34


def test_a_quarantine_needs_a_directory(odd: pathlib.Path, hdf5: pathlib.Path) -> None:
    before = snapshot(odd.parent)
    with pytest.raises(ContimgError, match="Name a backup_dir"):
        split(options_for(odd, hdf5, rejected="quarantine"), check=False)
    assert snapshot(odd.parent) == before


@pytest.mark.parametrize("decision", ["keep_in_products", "quarantine"])
def test_where_no_row_fits_no_hdf5_database_is_made(tmp_path: pathlib.Path, hdf5: pathlib.Path, decision: str) -> None:
    products = make_products(tmp_path / "p", _odd_rows()[:2])
    options = options_for(products, hdf5, rejected=decision, backup_dir=str(tmp_path / "backups"))
    assert split(options, check=False)["changed"] == (decision == "quarantine")
    assert not hdf5.exists()
    assert len(rows_of(products)) == (2 if decision == "keep_in_products" else 0)
    assert not split(options, check=False)["changed"]


def test_a_deployed_schema_that_needs_the_number_of_a_subband_rejects_rows_without_one(
    tmp_path: pathlib.Path, hdf5: pathlib.Path
) -> None:
    products = make_products(tmp_path / "p", _odd_rows()[2:])
    connection = sqlite3.connect(str(hdf5))
    connection.execute(SCHEMA[INDEX].replace("subband_num INTEGER", "subband_num INTEGER NOT NULL"))
    connection.close()
    with pytest.raises(ContimgError, match=r"1 rows of .*'sb00_spl', in which no number stands"):
        split(options_for(products, hdf5), check=False)
    assert counts(split(options_for(products, hdf5, rejected="keep_in_products"), check=False))[0] == 31
    assert [row["subband_code"] for row in rows_of(products)] == ["sb00_spl"]


@pytest.mark.parametrize("decision", ["keep_in_products", "quarantine"])
def test_a_row_that_comes_after_the_plan_is_not_lost_by_a_decision(
    odd: pathlib.Path, hdf5: pathlib.Path, decision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_split = apply.apply_split
    late = file_row(77, group_id="later", timestamp_iso=None, timestamp_mjd=None)

    def rivalled(*arguments: Any) -> apply.Applied:
        with contextlib.closing(sqlite3.connect(str(odd))) as user:
            insert_rows(user, [late])
            user.commit()
        return apply_split(*arguments)

    monkeypatch.setattr(hdf5_split, "apply_split", rivalled)
    options = options_for(odd, hdf5, rejected=decision, backup_dir=str(odd.parent / "backups"))
    with contextlib.suppress(ContimgError):
        split(options, check=False)
    assert late["path"] in [row["path"] for row in rows_of(odd)]


def _unified(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    _execute(products, "CREATE TABLE hdf5_files (path TEXT)")


def _view(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    _execute(products, f"CREATE VIEW recent AS SELECT * FROM {INDEX.upper()}")


def _trigger(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    _execute(products, f"CREATE TRIGGER seen AFTER DELETE ON {INDEX} BEGIN SELECT 1; END")


def _trigger_elsewhere(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    _execute(products, f"CREATE TRIGGER gone AFTER DELETE ON ms_index BEGIN DELETE FROM {INDEX}; END")


def _reference(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    _execute(products, f"CREATE TABLE pointing (path TEXT REFERENCES {INDEX}(path))")


def _other_table(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    _execute(products, f"DROP TABLE {INDEX}", f"CREATE TABLE {INDEX} (file TEXT)", f"INSERT INTO {INDEX} VALUES ('a')")


def _cut(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    with products.open("r+b") as file:
        file.truncate(products.stat().st_size // 2)


def _garbage(products: pathlib.Path, _hdf5: pathlib.Path) -> None:
    products.write_bytes(b"no database" * 100)


def _dangling(_products: pathlib.Path, hdf5: pathlib.Path) -> None:
    hdf5.symlink_to("/nonexistent/hdf5.sqlite3")


def _same(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    hdf5.symlink_to(products)


def _orphan(_products: pathlib.Path, hdf5: pathlib.Path) -> None:
    hdf5.with_name("hdf5.sqlite3-wal").write_bytes(b"rows")


def _not_ours(_products: pathlib.Path, hdf5: pathlib.Path) -> None:
    make_products(hdf5, [])


def _execute(path: pathlib.Path, *statements: str) -> None:
    connection = sqlite3.connect(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


REFUSALS: dict[str, tuple[Callable[[pathlib.Path, pathlib.Path], None], str]] = {
    "unified layout": (_unified, "products.sqlite3: is the newer unified layout"),
    "view": (_view, "cannot leave it while these use it: view recent"),
    "trigger": (_trigger, "cannot leave it while these use it: trigger seen"),
    "trigger of another table": (_trigger_elsewhere, "cannot leave it while these use it: trigger gone"),
    "foreign key": (_reference, "cannot leave it while these use it: table pointing"),
    "unknown table": (_other_table, "products.sqlite3: has a table hdf5_file_index without path, filename"),
    "damaged": (_cut, "products.sqlite3: is damaged (SQLite reports 'database disk image is malformed')"),
    "no database": (_garbage, "products.sqlite3: is not an SQLite database"),
    "dangling link": (_dangling, "hdf5.sqlite3: is a symbolic link to nothing"),
    "one and the same": (_same, "hdf5.sqlite3: is the products database itself"),
    "orphaned log": (_orphan, "hdf5.sqlite3-wal: belongs to a database that is not there"),
    "another database": (_not_ours, "hdf5.sqlite3: has a table storage_locations of another layout"),
    "missing": (lambda products, _hdf5: products.unlink(), "products.sqlite3: the products database does not exist"),
}


@pytest.mark.parametrize(("prepare", "message"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("check", [True, False])
def test_what_cannot_be_split_is_refused_in_its_own_words(
    tmp_path: pathlib.Path,
    products: pathlib.Path,
    hdf5: pathlib.Path,
    prepare: Callable[[pathlib.Path, pathlib.Path], None],
    message: str,
    check: bool,  # noqa: FBT001
) -> None:
    prepare(products, hdf5)
    before = snapshot(tmp_path)
    with pytest.raises(ContimgError) as caught:
        split(options_for(products, hdf5), check=check)
    assert message in caught.value.message
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("journal_mode", "message"), [("WAL", "cannot be opened for writing"), ("DELETE", "cannot be written")]
)
def test_a_read_only_products_database_is_told_as_such_before_any_change(
    tmp_path: pathlib.Path, journal_mode: str, message: str
) -> None:
    products = make_products(tmp_path / "products.sqlite3", [file_row(1)], journal_mode=journal_mode)
    program = (
        "import sys; from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import options_for;"
        "from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError;"
        "from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import split\n"
        "try: split(options_for(sys.argv[1], sys.argv[2]), check=False)\n"
        "except ContimgError as error: print(error.message)"
    )
    before = dump(products)
    with tempfile.TemporaryDirectory() as elsewhere:
        told = run_read_only(tmp_path, program, products, f"{elsewhere}/hdf5.sqlite3")
        assert (os.listdir(elsewhere), dump(products)) == ([], before)
    assert "products.sqlite3" in told
    assert message in told


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_a_locked_database_is_told_as_such_and_previewed_all_the_same(
    tmp_path: pathlib.Path, hdf5: pathlib.Path, journal_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_connection, "_BUSY_SECONDS", 0.1)
    products = make_products(tmp_path / "products.sqlite3", [file_row(0)], journal_mode=journal_mode)
    user = sqlite3.connect(str(products), isolation_level=None)
    user.execute("BEGIN IMMEDIATE")
    user.execute("UPDATE ms_index SET status = 'new'")
    assert counts(split(options_for(products, hdf5), check=True)) == (1, 0, 0, 1, 0)
    with pytest.raises(
        ContimgError, match=r"products.sqlite3: is locked: another program is using it.*open_files_info"
    ):
        split(options_for(products, hdf5), check=False)
    assert not hdf5.exists()
    user.execute("COMMIT")
    user.close()
    assert split(options_for(products, hdf5), check=False)["changed"]


def _insert_late(products: pathlib.Path) -> None:
    row = file_row(77)
    names = ", ".join(row)
    with contextlib.closing(sqlite3.connect(str(products), isolation_level=None, timeout=0)) as user:
        user.execute(f"INSERT INTO {INDEX} ({names}) VALUES {tuple(row.values())}")


def test_a_row_that_comes_after_the_plan_stops_the_split_and_is_not_lost(
    products: pathlib.Path, hdf5: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_split = apply.apply_split

    def late(*arguments: Any) -> None:
        _insert_late(products)
        apply_split(*arguments)

    monkeypatch.setattr(hdf5_split, "apply_split", late)
    with pytest.raises(ContimgError, match=r"41 rows were about to be written instead of the 40.*No row was removed"):
        split(options_for(products, hdf5), check=False)
    assert not hdf5.exists()
    monkeypatch.undo()
    assert counts(split(options_for(products, hdf5), check=False))[:2] == (41, 0)
    assert len(rows_of(hdf5)) == 41


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_nobody_writes_to_products_between_the_first_row_and_the_removal(
    tmp_path: pathlib.Path, hdf5: pathlib.Path, journal_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = make_products(
        tmp_path / "products.sqlite3", [file_row(number) for number in range(40)], journal_mode=journal_mode
    )
    refused = []

    def rivalled(work: Any) -> Any:
        def rival(*arguments: Any) -> Any:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                _insert_late(products)
            refused.append(work.__name__)
            return work(*arguments)

        return rival

    for name in ("_write_rows", "_make_indexes", "require_sound", "_remove"):
        monkeypatch.setattr(apply, name, rivalled(getattr(apply, name)))
    assert split(options_for(products, hdf5), check=False)["changed"]
    assert refused == ["_write_rows", "_make_indexes", "require_sound", "_remove"]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM dst.hdf5_file_index WHERE _rowid_ = 7",
        "UPDATE dst.hdf5_file_index SET stored = 9 WHERE _rowid_ = 7",
    ],
)
def test_a_row_that_is_not_written_as_read_stops_the_split(
    products: pathlib.Path, hdf5: pathlib.Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows = apply._write_rows

    def damaged(connection: sqlite3.Connection, *arguments: Any) -> None:
        write_rows(connection, *arguments)
        connection.execute(damage)

    monkeypatch.setattr(apply, "_write_rows", damaged)
    before = rows_of(products)
    with pytest.raises(ContimgError, match=r"1 rows are missing or differ.*No row was removed"):
        split(options_for(products, hdf5), check=False)
    assert rows_of(products) == before
    assert not hdf5.exists()


@pytest.mark.parametrize(
    ("columns", "end"),
    [
        (dict(OLD_COLUMNS), " WITHOUT ROWID"),
        ({**OLD_COLUMNS, "_rowid_": "TEXT"}, ""),
        ({"id": "INTEGER PRIMARY KEY", **OLD_COLUMNS, "path": "TEXT UNIQUE"}, ""),
    ],
)
def test_a_table_that_numbers_its_rows_otherwise_is_moved_all_the_same(
    tmp_path: pathlib.Path, hdf5: pathlib.Path, columns: dict[str, str], end: str
) -> None:
    products = make_products(tmp_path / "products.sqlite3", [])
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    _execute(products, f"DROP TABLE {INDEX}", f"CREATE TABLE {INDEX} ({declared}){end}")
    with contextlib.closing(sqlite3.connect(str(products))) as connection:
        insert_rows(connection, [file_row(number) for number in (9, 3, 5)])
        connection.commit()
    assert counts(split(options_for(products, hdf5), check=False))[0] == 3
    assert [row["path"] for row in rows_of(hdf5)] == [file_row(number)["path"] for number in (3, 5, 9)]
    assert not rows_of(products)


def test_rows_in_the_log_of_a_database_in_use_are_counted_and_moved(products: pathlib.Path, hdf5: pathlib.Path) -> None:
    user = sqlite3.connect(str(products), isolation_level=None)
    late_row = file_row(77)
    user.execute(f"INSERT INTO {INDEX} ({', '.join(late_row)}) VALUES {tuple(late_row.values())}")
    assert counts(split(options_for(products, hdf5), check=True))[0] == 41
    assert counts(split(options_for(products, hdf5), check=False))[0] == 41
    assert len(rows_of(hdf5)) == 41
    user.close()


def test_the_backup_is_the_database_as_it_was(
    tmp_path: pathlib.Path, products: pathlib.Path, hdf5: pathlib.Path
) -> None:
    before, checksum = dump(products), content_checksum(str(products))
    backups = tmp_path / "backups"
    result = split(options_for(products, hdf5, backup_dir=str(backups)), check=False)
    kept = pathlib.Path(result["backup_file"])
    assert [kept.name] == os.listdir(backups)
    assert (dump(kept), content_checksum(str(kept)), kept.stat().st_mode & 0o7777) == (before, checksum, 0o600)


def test_vacuum_gives_the_space_back_once(tmp_path: pathlib.Path, hdf5: pathlib.Path) -> None:
    products = make_products(tmp_path / "p", [file_row(number) for number in range(2000)])
    size = products.stat().st_size
    options = options_for(products, hdf5, vacuum=True)
    assert split(options, check=True)["changed"]
    assert split(options, check=False)["changed"]
    assert products.stat().st_size < size / 4
    assert not split(options, check=False)["changed"]


def test_a_full_file_system_is_refused_before_any_change(
    tmp_path: pathlib.Path, products: pathlib.Path, hdf5: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)
    nearly_full = os.statvfs_result((*real[:3], 1, 1, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: nearly_full)
    before = snapshot(tmp_path)
    with pytest.raises(ContimgError, match=r"has not enough space: \d+ bytes are needed \(.*\), \d+ are free"):
        split(options_for(products, hdf5), check=False)
    assert snapshot(tmp_path) == before


def test_a_preview_reads_where_the_databases_stand_before_they_move(
    tmp_path: pathlib.Path, products: pathlib.Path
) -> None:
    values = {
        **default_options("hdf5_db_split"),
        "products_db": str(tmp_path / "new" / "products.sqlite3"),
        "hdf5_db": str(tmp_path / "new" / "hdf5.sqlite3"),
        "preview_from": {"products_db": str(products), "hdf5_db": None},
    }
    previewed = split(hdf5_split.split_options(values, check=True), check=True)
    assert counts(previewed)[0] == 40
    with pytest.raises(ContimgError, match="does not exist"):
        split(hdf5_split.split_options(values, check=False), check=False)


# Random databases: what a preview counts is what a run does, and no row is ever nowhere.

NUMBERS = st.integers(0, 24)
TIMES = st.sampled_from(["2025-10-02T00:00:00", "2025-10-02T00:00:00Z", "2025-10-02 00:00", "bad", None])
ROWS = st.builds(
    lambda number, time, mjd, group, code, indexed, size: file_row(
        number,
        timestamp_iso=time,
        timestamp_mjd=mjd,
        **({} if group else {"group_id": "odd"}),
        **({"subband_code": "odd"} if code == 0 else {}),
        indexed_at=float(indexed),
        file_size_bytes=size,
    ),
    NUMBERS,
    TIMES,
    st.sampled_from([None, 60950.0]),
    st.integers(0, 9),
    st.integers(0, 30),
    st.integers(0, 2),
    st.sampled_from([None, 1, 2]),
)
SOURCES = st.lists(ROWS, max_size=12, unique_by=lambda row: row["path"])
TARGETS = st.lists(
    st.builds(
        lambda number, indexed, size, ra: new_row(number, indexed_at=indexed, file_size_bytes=size, ra_deg=ra),
        NUMBERS,
        st.sampled_from([None, 0.0, 1.0, 2.0]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, 10.5]),
    ),
    max_size=12,
    unique_by=lambda row: row["path"],
)


def outcome(options: Any, *, check: bool) -> dict[str, Any]:
    try:
        result = split(options, check=check)
    except ContimgError as error:
        return {"message": error.message, "tables": error.details["tables"]}
    return {name: result[name] for name in ("changed", "tables", "diff")}


def _by_path(database: pathlib.Path) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in rows_of(database)}


def _has_time(row: dict[str, Any]) -> bool:
    iso, named = row["timestamp_iso"], row["group_id"] != "odd"
    return row["timestamp_mjd"] is not None or iso not in ("bad", None) or (iso is None and named)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    SOURCES,
    st.none() | TARGETS,
    st.sampled_from(["fail", "newest", "keep"]),
    st.booleans(),
    st.sampled_from(["fail", "keep_in_products", "quarantine"]),
)
def test_what_is_predicted_is_done_and_no_row_is_nowhere(
    ours: list[dict[str, Any]],
    theirs: list[dict[str, Any]] | None,
    rule: str,
    keep: bool,  # noqa: FBT001
    decision: str,
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        products = make_products(pathlib.Path(directory) / "p", ours)
        hdf5, backups = pathlib.Path(directory) / "h", pathlib.Path(directory) / "backups"
        old = _by_path(make_hdf5(hdf5, theirs)) if theirs is not None else {}
        source = _by_path(products)
        changed = {"on_conflict": rule, "keep_source": keep, "rejected": decision, "backup_dir": str(backups)}
        options = options_for(products, hdf5, **changed)
        before = snapshot(directory)
        predicted = outcome(options, check=True)
        assert snapshot(directory) == before
        assert outcome(options, check=False) == predicted
        if "message" in predicted:
            assert snapshot(directory) == before
            return
        new = _by_path(hdf5) if hdf5.exists() else {}
        unfit = {path: source.pop(path) for path, row in list(source.items()) if not _has_time(row)}
        exported = [json.loads(line) for file in backups.glob("*.jsonl") for line in file.read_text().splitlines()]
        left = {**source, **unfit} if keep else unfit if decision == "keep_in_products" else {}
        assert len(unfit) == predicted["tables"][INDEX]["rejected"]
        assert {row["path"]: row for row in exported} == (unfit if decision == "quarantine" and not keep else {})
        assert len(exported) in (0, len(unfit))
        assert new.keys() == old.keys() | source.keys()
        assert _by_path(products) == left
        moved = [path for path in source if path not in old]
        assert len(moved) == predicted["tables"][INDEX]["moved"]
        for path, row in source.items():
            says = {name: value for name, value in row.items() if value is not None}
            here, there = new[path], old.get(path)
            wins = there is None or (rule == "newest" and (there["indexed_at"] or 0) < row["indexed_at"])
            assert {**here, **says} == here if wins else here == there
        assert all(new[path] == row for path, row in old.items() if path not in source)
        assert not split(options, check=False)["changed"]
