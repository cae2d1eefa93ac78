# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the paths inside databases: what is counted is what is rewritten, and nothing else changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import Moves, paths_in
from ansible_collections.dsa110.contimg.tests.support.databases.paths_in_rows import PAIRS, make_database_with_paths

if TYPE_CHECKING:
    import pathlib


@pytest.fixture(params=["wal", "delete"])
def database(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> pathlib.Path:
    """A database with paths in plain and odd columns."""
    return make_database_with_paths(tmp_path, request.param)


def moments(directory: pathlib.Path) -> list[tuple[str, int, int]]:
    """Return every file of a directory with its times."""
    return sorted((one.name, os.stat(one).st_mtime_ns, os.stat(one).st_ctime_ns) for one in directory.iterdir())


def test_paths_are_counted_without_a_trace(database: pathlib.Path) -> None:
    before = moments(database.parent)
    found = [(one.table, one.name, one.rows, one.mentions) for one in paths_in(str(database), Moves(PAIRS))]
    assert found == [
        ('odd "one', "a path", 6, 5),
        ("storage_locations", "base_path", 1, 0),
        ("words_content", "c0", 0, 1),
    ]
    assert moments(database.parent) == before


@pytest.mark.parametrize("pair", [("state", "/data"), ("/", "/data"), ("/a/../b", "/c"), ("/a", "/a/b"), ("/a", "/a")])
def test_moves_that_make_no_sense_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ContimgError):
        Moves([pair])
