# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a plan, done so that a crash at any point leaves each file wholly old or wholly new."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import (
    copy_metadata,
    open_handle,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import (
    Entry,
    create_special,
    entry_at,
    entry_of,
    folder_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    NO_DIGEST,
    PLACED,
    PORTION,
    RACY,
    VERIFIED,
    LedgerEntry,
    is_racy,
    losses_of,
    portions,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.publish import publish
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.schedule import make_copies
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import (
    CopyContext,
    stage,
    unpacked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.schedule import Batch
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

__all__ = ["Applier"]

_VANISHED = (errno.ENOENT, errno.ESTALE)
_UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.ENOSYS)
_EXTRA = "not in the source"
_DOING = {
    "remove": "remove it at the destination",
    "folder": "make the folder at the destination",
    "link": "make the hard link at the destination",
    "special": "make it at the destination",
    "metadata": "set the metadata at the destination",
}


class Applier:
    """Does the steps of a plan.

    :param entries: the source's entries by path, those of files to copy excepted.
    :param proved: what is known of files that need no copy, to be noted when they have their attributes.
    """

    def __init__(
        self, context: CopyContext, entries: Mapping[bytes, Entry], proved: Mapping[bytes, LedgerEntry]
    ) -> None:
        self.context, self.entries, self.proved = context, entries, proved
        self._linked: dict[bytes, tuple[LedgerEntry, list[bytes]]] = {}  # by the first name of a file: all of them
        self._noted: dict[bytes, LedgerEntry] = {}

    def apply(self, actions: Sequence[Action], works: Sequence[Batch]) -> None:
        """Do all steps in their order.

        :param works: the copies among them.
        :raises ContimgError: naming the path; what was not reached is as it was.
        """
        steps = [action for action in actions if not action.database]
        self._intend_removals(step for step in steps if step.kind == "remove")
        self._each([step for step in steps if step.kind in ("remove", "folder") and step.reason != _EXTRA])
        make_copies(self.context, works)
        for some in portions(step for step in steps if step.kind == "special"):
            self._specials(some)
        for some in portions(step for step in steps if step.kind == "metadata" and self._is_file(step)):
            self._intend_metadata(some)
            self._each(some)  # before a file gets further names, which are noted as it then is
        self._intend_links(step for step in steps if step.kind == "link")
        self._each([step for step in steps if step.kind == "link" or step.reason == _EXTRA])
        self._note_links()
        self._each([step for step in steps if step.kind == "metadata" and not self._is_file(step)])
        self.context.ledger.append(self._noted.items())

    def _is_file(self, action: Action) -> bool:
        return action.source in self.entries and self.entries[action.source].is_file

    def _each(self, actions: Iterable[Action], step: Callable[[Action], None] | None = None) -> None:
        steps = {"remove": self._remove, "folder": self._folder, "link": self._link, "metadata": self._metadata}
        hint = "The source is unchanged. Mend the cause and run again: the copy goes on where it stopped."
        for action in actions:
            with error_context(_DOING[action.kind], action.path or b".", hint):
                try:
                    (step or steps[action.kind])(action)
                except OSError as error:
                    if not (self.context.live and error.errno in _VANISHED):
                        raise

    def _specials(self, actions: Sequence[Action]) -> None:
        """Make them, note what is about to get its name, and give them their names."""
        made: dict[bytes, tuple[bytes, LedgerEntry]] = {}
        self._each(actions, lambda action: self._make_special(action, made))
        self.context.ledger.append((path, known) for path, (_temporary, known) in made.items())
        self._each(
            [action for action in actions if action.path in made],
            lambda action: self._place_special(action, made[action.path][0]),
        )

    def _intend_removals(self, actions: Iterable[Action]) -> None:
        """The manifest names what is removed: it is then older than the ledger, and a run after a crash writes it anew."""
        there = ((action.path, self._noted_of(action.path)) for action in actions)
        self.context.ledger.append((path, known.intended()) for path, known in there if known is not None)

    def _intend_links(self, actions: Iterable[Action]) -> None:
        """A further name is that of a file which is already known under another one."""
        firsts = ((action.path, self._noted_of(action.first)) for action in actions)
        self.context.ledger.append((path, known.intended()) for path, known in firsts if known is not None)

    def _intend_metadata(self, actions: Sequence[Action]) -> None:
        """With another time a file would not be known again."""
        there = ((action, self._noted_of(action.path)) for action in actions)
        self.context.ledger.append(
            (action.path, known.intended(times_of=self.entries[action.source]))
            for action, known in there
            if known is not None
        )

    def _noted_of(self, path: bytes) -> LedgerEntry | None:
        return self._noted.get(path) or self.proved.get(path) or self.context.ledger.get(path)

    def _remove(self, action: Action) -> None:
        with folder_of(self.context.target, action.path) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                with _tolerating(errno.ENOTEMPTY):
                    os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def _folder(self, action: Action) -> None:
        if not action.path:
            return
        with folder_of(self.context.target, action.path) as (folder, name):
            os.mkdir(name, 0o700, dir_fd=folder)
            os.fsync(folder)

    def _link(self, action: Action) -> None:
        with folder_of(self.context.target, action.first) as (first_folder, first):
            with folder_of(self.context.target, action.path) as (folder, name):
                temporary = self.context.temporary_name()
                try:
                    os.link(first, temporary, src_dir_fd=first_folder, dst_dir_fd=folder, follow_symlinks=False)
                except OSError as error:
                    if "hardlink" not in self.context.wishes.losses or error.errno not in _UNSUPPORTED:
                        raise
                    self._copy_instead(action)
                    return
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
                self._count_link(action)

    def _copy_instead(self, action: Action) -> None:
        publish(self.context, unpacked(stage(self.context, [action]), [action]))

    def _count_link(self, action: Action) -> None:
        """A further name moves the ctime of all names on both sides: they are noted when the last one is there."""
        known, names = self._linked.get(action.first) or (None, [action.first])
        known = known or self._noted_of(action.first) or self._known(action.source)
        names.append(action.path)
        self._linked[action.first] = (known._replace(flags=known.flags | PLACED), names)

    def _note_links(self) -> None:
        """Note all names of a file as it now stands: what was removed meanwhile may have been a name of it, too."""
        for known, names in self._linked.values():
            with error_context("look at the link", names[-1]):
                target = entry_at(self.context.target, names[-1]).identity
            for path in names:
                self._note(path, known._replace(target=target))

    def _make_special(self, action: Action, made: dict[bytes, tuple[bytes, LedgerEntry]]) -> None:
        with folder_of(self.context.source, action.source) as (sources, source):
            with folder_of(self.context.target, action.path) as (folder, _name):
                entry, temporary = self.entries[action.source], self.context.temporary_name()
                try:
                    create_special(folder, temporary, entry)
                except OSError as error:
                    loss = "symlink" if entry.target else "special"
                    if loss not in self.context.wishes.losses or error.errno not in _UNSUPPORTED:
                        raise
                    self._note(action.path, self._known(action.source)._replace(target=bytes(len(entry.identity))))
                    return
                with open_handle(sources, source, entry.kind) as model, open_handle(
                    folder, temporary, entry.kind
                ) as new:
                    copy_metadata(model, new, self.context.wishes)
                status = os.stat(temporary, dir_fd=folder, follow_symlinks=False)
                known = self._known(action.source)._replace(target=entry_of(b"", status).identity)
                made[action.path] = (temporary, known.intended())

    def _place_special(self, action: Action, temporary: bytes) -> None:
        with folder_of(self.context.target, action.path) as (folder, name):
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
            self._note_placed(action, os.stat(name, dir_fd=folder, follow_symlinks=False))

    def _metadata(self, action: Action) -> None:
        with folder_of(self.context.source, action.source) as (sources, source):
            with folder_of(self.context.target, action.path) as (folder, name):
                entry = entry_of(action.source, os.stat(source or b".", dir_fd=sources, follow_symlinks=False))
                with open_handle(sources, source, entry.kind) as model, open_handle(folder, name, entry.kind) as there:
                    copy_metadata(model, there, self.context.wishes)
                    if isinstance(there, int):
                        os.fsync(there)
                self._note_placed(action, os.stat(name or b".", dir_fd=folder, follow_symlinks=False))

    def _known(self, source: bytes) -> LedgerEntry:
        entry = self.entries.get(source)
        now = entry_at(self.context.source, source)
        racy = RACY if is_racy(now, self.context.started_ns) else 0
        return LedgerEntry(
            (entry or now).identity, b"", NO_DIGEST, PLACED | VERIFIED | racy | losses_of(self.context.wishes.losses)
        )

    def _note_placed(self, action: Action, status: os.stat_result) -> None:
        there = entry_of(action.path, status)
        known = self._noted_of(action.path) if there.is_file else self._known(action.source)
        if known is not None:
            known = known.with_losses(self.context.wishes.losses)
            self._note(action.path, known._replace(target=there.identity))

    def _note(self, path: bytes, known: LedgerEntry) -> None:
        self._noted[path] = known
        if len(self._noted) >= PORTION:
            self.context.ledger.append(self._noted.items())
            self._noted.clear()


@contextlib.contextmanager
def _tolerating(*numbers: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise
