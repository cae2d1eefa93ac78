# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked before a copy touches anything: quiet, permissions and space."""

from __future__ import annotations

import contextlib
import os
import stat
from itertools import islice
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.backup import backup_place
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import name_of, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import Need, require_room
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import (
    directory_obstacle,
    entry_obstacle,
    files_obstacles,
    opened_obstacle,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import JOURNAL, SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import (
    FINISH_TRANSACTION,
    is_hot,
    super_journal_named_by,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.locks import is_being_written
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Plan

__all__ = [
    "require_finished",
    "require_owner",
    "require_quiet",
    "require_readable",
    "require_space",
    "require_writable",
]

_BLOCK = 512
_JOURNAL = os.fsencode(JOURNAL)
_NAMED = 5
_UNTOUCHED = "Nothing was touched."


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
    directories: dict[bytes, list[Entry]] = {}
    for entry in entries:
        if entry.is_file:
            directories.setdefault(parent_of(entry.path), []).append(entry)
    for path, files in directories.items():
        with error_context("open the directory", path or b".", _UNTOUCHED), open_below(
            root, path, os.O_DIRECTORY
        ) as directory:
            for entry in files:
                if not os.access(name_of(entry.path), os.R_OK, dir_fd=directory, effective_ids=True):
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
                    f"is part of an interrupted transaction over several databases: its journal names {printable(name)}"
                )
                raise ContimgError(what, path=journal[: -len(_JOURNAL)], hint=hint, super_journal=printable(name))


def _interrupted(root: int, journal: bytes) -> bytes:
    """Return the super-journal that a hot journal names."""
    database = journal[: -len(_JOURNAL)]
    with error_context("look at the journal of the database", database, _UNTOUCHED):
        try:
            with open_below(root, journal) as file, open_below(root, database) as main:
                if is_hot(file) and not is_being_written(main):
                    return super_journal_named_by(file)
        except FileNotFoundError:  # a live source may lose either, and a journal alone holds nothing
            pass
    return b""


def require_space(dest: str, plan: Plan, trees: Trees, *, backup_dir: str | None, reserve: Mapping[str, int]) -> None:
    """Check that all that a plan writes has room. Raises ContimgError with figures in bytes.

    :param reserve: bytes, by directory, that must be free besides.
    """
    inodes = size = backups = 0
    for action in plan.actions:
        if action.kind in ("copy", "special", "directory"):
            status = trees.source[action.source].status
            inodes += 1
            size += min(status.blocks * _BLOCK, status.size + _BLOCK) if stat.S_ISREG(status.mode) else 0
        if action.backup:
            members = (trees.target.get(action.path + suffix.encode()) for suffix in ("", *SIDECARS))
            backups += sum(member.size for member in members if member is not None)
    needs = [Need(dest, "the copy", size, inodes)]
    needs += [Need(backup_dir, "what is replaced", backups)] if backup_dir and backups else []
    needs += [Need(place, "what follows", wanted) for place, wanted in reserve.items()]
    require_room(needs, hint=f"{_UNTOUCHED} Make room and run again.")


def require_writable(
    dest: str, plan: Plan, target: int | None, *, notes: Sequence[str], backup_dir: str | None, links_may_be_lost: bool
) -> None:
    """Check that whatever a run makes or replaces can be: permissions, read-only mounts, attributes of inodes.

    :param target: the descriptor of the destination's root, where there is one.
    :param notes: the files that a run writes beside the destination.
    :param backup_dir: where what is replaced is kept; a run looks there for what killed runs have left, too.
    :param links_may_be_lost: whether a file that cannot be linked is copied.
    :raises ContimgError: naming up to five places where it cannot.
    """
    for action in (action for action in plan.actions if action.backup):
        backup_place(action.path, backup_dir)
    places = [*([dest] if plan.actions else []), *([backup_dir] if backup_dir is not None else [])]
    found = [f"{place} {what}" for place in places for what in [directory_obstacle(place)] if what]
    found += files_obstacles(notes, made=dest)
    if target is not None and not found:
        blocked = _blocked(target, plan, links_may_be_lost=links_may_be_lost)
        found = [f"{printable(path or b'.')} {what}" for path, what in islice(dict.fromkeys(blocked), _NAMED)]
    if found:
        hint = f"{_UNTOUCHED} Make it writable, or choose another destination."
        raise ContimgError(f"cannot be written: {'; '.join(found)}", path=dest, hint=hint)


def _blocked(target: int, plan: Plan, *, links_may_be_lost: bool) -> Iterator[tuple[bytes, str]]:
    """Yield what cannot be changed at the destination, and the directories there in which nothing can be made."""
    by_directory: dict[bytes, list[Action]] = {}
    for action in plan.actions:
        by_directory.setdefault(parent_of(action.path), []).append(action)
        if action.first and not links_may_be_lost:  # a file that is flagged gets no further name
            by_directory.setdefault(parent_of(action.first), []).append(Action("metadata", action.first, ""))
    for directory, actions in by_directory.items():
        # What does not exist yet, or is replaced itself, cannot be looked into.
        with contextlib.suppress(OSError), open_below(target, directory, os.O_DIRECTORY) as opened:
            named = any(action.kind != "metadata" for action in actions)
            what = opened_obstacle(opened) if named else ""
            if what:
                yield directory, what
                continue
            obstacles = ((one.path, entry_obstacle(opened, name_of(one.path))) for one in actions if one.path)
            yield from (pair for pair in obstacles if pair[1])


def require_owner(dest: str, entries: Iterable[Entry], *, policy: MetadataPolicy) -> None:
    """Check that this process may give files to their owners: root may. Raises ContimgError."""
    if os.geteuid() == 0 or "owner" in policy.losses or policy.owner >= 0 or policy.group >= 0:
        return
    groups = {os.getegid(), *os.getgroups()}
    if any(uid != os.geteuid() or gid not in groups for uid, gid in {entry.owner for entry in entries}):
        hint = f"{_UNTOUCHED} Run as root, or accept the loss with allow_loss: [owner]."
        raise ContimgError("cannot be given files of other owners by this user", path=dest, hint=hint, lost=["owner"])
