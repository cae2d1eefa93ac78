# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All copies of a plan: which process prepares them in which order, and how each gets its name.

Large files wait for the disk, small ones for the processor; they are begun in turn, so that both have work all the time.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import run_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.database import replace_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.publish import publish
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import stage, unpacked
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action, pack, unpack
from ansible_collections.dsa110.contimg.plugins.module_utils._workers import forked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import Packed

__all__ = ["Batch", "divide", "make_copies"]

_BATCH_FILES = 256  # each is held open
_BATCH_BYTES = 16 << 20
_LARGE = 4 << 20


class Batch(NamedTuple):
    """What is prepared at a time.

    :ivar size: bytes.
    :ivar files: how many these are.
    :ivar packed: their steps, see :meth:`copies`.
    :ivar database: the database, at the destination, whose members these are.
    :ivar stale: what is there and does not belong to it.
    """

    size: int
    files: int
    packed: bytes
    database: bytes = b""
    stale: tuple[bytes, ...] = ()

    def copies(self) -> list[Action]:
        """Return their steps, made anew each time."""
        return unpack(Action, self.packed)


def divide(actions: Sequence[Action], entries: Mapping[bytes, Entry]) -> list[Batch]:
    """Return the copies of a plan, and what belongs to their databases, in the order in which they are begun.

    :param entries: the source's entries by path.
    """
    return _in_turn([*_databases(actions, entries), *_batches(actions, entries)])


def make_copies(context: CopyContext, works: Sequence[Batch]) -> None:
    """Do the copies of a plan.

    :raises ContimgError: naming the file. Each then has its old or its new content.
    """

    def work(index: int) -> list[Packed]:
        context.progress.begin(index)
        copies, database = works[index].copies(), works[index].database
        with error_context("copy the files", database or copies[0].source):  # for a call that has no words of its own
            return stage(context, copies)

    context.progress.expect(len(works))
    try:
        with contextlib.closing(forked(work, len(works), context.workers)) as answers:
            for index, packed in answers:
                _give_names(context, works[index], packed)
    except BaseException:
        _clear_away(context, {parent_of(copy.path) for work in works for copy in work.copies()})
        raise


def _give_names(context: CopyContext, work: Batch, packed: Iterable[Packed]) -> None:
    written = unpacked(packed, work.copies())
    if work.database:
        replace_database(context, work.database, written, work.stale)
    else:
        publish(context, written)


def _clear_away(context: CopyContext, directories: Iterable[bytes]) -> None:
    """Remove what all processes, which have ended, have left without a name. What stays is left for the next run."""
    for path in directories:
        with contextlib.suppress(OSError, ContimgError), open_below(context.target, path, os.O_DIRECTORY) as directory:
            for name in map(os.fsencode, os.listdir(directory)):
                if run_of(name) == context.run:
                    os.unlink(name, dir_fd=directory)


def _databases(actions: Iterable[Action], entries: Mapping[bytes, Entry]) -> Iterator[Batch]:
    members: dict[bytes, list[Action]] = {}
    for action in actions:
        if action.database:
            members.setdefault(action.database, []).append(action)
    for database, found in members.items():
        copies = tuple(action for action in found if action.kind == "copy")
        stale = tuple(action.path for action in found if action.kind == "remove")
        yield _work(copies, sum(_size(copy, entries) for copy in copies), database, stale)


def _batches(actions: Iterable[Action], entries: Mapping[bytes, Entry]) -> Iterator[Batch]:
    """Split all other copies into batches of a bounded number of files and bytes."""
    batch: list[Action] = []
    total = 0
    for action in actions:
        if action.kind != "copy" or action.database:
            continue
        size = _size(action, entries)
        if batch and (len(batch) >= _BATCH_FILES or total + size > _BATCH_BYTES):
            yield _work(batch, total)
            batch, total = [], 0
        batch.append(action)
        total += size
    if batch:
        yield _work(batch, total)


def _work(copies: Sequence[Action], size: int, database: bytes = b"", stale: tuple[bytes, ...] = ()) -> Batch:
    return Batch(size, len(copies), pack(copies), database, stale)


def _size(action: Action, entries: Mapping[bytes, Entry]) -> int:
    return entries[action.source].size


def _in_turn(works: Sequence[Batch]) -> list[Batch]:
    """Order works so that large files and small ones advance together; the largest comes first."""
    large = sorted((work for work in works if work.size > _LARGE * work.files), key=lambda work: -work.size)
    small = [work for work in works if work.size <= _LARGE * work.files]
    placed = [*_with_shares(large), *_with_shares(small)]
    return [work for _share, work in sorted(placed, key=lambda one: one[0])]


def _with_shares(works: Sequence[Batch]) -> Iterator[tuple[float, Batch]]:
    """Yield each work with the share of all bytes that comes before it."""
    total, done = sum(work.size for work in works) or 1, 0
    for work in works:
        yield done / total, work
        done += work.size
