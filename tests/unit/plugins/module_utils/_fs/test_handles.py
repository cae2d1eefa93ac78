# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is opened below a root: no link is followed, and nothing waits."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import (
    create_name,
    create_special,
    directory_of,
    entry_at,
    open_below,
    open_root,
)

if TYPE_CHECKING:
    import pathlib


@pytest.fixture(name="root")
def _root(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "file").write_text("content")
    (root / "to d").symlink_to("d")
    (root / "to file").symlink_to("d/file")
    os.mkfifo(root / "fifo")
    return root


def test_a_root_may_be_reached_through_a_link(root: pathlib.Path) -> None:
    with open_root(str(root / "to d")) as opened:
        assert os.listdir(opened) == ["file"]


@pytest.mark.parametrize("name", ["none", "d/file"])
def test_a_root_is_a_directory(root: pathlib.Path, name: str) -> None:
    with pytest.raises(ContimgError, match="could not open the directory"), open_root(str(root / name)):
        raise AssertionError("is open")


@pytest.mark.parametrize("path", [b"to d/file", b"to file", b"none", b"d/file/below"])
def test_no_link_is_followed_below_a_root(root: pathlib.Path, path: bytes) -> None:
    with open_root(str(root)) as opened, pytest.raises(OSError, match=r"Errno (2|20|40)"), open_below(opened, path):
        raise AssertionError("is open")


def test_a_fifo_is_opened_without_waiting_for_its_other_end(root: pathlib.Path) -> None:
    with open_root(str(root)) as opened, open_below(opened, b"fifo") as fifo:
        assert stat.S_ISFIFO(os.fstat(fifo).st_mode)


def test_reading_leaves_the_access_time(root: pathlib.Path) -> None:
    os.utime(root / "d" / "file", (1, 2))
    with open_root(str(root)) as opened, open_below(opened, b"d/file") as file:
        assert os.read(file, 100) == b"content"
    assert (root / "d" / "file").stat().st_atime == 1


def test_a_link_is_seen_and_not_what_it_leads_to(root: pathlib.Path) -> None:
    with open_root(str(root)) as opened:
        assert entry_at(opened, b"to file").kind == stat.S_IFLNK
        assert entry_at(opened, b"").is_directory


def test_a_new_file_is_private_and_takes_no_name_that_is_taken(root: pathlib.Path) -> None:
    with open_root(str(root)) as opened:
        os.close(create_name(opened, b"new"))
        assert stat.S_IMODE((root / "new").stat().st_mode) == 0o600
        for taken in (b"new", b"to file", b"d"):
            with pytest.raises(FileExistsError):
                create_name(opened, taken)


@pytest.mark.parametrize("name", ["to file", "fifo"])
def test_special_files_are_made_alike(root: pathlib.Path, name: str) -> None:
    target = os.fsencode(os.readlink(root / name)) if name == "to file" else b""
    model = entry_of(name.encode(), os.lstat(root / name), target)
    with open_root(str(root)) as opened, directory_of(opened, b"d/made") as (directory, made):
        create_special(directory, made, model)
    found = os.lstat(root / "d" / "made")
    assert stat.S_IFMT(found.st_mode) == model.kind
    assert not target or os.fsencode(os.readlink(root / "d" / "made")) == target
