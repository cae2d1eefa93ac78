# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run takes over from its plan, and what it forgets."""

from __future__ import annotations

import os

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action, Plan
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.work import forget_copies, take_over

STEPS = (
    Action("remove", b"p-wal", "does not belong to the copied database", database=b"p"),
    Action("remove", b"x", "left by an interrupted copy"),
    Action("directory", b"d", "new", b"d"),
    Action("copy", b"d/a", "new", b"d/a"),
    Action("copy", b"p", "changed", b"q", backup=True, database=b"p"),
    Action("link", b"d/b", "hard link to d/a", b"d/b", first=b"d/a"),
    Action("remove", b"d/a", "a name that is made again"),
    Action("metadata", b"", "times of the directory", b""),
)


def trees_of(*paths: bytes) -> Trees:
    trees = Trees(Ledger())
    for path in paths:
        trees.source[path] = entry_of(path, os.stat("/"))
        trees.target[path] = entry_of(path, os.stat("/"))
    return trees


def test_all_steps_are_taken_over() -> None:
    trees = trees_of(b"", b"d", b"d/a", b"q", b"d/b")
    work = take_over(Plan(STEPS, (), (b"k",), {b"u": b"u"}, {b"u": "ab"}), trees, [b"u"])
    copies = [step for batch in work.batches for step in batch.copies()]
    assert sorted(copies) == sorted(step for step in STEPS if step.kind == "copy")
    assert work.steps() == [step for step in STEPS if step.kind != "copy" and not step.database]
    assert [batch.stale for batch in work.batches if batch.database] == [(b"p-wal",)]
    assert (work.files, work.size, work.is_empty) == (2, 2 * trees.source[b"q"].size, False)
    assert (work.backups, work.removed) == ((b"p",), {b"p-wal", b"x"})
    assert (work.kept, work.unchanged, work.unproved, work.equal) == ((b"k",), {b"u": b"u"}, [b"u"], {b"u": "ab"})


def test_nothing_to_copy_is_still_work() -> None:
    work = take_over(Plan((), (), (), {b"u": b"u"}, {}), trees_of(b"u"), [b"u"])
    assert (work.batches, work.steps(), work.is_empty, work.files) == ([], [], True, 0)


def test_only_the_entries_of_copies_are_forgotten_and_only_where_these_are_many() -> None:
    few, many = trees_of(b"", b"d", b"d/a", b"q"), trees_of(b"", b"d", b"d/a", b"q", b"1", b"2", b"3")
    for trees, left in ((few, [b"", b"d"]), (many, [b"", b"d", b"d/a", b"q", b"1", b"2", b"3"])):
        before = {path: trees.source[path] for path in left}
        forget_copies(trees, take_over(Plan(STEPS, (), (), {}, {}), trees, []))
        assert trees.source == before
        assert (b"d/a" in trees.target) == (b"d/a" in left)
