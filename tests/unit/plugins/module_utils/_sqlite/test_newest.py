# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ``_sqlite/newest`` over the forms in which the deployed schemas write moments."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.newest import newest_row

if TYPE_CHECKING:
    import pathlib


def make(path: pathlib.Path, **columns: object) -> str:
    """Make a database in which each column ``table__name`` holds a value."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for place, value in columns.items():
            table, _separator, name = place.partition("__")
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table}(id INTEGER PRIMARY KEY)")
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {name}")
            connection.execute(f"INSERT INTO {table}({name}) VALUES (?)", (value,))
        connection.commit()
    return str(path)


@pytest.mark.parametrize(
    ("name", "value", "moment"),
    [
        ("processed_at", 1759363920.25, "2025-10-02T00:12:00Z"),
        ("stage_updated_at", 1759363920, "2025-10-02T00:12:00Z"),
        ("last_update", 1759363920000, "2025-10-02T00:12:00Z"),
        ("measured_at", "2025-10-02T00:12:00", "2025-10-02T00:12:00Z"),
        ("created_at", "2025-10-02 00:12:00.5", "2025-10-02T00:12:00Z"),
        ("registered_at", "2025-10-02T02:12:00+02:00", "2025-10-02T00:12:00Z"),
        ("registered_at", "2025-10-02 02:12:00 +0200", "2025-10-02T00:12:00Z"),
        ("registered_at", "2025-10-02T02:12+02", "2025-10-02T00:12:00Z"),
        ("registered_at", "20251002T001200", "2025-10-02T00:12:00Z"),
        ("registered_at", "20251002T021200.5+0200", "2025-10-02T00:12:00Z"),
        ("created_at", "2025-10-01 23:59:60", "2025-10-02T00:00:00Z"),
        ("created_at", "2025-10-01T24:00:00Z", "2025-10-02T00:00:00Z"),
        ("created_at", "1759363920.5", "2025-10-02T00:12:00Z"),
        ("created_at", "1759363920000", "2025-10-02T00:12:00Z"),
        ("mid_mjd", "60950.5", "2025-10-02T12:00:00Z"),
        ("mid_mjd", 60950 + 0.7, "2025-10-02T16:48:00Z"),
        ("obs_date", "2025-10-02", "2025-10-02T00:00:00Z"),
        ("mid_mjd", 60950.5, "2025-10-02T12:00:00Z"),
        ("start_jd", 2460951.0, "2025-10-02T12:00:00Z"),
        ("timestamp_iso", "2025-10-02T00:12:00Z", "2025-10-02T00:12:00Z"),
        ("validated_at", 1759363920, "2025-10-02T00:12:00Z"),
        ("last_seen", 1759363920, "2025-10-02T00:12:00Z"),
    ],
)
def test_a_moment_is_read_in_each_form(tmp_path: pathlib.Path, name: str, value: object, moment: str) -> None:
    assert newest_row(make(tmp_path / "db", **{f"t__{name}": value})) == f"{moment} (t.{name})"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("integration_time", 12.88),
        ("obs_time", "00:12:00"),
        ("valid_until_mjd", 60999.0),
        ("expires_at", 4000000000),
        ("created_at", "soon"),
        ("created_at", "2025-13-40"),
        ("created_at", "2025-10-02T12:60:00"),
        ("created_at", "20251002"),
        ("created_at", "1759363920 rows"),
        ("created_at", "1759363920.1.2"),
        ("created_at", None),
        ("created_at", b"2025-10-02"),
        ("size", 1759363920),
    ],
)
def test_what_names_no_moment_does_not_count(tmp_path: pathlib.Path, name: str, value: object) -> None:
    assert newest_row(make(tmp_path / "db", **{f"t__{name}": value})) == ""


def test_moments_of_all_forms_are_compared_as_moments(tmp_path: pathlib.Path) -> None:
    database = make(
        tmp_path / "db",
        a__indexed_at=1759363920,
        b__mid_mjd=60951.0,
        c__created_at="2025-10-02T23:59:59",
        d__updated_at="2025-09-30T00:00:00",
    )
    assert newest_row(database) == "2025-10-03T00:00:00Z (b.mid_mjd)"


@pytest.mark.parametrize(
    ("values", "moment"),
    [
        (["2025-10-02 23:00:00+00:00", "2025-10-03 01:00:00+09:00"], "2025-10-02T23:00:00Z"),
        (["2025-10-02T23:00:00Z", "2025-10-02T20:00:00-07:00"], "2025-10-03T03:00:00Z"),
        (["2025-10-02 23:30:00", "2025-10-02T23:00:00"], "2025-10-02T23:30:00Z"),
        (["2025-10-02 12:00:00", "20251002T130000"], "2025-10-02T13:00:00Z"),
        (["2025-10-02 12:00:00", "2025-19-39"], "2025-10-02T12:00:00Z"),
        (["2025-10-02 12:00:00", "2025-10-02 25:00:00"], "2025-10-02T12:00:00Z"),
        (["2025-10-02 12:00:00", b"2025-12-02".ljust(99), "2025-10-02 11:59:60"], "2025-10-02T12:00:00Z"),
        ([1759363920.5, "2025-10-02"], "2025-10-02T00:12:00Z"),
    ],
)
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_within_a_column_moments_are_compared_and_not_texts(
    tmp_path: pathlib.Path, values: list[object], moment: str, encoding: str
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.executescript(f"PRAGMA encoding = '{encoding}'; CREATE TABLE t(updated_at TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        connection.execute(
            "INSERT INTO t VALUES (CAST(x'323032352d31302d30310aff' AS TEXT))"
        )  # not valid, whatever the encoding
        connection.commit()
    assert newest_row(str(tmp_path / "db")) == f"{moment} (t.updated_at)"


def test_a_table_of_many_columns_with_an_unknown_collation_is_read(tmp_path: pathlib.Path) -> None:
    columns = ", ".join(f"c{number}_at TEXT COLLATE alpha" for number in range(1500))
    with contextlib.closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.create_collation("alpha", lambda one, two: (one > two) - (one < two))
        connection.execute(f"CREATE TABLE t(k TEXT COLLATE alpha PRIMARY KEY, {columns}) WITHOUT ROWID")
        connection.execute("INSERT INTO t(k, c1499_at) VALUES (1, '2025-10-02')")
        connection.commit()
    assert newest_row(str(tmp_path / "db")) == "2025-10-02T00:00:00Z (t.c1499_at)"
