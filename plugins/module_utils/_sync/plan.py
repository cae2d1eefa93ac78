# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a copy: a pure value made from what was observed and from decisions. Nothing here looks at a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import matches_policy
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import VERIFIED
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.members import loses_log, members_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.removals import extras, left_over, stale_sidecars
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action, Plan
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.verdicts import OF_THIS_COPY, judge_databases

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.observe import Observation
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Decisions

__all__ = ["make_plan", "unproved"]


def make_plan(observation: Observation, decisions: Decisions) -> Plan:
    """Decide every step."""
    return _Planner(observation, decisions).plan()


def unproved(plan: Plan, trees: Trees, *, verify: bool) -> list[bytes]:
    """Return the files that need no copy, yet were never read back, or are known only since this comparison.

    :param verify: whether files have to be read back.
    """

    def is_proved(path: bytes, source: bytes) -> bool:
        known = trees.ledger.get(path)
        if known is None or not known.describes(trees.source[source], trees.target[path]):
            return False
        return bool(known.flags & VERIFIED) or not verify

    return [path for path, source in plan.unchanged.items() if not is_proved(path, source)]


class _Planner:
    def __init__(self, observation: Observation, decisions: Decisions) -> None:
        self.trees, self.places, self.findings = observation.trees, observation.places, observation.findings
        self.decisions, self.losses = decisions, decisions.policy.losses
        self.members = members_of(self.trees.databases, decisions.rename)
        self.verdicts = judge_databases(self.findings.relations, self.trees.target, decisions)
        self.kept = [path for path, verdict in self.verdicts.items() if verdict.decision == "keep"]
        self.conflicts = [(path, found.reason) for path, found in self.verdicts.items() if found.decision == "fail"]
        self.unchanged: dict[bytes, bytes] = {}
        self.linked: dict[bytes, str] = {}  # digests of further names, of which the first one is known
        self.rewritten: set[bytes] = set()
        self.kept_for: dict[tuple[int, int], tuple[int, int]] = {}  # by inode, of files there that have further names

    def plan(self) -> Plan:
        """Return the whole plan; a directory's own metadata comes last, deepest first."""
        directories: list[Action] = []
        files: list[Action] = []
        links: list[Action] = []
        later: list[Action] = []
        firsts: dict[tuple[int, int], bytes] = {}
        for path in sorted(self.places):
            entry = self.trees.source[self.places[path]]
            if entry.is_directory:
                directories += self._directory(path, entry)
                later += self._metadata(path, entry)
            elif entry.links > 1 and entry.inode in firsts:
                links += self._link(path, firsts[entry.inode], entry)
            else:
                files += self._file(path, entry) if entry.is_file else self._special(path, entry)
                if entry.links > 1 and path not in self.kept:
                    firsts[entry.inode] = path
        steps = [*left_over(self.trees.left), *self._stale(), *directories, *files, *links, *self._extras()]
        steps += self._last(steps, later)
        equal = {**self.findings.equal, **self.linked} if self.linked else self.findings.equal
        return Plan(tuple(steps), tuple(self.conflicts), tuple(self.kept), self.unchanged, equal)

    def _last(self, steps: Iterable[Action], later: Iterable[Action]) -> list[Action]:
        """Every step moves the times of its directory, and a new directory starts with none."""
        touched = {parent_of(step.path) for step in steps if step.kind != "metadata"}
        touched |= {step.path for step in steps if step.kind == "directory"}
        settled = (path for path in touched if path in self.trees.ledger and path not in self.trees.gone)
        again = [self._touch(path) for path in {*settled, *touched & self.places.keys()}]
        whole = {step.path: step for step in [*again, *later]}
        return sorted(whole.values(), key=lambda step: (-step.path.count(b"/") - bool(step.path), step.path))

    def _touch(self, path: bytes) -> Action:
        return Action("metadata", path, "times of the directory", self.places.get(path, path))

    def _directory(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        if there is None:
            return [Action("directory", path, "new", entry.path)]
        if not there.is_directory:
            self.conflicts.append((path, "is not a directory, the source has one"))
        return []

    def _metadata(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        if there is None or there.kind != entry.kind:
            return []
        if matches_policy(entry, there, self.decisions.policy) and path not in self.findings.altered:
            return []
        return [Action("metadata", path, "owner, mode, times or attributes", entry.path)]

    def _special(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        new = Action("special", path, "new", entry.path)
        if there is None:
            return [] if self._was_lost(path, entry) else [new]
        if there.is_directory:
            return self._conflict(path, new, "is a directory")
        if (there.kind, there.target, there.status.rdev) == (entry.kind, entry.target, entry.status.rdev):
            return self._metadata(path, entry)
        self.rewritten.add(path)
        if self._is_ours(there):
            return [new._replace(reason="changed")]
        return self._conflict(path, new, "is something else")

    def _was_lost(self, path: bytes, entry: Entry) -> bool:
        """Return whether an earlier pass found that the destination cannot hold this, which the operator accepts."""
        known, loss = self.trees.ledger.get(path), "symlink" if entry.target else "special"
        if loss not in self.losses:
            return False
        return known is not None and known.source == entry.identity and not known.target.strip(b"\0")

    def _link(self, path: bytes, first: bytes, entry: Entry) -> list[Action]:
        there, other = self.trees.target.get(path), self.trees.target.get(first)
        if there is not None and other is not None and there.inode == other.inode and first not in self.rewritten:
            if entry.is_file and first in self.unchanged:
                self._leave_linked(path, first)
            return []
        action = Action("link", path, f"hard link to {printable(first)}", self.places[path], first=first)
        if there is None or self._is_ours(there):
            known = self.trees.ledger.get(path)
            if there is not None and known is not None and "hardlink" in self.losses and known.is_current(entry, there):
                self.unchanged[path] = self.places[path]
                return self._metadata(path, entry)
            return [action]
        if there.kind == entry.kind and (not entry.is_file or path in self.findings.equal):
            return [action]
        return self._conflict(path, action, "differs")

    def _leave_linked(self, path: bytes, first: bytes) -> None:
        self.unchanged[path] = self.places[path]
        if path not in self.findings.equal:
            known = self.trees.ledger.get(first)
            self.linked[path] = self.findings.equal.get(first) or (known.sha256.hex() if known else "")

    def _file(self, path: bytes, entry: Entry) -> list[Action]:
        there, known = self.trees.target.get(path), self.trees.ledger.get(path)
        member = self.members.get(path, b"")
        verdict, reason = self.verdicts.get(member, OF_THIS_COPY)
        if verdict in ("keep", "fail"):
            return []
        if there is None or (member != path and member in self.rewritten):
            self.rewritten.add(path)
            return [Action("copy", path, "new" if there is None else reason, entry.path, database=member)]
        equal = path in self.findings.equal
        current = known is not None and known.is_current(entry, there)
        loses = member == path and loses_log(path, self.trees, self.places)
        if not (self._is_shared(entry, there) or loses) and (current or (verdict != "replace" and equal)):
            return self._leave(path, entry, there)
        self.rewritten.add(path)
        action = Action("copy", path, reason, entry.path, database=member)
        if verdict or member or self._is_ours(there) or equal:
            return [action._replace(backup=verdict == "replace" and member == path)]
        return self._conflict(path, action, "differs and is not of this copy")

    def _leave(self, path: bytes, entry: Entry, there: Entry) -> list[Action]:
        self.unchanged[path] = entry.path
        if there.links > 1:
            self.kept_for[there.inode] = entry.inode
        return self._metadata(path, entry)

    def _is_shared(self, entry: Entry, there: Entry) -> bool:
        """A file of the source must not be changed together with another one, whose name is one of the same file there."""
        if not there.is_file or there.links == 1:
            return False
        return entry.links == 1 or self.kept_for.get(there.inode, entry.inode) != entry.inode

    def _is_ours(self, there: Entry) -> bool:
        return not there.is_directory and self.trees.ledger.is_ours(there)

    def _conflict(self, path: bytes, action: Action, reason: str) -> list[Action]:
        decision = self.decisions.for_path(path)
        if decision == "keep":
            self.kept.append(path)
            return []
        is_directory = self.trees.target[path].is_directory
        if decision == "replace" and not is_directory:
            return [action._replace(reason=f"{reason}; backed up", backup=True)]
        self.conflicts.append((path, "is a directory" if is_directory else reason))
        return []

    def _sidecars(self) -> dict[bytes, bytes]:
        return {path: database for path, database in self.members.items() if path != database}

    def _stale(self) -> list[Action]:
        """Return the removals of stale sidecars. A directory in such a place is in conflict."""
        sidecars, target = self._sidecars(), self.trees.target
        stays = {path for path, database in sidecars.items() if path in self.places and database not in self.rewritten}
        found = stale_sidecars(sidecars, target, stays=stays, kept=self.kept)
        self.conflicts += [(step.path, "is a directory") for step in found if target[step.path].is_directory]
        return [step for step in found if not target[step.path].is_directory]

    def _extras(self) -> list[Action]:
        return extras(self.trees, self.places, self._sidecars()) if self.decisions.delete else []
