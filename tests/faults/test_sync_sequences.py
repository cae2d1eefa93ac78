# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of edits, copies and copies that are killed at a random call: each ends as a clean copy does."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import name_of, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import journal as sync_journal
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import ledger as sync_ledger
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.publish import Placing
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import Written
from ansible_collections.dsa110.contimg.tests.support.faults.sync_sequences import SEQUENCES, Sequence
from ansible_collections.dsa110.contimg.tests.support.faults.traced import sample

# How many sequences are tried; 0 is as many as are asked for.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "15"))
COUNT = POINTS or 1_000
# A killed process loses nothing that it has written, wherever that stands: memory is the quickest.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def try_sequences(count: int) -> dict[str, int]:
    """Try so many sequences; return how many were tried, and how many copies were killed in them."""
    done = {"sequences": 0, "killed": 0}

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=bool(POINTS),
        suppress_health_check=list(HealthCheck),
    )
    @given(SEQUENCES)
    def try_one(steps: list[tuple[Any, ...]]) -> None:
        with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
            sequence = Sequence(pathlib.Path(directory) / "base")
            for step in steps:
                sequence.do(*step)
            sequence.copy()
            done["sequences"] += 1
            done["killed"] += sequence.killed

    try_one()
    return done


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is noted together be little: the tree is small, and a copy is to be killed between two portions, too."""
    for module in (sync_ledger, sync_journal):
        monkeypatch.setattr(module, "PORTION", 2)


def test_any_sequence_ends_as_a_clean_copy_does() -> None:
    done = try_sequences(COUNT)
    print(done)
    assert done["sequences"] >= COUNT
    assert done["killed"] >= COUNT // 3


# What was once found: a copy did not know what a killed one had put there, once the source had changed again, or needed
# two runs to note what it had done.
CRASH = ("crash", 1, 0)
FOUND: dict[str, list[tuple[Any, ...]]] = {
    "link": [("link", "a", "b"), CRASH, ("replace", "a", 1)],
    "link alone": [("replace", "a", 1), ("copy",), ("link", "a", "b"), CRASH],
    "hard link": [("replace", "a", 1), ("link_hard", "b", "a"), CRASH, ("replace", "b", 2)],
    "time": [("replace", "a", 1), ("copy",), ("replace", "a", 1), CRASH, ("replace", "a", 2)],
    "time alone": [("replace", "a", 1), ("copy",), ("replace", "a", 1), CRASH],
    "folded log": [("commit", 1), ("copy",), ("commit", 1), CRASH, ("drop",), ("commit", 0)],
    "removed database": [("commit", 0), ("copy",), ("drop",), CRASH],
    "further names": [
        *[("replace", "a", 1), ("link_hard", "b", "a"), ("copy",)],
        *[("write", "a", 1), CRASH, ("replace", "b", 2)],
    ],
    "two of one": [
        *[("replace", "a", 1), ("link_hard", "b", "a"), ("link_hard", "d/a", "a"), ("copy",)],
        *[("replace", "a", 1), ("link_hard", "e/f/g", "a"), ("copy",)],
    ],
    "removed name": [
        *[("replace", "a", 1), ("link_hard", "e/f/g", "a"), ("copy",)],
        *[("remove", "e/f/g"), ("link_hard", "d/a", "a"), ("copy",)],
    ],
    "link kept": [("link", "b", "a"), CRASH, ("copy",), ("replace", "b", 2)],
    "mode": [("replace", "a", 1), ("copy",), ("link_hard", "b", "a"), ("change_mode", "a", 2), ("copy",)],
}


@pytest.mark.parametrize("steps", FOUND.values(), ids=FOUND)
def test_a_copy_knows_what_a_killed_one_has_put_there(tmp_path: pathlib.Path, steps: list[tuple[Any, ...]]) -> None:
    for ordinal in sample(range(1, 100), POINTS and 3) if CRASH in steps else [0]:
        sequence = Sequence(tmp_path / str(ordinal))
        for step in steps:
            sequence.do(*(step if step != CRASH else ("crash", 1, ordinal)))
        sequence.copy()


def in_place(placing: Placing, one: Written) -> None:
    """A mutant: it writes to what is there."""
    directory, name = placing._directories[parent_of(one.action.path)], name_of(one.action.path)
    source = os.open(one.temporary, os.O_RDONLY, dir_fd=directory)
    target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=directory)
    os.pwrite(target, os.read(source, 1 << 20), 0)
    os.unlink(one.temporary, dir_fd=directory)
    os.close(source)
    os.close(target)


def test_a_copy_that_writes_in_place_is_caught(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="a is torn"):
        crash_everywhere(tmp_path, monkeypatch)


def crash_everywhere(directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a wrong copy at each call. What a kill leaves would be more for the next one to look at first, so each begins anew."""
    for ordinal in range(1, 150):
        sequence = Sequence(directory / str(ordinal))
        sequence.do("replace", "a", 1)
        sequence.copy()
        sequence.do("replace", "a", 2)
        with monkeypatch.context() as mutated:
            mutated.setattr(Placing, "rename", in_place)
            sequence.crash(1, ordinal)
