# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that need no copy: read back where they never were, and noted anew where a further name moves their ctime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import is_racy
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import entry_at
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    DATABASE,
    PLACED,
    RACY,
    VERIFIED,
    LedgerEntry,
    losses_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Note
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.work import Work

__all__ = ["Unchanged"]


class Unchanged:
    """The files of a pass that need no copy."""

    def __init__(self, context: CopyContext, trees: Trees, work: Work) -> None:
        self.context, self.trees, self.work = context, trees, work

    def prove(self) -> None:
        """Read back what was never proved, and note it, at once or when its attributes are set.

        :raises ContimgError: naming what differs from its source.
        """
        attributes = (
            {step.path for step in self.work.steps() if step.kind == "metadata"} if self.work.unproved else set()
        )
        with self.context.journal.step() as note:
            for path in self.work.unproved:
                if path not in attributes:
                    note(path, self._proof(path))
        for path in self.work.unproved:
            if path in attributes:
                self.context.journal.expect(path, self._proof(path))

    def _proof(self, path: bytes) -> LedgerEntry:
        context, source = self.context, self.trees.source[self.work.unchanged[path]]
        known = self.trees.ledger.get(path)
        digest = self.work.equal.get(path) or (known.sha256.hex() if known else "")
        flags = PLACED | (RACY if is_racy(source, context.started_ns) else 0)
        flags |= DATABASE if source.path in self.trees.databases else 0
        flags |= losses_of(context.policy.losses)
        with error_context("read the copy back", path):
            if context.verify:
                self._read_back(path, digest)
                flags |= VERIFIED
            target = entry_at(context.target, path).identity
        return LedgerEntry(source.identity, target, bytes.fromhex(digest), flags)

    def _read_back(self, path: bytes, digest: str) -> None:
        if hash_file(self.context.target, path, from_device=True) != digest:
            hint = "The source is unchanged. Check the destination's device, remove the file there, and run again."
            raise ContimgError("the copy differs from what was read from the source", path=path, hint=hint)

    def with_new_time(self) -> Iterator[tuple[bytes, LedgerEntry]]:
        """Yield what some names are about to be: the time that a file gets through one of its names is that of the others, too."""
        entries = self.trees.source
        steps = [step for step in self.work.steps() if step.kind == "metadata" and step.source in entries]
        inodes = {entries[step.source].inode for step in steps}
        linked = ((path, entry, known) for path, entry, known in self._linked() if entry.inode in inodes)
        return ((path, known.intended(times_of=entry)) for path, entry, known in linked)

    def note_linked(self, note: Note) -> None:
        """Note names as they are now: one that was added to a file, or taken from it, has moved the ctime of the others."""
        for path, _entry, known in self._linked():
            with error_context("look at the copy", path):
                note(path, known._replace(target=entry_at(self.context.target, path).identity))

    def _linked(self) -> Iterator[tuple[bytes, Entry, LedgerEntry]]:
        """Yield each name of a file with several, with its entry in the source and what is known of it."""
        for path, source in self.work.unchanged.items():
            entry = self.trees.source[source]
            if max(entry.links, self.trees.target[path].links) > 1:
                known = self.trees.ledger.get(path)
                if known is not None:
                    yield path, entry, known
