# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both trees of a copy, read in step, directory by directory.

What an earlier pass has placed and what has not moved since is counted and forgotten at once: a run over a tree of any
size holds in memory only its ledger and what may need work.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, ancestors, entry_of, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import destination_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import matches_policy
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree_digest import TreeDigest
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import is_excluded, read_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import SharedFiles
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECAR_SUFFIXES
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import is_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import losses_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.links import Links

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger

__all__ = ["Asked", "Sides", "Trees", "compare"]

_SMALLEST_PAGE = 512  # bytes; a database is a multiple of it


class Sides(NamedTuple):
    """Descriptors of the roots of both trees; there may be no destination yet."""

    source: int
    target: int | None

    def there(self) -> int:
        """Return that of the destination, which must exist."""
        if self.target is None:
            raise AssertionError
        return self.target


@dataclass
class Trees:
    """What was read of both sides.

    :ivar ledger: what earlier passes placed.
    :ivar source: entries of the source that may need work, by path.
    :ivar target: entries of the destination that belong to those, or to none, by path.
    :ivar databases: paths in the source that are databases.
    :ivar foreign: paths at the destination that are databases which the source lacks.
    :ivar holding: directories of the destination that hold what is excluded.
    :ivar left: paths at the destination that killed runs have left; they count as not there.
    :ivar is_partly_unseen: whether an excluded directory of the destination was not looked into.
    :ivar settled: how many files need nothing.
    :ivar files: how many files the source has.
    :ivar size: how many bytes these have.
    :ivar gone: paths of the ledger that the source has no more.
    :ivar digest: a hash of every name and status of the source.
    """

    ledger: Ledger
    source: dict[bytes, Entry] = field(default_factory=dict)
    target: dict[bytes, Entry] = field(default_factory=dict)
    databases: set[bytes] = field(default_factory=set)
    foreign: set[bytes] = field(default_factory=set)
    holding: set[bytes] = field(default_factory=set)
    left: set[bytes] = field(default_factory=set)
    is_partly_unseen: bool = False
    settled: int = 0
    files: int = 0
    size: int = 0
    gone: set[bytes] = field(default_factory=set)
    digest: str = ""


class Asked(NamedTuple):
    """The options that decide whether a name needs nothing.

    :ivar exclude: globs of what does not exist for this copy, on neither side; where a file is renamed to always exists.
    :ivar verified: whether a file must have been read back to need nothing.
    :ivar policy: owner, group and losses.
    """

    exclude: tuple[str, ...]
    verified: bool
    policy: MetadataPolicy


def compare(sides: Sides, ledger: Ledger, asked: Asked, *, links: Links, shared: SharedFiles) -> Trees:
    """Read both trees.

    :param ledger: what earlier passes have placed.
    :param links: says how links of the source are copied.
    :param shared: is shown every entry, to find files that both sides have in common.
    :raises ContimgError: when a directory cannot be listed.
    """
    return _Comparison(sides, Trees(ledger), asked, links, shared).read()


