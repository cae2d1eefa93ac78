# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Symbolic links, FIFOs, sockets and devices: made under temporary names, and renamed when these are noted."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import create_special, directory_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import copy_metadata, open_handle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Note
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import LedgerEntry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

__all__ = ["UNSUPPORTED", "Specials"]

#: What a file system answers that has no such things.
UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS)


class Specials:
    """Some special files of a pass.

    :param entries: the source's entries by path.
    :param note: takes what is known of them.
    """

    def __init__(self, context: CopyContext, entries: Mapping[bytes, Entry], note: Note) -> None:
        self.context, self.entries, self.note = context, entries, note
        self._made: dict[bytes, tuple[bytes, LedgerEntry]] = {}  # by final name: the temporary one, and what is known

    def make(self, action: Action) -> None:
        """Make one under a temporary name. One that the destination cannot hold is noted as lost where that is accepted.

        :raises OSError: when it cannot be made.
        """
        with directory_of(self.context.source, action.source) as (sources, source):
            with directory_of(self.context.target, action.path) as (directory, _name):
                entry, temporary = self.entries[action.source], self.context.temporary_name()
                try:
                    create_special(directory, temporary, entry)
                except OSError as error:
                    self._lose(action, entry, error)
                    return
                with open_handle(sources, source, entry.kind) as model, open_handle(
                    directory, temporary, entry.kind
                ) as new:
                    copy_metadata(model, new, self.context.policy)
                target = entry_of(b"", os.stat(temporary, dir_fd=directory, follow_symlinks=False)).identity
                known = self.context.read_now(action.source, self.entries)._replace(target=target)
                self._made[action.path] = (temporary, known.intended())

    def _lose(self, action: Action, entry: Entry, error: OSError) -> None:
        loss = "symlink" if entry.target else "special"
        if loss not in self.context.policy.losses or error.errno not in UNSUPPORTED:
            raise error
        known = self.context.read_now(action.source, self.entries)
        self.note(action.path, known._replace(target=bytes(len(entry.identity))))

    def has_made(self, action: Action) -> bool:
        """Return whether it waits for its name."""
        return action.path in self._made

    def intents(self) -> Iterator[tuple[bytes, LedgerEntry]]:
        """Return what is about to get its name."""
        return ((path, known) for path, (_temporary, known) in self._made.items())

    def place(self, action: Action) -> None:
        """Give one its name durably, and note it. Raises OSError."""
        with directory_of(self.context.target, action.path) as (directory, name):
            os.rename(self._made[action.path][0], name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)
            there = entry_of(action.path, os.stat(name, dir_fd=directory, follow_symlinks=False))
        known = self.context.placed_now(action, there, self.entries)
        if known is not None:
            self.note(action.path, known)
