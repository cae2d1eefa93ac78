# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of logs that are followed: files, journals, and the lines that match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._services.log_tail import (
    FileTail,
    JournalTail,
    compiled,
    matching,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services.watch import (
    watch_options,
)
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import default_options
from ansible_collections.dsa110.contimg.tests.support.trees import ODD_KINDS, make_odd

if TYPE_CHECKING:
    import pathlib


NOTHING: dict[str, Any] = {**default_options("unit_watch"), "names": [], "duration": 0, "patterns": []}


def test_each_line_of_a_log_is_read_once_also_when_it_is_rotated_or_cut(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"old\nolder")
    tail, from_offset = FileTail(str(path), None), FileTail(str(path), 4)
    assert tail.lines() == []
    assert from_offset.lines() == ["older"]
    with path.open("ab") as file:
        file.write(b" still\nnew\nhal")
    assert tail.lines() == [" still", "new", "hal"]
    assert from_offset.lines() == ["older still", "new", "hal"]
    with path.open("ab") as file:
        file.write(b"f\n")
    assert tail.lines() == ["half"]
    assert tail.lines() == []
    path.rename(tmp_path / "a.log.1")
    assert tail.lines() == []
    path.write_bytes(b"rotated\n")
    assert tail.lines() == ["rotated"]
    path.write_bytes(b"cut\n")
    assert tail.lines() == ["cut"]


def test_a_log_that_does_not_exist_yet_is_read_from_its_start(tmp_path: pathlib.Path) -> None:
    tail = FileTail(str(tmp_path / "a.log"), None)
    (tmp_path / "a.log").write_bytes(b"first \xff\n")
    assert tail.lines() == ["first \\xff"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ContimgError, match="could not read the log"):
        FileTail(str(tmp_path / "file" / "a.log"), None)


@pytest.mark.parametrize("kind", ODD_KINDS)
def test_a_log_that_is_not_a_regular_file_is_not_read_and_that_is_reported(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "a.log"
    make_odd(kind, path)
    tail = FileTail(str(path), 0)
    assert tail.lines() == []
    what = "is a symbolic link, which is not followed" if path.is_symlink() else "is not a regular file"
    assert tail.unread == f"{path}: {what}; it is not watched."
    path.rmdir() if kind == "directory" else path.unlink()
    path.write_text("now it is\n")
    assert tail.lines() == ["now it is"]
    assert tail.unread == ""


def test_matches_carry_their_source_and_no_secret(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"fine\nno such table: x, token=planted\n" + b"no such table\n" * 100)
    found = matching([FileTail(str(path), 0)], compiled(["no such table", "readonly"]))
    assert found[0] == {"source": str(path), "line": "no such table: x, token=********"}
    assert len(found) == 50
    assert matching([FileTail(str(path), 0)], compiled([])) == []


def test_a_journal_is_read_on_from_its_cursor(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "journalctl"
    script.write_text(f"#!/bin/sh\necho \"$3\" >>{tmp_path}/asked\nprintf 'line\\n-- cursor: c1\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tail = JournalTail("a.service", 2.5)
    assert [tail.lines(), tail.lines()] == [["line"], ["line"]]
    assert (tmp_path / "asked").read_text().splitlines() == ["--since=@2.500000", "--after-cursor=c1"]


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(ContimgError, match=r"'\(' is not a regular expression"):
        watch_options({**NOTHING, "patterns": ["fine", "("]})
    with pytest.raises(ContimgError, match="cannot be looked for at once"):
        watch_options({**NOTHING, "patterns": ["(?P<x>a)", "(?P<x>b)"]})
