# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest is that of the last pass, also where an earlier one did all the work; and what a copy cannot look at."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import audit, kept_file, read_kept
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import copy, first_version, is_told

if TYPE_CHECKING:
    import pathlib


def database(path: pathlib.Path, rows: int) -> None:
    """Make a database with some rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (i)")
        connection.executemany("INSERT INTO t VALUES (?)", ((row,) for row in range(rows)))
        connection.commit()


def test_a_final_pass_with_nothing_to_copy_tells_what_live_passes_have_copied(tmp_path: pathlib.Path) -> None:
    first_version(tmp_path / "base")
    copy(tmp_path / "base")
    (tmp_path / "base" / "src" / "later").write_text("later")
    copy(tmp_path / "base", live=True)
    assert not is_told(tmp_path / "base")
    assert copy(tmp_path / "base")["changed"]
    assert is_told(tmp_path / "base")
    assert not copy(tmp_path / "base")["changed"]


def test_what_a_decision_keeps_is_recorded_and_is_not_unknown_in_the_source(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    first_version(base)
    src, dest, manifest = base / "src", base / "dest", str(base / "dest.sha256")
    (dest / "odd\nname").mkdir(parents=True)  # stands where the source has a file
    (dest / "big").write_text("theirs")
    (src / "odd\nname").write_text("ours")
    database(src / "db" / "q.sqlite3", 1)
    database(dest / "q.sqlite3", 2)
    (src / "db" / "q.sqlite3-wal").touch()
    decided: dict[str, Any] = {
        "on_conflict": "keep",
        "rename": {"db/q.sqlite3": "q.sqlite3"},
        "decisions": {"q.sqlite3": "keep"},
    }
    assert copy(base, **decided)["stats"]["kept"] == 3
    assert read_kept(manifest) == {b"big", b"odd\nname", b"q.sqlite3"}
    found = audit(str(src), manifest, rename=decided["rename"], exclude=[], content=True)
    assert (found["unknown"], found["missing"], found["changed_files"], found["matches"]) == ([], [], [], True)
    assert found["kept"] == ["big", "odd\\x0aname", "q.sqlite3", "q.sqlite3-wal"]
    assert not copy(base, **decided)["changed"]

    (src / "later").write_text("unknown")
    assert audit(str(src), manifest, rename=decided["rename"], exclude=[], content=True)["unknown"] == ["later"]
    (dest / "big").unlink()
    assert copy(base, **decided)["changed"]
    assert read_kept(manifest) == {b"odd\nname", b"q.sqlite3"}


def test_where_nothing_is_kept_there_is_no_list(tmp_path: pathlib.Path) -> None:
    first_version(tmp_path / "base")
    copy(tmp_path / "base")
    assert not os.path.lexists(kept_file(str(tmp_path / "base" / "dest.sha256")))


@pytest.mark.parametrize("line", ["name", "./../x", "./a//b", "./"])
def test_a_list_that_leads_elsewhere_is_refused(tmp_path: pathlib.Path, line: str) -> None:
    (tmp_path / "m.kept").write_text(f"{line}\n")
    with pytest.raises(ContimgError, match="holds a line that no list of kept paths has"):
        read_kept(str(tmp_path / "m"))
