# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what an entry keeps of a status, and of paths within a tree."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import (
    ancestors,
    entry_of,
    is_racy,
    name_of,
    parent_of,
)

if TYPE_CHECKING:
    import pathlib

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry

_FAR = 2**40  # seconds; a file system keeps such times, and 64 bits of nanoseconds do not


def make(kind: str, path: pathlib.Path) -> None:
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"content")


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo"])
def test_an_entry_keeps_its_status(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "name"
    make(kind, path)
    found = os.lstat(path)
    entry = entry_of(b"name", found, b"nowhere" if kind == "link" else b"")
    status = entry.status
    assert (status.mode, status.uid, status.gid) == (found.st_mode, found.st_uid, found.st_gid)
    assert (status.size, status.inode, status.links) == (found.st_size, found.st_ino, found.st_nlink)
    assert (status.mtime_ns, status.ctime_ns) == (found.st_mtime_ns, found.st_ctime_ns)
    assert (status.device, status.blocks, status.rdev) == (found.st_dev, found.st_blocks, found.st_rdev)
    assert (entry.size, entry.links, entry.owner) == (status.size, status.links, (status.uid, status.gid))
    assert (entry.kind, entry.is_file, entry.is_directory) == (
        stat.S_IFMT(found.st_mode),
        kind == "file",
        kind == "directory",
    )
    assert entry.inode == (found.st_dev, found.st_ino)


@pytest.mark.parametrize("time_ns", [-1, 0, 1, -_FAR * 10**9, _FAR * 10**9 + 1])
def test_times_of_any_year_are_kept_to_the_nanosecond(tmp_path: pathlib.Path, time_ns: int) -> None:
    times = list(os.stat(tmp_path))
    status = os.stat_result(times, {"st_mtime_ns": time_ns, "st_ctime_ns": time_ns, "st_rdev": 0, "st_blocks": 0})
    assert (entry_of(b"", status).status.mtime_ns, entry_of(b"", status).status.ctime_ns) == (time_ns, time_ns)


@pytest.mark.parametrize(
    ("ctime_ns", "racy"),
    [(-20_000_001, False), (-20_000_000, True), (0, True), (10**9, True)],
)
def test_what_changed_within_two_ticks_may_change_again_unseen(
    tmp_path: pathlib.Path, ctime_ns: int, *, racy: bool
) -> None:
    started = 1_700_000_000_500_000_007
    assert is_racy(_entry_changed(tmp_path, started + ctime_ns), started) is racy


@pytest.mark.parametrize(("seconds", "racy"), [(-3, False), (-2, True), (-1, True), (0, True)])
def test_a_ctime_of_whole_seconds_may_hide_a_change_for_that_long(
    tmp_path: pathlib.Path, seconds: int, *, racy: bool
) -> None:
    started = 1_700_000_000_000_000_000
    assert is_racy(_entry_changed(tmp_path, started + seconds * 10**9), started) is racy


def _entry_changed(path: pathlib.Path, ctime_ns: int) -> Entry:
    times = {"st_mtime_ns": 0, "st_ctime_ns": ctime_ns, "st_rdev": 0, "st_blocks": 0}
    return entry_of(b"", os.stat_result(list(os.stat(path)), times))


def test_a_further_name_changes_the_identity_by_its_ctime_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").touch()
    before = entry_of(b"a", os.stat(tmp_path / "a"))
    os.link(tmp_path / "a", tmp_path / "b")
    after = entry_of(b"a", os.stat(tmp_path / "a"))
    assert (before.links, after.links) == (1, 2)
    assert (before.file_key, before.shown, before.size) == (after.file_key, after.shown, after.size)
    assert before.same_state(after) == (before.status.ctime_ns == after.status.ctime_ns)


@pytest.mark.parametrize(
    ("path", "parent", "name", "above"),
    [
        (b"", b"", b"", []),
        (b"a", b"", b"a", []),
        (b"a/b", b"a", b"b", [b"a"]),
        (b"a/b/c", b"a/b", b"c", [b"a/b", b"a"]),
    ],
)
def test_paths_within_a_tree(path: bytes, parent: bytes, name: bytes, above: list[bytes]) -> None:
    assert (parent_of(path), name_of(path), list(ancestors(path))) == (parent, name, above)
