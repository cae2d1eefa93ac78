# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database with its log or journal, put in place so that a process that opens it at any moment finds the old or the new content.

A log stands beside its database under a name of its own, so the two cannot be renamed at once, and a log beside the wrong
database corrupts it. But SQLite may replay a log over a database that has it already: the pages are the same. So first
the old WAL is checkpointed into the old database and then removed; then a new database with its WAL checkpointed takes its place;
then the new log comes; and at last the exact copy of the new database.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of, name_of, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import create_name, open_below, open_name
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import copy_early_flags, copy_metadata
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.private_directory import (
    PRIVATE_NAME,
    private_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import REPLAYED_SUFFIXES, SIDECAR_SUFFIXES
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import (
    copy_in,
    holds_bytes,
    settle,
    super_journal_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import NO_DIGEST, LedgerEntry
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.publish import Placing
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext

__all__ = ["replace_database"]

_TROUBLE = ("I/O", "full", "unable to open", "locked")  # of SQLite's words: of the system, and not of the database


def replace_database(context: CopyContext, path: bytes, written: Sequence[Written], stale: Sequence[bytes]) -> None:
    """Give the members of a database their names, and remove what does not belong to them.

    :param path: the database at the destination.
    :param stale: paths of what is there and does not belong to it.
    :raises ContimgError: naming the file; the destination then holds the old or the new content.
    """
    with Placing(context, written) as placing, open_below(context.target, parent_of(path), os.O_DIRECTORY) as directory:
        if not context.live:
            _require_still(context, written)
        doing = error_context("put the database in place", path, "The source is unchanged; run again to go on.")
        with placing.noted(), doing:
            _Replacement(context, directory, path, written).run(stale)


def _require_still(context: CopyContext, written: Sequence[Written]) -> None:
    """Check that no member has changed while another one was copied."""
    for one in written:
        with error_context("look at the file", one.action.source), open_below(
            context.source, one.action.source
        ) as source:
            now = entry_of(one.action.source, os.fstat(source)).identity
        if one.source.identity != now:
            hint = "Something still writes to it. Stop the writer and run again."
            raise ContimgError("changes while its database is copied", path=one.action.source, hint=hint)


class _Replacement:
    def __init__(self, context: CopyContext, directory: int, path: bytes, written: Sequence[Written]) -> None:
        self.context, self.directory = context, directory
        self.path, self.name = path, name_of(path)
        self.new = {name_of(one.action.path): one for one in written}
        self.logs = [self.name + suffix for suffix in SIDECAR_SUFFIXES if self.name + suffix in self.new]

    def run(self, stale: Sequence[bytes]) -> None:
        names = [name_of(path) for path in stale]
        if any(self._size(name) for name in names if name.endswith(REPLAYED_SUFFIXES)) and self._size(self.name):
            self._checkpoint({name: name for name in (self.name, *names) if self._size(name)})
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.directory)
        os.fsync(self.directory)
        if self.name not in self.new:
            self._rename(*self.logs)
        elif not self._size(self.name):  # a log without its database holds nothing
            self._rename(*self.logs)
            self._rename(self.name)
        elif any(self.new[name].source.size for name in self.logs):
            self._checkpoint({name: one.temporary for name, one in self.new.items()})
            self._rename(*self.logs)
            self._rename(self.name)
        else:
            self._rename(self.name)
            self._rename(*self.logs)

    def _size(self, name: bytes) -> int:
        try:
            status = os.stat(name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def _rename(self, *names: bytes) -> None:
        for name in names:
            os.rename(self.new[name].temporary, name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        if names:
            os.fsync(self.directory)

    def _checkpoint(self, members: dict[bytes, bytes]) -> None:
        """Put a copy of a database that has taken in its log in the database's place, unless SQLite cannot make sense of it.

        That is then due to what an unproved copy taken live left, or to a source that cannot be opened either. A read that
        failed once may look the same, so SQLite is asked twice.

        :param members: the database and its logs, final name to the name where each stands now.
        """
        if not self._checkpoint_once(members):
            self._checkpoint_once(members)

    def _checkpoint_once(self, members: dict[bytes, bytes]) -> bool:
        """Return whether SQLite could make sense of it.

        It works in a private directory: a user who may write to this one could put a journal beside the copy that makes
        SQLite remove any file.
        """
        copy = self.context.temporary_name()
        try:
            with private_directory(state="The source is unchanged.") as private:
                checkpointed = os.path.join(private, PRIVATE_NAME)
                if not self._checkpointed(members, checkpointed):
                    return False
                self._bring(checkpointed, copy, like=members[self.name])
            self._copy_metadata(members[self.name], copy)
            with self.context.journal.step([(self.path, self._known(copy))]):
                os.rename(copy, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
                os.fsync(self.directory)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(copy, dir_fd=self.directory)
        return True

    def _checkpointed(self, members: dict[bytes, bytes], checkpointed: str) -> bool:
        """Let SQLite checkpoint private copies. Where it takes them for damaged, these were read to their end all the same.

        What a journal of an interrupted transaction over several databases means cannot be seen here.
        """
        for name, source in members.items():
            with open(open_name(self.directory, source), "rb") as reader:
                copy_in(
                    reader.fileno(), checkpointed + os.fsdecode(name[len(self.name) :]), shown=os.fsdecode(self.path)
                )
        if super_journal_of(checkpointed):
            return False
        try:
            settle(checkpointed, shown=os.fsdecode(self.path))
        except sqlite3.DatabaseError as error:
            if any(word in str(error) for word in _TROUBLE):
                raise
            return False
        if holds_bytes(checkpointed, "-wal"):  # SQLite takes a log that it cannot look at for none
            raise OSError(errno.EIO, "SQLite did not take the log in", members[self.name])
        return True

    def _bring(self, checkpointed: str, copy: bytes, *, like: bytes) -> None:
        with open(checkpointed, "rb") as reader, open(create_name(self.directory, copy), "wb") as writer:
            with open(open_name(self.directory, like), "rb") as model:
                copy_early_flags(model.fileno(), writer.fileno(), losses=self.context.policy.losses)
            shutil.copyfileobj(reader, writer, 1 << 20)

    def _known(self, copy: bytes) -> LedgerEntry:
        """A run after a crash has to know it as its own. It is never noted as placed: the exact copy follows."""
        there = entry_of(self.path, os.stat(copy, dir_fd=self.directory, follow_symlinks=False)).identity
        return LedgerEntry(there, there, NO_DIGEST, 0)

    def _copy_metadata(self, source: bytes, target: bytes) -> None:
        with open(open_name(self.directory, source), "rb") as model, open(
            open_name(self.directory, target), "rb"
        ) as copy:
            copy_metadata(model.fileno(), copy.fileno(), self.context.policy)
            os.fsync(copy.fileno())
