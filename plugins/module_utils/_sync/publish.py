# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proved files get their names; the journal notes it before and after.

One process does this for all that prepare files: what stands at the destination is replaced by what is already proved.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import (
    Entry,
    entry_of,
    is_racy,
    name_of,
    parent_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    DATABASE,
    PLACED,
    RACY,
    VERIFIED,
    LedgerEntry,
    is_same_content,
    losses_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Note
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import Written

__all__ = ["Placing", "publish"]


class Placing:
    """Holds the directories of some files that are about to get their names."""

    def __init__(self, context: CopyContext, written: Sequence[Written]) -> None:
        self.context, self.written = context, written
        self._stack = contextlib.ExitStack()
        self._directories: dict[bytes, int] = {}

    def __enter__(self) -> Placing:
        with contextlib.ExitStack() as stack:
            for directory in sorted({parent_of(one.action.path) for one in self.written}):
                with error_context("open the directory", directory or b"."):
                    opened = open_below(self.context.target, directory, os.O_DIRECTORY)
                    self._directories[directory] = stack.enter_context(opened)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def rename(self, one: Written) -> None:
        """Give a file its name. Raises ContimgError."""
        with error_context("rename the copy", one.action.path, "The source is unchanged; run again to go on."):
            directory = self._directories[parent_of(one.action.path)]
            os.rename(one.temporary, name_of(one.action.path), src_dir_fd=directory, dst_dir_fd=directory)

    def flush(self) -> None:
        """Make the names durable. Raises ContimgError."""
        for path, directory in self._directories.items():
            with error_context("flush the directory", path or b"."):
                os.fsync(directory)

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note what is about to get its name, let it get it, and note what has it then.

        :raises ContimgError: when the ledger cannot be written, or the destination cannot be looked at.
        """
        intents = ((one.action.path, self._known(one, one.target, 0)) for one in self.written)
        with self.context.journal.step(intents) as note:
            yield
            self._note_placed(note)

    def _note_placed(self, note: Note) -> None:
        """What another process has put in the place of a file meanwhile is not noted."""
        for one in self.written:
            with error_context("look at the copy", one.action.path), contextlib.suppress(FileNotFoundError):
                status = os.stat(
                    name_of(one.action.path),
                    dir_fd=self._directories[parent_of(one.action.path)],
                    follow_symlinks=False,
                )
                there = entry_of(one.action.path, status)
                if is_same_content(there, one.target):
                    note(one.action.path, self._known(one, there, PLACED))

    def _known(self, one: Written, target: Entry, placed: int) -> LedgerEntry:
        verified = VERIFIED if self.context.verify else 0
        racy = RACY if is_racy(one.source, self.context.started_ns) else 0
        database = DATABASE if one.action.source in self.context.databases else 0
        lost = losses_of(self.context.policy.losses)
        return LedgerEntry(one.source.identity, target.identity, one.sha256, placed | verified | racy | database | lost)


def publish(context: CopyContext, written: Sequence[Written]) -> None:
    """Give files their names, durably.

    :raises ContimgError: naming the file. Each then has its old or its new content.
    """
    with Placing(context, written) as placing, placing.noted():
        for one in written:
            placing.rename(one)
        placing.flush()
