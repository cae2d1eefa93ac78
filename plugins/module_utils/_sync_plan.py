# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a copy: a pure value made from both trees, from what earlier passes placed, and from decisions."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import display
from ansible_collections.dsa110.contimg.plugins.module_utils._manifest import moved
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import DEBRIS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync_ledger import Known
    from ansible_collections.dsa110.contimg.plugins.module_utils._tree import Entry

__all__ = ["Action", "Decisions", "Plan", "Trees", "make_plan"]

_SIDECARS = tuple(suffix.encode() for suffix in SIDECARS)


@dataclass(frozen=True)
class Trees:
    """What was read of both sides.

    :ivar source: entries of the source by path.
    :ivar target: entries of the destination by path; empty when it does not exist.
    :ivar known: what earlier passes placed, by path at the destination.
    :ivar databases: paths in the source that are databases.
    :ivar foreign: paths at the destination that are databases.
    """

    source: Mapping[bytes, Entry]
    target: Mapping[bytes, Entry]
    known: Mapping[bytes, Known]
    databases: frozenset[bytes]
    foreign: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Decisions:
    """What the operator decided.

    :ivar rename: where single files go, by path in the source.
    :ivar on_conflict: ``fail``, ``keep`` or ``replace`` for what stands at the destination and is not ours.
    :ivar single: the same for single paths at the destination.
    :ivar delete: whether extras at the destination are removed.
    :ivar owner: numeric owner for everything, -1 keeps the source's.
    :ivar group: numeric group for everything, -1 keeps the source's.
    """

    rename: Mapping[bytes, bytes]
    on_conflict: str = "fail"
    single: Mapping[bytes, str] = field(default_factory=dict)
    delete: bool = False
    owner: int = -1
    group: int = -1

    def for_path(self, path: bytes) -> str:
        """Return the decision for a path; a sidecar follows its database."""
        for suffix in (b"", *_SIDECARS):
            stem = path[: len(path) - len(suffix)]
            if path.endswith(suffix) and stem in self.single:
                return self.single[stem]
        return self.on_conflict


@dataclass(frozen=True)
class Action:
    """One step.

    :ivar kind: ``remove``, ``folder``, ``copy``, ``link``, ``special`` or ``metadata``.
    :ivar path: what it makes or removes, at the destination.
    :ivar source: where that comes from.
    :ivar reason: why, for the operator.
    :ivar first: the other name of a hard link, at the destination.
    :ivar backup: whether what stands there is copied to the backups first.
    """

    kind: str
    path: bytes
    reason: str
    source: bytes = b""
    first: bytes = b""
    backup: bool = False


@dataclass(frozen=True)
class Plan:
    """All steps, in the order in which they are done, and what was found on the way.

    :ivar conflicts: paths at the destination that stop the copy.
    :ivar kept: paths at the destination that a decision leaves as they are.
    :ivar unchanged: files that need no copy, path at the destination to path in the source.
    :ivar equal: files that an earlier pass does not know and that have equal content, path to digest.
    """

    actions: tuple[Action, ...]
    conflicts: tuple[tuple[bytes, str], ...]
    kept: tuple[bytes, ...]
    unchanged: Mapping[bytes, bytes]
    equal: Mapping[bytes, str]

    def digest(self) -> str:
        """Return a hash of all steps: a preview and its run have the same."""
        steps = (repr((action.kind, action.path, action.source, action.first)) for action in self.actions)
        return hashlib.sha256("\n".join(steps).encode()).hexdigest()

    def diff(self, limit: int = 500) -> dict[str, str]:
        """Return Ansible's before and after, one line a step."""
        shown = self.actions[:limit]
        after = [f"{action.kind} {display(action.path or b'.')} ({action.reason})" for action in shown]
        if len(self.actions) > limit:
            after.append(f"... and {len(self.actions) - limit} more")
        return {"before": "", "after": "".join(f"{line}\n" for line in after)}


def make_plan(
    trees: Trees,
    decisions: Decisions,
    *,
    same_content: Callable[[bytes, bytes], str],
    same_attributes: Callable[[bytes, bytes], bool],
    database_relation: Callable[[bytes, bytes], str],
) -> Plan:
    """Decide every step.

    :param same_content: returns the digest of two files (path in source, path at destination) that are equal, else "".
    :param same_attributes: tells whether two files or folders have the same ACLs and extended attributes.
    :param database_relation: returns what a destination's database is to the source's.
    """
    return _Planner(trees, decisions, same_content, same_attributes, database_relation).plan()


