# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further names of files that stand at a destination already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import directory_of, entry_at
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import PLACED
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.publish import publish
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.specials import UNSUPPORTED
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import stage, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Note
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import LedgerEntry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

__all__ = ["HardLinks"]


class HardLinks:
    """The hard links of a pass.

    :param entries: the source's entries by path, those of copied files excepted.
    :param note: takes what is known of their names.
    """

    def __init__(self, context: CopyContext, entries: Mapping[bytes, Entry], note: Note) -> None:
        self.context, self.entries, self.note = context, entries, note
        self._linked: dict[bytes, tuple[LedgerEntry, list[bytes]]] = {}  # by the first name of a file: all of them

    def intents(self, actions: Iterable[Action]) -> Iterator[tuple[bytes, LedgerEntry]]:
        """Yield what is about to be made: a further name is that of a file which is known under another one."""
        firsts = ((action.path, self.context.journal.known(action.first)) for action in actions)
        return ((path, known.intended()) for path, known in firsts if known is not None)

    def make(self, action: Action) -> None:
        """Make a link durably, or a copy where the destination has none and that is accepted. Raises OSError."""
        with directory_of(self.context.target, action.first) as (first_directory, first):
            with directory_of(self.context.target, action.path) as (directory, name):
                temporary = self.context.temporary_name()
                try:
                    os.link(first, temporary, src_dir_fd=first_directory, dst_dir_fd=directory, follow_symlinks=False)
                except OSError as error:
                    if "hardlink" not in self.context.policy.losses or error.errno not in UNSUPPORTED:
                        raise
                    publish(self.context, unpacked(stage(self.context, [action]), [action]))
                    return
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
                os.fsync(directory)
                self._count(action)

    def _count(self, action: Action) -> None:
        """A further name moves the ctime of all names on both sides: they are noted when the last one is there."""
        known, names = self._linked.get(action.first) or (None, [action.first])
        known = known or self.context.journal.known(action.first) or self.context.read_now(action.source, self.entries)
        names.append(action.path)
        self._linked[action.first] = (known._replace(flags=known.flags | PLACED), names)

    def note_all(self) -> None:
        """Note all names of a file as it now stands: what was removed meanwhile may have been a name of it, too.

        :raises ContimgError: when one cannot be looked at.
        """
        for known, names in self._linked.values():
            with error_context("look at the link", names[-1]):
                target = entry_at(self.context.target, names[-1]).identity
            for path in names:
                self.note(path, known._replace(target=target))
