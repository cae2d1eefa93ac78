# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of repointed unit files: what is replaced, what is kept, and an undo that takes back just the repointed lines."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.edit import run, undone_lines

if TYPE_CHECKING:
    from pathlib import Path

MOVES = [
    {"from": "/stage/state/db/p.sqlite3", "to": "/data/state/p.sqlite3"},
    {"from": "/stage/state", "to": "/data/state"},
]
CONTENT = (
    b"[Unit]\nDescription=moves /stage/state \xff\n[Service]\nEnvironment=DB=/stage/state/db/p.sqlite3 TOKEN=planted\n"
    b"ExecStart=/bin/x --log=/stage/state/logs /stage/state-old\nReadWritePaths=-/stage/state\n"
)
MOVED = CONTENT.replace(b"/stage/state/db/p", b"/data/state/p").replace(b"/stage/state", b"/data/state")
MOVED = MOVED.replace(b"/data/state-old", b"/stage/state-old")


def call(path: Path, *, check: bool = False, **given_: Any) -> dict[str, Any]:
    """Return what ``unit_file`` does with a file."""
    defaults: dict[str, Any] = {"repoint": [], "backup_dir": None, "restore_from": None}
    return run({"path": str(path), **defaults, **given_}, check=check)


@pytest.fixture(name="unit")
def _unit(tmp_path: Path) -> Path:
    path = tmp_path / "x.service"
    path.write_bytes(CONTENT)
    path.chmod(0o640)
    os.setxattr(path, "user.note", b"kept")
    return path


@pytest.fixture(name="backups")
def _backups(tmp_path: Path) -> str:
    return str(tmp_path / "backups")


def test_a_preview_is_the_run_and_a_second_run_changes_nothing(unit: Path, backups: str) -> None:
    preview = call(unit, repoint=MOVES, backup_dir=backups, check=True)
    assert unit.read_bytes() == CONTENT
    assert not os.path.exists(backups)
    assert call(unit, repoint=MOVES, backup_dir=backups) == preview
    assert unit.read_bytes() == MOVED
    assert (unit.stat().st_mode & 0o7777, os.getxattr(unit, "user.note")) == (0o640, b"kept")
    assert preview["changed"]
    assert "planted" not in repr(preview)
    assert not call(unit, repoint=MOVES, backup_dir=backups)["changed"]


def test_a_change_that_a_mask_hides_is_marked(unit: Path) -> None:
    unit.write_text('[Service]\nEnvironment="TOKEN=/stage/state/planted"\nEnvironment="API_KEY=planted"\nNice=1\n')
    shown = call(unit, repoint=MOVES, check=True)["diff"]
    assert shown["before"] == '[Service]\nEnvironment="TOKEN=********"\nEnvironment="API_KEY=********"\nNice=1\n'
    assert shown["after"] == shown["before"].replace('"TOKEN=********"', '"TOKEN=********" (changed)')


def test_an_undo_is_byte_for_byte_where_nobody_else_has_changed_the_file(unit: Path, backups: str) -> None:
    call(unit, repoint=MOVES[1:], backup_dir=backups)
    call(unit, repoint=[{"from": "/stage/state-old", "to": "/mnt/old"}], backup_dir=backups)
    preview = call(unit, restore_from=backups, check=True)
    assert call(unit, restore_from=backups) == preview
    assert (unit.read_bytes(), preview["kept_lines"]) == (CONTENT, [])
    assert not call(unit, restore_from=backups)["changed"]


def test_only_the_repointed_lines_go_back_and_a_line_that_was_changed_since_stays(unit: Path, backups: str) -> None:
    call(unit, repoint=MOVES, backup_dir=backups)
    now = unit.read_bytes().replace(b"/bin/x", b"/bin/y").replace(b"[Service]\n", b"[Service]\nUser=me\nNice=5\n")
    unit.write_bytes(now.replace(b"TOKEN=planted", b"TOKEN=planted") + b"[Install]\n")
    unit.chmod(0o600)
    result = call(unit, restore_from=backups)
    assert unit.read_bytes() == (
        b"[Unit]\nDescription=moves /stage/state \xff\n[Service]\nUser=me\nNice=5\n"
        b"Environment=DB=/stage/state/db/p.sqlite3 TOKEN=planted\nExecStart=/bin/y --log=/data/state/logs /stage/state-old\n"
        b"ReadWritePaths=-/stage/state\n[Install]\n"
    )
    assert unit.stat().st_mode & 0o7777 == 0o600
    assert result["kept_lines"] == ["ExecStart"]
    assert result["warnings"] == [f"{unit}: ExecStart: changed by somebody else since, so the newer line stays"]
    again = call(unit, restore_from=backups)
    assert (again["changed"], again["kept_lines"]) == (False, ["ExecStart"])


