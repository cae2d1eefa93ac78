# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proved files get their names, and the ledger hears of it before and after.

One process does this for all that prepare files: what stands at the destination is replaced by what is already proved.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import (
    Entry,
    entry_of,
    name_of,
    open_below,
    parent_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    DATABASE,
    PLACED,
    RACY,
    VERIFIED,
    LedgerEntry,
    is_racy,
    is_same_content,
    losses_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import CopyContext, Written

__all__ = ["Placing", "publish"]


class Placing:
    """Holds the folders of some files that are about to get their names."""

    def __init__(self, context: CopyContext, written: Sequence[Written]) -> None:
        self.context, self.written = context, written
        self._stack = contextlib.ExitStack()
        self._folders: dict[bytes, int] = {}

    def __enter__(self) -> Placing:
        with contextlib.ExitStack() as stack:
            for folder in sorted({parent_of(one.action.path) for one in self.written}):
                with error_context("open the folder", folder or b"."):
                    opened = open_below(self.context.target, folder, os.O_DIRECTORY)
                    self._folders[folder] = stack.enter_context(opened)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def rename(self, one: Written) -> None:
        """Give a file its name. Raises ContimgError."""
        with error_context("rename the copy", one.action.path, "The source is unchanged; run again to go on."):
            folder = self._folders[parent_of(one.action.path)]
            os.rename(one.temporary, name_of(one.action.path), src_dir_fd=folder, dst_dir_fd=folder)

    def flush(self) -> None:
        """Make the names durable. Raises ContimgError."""
        for path, folder in self._folders.items():
            with error_context("flush the folder", path or b"."):
                os.fsync(folder)

    def note_intent(self) -> None:
        """Note what is about to get its name, so that a run after a crash knows it as its own."""
        self.context.ledger.append((one.action.path, self._known(one, one.target, 0)) for one in self.written)

    def note_done(self) -> None:
        """Note what has its name now. What another process has put in its place meanwhile is not noted."""
        placed = {}
        for one in self.written:
            with error_context("look at the copy", one.action.path), contextlib.suppress(FileNotFoundError):
                status = os.stat(
                    name_of(one.action.path), dir_fd=self._folders[parent_of(one.action.path)], follow_symlinks=False
                )
                there = entry_of(one.action.path, status)
                if is_same_content(there, one.target):
                    placed[one.action.path] = self._known(one, there, PLACED)
        self.context.ledger.append(placed.items())

    def _known(self, one: Written, target: Entry, placed: int) -> LedgerEntry:
        verified = VERIFIED if self.context.verify else 0
        racy = RACY if is_racy(one.source, self.context.started_ns) else 0
        database = DATABASE if one.action.source in self.context.databases else 0
        lost = losses_of(self.context.wishes.losses)
        return LedgerEntry(one.source.identity, target.identity, one.sha256, placed | verified | racy | database | lost)


def publish(context: CopyContext, written: Sequence[Written]) -> None:
    """Give files their names, durably.

    :raises ContimgError: naming the file. Each then has its old or its new content.
    """
    with Placing(context, written) as placing:
        placing.note_intent()
        for one in written:
            placing.rename(one)
        placing.flush()
        placing.note_done()
