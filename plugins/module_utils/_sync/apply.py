# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a plan, done so that a crash at any point leaves each file wholly old or wholly new."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import directory_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import copy_metadata, open_handle
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.hard_links import HardLinks
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import portions
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.removals import EXTRA
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.schedule import make_copies
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.specials import Specials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Note
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import LedgerEntry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.schedule import Batch
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

__all__ = ["apply_steps"]

_VANISHED = (errno.ENOENT, errno.ESTALE)
_DOING = {
    "remove": "remove it at the destination",
    "directory": "make the directory at the destination",
    "link": "make the hard link at the destination",
    "special": "make it at the destination",
    "metadata": "set the metadata at the destination",
}


def apply_steps(
    context: CopyContext, entries: Mapping[bytes, Entry], steps: Sequence[Action], batches: Sequence[Batch]
) -> None:
    """Do all steps of a plan in their order.

    :param entries: the source's entries by path, those of files to copy excepted.
    :param steps: all but the copies, and but what is replaced together with a database.
    :param batches: the copies, and what belongs to their databases.
    :raises ContimgError: naming the path; what was not reached is as it was.
    """
    # The manifest names what is removed. With its removal noted before, the manifest is older than the ledger, and a run
    # after a crash writes it anew.
    removed = ((step.path, context.journal.known(step.path)) for step in steps if step.kind == "remove")
    with context.journal.step((path, known.intended()) for path, known in removed if known is not None) as note:
        _Applier(context, entries, note).apply(steps, batches)


class _Applier:
    def __init__(self, context: CopyContext, entries: Mapping[bytes, Entry], note: Note) -> None:
        self.context, self.entries, self.note = context, entries, note

    def apply(self, steps: Sequence[Action], batches: Sequence[Batch]) -> None:
        self._each([step for step in steps if step.kind in ("remove", "directory") and step.reason != EXTRA])
        make_copies(self.context, batches)
        for some in portions(step for step in steps if step.kind == "special"):
            self._make_specials(some)
        for some in portions(step for step in steps if step.kind == "metadata" and self._is_file(step)):
            with self.context.journal.step(self._with_new_time(some)):
                self._each(some)  # before a file gets further names, which are noted as it then is
        self._make_links([step for step in steps if step.kind == "link" or step.reason == EXTRA])
        self._each([step for step in steps if step.kind == "metadata" and not self._is_file(step)])

    def _is_file(self, action: Action) -> bool:
        return action.source in self.entries and self.entries[action.source].is_file

    def _each(self, actions: Iterable[Action], step: Callable[[Action], None] | None = None) -> None:
        steps = {"remove": self._remove, "directory": self._directory, "metadata": self._metadata}
        hint = "The source is unchanged. Fix the cause and run again: the copy goes on where it stopped."
        for action in actions:
            with error_context(_DOING[action.kind], action.path or b".", hint):
                try:
                    (step or steps[action.kind])(action)
                except OSError as error:
                    if not (self.context.live and error.errno in _VANISHED):
                        raise

    def _make_specials(self, actions: Sequence[Action]) -> None:
        """Make them under temporary names, and give them their names when these are noted."""
        specials = Specials(self.context, self.entries, self.note)
        self._each(actions, specials.make)
        with self.context.journal.step(specials.intents()):
            self._each([action for action in actions if specials.has_made(action)], specials.place)

    def _make_links(self, actions: Sequence[Action]) -> None:
        """Make further names of files, and remove what the source has not, which may be a name of the same file."""
        links = HardLinks(self.context, self.entries, self.note)
        with self.context.journal.step(links.intents(action for action in actions if action.kind == "link")):
            self._each(actions, lambda action: links.make(action) if action.kind == "link" else self._remove(action))
            links.note_all()

    def _with_new_time(self, actions: Sequence[Action]) -> Iterator[tuple[bytes, LedgerEntry]]:
        """With another time a file would not be known again."""
        there = ((action, self.context.journal.known(action.path)) for action in actions)
        return (
            (action.path, known.intended(times_of=self.entries[action.source]))
            for action, known in there
            if known is not None
        )

    def _remove(self, action: Action) -> None:
        with directory_of(self.context.target, action.path) as (directory, name):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                try:
                    os.rmdir(name, dir_fd=directory)
                except OSError as error:
                    if error.errno != errno.ENOTEMPTY:
                        raise
            else:
                os.unlink(name, dir_fd=directory)
            os.fsync(directory)

    def _directory(self, action: Action) -> None:
        if not action.path:
            return
        with directory_of(self.context.target, action.path) as (directory, name):
            os.mkdir(name, 0o700, dir_fd=directory)
            os.fsync(directory)

    def _metadata(self, action: Action) -> None:
        with directory_of(self.context.source, action.source) as (sources, source):
            with directory_of(self.context.target, action.path) as (directory, name):
                entry = entry_of(action.source, os.stat(source or b".", dir_fd=sources, follow_symlinks=False))
                with open_handle(sources, source, entry.kind) as model, open_handle(
                    directory, name, entry.kind
                ) as there:
                    copy_metadata(model, there, self.context.policy)
                    if isinstance(there, int):
                        os.fsync(there)
                there_now = entry_of(action.path, os.stat(name or b".", dir_fd=directory, follow_symlinks=False))
        known = self.context.placed_now(action, there_now, self.entries)
        if known is not None:
            self.note(action.path, known)