def test_a_file_that_is_gone_comes_back_as_it_was(unit: Path, backups: str) -> None:
    call(unit, repoint=MOVES, backup_dir=backups)
    unit.unlink()
    assert call(unit, restore_from=backups, check=True)["changed"]
    assert not unit.exists()
    assert call(unit, restore_from=backups)["changed"]
    assert (unit.read_bytes(), unit.stat().st_mode & 0o7777) == (CONTENT, 0o640)


def test_without_an_edit_there_is_nothing_to_undo(unit: Path, backups: str) -> None:
    assert not call(unit, restore_from=backups)["changed"]
    assert unit.read_bytes() == CONTENT


def test_what_cannot_be_edited_is_refused(unit: Path, backups: str) -> None:
    with pytest.raises(ContimgError, match=r"could not read the unit file: No such file .* Name an existing file"):
        call(unit.with_name("none"), repoint=MOVES)
    with pytest.raises(ContimgError, match="takes absolute paths"):
        call(unit, repoint=[{"from": "stage", "to": "/data"}])
    with pytest.raises(ContimgError, match="would move /stage/state/new again"):
        call(unit, repoint=[{"from": "/stage/state", "to": "/stage/state/new"}])
    call(unit, repoint=MOVES, backup_dir=backups)
    for damage in (
        "{",
        '{"edits": [{"path": 1}]}',
        f'{{"edits": [{{"path": "{unit}", "backup": "x.service", "moves": [[1]]}}]}}',
    ):
        with open(os.path.join(backups, "unit-edits.json"), "w", encoding="utf-8") as journal:
            journal.write(damage)
        with pytest.raises(ContimgError, match=r"is not a journal of edits|could not read the backup"):
            call(unit, restore_from=backups)
    assert unit.read_bytes() == MOVED


def spoil(unit: Path, how: str) -> None:
    """Let something be in the way of an edit."""
    backups = unit.parent / "backups"
    if how == "a backup place that is a file":
        backups.write_text("")
    elif how == "a journal that is none":
        backups.mkdir()
        (backups / "unit-edits.json").write_text("{")
    elif how == "a journal that is a directory":
        (backups / "unit-edits.json").mkdir(parents=True)
    else:
        subprocess.run(["chattr", "+i", str(unit)], check=True)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            "a backup place that is a file",
            "{backups}/unit-edits.json: could not read the journal of edits: Not a directory",
        ),
        ("a journal that is none", "{backups}/unit-edits.json: is not a journal of edits"),
        ("a journal that is a directory", "{backups}/unit-edits.json: is not a regular file"),
        ("an immutable file", "{unit}: cannot be written: {unit} is immutable (chattr +i). Nothing was touched."),
    ],
)
def test_what_would_stop_an_edit_is_found_by_its_preview(unit: Path, backups: str, how: str, says: str) -> None:
    spoil(unit, how)
    before = sorted(map(str, unit.parent.rglob("*")))
    said = []
    try:
        for check in (True, False):
            with pytest.raises(ContimgError) as caught:
                call(unit, repoint=MOVES, backup_dir=backups, check=check)
            said.append(caught.value.message)
    finally:
        subprocess.run(["chattr", "-i", str(unit)], check=True)
    assert said[0] == said[1]
    assert said[0].startswith(says.format(unit=unit, backups=backups))
    assert sorted(map(str, unit.parent.rglob("*"))) == before
    assert unit.read_bytes() == CONTENT


LINES = st.lists(st.sampled_from(["A=/stage/x", "B=1", "C=/stage", "", "# note", "A=/stage/x"]), max_size=8)


@given(before=LINES, kept=st.data())
def test_lines_of_others_stay_and_ours_go_back(before: list[str], kept: st.DataObject) -> None:
    after = [line.replace("/stage", "/data") for line in before]
    now = list(after)
    for number in range(len(now), -1, -1):
        now[number:number] = kept.draw(st.lists(st.sampled_from(["X=new", "# theirs"]), max_size=1))
    text, changed = undone_lines("\n".join(before), "\n".join(after), "\n".join(now))
    assert not changed
    assert text.split("\n") == [line.replace("/data", "/stage") for line in "\n".join(now).split("\n")]
