# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the atomic replacement of small files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import (
    back_up,
    ensure_private_directory,
    replace_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    import pathlib


def test_replace_makes_and_replaces_with_the_asked_mode(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "file"
    for content, mode in ((b"one", 0o640), (b"two", 0o600)):
        replace_file(str(target), content, mode=mode)
        assert (target.read_bytes(), target.stat().st_mode & 0o7777) == (content, mode)
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_replace_leaves_the_old_content_and_no_debris(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def no_rename(*_args: object, **_options: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", no_rename)
    with pytest.raises(ContimgError, match="could not write the file"):
        replace_file(str(target), b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_may_come_in_parts(tmp_path: pathlib.Path) -> None:
    replace_file(str(tmp_path / "file"), (bytes([number]) for number in range(3)))
    assert (tmp_path / "file").read_bytes() == b"\0\1\2"


def test_a_missing_folder_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ContimgError, match="errno 2"):
        replace_file(str(tmp_path / "none" / "file"), b"")


def test_private_directories_are_made_once(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "a" / "b"
    assert ensure_private_directory(str(folder)) is True
    assert ensure_private_directory(str(folder)) is False
    assert folder.stat().st_mode & 0o7777 == 0o700


def test_a_backup_keeps_content_mode_and_times(tmp_path: pathlib.Path) -> None:
    original = tmp_path / "contimg.env"
    original.write_bytes(b"SECRET=1\n")
    original.chmod(0o640)
    os.utime(original, ns=(1, 1_500_000_000_123_456_789))
    copy = back_up(str(original), str(tmp_path / "backups"))
    status = os.stat(copy)
    assert (tmp_path / "backups" / os.path.basename(copy)).read_bytes() == b"SECRET=1\n"
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o640, 1_500_000_000_123_456_789)
