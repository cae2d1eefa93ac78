# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a copy: a pure value made from both trees, from what earlier passes placed, and from decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import destination_of, is_shared_memory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import is_as_wished
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import REPLAYED_SUFFIXES, SIDECAR_SUFFIXES
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import ancestors
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import losses_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Decisions, Questions

__all__ = ["make_plan"]


def make_plan(trees: Trees, decisions: Decisions, questions: Questions) -> Plan:
    """Decide every step. Raises ContimgError when two files of the source go to the same path."""
    return _Planner(trees, decisions, questions).plan()


class _Planner:
    def __init__(self, trees: Trees, decisions: Decisions, questions: Questions) -> None:
        self.trees, self.decisions, self.ask = trees, decisions, questions
        self.losses = decisions.wishes.losses
        self.targets = self._destinations()
        self.conflicts: list[tuple[bytes, str]] = []
        self.kept: list[bytes] = []
        self.unchanged: dict[bytes, bytes] = {}
        self.equal: dict[bytes, str] = {}
        self.databases = {destination_of(path, decisions.rename): path for path in trees.databases}
        self.sidecars = {path + suffix: path for path in self.databases for suffix in SIDECAR_SUFFIXES}
        self.verdicts: dict[bytes, tuple[str, str]] = {}
        self.rewritten: set[bytes] = set()
        self.kept_for: dict[tuple[int, int], tuple[int, int]] = {}  # by inode, of files there that have further names

    def _destinations(self) -> dict[bytes, bytes]:
        targets: dict[bytes, bytes] = {}
        for path in self.trees.source:
            if is_shared_memory(path, self.trees.databases):
                continue  # it is made anew from the WAL
            goes = destination_of(path, self.decisions.rename)
            if goes in targets:
                hint = "Nothing was touched. Exclude one of them, or rename it to another path."
                names = " and ".join(sorted(map(printable, (path, targets[goes]))))
                raise ContimgError(f"two files of the source go here, {names}", path=goes, hint=hint)
            targets[goes] = path
        for goes, path in [pair for pair in targets.items() if pair[0] != pair[1]]:
            if self.trees.source[path].is_folder:
                hint = f"Nothing was touched. Rename the files in it, not {printable(path)}."
                raise ContimgError(
                    "is in rename, and is a directory: only single files are renamed", path=path, hint=hint
                )
            self._add_parents(targets, goes, path)
        return targets

    def _add_parents(self, targets: dict[bytes, bytes], goes: bytes, path: bytes) -> None:
        """A file may be renamed into a folder that the source lacks: that one becomes, and stays, as the file's own folder."""
        for folder in ancestors(goes):
            there = self.trees.target.get(folder)
            ours = there is None or (there.is_folder and folder in self.trees.ledger)
            if folder not in targets and ours:
                targets[folder] = parent_of(path)
            above = self.trees.source[targets[folder]] if folder in targets else there
            if above is not None and not above.is_folder:
                hint = (
                    f"Nothing was touched. Rename {printable(path)} to another path, or move {printable(folder)} away."
                )
                raise ContimgError(f"cannot be made: {printable(folder)} is not a directory", path=goes, hint=hint)

    def plan(self) -> Plan:
        """Return the whole plan; a folder's own metadata comes last, deepest first."""
        removals, folders, files, links, later = self._left(), [], [], [], []
        firsts: dict[tuple[int, int], bytes] = {}
        for path in sorted(self.databases):
            self._judge(path)
        for path in sorted(self.targets):
            entry = self.trees.source[self.targets[path]]
            if entry.is_folder:
                folders += self._folder(path, entry)
                later += self._metadata(path, entry)
            elif entry.links > 1 and entry.inode in firsts:
                links += self._link(path, firsts[entry.inode], entry)
            else:
                files += self._file(path, entry) if entry.is_file else self._special(path, entry)
                if entry.links > 1 and path not in self.kept:
                    firsts[entry.inode] = path
        removals += self._stale_sidecars()
        extras = self._extras() if self.decisions.delete else []
        steps = [*removals, *folders, *files, *links, *extras]
        steps += self._last(steps, later)
        return Plan(tuple(steps), tuple(self.conflicts), tuple(self.kept), self.unchanged, self.equal)

    def _last(self, steps: list[Action], later: list[Action]) -> list[Action]:
        """Every step moves the times of its folder, and a new folder starts with none."""
        touched = {parent_of(step.path) for step in steps if step.kind != "metadata"}
        touched |= {step.path for step in steps if step.kind == "folder"}
        settled = (path for path in touched if path in self.trees.ledger and path not in self.trees.gone)
        again = [self._touch(path) for path in {*settled, *touched & self.targets.keys()}]
        whole = {step.path: step for step in [*again, *later]}
        return sorted(whole.values(), key=lambda step: (-step.path.count(b"/") - bool(step.path), step.path))

    def _touch(self, path: bytes) -> Action:
        return Action("metadata", path, "times of the folder", self.targets.get(path, path))

    def _left(self) -> list[Action]:
        return [Action("remove", path, "left by an interrupted copy") for path in sorted(self.trees.left, reverse=True)]

    def _folder(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        if there is None:
            return [Action("folder", path, "new", entry.path)]
        if not there.is_folder:
            self.conflicts.append((path, "is not a directory, the source has one"))
        return []

    def _metadata(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        if there is None or there.kind != entry.kind:
            return []
        if self._same_metadata(entry, there) and self._same_attributes(path, entry, there):
            return []
        return [Action("metadata", path, "owner, mode, times or attributes", entry.path)]

    def _same_attributes(self, path: bytes, entry: Entry, there: Entry) -> bool:
        known = self.trees.ledger.get(path)
        if known is not None and known.is_current(entry, there) and known.keeps_attributes(losses_of(self.losses)):
            return True
        return self.ask.same_attributes(entry.path, path)

    def _special(self, path: bytes, entry: Entry) -> list[Action]:
        there = self.trees.target.get(path)
        new = Action("special", path, "new", entry.path)
        if there is None:
            return [] if self._was_lost(path, entry) else [new]
        if there.is_folder:
            return self._conflict(path, new, "is a directory")
        if (there.kind, there.target, there.status.rdev) == (entry.kind, entry.target, entry.status.rdev):
            return self._metadata(path, entry)
        self.rewritten.add(path)
        if self._is_ours(there):
            return [new._replace(reason="changed")]
        return self._conflict(path, new, "is something else")

    def _was_lost(self, path: bytes, entry: Entry) -> bool:
        """Tell whether an earlier pass found that the destination cannot hold this, which the operator accepts."""
        known, loss = self.trees.ledger.get(path), "symlink" if entry.target else "special"
        if loss not in self.losses:
            return False
        return known is not None and known.source == entry.identity and not known.target.strip(b"\0")

    def _link(self, path: bytes, first: bytes, entry: Entry) -> list[Action]:
        there, other = self.trees.target.get(path), self.trees.target.get(first)
        if there is not None and other is not None and there.inode == other.inode and first not in self.rewritten:
            if entry.is_file and first in self.unchanged:
                known = self.trees.ledger.get(first)
                self.unchanged[path] = self.targets[path]
                self.equal[path] = self.equal.get(first) or (known.sha256.hex() if known else "")
            return []
        action = Action("link", path, f"hard link to {printable(first)}", self.targets[path], first=first)
        if there is None or self._is_ours(there):
            known = self.trees.ledger.get(path)
            if there is not None and known is not None and "hardlink" in self.losses and known.is_current(entry, there):
                self.unchanged[path] = self.targets[path]
                return self._metadata(path, entry)
            return [action]
        if there.kind == entry.kind and (not entry.is_file or self._is_equal(path, self.targets[path], there)):
            return [action]
        return self._conflict(path, action, "differs")

    def _file(self, path: bytes, entry: Entry) -> list[Action]:
        there, known = self.trees.target.get(path), self.trees.ledger.get(path)
        database = self.sidecars.get(path, path)
        member = database if database in self.databases else b""
        verdict, reason = self.verdicts.get(database, ("", "changed"))
        if verdict in ("keep", "fail"):
            return []
        if there is None or (database != path and database in self.rewritten):
            self.rewritten.add(path)
            return [Action("copy", path, "new" if there is None else reason, entry.path, database=member)]
        current = known is not None and known.is_current(entry, there)
        if not (self._is_shared(entry, there) or self._loses_log(path)) and (
            current or (verdict != "replace" and self._is_equal(path, entry.path, there))
        ):
            self.unchanged[path] = entry.path
            if there.links > 1:
                self.kept_for[there.inode] = entry.inode
            return self._metadata(path, entry)
        self.rewritten.add(path)
        backup = verdict == "replace" and database == path
        action = Action("copy", path, reason, entry.path, backup=backup, database=member)
        if verdict or member or self._is_ours(there) or self._is_equal(path, entry.path, there):
            return [action]
        return self._conflict(path, action, "differs and is not of this copy")

    def _is_shared(self, entry: Entry, there: Entry) -> bool:
        """A file of the source must not be changed together with another one, whose name is one of the same file there."""
        if not there.is_file or there.links == 1:
            return False
        return entry.links == 1 or self.kept_for.get(there.inode, entry.inode) != entry.inode

    def _loses_log(self, path: bytes) -> bool:
        """Tell whether a log of a database is removed that SQLite takes into the database at the destination before."""
        stale = (log for log in _logs_of(path) if log not in self.targets)
        found = (self.trees.target[log] for log in stale if log in self.trees.target)
        return path in self.databases and any(log.is_file and log.size for log in found)

    def _judge(self, path: bytes) -> None:
        """Decide for a database and its sidecars as one thing, where any of them is not of this copy.

        Rows may stand in a log alone, so an equal main file says nothing. One that is behind loses nothing.
        """
        if not any(self._is_foreign(member) for member in self._members(path)):
            return
        chosen = self.decisions.single.get(path)
        relation = "not of this copy" if chosen else self.ask.database_relation(self.databases[path], path)
        reason = f"the database there is {relation}"
        if relation in ("identical", "behind"):
            self.verdicts[path] = ("lossless", reason)
            return
        verdict = self.decisions.for_path(path)
        if verdict == "replace" and self.trees.target[path].is_folder:
            verdict, reason = "fail", "is a directory"
        if verdict == "keep":
            self.kept.append(path)
        elif verdict == "fail":
            self.conflicts.append((path, reason))
        self.verdicts[path] = (verdict, f"{reason}; backed up" if verdict == "replace" else reason)

    def _members(self, path: bytes) -> list[bytes]:
        """A log without its database holds nothing; the shared memory never does."""
        names = (path, *_logs_of(path))
        return [name for name in names if name in self.trees.target] if path in self.trees.target else []

    def _is_foreign(self, path: bytes) -> bool:
        there, source = self.trees.target[path], self.targets.get(path)
        if there.is_file and (not there.size or self._is_ours(there)):
            return False
        return source is None or not self._is_equal(path, source, there)

    def _is_ours(self, there: Entry) -> bool:
        return not there.is_folder and self.trees.ledger.is_ours(there)

    def _is_equal(self, path: bytes, source: bytes, there: Entry) -> bool:
        entry = self.trees.source[source]
        if not there.is_file or not entry.is_file or there.size != entry.size:
            return False
        digest = self.equal.get(path) or self.ask.same_content(source, path)
        if digest:
            self.equal[path] = digest
        return bool(digest)

    def _conflict(self, path: bytes, action: Action, reason: str) -> list[Action]:
        decision = self.decisions.for_path(path)
        if decision == "keep":
            self.kept.append(path)
            return []
        is_folder = self.trees.target[path].is_folder
        if decision == "replace" and not is_folder:
            return [action._replace(reason=f"{reason}; backed up", backup=True)]
        self.conflicts.append((path, "is a directory" if is_folder else reason))
        return []

    def _stale_sidecars(self) -> list[Action]:
        """A log or journal that does not belong to the copied database would corrupt it, be it for a moment."""
        found = []
        for path, database in sorted(self.sidecars.items()):
            stale = path not in self.targets or database in self.rewritten
            if not stale or path not in self.trees.target or database in self.kept:
                continue
            if self.trees.target[path].is_folder:
                self.conflicts.append((path, "is a directory"))
            else:
                found.append(Action("remove", path, "does not belong to the copied database", database=database))
        return found

    def _extras(self) -> list[Action]:
        """A database that the source never had stays, with its sidecars, whatever the operator asked for."""
        foreign = {path for path in self.trees.foreign if path not in self.trees.ledger}
        spared = {path + suffix for path in foreign for suffix in (b"", *SIDECAR_SUFFIXES)} | self.trees.holding
        renamed = {path for path, source in self.targets.items() if path != source}
        spared |= {folder for path in spared | renamed for folder in ancestors(path)} | set(self.sidecars)
        extras = self.trees.target.keys() - self.trees.source.keys() - self.targets.keys() - spared
        return [Action("remove", path, "not in the source") for path in sorted(extras, key=_removal, reverse=True)]

    def _same_metadata(self, entry: Entry, there: Entry) -> bool:
        return is_as_wished(entry, there, self.decisions.wishes)


def _removal(path: bytes) -> tuple[bytes, bool, bytes]:
    """Sort a database above its logs: without them it would be an older one, and a log without it holds nothing."""
    stem = next((path[: -len(suffix)] for suffix in SIDECAR_SUFFIXES if path.endswith(suffix)), path)
    return stem, stem == path, path


def _logs_of(database: bytes) -> Iterator[bytes]:
    """Yield the names of the WAL and the journal of a database."""
    return (database + suffix for suffix in REPLAYED_SUFFIXES)
