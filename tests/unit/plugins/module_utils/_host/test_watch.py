# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of trees that are watched, with real processes that write to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host.watch import (
    TreeWatch,
    tree_changes,
    tree_moment,
    watch_trees,
)
from ansible_collections.dsa110.contimg.tests.support.file_users import make_file, running

if TYPE_CHECKING:
    import pathlib


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a database's stand-in in a tree."""
    return make_file(tmp_path)


def test_a_writer_that_comes_and_goes_is_caught(file: pathlib.Path) -> None:
    tree = file.parents[1]
    loop = "told()\nfor _ in range(600):\n  held = open(path, 'a'); held.write('x'); time.sleep(.05); held.close(); time.sleep(.05)"
    with running(loop, file) as pid:
        holders, changes = watch_trees([str(tree)], seconds=2, writers_only=True)
    assert [one.mode for one in holders.holders if one.pid == pid] == ["write"]
    assert [one["path"] for one in changes] == [str(file)]


def test_one_look_compares_nothing_even_while_a_writer_is_at_work(file: pathlib.Path) -> None:
    with running("told()\nheld = open(path, 'a', 1)\nwhile True: held.write('x\\n')", file) as pid:
        before = tree_moment([str(file)])
        holders, changes = watch_trees([str(file.parents[1])], seconds=0)
    assert tree_changes(before, tree_moment([str(file)]))
    assert pid in {one.pid for one in holders.holders}
    assert changes == []


def test_trees_are_compared_again_and_again_until_the_last_look(file: pathlib.Path) -> None:
    tree = file.parents[1]
    watch = TreeWatch([str(tree)])
    watch.start()
    assert watch.changes == []
    file.write_bytes(b"1")
    watch.look()
    assert watch.changes == [{"path": str(file), "what": "changed"}]
    file.write_bytes(b"2 and more")
    file.with_name("new").touch()
    watch.end()
    assert [(one["path"], one["what"]) for one in watch.changes if one["path"] != str(file.parent)] == [
        (str(file), "changed"),
        (str(file.with_name("new")), "appeared"),
    ]
    assert not watch.is_alive()


def test_who_can_write_at_any_look_is_kept(file: pathlib.Path) -> None:
    watch = TreeWatch([str(file.parents[1])])
    watch.start()
    with running("held = open(path, 'a')", file) as pid:
        watch.look()
    watch.end()
    assert [one.pid for one in watch.holders.holders] == [pid]
