# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked before a copy touches anything: quiet, permissions and space."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._open_files import find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_journal import (
    FINISH_TRANSACTION,
    JOURNAL,
    is_hot,
    super_journal_named_by,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_locks import is_being_written
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import kind_of, name_of, open_below, parent_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import Wishes
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync_steps import Plan
    from ansible_collections.dsa110.contimg.plugins.module_utils._tree import Entry

__all__ = [
    "existing_parent",
    "require_finished",
    "require_owner",
    "require_quiet",
    "require_readable",
    "require_space",
]

_BLOCK = 512
_JOURNAL = os.fsencode(JOURNAL)
_UNTOUCHED = "Nothing was touched."


def existing_parent(path: str) -> str:
    """Return the path itself or its nearest folder that exists."""
    current = os.path.abspath(path)
    while kind_of(current) != stat.S_IFDIR:
        current = os.path.dirname(current)
    return current


def require_quiet(src: str, dest: str) -> None:
    """Check that no process has a file of either tree open for writing. Raises ContimgError which names them."""
    found = find_holders([src, dest], writers_only=True)
    if found.holders:
        names = ", ".join(holder.summary() for holder in found.holders[:5])
        raise ContimgError(
            f"is open for writing in {names}", path=src, hint=f"{_UNTOUCHED} Stop these processes and run again."
        )
    if not found.complete:
        hint = f"{_UNTOUCHED} Run as root, or without require_quiesced."
        raise ContimgError("not every process's open files can be read, so its quiet is unproved", path=src, hint=hint)


def require_readable(root: int, entries: Iterable[Entry]) -> None:
    """Check that every file can be read: root cannot read everything either, on a mount that squashes it for example.

    :raises ContimgError: naming the first that cannot.
    """
    folders: dict[bytes, list[Entry]] = {}
    for entry in entries:
        if entry.is_file:
            folders.setdefault(parent_of(entry.path), []).append(entry)
    for path, files in folders.items():
        with failing("open the folder", path or b".", _UNTOUCHED), open_below(root, path, os.O_DIRECTORY) as folder:
            for entry in files:
                if not os.access(name_of(entry.path), os.R_OK, dir_fd=folder, effective_ids=True):
                    hint = f"{_UNTOUCHED} Run as a user who may, or exclude it."
                    raise ContimgError("cannot be read", path=entry.path, hint=hint)


def require_finished(root: int, plan: Plan) -> None:
    """Check that no database of the source is part of an interrupted transaction over several databases.

    Its journal finds the others by a name in the source, which says nothing at the destination: the copy could not be
    judged, and once the source is gone SQLite would take a transaction for committed that never was.

    :raises ContimgError: naming the database and what finishes the transaction.
    """
    copied = {step.source for step in plan.actions if step.kind == "copy"}
    for journal in sorted(copied.union(plan.unchanged.values())):
        if journal.endswith(_JOURNAL):
            name = _interrupted(root, journal)
            if name:
                hint = f"{_UNTOUCHED} {FINISH_TRANSACTION} Or exclude these databases."
                what = (
                    f"is part of an interrupted transaction over several databases: its journal names {display(name)}"
                )
                raise ContimgError(what, path=journal[: -len(_JOURNAL)], hint=hint, super_journal=display(name))


def _interrupted(root: int, journal: bytes) -> bytes:
    """Return the super-journal that a hot journal names."""
    database = journal[: -len(_JOURNAL)]
    with failing("look at the journal of the database", database, _UNTOUCHED):
        try:
            with open_below(root, journal) as file, open_below(root, database) as main:
                if is_hot(file) and not is_being_written(main):
                    return super_journal_named_by(file)
        except FileNotFoundError:  # a live source may lose either, and a journal alone holds nothing
            pass
    return b""


def require_space(dest: str, plan: Plan, entries: Mapping[bytes, Entry]) -> None:
    """Check that all that a plan writes has room. Raises ContimgError with both figures in bytes."""
    inodes = needed = 0
    for action in plan.actions:
        if action.kind in ("copy", "special", "folder"):
            status = entries[action.source].status
            inodes += 1
            needed += min(status.blocks * _BLOCK, status.size + _BLOCK) if stat.S_ISREG(status.mode) else 0
    space = os.statvfs(existing_parent(dest))
    free = space.f_bavail * space.f_frsize
    if space.f_blocks and needed > free:  # some file systems do not say how large they are
        raise ContimgError(
            f"has not enough space: {needed} bytes are needed, {free} are free", path=dest, hint=_UNTOUCHED
        )
    if space.f_files and inodes > space.f_favail:
        raise ContimgError(
            f"has not enough inodes: {inodes} are needed, {space.f_favail} are free", path=dest, hint=_UNTOUCHED
        )


def require_owner(dest: str, entries: Iterable[Entry], *, wishes: Wishes) -> None:
    """Check that this process may give files to their owners: root may. Raises ContimgError."""
    if os.geteuid() == 0 or "owner" in wishes.losses or wishes.owner >= 0 or wishes.group >= 0:
        return
    groups = {os.getegid(), *os.getgroups()}
    if any(uid != os.geteuid() or gid not in groups for uid, gid in {entry.owner for entry in entries}):
        hint = f"{_UNTOUCHED} Run as root, or accept the loss with allow_loss: [owner]."
        raise ContimgError("cannot be given files of other owners by this user", path=dest, hint=hint, lost=["owner"])
