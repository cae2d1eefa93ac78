# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The map of the databases and the guard of the destination, on real databases."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import split
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.databases import (
    Mapped,
    Ours,
    action_for,
    locate,
    report,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum, describe
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    file_row,
    insert_rows,
    make_products,
    new_row,
    options_for,
    snapshot,
)

MAP: list[dict[str, Any]] = [
    {"name": "ingest", "src": ["ingest.sqlite3", "db/ingest.sqlite3"], "dest": "ingest.sqlite3", "required": True},
    {
        "name": "products",
        "src": ["products.sqlite3", "db/products.sqlite3"],
        "dest": "products.sqlite3",
        "required": True,
    },
    {"name": "hdf5", "src": ["hdf5.sqlite3"], "dest": "hdf5.sqlite3", "required": False},
]


PLACES = ("ingest.sqlite3", "products.sqlite3", "hdf5.sqlite3")


def write(path: Path, rows: range, *, table: str = "t") -> None:
    """Add rows to a database, which is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (a INTEGER PRIMARY KEY, created_at REAL)")
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", ((row, 1759363200.5 + row) for row in rows))
        connection.commit()


def look(base: Path, **values: Any) -> dict[str, Any]:
    """Return what ``state_databases_info`` reports of the two directories."""
    defaults: dict[str, Any] = {
        "src": str(base / "src"), "dest": str(base / "dest"), "databases": MAP, "decisions": {}, "facts": {},
        "split_backups": None,
        "relations": True, "integrity": "quick", "users": [], "fail_on": [],
    }  # fmt: skip
    return report({**defaults, **values})


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    write(tmp_path / "src" / "ingest.sqlite3", range(3))
    write(tmp_path / "src" / "db" / "products.sqlite3", range(3))
    return tmp_path


def actions(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["name"]: (one["relation"], one["action"]) for one in found["databases"]}


def test_an_undecided_database_fails_the_task_that_asks_for_it(base: Path) -> None:
    asked = ["undecided", "lost_access"]
    assert look(base, fail_on=asked)["undecided"] == []
    write(base / "dest" / "ingest.sqlite3", range(5))
    found = look(base)
    assert found["undecided"] == ["ingest"]
    with pytest.raises(ContimgError, match="dest: ingest there may hold what the source lacks") as caught:
        look(base, fail_on=asked)
    assert found["table"] in caught.value.message
    assert caught.value.details == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root asks as another user")
def test_lost_access_fails_the_task_that_asks_for_it() -> None:
    """In a directory that others may enter, unlike that of a test."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        base.chmod(0o755)
        for place in ("src/ingest.sqlite3", "src/products.sqlite3", "dest/ingest.sqlite3", "dest/products.sqlite3"):
            write(base / place, range(3))
            (base / place).chmod(0o644)
        assert look(base, fail_on=["lost_access"], users=["nobody"])["lost_access"] == []
        (base / "dest" / "ingest.sqlite3").chmod(0o600)
        lost = [{"user": "nobody", "path": f"{base}/dest/ingest.sqlite3", "lost": ["read"]}]
        assert look(base, fail_on=["undecided"], users=["nobody"])["lost_access"] == lost
        with pytest.raises(ContimgError) as caught:
            look(base, fail_on=["lost_access"], users=["nobody"])
        assert f"user nobody could no longer read {base}/dest/ingest.sqlite3" in caught.value.message


def test_what_is_copied_is_compared_with_the_check_that_the_map_names(base: Path) -> None:
    write(base / "dest" / "ingest.sqlite3", range(5))
    mapped = [MAP[0], {**MAP[1], "integrity": "full"}, MAP[2]]
    source, place = base / "src", base / "dest"
    products = {
        "path": str(source / "db" / "products.sqlite3"),
        "compare_to": str(place / "products.sqlite3"),
        "integrity": "full",
    }
    kept = look(base, databases=mapped, decisions={"ingest": "keep_dest"})
    assert kept["comparisons"] == [products]
    replaced = look(base, databases=mapped, decisions={"ingest": "take_source"}, integrity="none")["comparisons"]
    ingest = {"path": str(source / "ingest.sqlite3"), "compare_to": str(place / "ingest.sqlite3"), "integrity": "quick"}
    assert replaced == [ingest, products]


def test_an_empty_destination_gets_every_database_at_its_place(base: Path) -> None:
    found = look(base)
    assert actions(found) == {
        "ingest": ("absent", "copy"), "products": ("absent", "copy"), "hdf5": ("absent", "absent"),
    }  # fmt: skip
    assert found["rename"] == {"db/products.sqlite3": "products.sqlite3"}
    assert [(one["replaced"], one["path"] == str(base / "dest" / place)) for one, place in zip(found["copies"], PLACES)] == [
        (True, True), (True, True), (False, True),
    ]  # fmt: skip
    assert found["read_paths"]["products"] == str(base / "src" / "db" / "products.sqlite3")
    assert found["read_paths"]["hdf5"] == str(base / "dest" / "hdf5.sqlite3")
    assert (found["undecided"], found["sync_decisions"]) == ([], {})


