# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the journal of edits, in a real directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._env.journal import EditJournal
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    import pathlib


def test_edits_are_returned_by_file_the_oldest_first(tmp_path: pathlib.Path) -> None:
    journal = EditJournal(str(tmp_path / "backups"), "edits.json")
    assert journal.edits_of("/a") == []
    for path, backup in (("/a", "/b/a.1"), ("/other", ""), ("/x/../a", "/b/a.2")):
        journal.add(path, backup, kind="test")
    assert [(one["path"], one["backup"], one["kind"]) for one in journal.edits_of("/a")] == [
        ("/a", "a.1", "test"),
        ("/a", "a.2", "test"),
    ]
    assert (tmp_path / "backups" / "edits.json").stat().st_mode & 0o777 == 0o600


def test_the_backup_of_an_edit_is_looked_for_in_its_directory_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.1").write_bytes(b"before")
    (tmp_path / "backups").mkdir()
    journal = EditJournal(str(tmp_path), "edits.json")
    assert journal.backup_of({"backup": "a.1"}) == b"before"
    assert journal.backup_of({"backup": "backups/../../a.1"}) == b"before"
    assert journal.backup_of({"backup": ""}) is None
    with pytest.raises(ContimgError, match=r"a\.2.*No such file.*Nothing was put back"):
        journal.backup_of({"backup": "a.2"})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"edits": 1}', '{"edits": [{"path": 1}]}'])
def test_a_file_that_is_no_journal_is_refused(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "edits.json").write_text(content)
    with pytest.raises(ContimgError, match="is not a journal of edits"):
        EditJournal(str(tmp_path), "edits.json").edits_of("/a")
