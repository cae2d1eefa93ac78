# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the baseline of a state directory: every database counts, and one that cannot be read is named."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._migration.rows import report


def write(path: Path, rows: range, *, table: str = "t") -> None:
    """Add rows to a database, which is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (a INTEGER PRIMARY KEY)")
        connection.executemany(f"INSERT INTO {table} VALUES (?)", ((row,) for row in rows))
        connection.commit()


def look(state: Path, **values: Any) -> dict[str, Any]:
    """Return what ``state_rows_info`` reports of a state directory with one database that has a name."""
    defaults: dict[str, Any] = {
        "path": str(state),
        "names": {"products": "products.sqlite3", "hdf5": "hdf5.sqlite3"},
        "exclude": ["*.pid"],
        "baseline": {},
        "workers": None,
    }
    return report({**defaults, **values})


@pytest.fixture(name="state")
def _state(tmp_path: Path) -> Path:
    """A state directory: a named database, another one in a directory, and what is not a database."""
    write(tmp_path / "products.sqlite3", range(3))
    write(tmp_path / "catalogs" / "nvss.sqlite3", range(5))
    (tmp_path / "empty.sqlite3").touch()
    (tmp_path / "notes.sqlite3").write_text("no database\n")
    (tmp_path / "link.sqlite3").symlink_to("products.sqlite3")
    return tmp_path


def test_every_database_of_the_tree_is_in_the_baseline(state: Path) -> None:
    found = look(state)
    assert {name: one["tables"]["t"]["rows"] for name, one in found["rows"].items()} == {
        "products": 3,
        "./catalogs/nvss.sqlite3": 5,
    }
    again = look(state, baseline=found["rows"])
    assert (again["differs_from_baseline"], again["new_rows"], again["unreadable"], again["grown"]) == (
        False,
        0,
        {},
        [],
    )


def test_new_rows_count_wherever_they_are(state: Path) -> None:
    baseline = look(state)["rows"]
    write(state / "products.sqlite3", range(10, 12))
    write(state / "catalogs" / "nvss.sqlite3", range(10, 13))
    write(state / "hdf5.sqlite3", range(1))
    write(state / "new" / "made.db", range(4))
    write(state / "new" / "empty.db", range(0))
    with contextlib.closing(sqlite3.connect(state / "products.sqlite3")) as connection:
        connection.execute("ANALYZE")
    found = look(state, baseline=baseline)
    assert found["growth"] == {
        "products": {"t": {"before": 3, "now": 5}},
        "./catalogs/nvss.sqlite3": {"t": {"before": 5, "now": 8}},
        "hdf5": {"t": {"before": 0, "now": 1}},
        "./new/made.db": {"t": {"before": 0, "now": 4}},
    }
    assert {"name": "./new/made.db", "path": f"{state}/new/made.db"} in found["grown"]
    assert (found["new_rows"], found["fell_below"], found["differs_from_baseline"]) == (10, [], True)


def test_rows_that_are_gone_and_rows_that_have_changed_are_found(state: Path) -> None:
    write(state / "other.sqlite3", range(3))
    write(state / "cache.sqlite3", range(3))
    baseline = look(state)["rows"]
    fewer = "DELETE FROM t WHERE a = 1"
    for name, statement in (("products", fewer), ("cache", fewer), ("other", "UPDATE t SET a = 9 WHERE a = 1")):
        with contextlib.closing(sqlite3.connect(state / f"{name}.sqlite3")) as connection:
            connection.execute(statement)
            connection.commit()
    found = look(state, baseline=baseline)
    assert (found["fell_below"], found["fell_below_elsewhere"]) == (["products.t"], ["./cache.sqlite3.t"])
    assert found["growth"]["./other.sqlite3"] == {"t": {"before": 3, "now": 3}}
    assert found["differs_from_baseline"]


def damage(path: Path) -> None:
    """Overwrite the second half of a database."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2))


def test_a_damaged_database_and_one_that_is_gone_are_named_and_the_others_counted(state: Path) -> None:
    write(state / "gone.sqlite3", range(1))
    baseline = look(state)["rows"]
    damage(state / "catalogs" / "nvss.sqlite3")
    (state / "gone.sqlite3").unlink()
    write(state / "products.sqlite3", range(10, 11))
    found = look(state, baseline=baseline)
    assert sorted(found["unreadable"]) == ["./catalogs/nvss.sqlite3", "./gone.sqlite3"]
    assert "does not exist any more" in found["unreadable"]["./gone.sqlite3"]
    assert found["new_rows"] == 1


def test_what_could_not_be_read_before_either_is_not_news(state: Path) -> None:
    damage(state / "catalogs" / "nvss.sqlite3")
    first = look(state)
    assert list(first["unreadable"]) == ["./catalogs/nvss.sqlite3"]
    again = look(state, baseline=first["rows"])
    assert (again["unreadable"], again["differs_from_baseline"]) == ({}, False)


def test_a_state_directory_that_is_gone_is_named_with_all_that_it_held(state: Path) -> None:
    baseline = look(state)["rows"]
    shutil.rmtree(state)
    found = look(state, baseline=baseline)
    assert sorted(found["unreadable"]) == ["./", "./catalogs/nvss.sqlite3", "products"]
    assert (found["new_rows"], found["rows"]["./"]["tables"]) == (0, {})


def test_without_a_baseline_nothing_is_compared(state: Path) -> None:
    found = look(state)
    assert (found["growth"], found["differs_from_baseline"]) == ({}, False)