@pytest.mark.parametrize(
    ("rows", "relation", "action"),
    [
        (range(3), "identical", "copy"),
        (range(2), "behind", "copy"),
        (range(5), "ahead", "undecided"),
        (range(1, 4), "diverged", "undecided"),
    ],
)
def test_the_guard_judges_by_rows(base: Path, rows: range, relation: str, action: str) -> None:
    write(base / "dest" / "products.sqlite3", rows)
    found = look(base)
    assert actions(found)["products"] == (relation, action)
    assert found["undecided"] == (["products"] if action == "undecided" else [])


def test_another_schema_is_undecided(base: Path) -> None:
    write(base / "dest" / "products.sqlite3", range(3), table="other")
    assert actions(look(base))["products"] == ("other_schema", "undecided")


def test_a_table_that_one_side_lacks_is_named_as_such(base: Path) -> None:
    write(base / "dest" / "products.sqlite3", range(3))
    write(base / "dest" / "products.sqlite3", range(2), table="u")
    assert "u: 2 rows at the destination, no such table in the source; 2 only at the destination" in look(base)["table"]


def test_columns_in_which_rows_with_the_same_key_differ_are_named(base: Path) -> None:
    path = base / "dest" / "products.sqlite3"
    write(path, range(3))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE t SET created_at = created_at + 1 WHERE a < 2")
        connection.commit()
    assert "rows with the same key differ in: created_at (2)" in look(base)["table"]


def test_both_sides_are_shown(base: Path) -> None:
    write(base / "dest" / "products.sqlite3", range(5))
    table = look(base)["table"]
    assert "5 rows at the destination, 3 in the source; 2 only at the destination, 0 only in the source" in table
    assert "newest row, destination: 2025-10-02T00:00:04Z (t.created_at)" in table


@pytest.mark.parametrize(
    ("facts", "names", "left"),
    [
        ({}, (), {}),
        ({"placed": ["a"], "left": {"a": 1}}, ("a",), {"a": 1}),
        ({"left": {"a": 1, "hdf5": 1}, "baseline": {"a": 2}}, (), {"a": 2, "hdf5": 1}),
        ({"split_made": True}, ("hdf5",), {}),
        ({"split_made": True, "placed": ["a"], "decisions": {"products": "take_source"}}, ("a", "hdf5"), {}),
        ({"split_made": True, "decisions": {"products": "keep_dest"}}, (), {}),
    ],
)
def test_the_facts_of_a_record_say_what_an_earlier_run_has_left(
    facts: dict[str, Any], names: tuple[str, ...], left: dict[str, Any]
) -> None:
    assert Ours.of(facts, "/backups") == Ours(names, left, "/backups")


@pytest.mark.parametrize(
    ("relation", "decision", "action"),
    [
        ("ahead", "keep_dest", "keep"),
        ("ahead", "take_source", "replace"),
        ("absent", "take_source", "copy"),
        ("ahead", None, "undecided"),
    ],
)
def test_the_operator_decides(relation: str, decision: str | None, action: str) -> None:
    assert action_for(relation, decision) == action


@pytest.mark.parametrize(
    ("decisions", "message"),
    [({"produkts": "keep_dest"}, "no database 'produkts'"), ({"products": "keep"}, "'keep' is not a decision")],
)
def test_a_decision_that_means_nothing_is_refused(base: Path, decisions: dict[str, str], message: str) -> None:
    with pytest.raises(ContimgError, match=message):
        look(base, decisions=decisions)


def test_everything_that_is_wrong_with_the_places_is_listed_at_once(base: Path) -> None:
    write(base / "src" / "db" / "ingest.sqlite3", range(1))
    (base / "src" / "db" / "products.sqlite3").unlink()
    mapped = [Mapped(one["name"], tuple(one["src"]), one["dest"], one["required"]) for one in MAP]
    with pytest.raises(ContimgError) as caught:
        locate(str(base / "src"), str(base / "dest"), mapped)
    assert "ingest stands in more than one place: ingest.sqlite3, db/ingest.sqlite3" in caught.value.message
    assert "products stands at none of its places: products.sqlite3, db/products.sqlite3" in caught.value.message


def test_the_unified_layout_is_refused(base: Path) -> None:
    write(base / "src" / "pipeline.sqlite3", range(1))
    with pytest.raises(ContimgError, match="unified layout"):
        look(base)


def left_of(*databases: Path) -> dict[str, Any]:
    return {path.stem: describe(str(path), tables=True) for path in databases}


