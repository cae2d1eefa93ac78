# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What killed copies have left, and what only looks like it: that is copied, kept or a conflict, as any other name is."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import name_for, new_run, proven_name
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Journal
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import copy, first_version, found_differences

if TYPE_CHECKING:
    import pathlib

#: Names that a program called contimg may give, some in the very form of our temporary ones.
THEIRS = (
    ".contimg-",
    ".contimg-state",
    ".contimg-0123456789abcdef",
    ".contimg-01234567-products.sqlite3",
    os.fsdecode(name_for(new_run())),
    os.fsdecode(proven_name(b"temporary")),
)


@pytest.fixture(name="base")
def _base(tmp_path: pathlib.Path) -> pathlib.Path:
    first_version(tmp_path / "base")
    return tmp_path / "base"


def fill(root: pathlib.Path, word: str) -> None:
    """Make a file, a directory with content and a database of each name."""
    for number, name in enumerate(THEIRS):
        for kind in ("file", "directory", "database"):
            path = root / f"{kind}s {number}" / name
            path.parent.mkdir(parents=True)
            if kind == "file":
                path.write_text(word)
            elif kind == "directory":
                path.mkdir()
                (path / name).write_text(word)
            else:
                with sqlite3.connect(path) as connection:
                    connection.execute("CREATE TABLE t AS SELECT ? AS a", (word,))
                connection.close()


def test_their_names_are_copied(base: pathlib.Path) -> None:
    fill(base / "src", "word")
    copy(base)
    assert found_differences(base) == []
    assert copy(base)["changed"] is False


def test_their_names_stay_at_the_destination(base: pathlib.Path) -> None:
    fill(base / "dest", "word")
    before = {path: path.lstat().st_ctime_ns for path in (base / "dest").rglob("*")}
    copy(base, delete=False)
    assert {path: path.lstat().st_ctime_ns for path in before} == before


def test_their_names_are_in_conflict_where_they_differ(base: pathlib.Path) -> None:
    fill(base / "src", "here")
    fill(base / "dest", "there")
    with pytest.raises(ContimgError, match="holds what this copy has not put there") as caught:
        copy(base, delete=False)
    assert len(caught.value.details["conflicts"]) == 3 * len(THEIRS)


def left_by_a_killed_run(base: pathlib.Path) -> pathlib.Path:
    """Copy, and note another run; return a name of that run."""
    copy(base)
    run = new_run()
    Journal(Ledger.read(f"{base}/dest.sha256.ledger")).begin(run)
    return base / "dest" / "logs" / os.fsdecode(name_for(run))


def test_a_preview_names_what_a_killed_run_has_left_and_the_run_removes_it(base: pathlib.Path) -> None:
    path = left_by_a_killed_run(base)
    path.write_text("half")
    path.with_name(path.name + "-wal").symlink_to("/etc/passwd")
    preview = copy(base, check=True, delete=False)
    wanted = [f"remove logs/{path.name}-wal", f"remove logs/{path.name}"]
    found = [f"{step['action']} {step['path']}" for step in preview["actions"] if step["action"] == "remove"]
    assert found == wanted
    assert copy(base, delete=False)["actions_digest"] == preview["actions_digest"]
    assert found_differences(base) == []
    assert copy(base)["changed"] is False


def test_what_a_run_has_left_is_no_conflict_with_a_file_of_its_name(base: pathlib.Path) -> None:
    path = left_by_a_killed_run(base)
    path.write_text("half")
    (base / "src" / "logs" / path.name).write_text("whole")
    copy(base)
    assert found_differences(base) == []
    assert copy(base)["changed"] is False


def test_a_directory_of_such_a_name_is_never_taken_for_ours(base: pathlib.Path) -> None:
    path = left_by_a_killed_run(base)
    path.mkdir()
    (path / "precious").write_text("word")
    copy(base, delete=False)
    assert (path / "precious").read_text() == "word"


def test_what_was_left_in_an_excluded_directory_is_removed_once_it_is_looked_into(base: pathlib.Path) -> None:
    path = left_by_a_killed_run(base)
    path.write_text("half")
    copy(base, exclude=["logs/"], delete=False)
    assert path.exists()
    copy(base, delete=False)
    assert not path.exists()


def test_a_file_name_of_255_bytes_is_copied_and_replaced(base: pathlib.Path) -> None:
    for content in ("old", "new"):
        for name in ("x" * 255, "y" * 247 + ".sqlite3"):
            (base / "src" / name).write_text(content)
        copy(base)
        assert found_differences(base) == []
