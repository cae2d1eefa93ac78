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
        ("obs_date", "2025-10-02", "2025-10-02T00:00:00Z"),
        ("mid_mjd", 60950.5, "2025-10-02T12:00:00Z"),
        ("start_jd", 2460951.0, "2025-10-02T12:00:00Z"),
        ("timestamp_iso", "2025-10-02T00:12:00Z", "2025-10-02T00:12:00Z"),
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
