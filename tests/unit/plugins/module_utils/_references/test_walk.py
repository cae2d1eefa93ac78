# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of reading trees: every text file once, no link followed, nothing touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._references.walk import Trees, text_of

if TYPE_CHECKING:
    import pathlib


def with_x(_name: str, buffer: bytearray, count: int) -> bool:
    """Want the files that hold an x."""
    return buffer.find(b"x", 0, count) >= 0


def written(root: pathlib.Path, files: dict[str, bytes]) -> None:
    """Make files with their directories."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def read(*roots: pathlib.Path, exclude: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return what is read of trees, by path."""
    return {file.path: file.content for file in Trees([str(root) for root in roots], exclude, with_x).read()}


def test_text_files_that_are_wanted_are_read(tmp_path: pathlib.Path) -> None:
    large = b"line x\n" * 400_000
    written(
        tmp_path,
        {"a": b"x", "b/c": b"xx", "b/d": b"no", "e": b"x\0", "f": "x é".encode("utf-16"), "g": large, "h": b""},
    )
    written(tmp_path, {".git/x": b"x", "b/.git/x": b"x", "b/.github/x": b"x", "large": b"x\0" * 800_000})
    os.symlink("a", tmp_path / "link")
    os.symlink("/etc", tmp_path / "directory")
    os.mkfifo(tmp_path / "fifo")
    names = [os.path.relpath(path, tmp_path) for path in read(tmp_path)]
    assert names == ["a", "b/.github/x", "b/c", "f", "g"]
    assert read(tmp_path)[str(tmp_path / "g")] == large


def test_what_is_excluded_is_left_out(tmp_path: pathlib.Path) -> None:
    written(tmp_path, {"a.log": b"x", "b/a.log": b"x", "b/c": b"x", "d/c": b"x", "node_modules/c": b"x"})
    found = read(tmp_path, exclude=("*.log", "/b/c", "node_modules/"))
    assert [os.path.relpath(path, tmp_path) for path in found] == ["d/c"]


def test_overlapping_roots_count_once(tmp_path: pathlib.Path) -> None:
    written(tmp_path, {"a/b/c": b"x"})
    os.symlink("a", tmp_path / "other")
    trees = Trees([str(tmp_path / "a/b"), str(tmp_path / "a"), str(tmp_path / "other")], (), with_x)
    assert [file.path for file in trees.read()] == [str(tmp_path / "a/b/c")]
    assert trees.files == 1


def test_a_root_may_be_a_file_or_missing(tmp_path: pathlib.Path) -> None:
    written(tmp_path, {"a": b"x"})
    trees = Trees([str(tmp_path / "a"), str(tmp_path / "none")], (), with_x)
    assert [file.path for file in trees.read()] == [str(tmp_path / "a")]
    assert trees.missing == [str(tmp_path / "none")]


def test_what_cannot_be_read_is_told(tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.write(b"x" * (1 << 20))
        file.truncate((64 << 20) + 1)
    trees = Trees([str(tmp_path)], (), with_x)
    assert list(trees.read()) == []
    assert trees.unread == [f"{tmp_path}/huge: larger than 64 MiB"]


def test_reading_leaves_no_trace(tmp_path: pathlib.Path) -> None:
    written(tmp_path, {"a": b"x"})
    os.utime(tmp_path / "a", (1, 2))
    before = os.stat(tmp_path / "a")
    read(tmp_path)
    assert os.stat(tmp_path / "a").st_atime_ns == before.st_atime_ns
    assert os.stat(tmp_path / "a") == before


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\xe9", "a\udce9"),
        ("é".encode(), "é"),
        ("\ufeffé".encode("utf-16-le"), "é"),
        ("\ufeffé".encode("utf-16-be"), "é"),
    ],
)
def test_encodings_survive(content: bytes, text: str) -> None:
    assert text_of(content) == text
