# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is wrong with a map of databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._migration.preflight_map import (
    excluded_databases,
    map_obstacles,
)

if TYPE_CHECKING:
    import pathlib

MAP = [
    {"name": "a", "src": ["a.sqlite3", "db/a.sqlite3"], "dest": "a.sqlite3", "environment": ["A_DB", "A_PATH"]},
    {"name": "b", "src": ["b.sqlite3"], "dest": "b.sqlite3"},
]


def test_what_is_given_twice_is_named() -> None:
    assert map_obstacles(MAP) == []
    twice = [*MAP, {"name": "a", "src": ["c"], "dest": "b.sqlite3", "environment": ["A_DB"]}]
    assert map_obstacles(twice) == [
        "contimg_databases: the name a is given 2 times. Give it once.",
        "contimg_databases: the place at the destination b.sqlite3 is given 2 times. Give it once.",
        "contimg_databases: the name of the environment A_DB is given 2 times. Give it once.",
    ]


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [
        ([], []),
        (["*.pid"], []),
        (["*.sqlite3"], ["db/a.sqlite3", "b.sqlite3"]),
        (["db"], ["db/a.sqlite3"]),
        (["db/"], ["db/a.sqlite3"]),
        (["/b.sqlite3"], ["b.sqlite3"]),
        (["a.sqlite3/"], []),
    ],
)
def test_a_database_that_is_not_copied_is_named(
    tmp_path: pathlib.Path, exclude: list[str], left_out: list[str]
) -> None:
    (tmp_path / "db").mkdir()
    for name in ("db/a.sqlite3", "b.sqlite3"):
        (tmp_path / name).touch()
    found = excluded_databases(str(tmp_path), MAP, exclude)
    assert [f"leaves out {place}, the" in one for place, one in zip(left_out, found)] == [True] * len(left_out)
    assert len(found) == len(left_out)
    assert excluded_databases(str(tmp_path / "none"), MAP, exclude) == []