class _Comparison:
    def __init__(self, sides: Sides, trees: Trees, asked: Asked, links: Links, shared: SharedFiles) -> None:
        self.sides, self.source, self.target = sides, sides.source, sides.target
        self.trees, self.ledger = trees, trees.ledger
        self.exclude, self.rename, self.asked = asked.exclude, links.rename, asked
        self.links, self.shared = links, shared
        self.accepted = losses_of(asked.policy.losses)
        self.moving = _with_sidecars(self.rename)
        self.goals = _goals(self.rename.values())
        self.shown: set[bytes] = set()  # goals that a glob matches, and directories of which nothing but goals is seen
        self.never_settled = self.moving | {parent_of(path) for path in self.rename} | self.goals
        trees.gone = self.ledger.paths()
        self.pending: list[tuple[bytes, bool, bool]] = []

    def read(self) -> Trees:
        root = entry_of(b"", os.fstat(self.source))
        there = None if self.target is None else entry_of(b"", os.fstat(self.target))
        digest = TreeDigest(root)
        self._pair(root, there)
        while self.pending:
            directory, in_source, in_target = self.pending.pop()
            here = self._listed(directory) if in_source else []
            others = {entry.path: entry for entry in read_directory(self.sides.there(), directory)} if in_target else {}
            if in_source:
                digest.add(directory, here)
            if self.ledger.runs:
                self._take_out_left(others)
            for entry in map(self.links.copied, here):
                self._pair(entry, others.pop(entry.path, None))
            for entry in others.values():
                self._extra(entry)
        self._hide_needless()
        self.trees.digest = digest.hexdigest()
        self._find_databases()
        return self.trees

    def _take_out_left(self, others: dict[bytes, Entry]) -> None:
        left = [path for path, entry in others.items() if self.ledger.is_left(entry)]
        self.trees.left.update(left)
        for path in left:
            del others[path]

    def _listed(self, directory: bytes) -> list[Entry]:
        entries = read_directory(self.source, directory)
        return [entry for entry in entries if not is_excluded(entry, self.exclude)] if self.exclude else entries

    def _pair(self, entry: Entry, there: Entry | None) -> None:
        trees, kind = self.trees, entry.kind
        goes = destination_of(entry.path, self.rename) if entry.path in self.moving else entry.path
        trees.gone.discard(goes)
        self.shared.add(entry, there)
        if kind == stat.S_IFDIR:
            self.pending.append((entry.path, True, there is not None and there.is_directory))
        elif kind == stat.S_IFREG:
            trees.files += 1
            trees.size += entry.size
        if kind != stat.S_IFDIR and there is not None and there.is_directory and goes != entry.path:
            self.pending.append((entry.path, False, True))  # another file may have been renamed into it
        if there is not None and self._is_settled(entry, there, kind):
            trees.settled += kind == stat.S_IFREG
            return
        trees.source[entry.path] = entry
        if there is not None:
            trees.target[entry.path] = there

    def _is_settled(self, entry: Entry, there: Entry, kind: int) -> bool:
        """Names of one file are judged together, and so are a database and its log."""
        if entry.path in self.never_settled or entry.path.endswith(SIDECAR_SUFFIXES):
            return False
        if kind != stat.S_IFDIR and entry.links != 1:
            return False
        if entry.target != there.target:
            return False
        settled = self.ledger.settles(entry, there, verified=self.asked.verified, accepted=self.accepted)
        return settled and matches_policy(entry, there, self.asked.policy)

    def _extra(self, entry: Entry) -> None:
        """Note what only the destination has."""
        if self._is_hidden(entry):
            self.trees.holding.add(parent_of(entry.path))
            self.trees.is_partly_unseen |= entry.is_directory
            return
        self.trees.target[entry.path] = entry
        self.shared.add(None, entry)
        if entry.is_directory:
            self.pending.append((entry.path, False, True))

    def _is_hidden(self, entry: Entry) -> bool:
        """Return whether a name is excluded. A stale log is seen whatever is excluded: it would corrupt its database."""
        is_alone = parent_of(entry.path) not in self.shown
        if is_alone and (entry.path.endswith(SIDECAR_SUFFIXES) or not is_excluded(entry, self.exclude)):
            return False
        if entry.path in self.goals:
            self.shown.add(entry.path)
            return False
        return True

    def _hide_needless(self) -> None:
        """A new name that is excluded is seen only where the source has the file that gets it."""
        trees = self.trees
        needed = _goals(
            new for old, new in self.rename.items() if any(path in trees.source for path in _with_sidecars([old]))
        )
        for path in self.shown - needed:
            del trees.target[path]
            trees.holding.add(parent_of(path))

    def _find_databases(self) -> None:
        trees = self.trees
        trees.databases = {path for path, entry in trees.source.items() if _is_database(self.source, entry)}
        if self.target is not None:
            extras = [entry for path, entry in trees.target.items() if path not in trees.source]
            trees.foreign = {entry.path for entry in extras if _is_database(self.target, entry)}


def _with_sidecars(paths: Iterable[bytes]) -> set[bytes]:
    return {path + suffix for path in paths for suffix in (b"", *SIDECAR_SUFFIXES)}


def _goals(renamed: Iterable[bytes]) -> set[bytes]:
    """Return new names, those of their sidecars, and the directories that they stand in."""
    names = set(renamed)
    return _with_sidecars(names).union(*map(ancestors, names))


def _is_database(root: int, entry: Entry) -> bool:
    size = entry.size if entry.is_file else 0
    if not size or size % _SMALLEST_PAGE:
        return False
    try:
        with error_context("look into the file", entry.path), open_below(root, entry.path) as descriptor:
            return is_database(f"/proc/self/fd/{descriptor}")
    except ContimgError:  # it vanished, or may not be read: the copy will say so, or has no need to
        return False
