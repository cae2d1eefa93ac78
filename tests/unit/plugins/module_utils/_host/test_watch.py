# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of trees that are watched, with real processes that write to them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host import watch as watch_module
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import Holders, find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._host.watch import (
    TreeWatch,
    tree_changes,
    tree_moment,
    watch_trees,
)
from ansible_collections.dsa110.contimg.tests.support.hosts.file_users import PRELUDE, make_file, running
from ansible_collections.dsa110.contimg.tests.support.hosts.waiting import wait_for

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a database's stand-in in a tree."""
    return make_file(tmp_path)


#: It has the file open, or not, as it is asked, line by line.
COMES_AND_GOES = """
held = None
for line in sys.stdin:
    if held:
        held.close()
    held = open(path, "a") if line == "come\\n" else None
    if held:
        held.write("x")
    told()
"""


class Clock:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """Return what it shows."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Go on."""
        self.now += seconds


def test_a_writer_that_comes_and_goes_is_caught(file: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the file open at the second look alone."""
    looks: list[list[str]] = []
    command = [sys.executable, "-c", PRELUDE + COMES_AND_GOES, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writer:

        def look(paths: Sequence[str], *, writers_only: bool) -> Holders:
            assert writer.stdin
            assert writer.stdout
            writer.stdin.write("come\n" if len(looks) == 1 else "go\n")
            assert writer.stdout.readline() == "ready\n"
            found = find_holders(paths, writers_only=writers_only)
            looks.append([one.mode for one in found.holders if one.pid == writer.pid])
            return found

        monkeypatch.setattr(watch_module, "find_holders", look)
        monkeypatch.setattr(watch_module, "time", Clock())
        holders, changes = watch_trees([str(file.parents[1])], seconds=2, writers_only=True)
        writer.communicate()
    assert looks == [[], ["write"], [], [], []]
    assert [one.mode for one in holders.holders if one.pid == writer.pid] == ["write"]
    assert [one["path"] for one in changes] == [str(file)]


def test_one_look_compares_nothing_even_while_a_writer_is_at_work(file: pathlib.Path) -> None:
    writes = "held = open(path, 'a', 1)\ntold()\nwhile True: held.write('x\\n'); time.sleep(.001)"
    with running(writes, file) as pid:
        before = tree_moment([str(file)])
        holders, changes = watch_trees([str(file.parents[1])], seconds=0)
        wait_for(lambda: tree_changes(before, tree_moment([str(file)])))
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
