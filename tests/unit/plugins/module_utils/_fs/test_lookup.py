# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what stands under a name: what cannot be seen does not count as absent."""

from __future__ import annotations

import errno
import glob
import os
from typing import TYPE_CHECKING, Callable

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import (
    is_directory,
    is_file,
    is_link,
    is_there,
    kind_of,
    matching,
    target_exists,
)

if TYPE_CHECKING:
    import pathlib

QUESTIONS = (is_there, is_link, target_exists, is_directory, is_file)
#: What each answers, by name.
ANSWERS = {
    "file": (True, False, True, False, True),
    "directory": (True, False, True, True, False),
    "to file": (True, True, True, False, True),
    "to nothing": (True, True, False, False, False),
    "in circles": (True, True, False, False, False),
    "fifo": (True, False, True, False, False),
    "none": (False, False, False, False, False),
    "file/below": (False, False, False, False, False),
    "x" * 300: (False, False, False, False, False),
}


@pytest.fixture(name="directory")
def _directory(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "to file").symlink_to("file")
    (tmp_path / "to nothing").symlink_to("none")
    (tmp_path / "in circles").symlink_to("in circles")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


@pytest.mark.parametrize("name", ANSWERS)
def test_what_stands_under_a_name(directory: pathlib.Path, name: str) -> None:
    assert tuple(ask(str(directory / name)) for ask in QUESTIONS) == ANSWERS[name]


@pytest.mark.parametrize("ask", [*QUESTIONS, kind_of])
def test_what_cannot_be_looked_at_does_not_count_as_absent(
    directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[str], object]
) -> None:
    def failing(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, failing)
    with pytest.raises(ContimgError, match="errno 5"):
        ask(str(directory / "file"))


@pytest.mark.parametrize(
    "pattern", ["*", "f*", "*/*", ".*", "none/*", "file/*", "[f]ile", "*/deep", "f?fo", "file", "none"]
)
def test_patterns_stand_for_what_the_shell_takes_them_for(directory: pathlib.Path, pattern: str) -> None:
    (directory / "directory" / "deep").touch()
    (directory / ".hidden").touch()
    assert matching(f"{directory}/{pattern}") == sorted(glob.glob(f"{directory}/{pattern}"))


def test_a_directory_that_cannot_be_listed_does_not_count_as_empty(
    directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_arguments: object, **_named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listdir", failing)
    with pytest.raises(ContimgError, match="errno 13"):
        matching(f"{directory}/*")
