# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the list of a tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import read_directory, scan

if TYPE_CHECKING:
    import pathlib

PATHS = ("a", "d/a", "d/e/b.log", "d/e/c", "f/b.log")


@pytest.fixture(name="root")
def _root(tmp_path: pathlib.Path) -> pathlib.Path:
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "to d").symlink_to("d")
    return tmp_path


def listed(root: pathlib.Path, *exclude: str) -> list[str]:
    with open_root(str(root)) as opened:
        return [os.fsdecode(path) for path in scan(opened, exclude)]


def test_a_tree_is_listed_with_each_directory_before_what_is_in_it(root: pathlib.Path) -> None:
    found = listed(root)
    assert sorted(found) == sorted(["", "d", "d/e", "f", "to d", *PATHS])
    assert all(found.index(os.path.dirname(path)) < found.index(path) for path in found if path)


@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        ("*.log", {"d/e/b.log", "f/b.log"}),
        ("/d/", {"d", "d/a", "d/e", "d/e/b.log", "d/e/c"}),
        ("to d/", set()),
        ("e", {"d/e", "d/e/b.log", "d/e/c"}),
    ],
)
def test_what_is_excluded_is_not_listed(root: pathlib.Path, exclude: str, gone: set[str]) -> None:
    assert set(listed(root)) - set(listed(root, exclude)) == gone


def test_a_wrong_glob_is_refused_before_anything_is_read(root: pathlib.Path) -> None:
    with pytest.raises(ContimgError):
        listed(root, "[z-a]")


def test_links_are_listed_with_what_they_say(root: pathlib.Path) -> None:
    with open_root(str(root)) as opened:
        assert [(one.path, one.target) for one in read_directory(opened, b"") if one.target] == [(b"to d", b"d")]
        assert [one.path for one in read_directory(opened, b"d")] == [b"d/a", b"d/e"]


@pytest.mark.parametrize("directory", [b"none", b"a", b"to d"])
def test_what_is_not_a_directory_cannot_be_listed(root: pathlib.Path, directory: bytes) -> None:
    with open_root(str(root)) as opened, pytest.raises(ContimgError, match="could not list the directory"):
        read_directory(opened, directory)