def test_what_an_earlier_run_has_placed_is_its_own_only_as_long_as_nobody_writes_to_it(base: Path) -> None:
    placed = base / "dest" / "products.sqlite3"
    write(placed, range(2))
    ours: dict[str, Any] = {"facts": {"placed": ["products"], "left": left_of(placed)}}
    assert actions(look(base, **ours))["products"] == ("ours", "replace")
    write(placed, range(0), table="made_again_by_the_application")
    assert actions(look(base, **ours))["products"] == ("ours", "replace")
    write(placed, range(90, 91))
    found = look(base, **ours)
    assert (actions(found)["products"], found["undecided"]) == (("other_schema", "undecided"), ["products"])
    decided = look(base, **ours, decisions={"products": "keep_dest"})
    assert decided["sync_decisions"] == {"products.sqlite3": "keep"}
    assert decided["decided"] == {"products": "keep_dest"}


def test_a_decision_says_nothing_about_what_this_move_puts_there_or_has_put_there(base: Path) -> None:
    placed = base / "dest" / "products.sqlite3"
    decisions = {"products": "keep_dest"}
    lacking = look(base, decisions=decisions)
    assert (actions(lacking)["products"], lacking["decided"]) == (("absent", "copy"), {})
    write(placed, range(2))
    again = look(base, decisions=decisions, facts={"placed": ["products"], "left": left_of(placed)})
    assert (actions(again)["products"], again["decided"]) == (("ours", "replace"), {})


@pytest.fixture(name="split_made")
def _split_made(base: Path) -> Path:
    """The HDF5 database that a split of an earlier run has made at the destination."""
    (base / "dest").mkdir()
    products = make_products(base / "dest" / "products.sqlite3", [file_row(number) for number in range(20)])
    hdf5 = base / "dest" / "hdf5.sqlite3"
    split(options_for(products, hdf5, backup_dir=str(base / "backups")), check=False)
    products.unlink()
    return hdf5


@pytest.mark.parametrize("recorded", [True, False])
def test_what_a_split_has_made_is_removed_only_as_it_was_made(base: Path, split_made: Path, *, recorded: bool) -> None:
    left = left_of(split_made) if recorded else {}
    facts = {"split_made": True, "left": left}
    ours: dict[str, Any] = {"facts": facts, "split_backups": str(base / "backups")}
    before = snapshot(base)
    found = look(base, **ours)
    assert (actions(found)["hdf5"], found["undecided"]) == (("ours", "remove"), [])
    assert found["databases"][2]["checksum"] == content_checksum(str(split_made))
    assert actions(look(base, **ours, decisions={"hdf5": "keep_dest"}))["hdf5"] == ("ours", "remove")
    assert (found["sync_decisions"], found["rename"]) == ({}, {"db/products.sqlite3": "products.sqlite3"})
    assert snapshot(base) == before
    with contextlib.closing(sqlite3.connect(split_made)) as connection:
        insert_rows(connection, [new_row(99)])
        connection.commit()
    found = look(base, **ours)
    assert (actions(found)["hdf5"], found["undecided"]) == (("changed", "undecided"), ["hdf5"])
    assert actions(look(base, **ours, decisions={"hdf5": "keep_dest"}))["hdf5"] == ("changed", "keep")
    taken = look(base, **ours, decisions={"hdf5": "take_source"})
    assert (actions(taken)["hdf5"], taken["sync_decisions"]) == (("changed", "remove"), {})


@pytest.mark.parametrize("changed", ["dec_deg = 1.0", "stored = 0", "note = 1"])
def test_of_an_interrupted_split_every_value_counts(base: Path, split_made: Path, changed: str) -> None:
    with contextlib.closing(sqlite3.connect(split_made)) as connection:
        if changed == "note = 1":
            connection.execute("ALTER TABLE hdf5_file_index ADD COLUMN note")
        connection.execute(f"UPDATE hdf5_file_index SET {changed} WHERE rowid = 7")
        connection.commit()
    found = look(base, facts={"split_made": True}, split_backups=str(base / "backups"))
    assert actions(found)["hdf5"] == ("changed", "undecided")


def test_an_hdf5_database_of_others_is_left_to_the_split(base: Path, split_made: Path) -> None:
    assert split_made.exists()
    assert actions(look(base))["hdf5"] == ("absent", "absent")
    split_made.write_bytes(b"")
    assert actions(look(base, facts={"split_made": True}))["hdf5"] == ("absent", "absent")


@pytest.mark.parametrize("side", ["src", "dest"])
def test_a_database_behind_a_link_is_no_database_of_the_state(base: Path, side: str) -> None:
    write(base / "elsewhere" / "ingest.sqlite3", range(3))
    path = base / side / "ingest.sqlite3"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to("../elsewhere/ingest.sqlite3")
    with pytest.raises(
        ContimgError, match=rf"{side}/ingest.sqlite3: is reached through a symbolic link to .*elsewhere"
    ):
        look(base)


def test_a_link_to_where_a_service_will_make_a_database_is_none(base: Path) -> None:
    (base / "src" / "hdf5.sqlite3").symlink_to("../elsewhere/hdf5.sqlite3")
    with pytest.raises(ContimgError, match=r"src/hdf5.sqlite3: is reached through a symbolic link to"):
        look(base)