class _Planner:
    def __init__(
        self,
        trees: Trees,
        decisions: Decisions,
        same_content: Callable[[bytes, bytes], str],
        same_attributes: Callable[[bytes, bytes], bool],
        database_relation: Callable[[bytes, bytes], str],
    ) -> None:
        self.trees = trees
        self.decisions = decisions
        self.same_content = same_content
        self.same_attributes = same_attributes
        self.database_relation = database_relation
        self.targets = {moved(path, decisions.rename): path for path in trees.source if not self._left_out(path)}
        self.conflicts: list[tuple[bytes, str]] = []
        self.kept: list[bytes] = []
        self.unchanged: dict[bytes, bytes] = {}
        self.equal: dict[bytes, str] = {}
        self.databases = {moved(path, decisions.rename): path for path in trees.databases}
        self.sidecars = {path + suffix: path for path in self.databases for suffix in _SIDECARS}
        self.verdicts: dict[bytes, tuple[str, str]] = {}
        self.rewritten: set[bytes] = set()

    def _left_out(self, path: bytes) -> bool:
        """The shared memory of a database is rebuilt from its log; debris of an older copy is nobody's."""
        return (path.endswith(b"-shm") and path[:-4] in self.trees.databases) or path.rpartition(b"/")[2].startswith(
            DEBRIS
        )

    def plan(self) -> Plan:
        """Return the whole plan; a folder's own metadata comes last, deepest first."""
        removals, folders, files, links, later = self._debris(), [], [], [], []
        firsts: dict[tuple[int, int], bytes] = {}
        for path in sorted(self.databases):
            self._judge(path)
        for path in sorted(self.targets):
            entry = self.trees.source[self.targets[path]]
            if entry.is_folder:
                folders += self._folder(path, entry)
                later += self._metadata(path, entry)
            elif entry.inode in firsts:
                links += self._link(path, firsts[entry.inode])
            else:
                if entry.status.st_nlink > 1:
                    firsts[entry.inode] = path
                files += self._file(path, entry) if entry.is_file else self._special(path, entry)
        removals += self._stale_sidecars()
        extras = self._extras() if self.decisions.delete else []
        steps = [*removals, *folders, *files, *links, *extras]
        touched = {step.path.rpartition(b"/")[0] for step in steps if step.kind != "folder"}
        touched |= {step.path.rpartition(b"/")[0] for step in folders} | {step.path for step in folders}
        again = [self._touch(path) for path in touched if path in self.targets]
        whole = {step.path: step for step in [*again, *later]}
        steps += sorted(whole.values(), key=lambda step: (-step.path.count(b"/") - bool(step.path), step.path))
        return Plan(tuple(steps), tuple(self.conflicts), tuple(self.kept), self.unchanged, self.equal)

    def _touch(self, path: bytes) -> Action:
        return Action("metadata", path, "times of the folder", self.targets[path])

    def _debris(self) -> list[Action]:
        names = (path for path in self.trees.target if path.rpartition(b"/")[2].startswith(DEBRIS))
        return [Action("remove", path, "left by an interrupted copy") for path in sorted(names)]

    def _folder(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        if there is None:
            return [Action("folder", path, "new", entry.path)]
        if not there.is_folder:
            self.conflicts.append((path, "is no directory, the source has one"))
        return []

    def _metadata(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        if there is None or there.kind != entry.kind:
            return []
        if _same_metadata(entry, there, self.decisions) and self.same_attributes(entry.path, path):
            return []
        return [Action("metadata", path, "owner, mode, times or attributes", entry.path)]

    def _special(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        new = Action("special", path, "new", entry.path)
        if there is None:
            return [new]
        if there.kind == entry.kind and there.target == entry.target and there.status.st_rdev == entry.status.st_rdev:
            return [] if _same_metadata(entry, there, self.decisions) else [new]
        return self._conflict(path, new, "is something else")

    def _link(self, path: bytes, first: bytes) -> list[Action]:
        there, other = self.trees.target.get(path), self.trees.target.get(first)
        if there is not None and other is not None and there.inode == other.inode and first in self.unchanged:
            self.unchanged[path] = self.targets[path]
            return []
        action = Action("link", path, f"hard link to {display(first)}", self.targets[path], first=first)
        if there is None or self._is_ours(path, there) or self._is_equal(path, self.targets[path], there):
            return [action]
        return self._conflict(path, action, "differs")

    def _file(self, path: bytes, entry: Entry) -> list[Action]:
        there, known = self.trees.target.get(path), self.trees.known.get(path)
        database = self.sidecars.get(path, path)
        verdict, reason = self.verdicts.get(database, ("", "changed"))
        if verdict in ("keep", "fail"):
            return []
        if there is None or (database != path and database in self.rewritten):
            return [Action("copy", path, "new" if there is None else reason, entry.path)]
        current = known is not None and known.is_current(entry.status, there.status)
        if current or (verdict != "replace" and self._is_equal(path, entry.path, there)):
            self.unchanged[path] = entry.path
            attributes_hold = current and _same_metadata(entry, there, self.decisions)  # a ctime shows their change
            return [] if attributes_hold else self._metadata(path, entry)
        self.rewritten.add(path)
        action = Action("copy", path, reason, entry.path, backup=verdict == "replace" and database == path)
        if verdict or database in self.databases or self._is_ours(path, there):
            return [action]
        return self._conflict(path, action, "differs and is not of this copy")

    def _judge(self, path: bytes) -> None:
        """Decide for a database and its sidecars as one thing, where any of them is not of this copy.

        Rows may stand in a log alone, so an equal main file says nothing. One that is behind loses nothing.
        """
        if not any(self._is_foreign(member) for member in self._members(path)):
            return
        chosen = self.decisions.single.get(path)
        relation = "not of this copy" if chosen else self.database_relation(self.databases[path], path)
        reason = f"the database there is {relation}"
        if relation in ("identical", "behind"):
            self.verdicts[path] = ("lossless", reason)
            return
        verdict = self.decisions.for_path(path)
        if verdict == "keep":
            self.kept.append(path)
        elif verdict == "fail":
            self.conflicts.append((path, reason))
        self.verdicts[path] = (verdict, f"{reason}; backed up" if verdict == "replace" else reason)

    def _members(self, path: bytes) -> list[bytes]:
        """A log without its database holds nothing; the shared memory never does."""
        names = (path, path + b"-wal", path + b"-journal")
        return [name for name in names if name in self.trees.target] if path in self.trees.target else []

    def _is_foreign(self, path: bytes) -> bool:
        there, source = self.trees.target[path], self.targets.get(path)
        if there.is_file and (not there.status.st_size or self._is_ours(path, there)):
            return False
        return source is None or not self._is_equal(path, source, there)

    def _is_ours(self, path: bytes, there: Entry) -> bool:
        known = self.trees.known.get(path)
        return known is not None and known.placed(there.status)

    def _is_equal(self, path: bytes, source: bytes, there: Entry) -> bool:
        if not there.is_file or there.status.st_size != self.trees.source[source].status.st_size:
            return False
        digest = self.same_content(source, path)
        if digest:
            self.equal[path] = digest
        return bool(digest)

    def _conflict(self, path: bytes, action: Action, reason: str) -> list[Action]:
        decision = self.decisions.for_path(path)
        if decision == "keep":
            self.kept.append(path)
            return []
        if decision == "replace" and not self.trees.target[path].is_folder:
            return [Action(action.kind, path, f"{reason}; backed up", action.source, action.first, backup=True)]
        self.conflicts.append((path, reason))
        return []

    def _stale_sidecars(self) -> list[Action]:
        """A log or journal that does not belong to the copied database would corrupt it, be it for a moment."""
        found = []
        for path, database in sorted(self.sidecars.items()):
            stale = path not in self.targets or database in self.rewritten
            if stale and path in self.trees.target and database not in self.kept:
                found.append(Action("remove", path, "does not belong to the copied database"))
        return found

    def _extras(self) -> list[Action]:
        """A database that the source never had stays, with its sidecars, whatever the operator asked for."""
        spared = {path + suffix for path in self.trees.foreign - set(self.trees.known) for suffix in (b"", *_SIDECARS)}
        extras = set(self.trees.target) - set(self.targets) - spared
        return [Action("remove", path, "not in the source") for path in sorted(extras, reverse=True)]


def _same_metadata(entry: Entry, there: Entry, decisions: Decisions) -> bool:
    owner = entry.status.st_uid if decisions.owner < 0 else decisions.owner
    group = entry.status.st_gid if decisions.group < 0 else decisions.group
    wanted = (stat.S_IMODE(entry.status.st_mode), owner, group, entry.status.st_mtime_ns)
    status = there.status
    return wanted == (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
