# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of a database that gets its place when it is whole: it never gets there without its journal."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.create import new_database


def test_a_database_gets_its_place_when_it_is_whole(tmp_path: pathlib.Path) -> None:
    with new_database(str(tmp_path / "a.db"), like=None, state="") as temporary:
        with contextlib.closing(sqlite3.connect(temporary)) as connection:
            connection.execute("CREATE TABLE t (a)")
        assert not (tmp_path / "a.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_database_whose_journal_is_left_does_not_get_its_place(tmp_path: pathlib.Path, suffix: str) -> None:
    with pytest.raises(ContimgError, match=r"a\.db: .*could not remove its journal.*Nothing was touched"):
        with new_database(str(tmp_path / "a.db"), like=None, state="Nothing was touched.") as temporary:
            pathlib.Path(temporary + suffix).touch()
    assert list(tmp_path.iterdir()) == []
