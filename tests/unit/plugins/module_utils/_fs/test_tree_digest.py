# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the hash of a tree: what moves it, and what does not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Callable

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree_digest import TreeDigest, tree_digest
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import read_directory, scan

if TYPE_CHECKING:
    import pathlib


def relink(path: pathlib.Path) -> None:
    path.unlink()
    path.symlink_to("other")


CHANGES: dict[str, Callable[[pathlib.Path], object]] = {
    "content": lambda root: (root / "d" / "a").write_text("other"),
    "mode": lambda root: (root / "d" / "a").chmod(0o600),
    "time": lambda root: os.utime(root / "d" / "a", (5, 5)),
    "name": lambda root: (root / "d" / "a").rename(root / "d" / "b"),
    "new": lambda root: (root / "new").touch(),
    "link": lambda root: relink(root / "l"),
    "time of a directory": lambda root: os.utime(root / "d", (5, 5)),
}


@pytest.fixture(name="root")
def _root(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_text("content")
    (tmp_path / "l").symlink_to("d")
    return tmp_path


def digest(root: pathlib.Path) -> str:
    with open_root(str(root)) as opened:
        return tree_digest(scan(opened))


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_shows(root: pathlib.Path, change: str) -> None:
    before = digest(root)
    CHANGES[change](root)
    assert digest(root) != before


def test_reading_does_not_show(root: pathlib.Path) -> None:
    before = digest(root)
    (root / "d" / "a").read_text()
    assert digest(root) == before


def test_directories_may_come_in_any_order(root: pathlib.Path) -> None:
    with open_root(str(root)) as opened:
        whole = TreeDigest(scan(opened)[b""])
        for directory in (b"d", b""):
            whole.add(directory, read_directory(opened, directory))
    assert whole.hexdigest() == digest(root)
