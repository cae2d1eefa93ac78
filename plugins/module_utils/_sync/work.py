# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run does: a plan in the form in which it needs little memory.

A first copy may have hundreds of thousands of files. A plan has a step for each, both trees have its entries, and every process
that copies begins as an image of this one. So a run takes over from its plan what it needs, packed, the plan comes to an
end, and the entries of what is copied are forgotten before the processes begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.schedule import divide
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.schedule import Batch
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Plan

__all__ = ["Work", "forget_copies", "take_over"]


class Work(NamedTuple):
    """What a run takes over from its plan.

    :ivar batches: all copies, and what belongs to their databases.
    :ivar packed: the other steps, see :meth:`steps`.
    :ivar is_empty: whether the plan had no step at all.
    :ivar backups: paths at the destination that are backed up first.
    :ivar removed: paths where nothing is afterwards.
    :ivar kept: paths at the destination that a decision leaves as they are.
    :ivar unchanged: files that need no copy, path at the destination to path in the source.
    :ivar unproved: those of them that have to be read back.
    :ivar equal: files that an earlier pass does not know and that have equal content, path to digest.
    """

    batches: Sequence[Batch]
    packed: bytes
    is_empty: bool
    backups: tuple[bytes, ...]
    removed: set[bytes]
    kept: tuple[bytes, ...]
    unchanged: Mapping[bytes, bytes]
    unproved: Sequence[bytes]
    equal: Mapping[bytes, str]

    def steps(self) -> list[Action]:
        """Return the other steps in their order, made anew each time."""
        return unpack(Action, self.packed)

    @property
    def files(self) -> int:
        """How many files are copied."""
        return sum(batch.files for batch in self.batches)

    @property
    def size(self) -> int:
        """How many bytes are copied."""
        return sum(batch.size for batch in self.batches)


def take_over(plan: Plan, trees: Trees, unproved: Sequence[bytes]) -> Work:
    """Return what a run needs of a plan.

    :param unproved: files that need no copy and have to be read back.
    """
    removed = {step.path for step in plan.actions if step.kind == "remove"}
    return Work(
        batches=divide(plan.actions, trees.source),
        packed=pack(step for step in plan.actions if step.kind != "copy" and not step.database),
        is_empty=not plan.actions,
        backups=tuple(step.path for step in plan.actions if step.backup),
        removed=removed.difference(step.path for step in plan.actions if step.kind != "remove"),
        kept=plan.kept,
        unchanged=plan.unchanged,
        unproved=unproved,
        equal=plan.equal,
    )


def forget_copies(trees: Trees, work: Work) -> None:
    """Let go of the entries that only copies still need, which have their own.

    Few entries are left then. They are packed, and made anew when all are gone: scattered among the others they would keep the
    memory of these.
    """
    source, target = trees.source, trees.target
    if 2 * work.files < len(source):
        return
    for batch in work.batches:
        for step in batch.copies():
            del source[step.source]
            target.pop(step.path, None)
    packed = pack(source.values())
    source.clear()
    source.update((entry.path, entry) for entry in unpack(Entry, packed))
