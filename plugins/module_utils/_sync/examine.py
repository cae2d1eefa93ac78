# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the content of files shows, read before a plan is made from it: content, attributes, rows of databases.

A file that an earlier pass knows, and that has not moved since, is not read. Neither is one whose answer no plan needs: the
members of a database that is replaced, kept or in conflict as a whole.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import directory_of, open_below
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import (
    extended_attributes,
    lacks_early_flags,
    lacks_flags,
    matches_policy,
    open_handle,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import losses_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.members import logs_of, loses_log, members_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Sides, Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Decisions

__all__ = ["LOSSLESS", "UNASKED", "Findings", "examine"]

#: What a database is to the one that replaces it, where no rows are lost.
LOSSLESS = ("identical", "behind")
#: The same where the operator has decided, and SQLite is not asked.
UNASKED = "not of this copy"


class Findings(NamedTuple):
    """What was found, by path at the destination.

    :ivar equal: files whose content is that of their source, with its digest. What is not here differs, or needed no look.
    :ivar altered: names whose ACLs, extended attributes or inode flags are not those of their source.
    :ivar relations: databases of which a member is not of this copy, with what they are to those of the source.
    """

    equal: dict[bytes, str]
    altered: set[bytes]
    relations: dict[bytes, str]


def examine(sides: Sides, trees: Trees, places: Mapping[bytes, bytes], decisions: Decisions) -> Findings:
    """Read what a plan needs to know of content.

    :param places: the path in the source of each path at the destination.
    :raises ContimgError: when something cannot be read.
    """
    examination = _Examination(sides, trees, places, decisions)
    examination.look_at_databases()
    examination.look_at_all()
    return examination.findings


class _Examination:
    def __init__(self, sides: Sides, trees: Trees, places: Mapping[bytes, bytes], decisions: Decisions) -> None:
        self.sides, self.trees, self.places, self.decisions = sides, trees, places, decisions
        self.findings = Findings({}, set(), {})
        self.members = members_of(trees.databases, decisions.rename)
        self.accepted = losses_of(decisions.policy.losses)
        #: Databases that do not stay. Whether their logs do is then no question.
        self.replaced: set[bytes] = set()
        #: By both files: of those that are asked for more than once, with further names or as members of a database.
        self.digests: dict[tuple[bytes, bytes], str] = {}
        self.same: dict[tuple[bytes, bytes], bool] = {}

    def look_at_databases(self) -> None:
        """Rows may stand in a log alone, so an equal main file says nothing."""
        for path in sorted({database for database in self.members.values() if database in self.trees.target}):
            logs = (log for log in logs_of(path) if log in self.trees.target)
            if any(self._is_foreign(member) for member in (path, *logs)):
                chosen = self.decisions.single.get(path)
                self.findings.relations[path] = UNASKED if chosen else self._relation(path)

    def look_at_all(self) -> None:
        for path in sorted(path for path in self.places if path in self.trees.target or path in self.members):
            entry, there = self.trees.source[self.places[path]], self.trees.target.get(path)
            if there is None or not self._stays(path, entry, there):
                if path in self.members and entry.links == 1:  # a further name of a file is linked, not replaced
                    self.replaced.add(path)
            elif self._may_be_altered(path, entry, there) and not self._same_attributes(entry, there):
                self.findings.altered.add(path)

    def _is_foreign(self, path: bytes) -> bool:
        """Return whether a member of a database is not of this copy."""
        there, source = self.trees.target[path], self.places.get(path)
        if there.is_file and (not there.size or self.trees.ledger.is_ours(there)):
            return False
        return source is None or not self._is_equal(path, self.trees.source[source], there)

    def _stays(self, path: bytes, entry: Entry, there: Entry) -> bool:
        """Return whether what is there is what the source has, its metadata perhaps excepted."""
        if not entry.is_file:
            return (there.kind, there.target) == (entry.kind, entry.target)
        if entry.links == 1 and self._goes_with_database(path):
            return False
        known = self.trees.ledger.get(path)
        return (known is not None and known.is_current(entry, there)) or self._is_equal(path, entry, there)

    def _goes_with_database(self, path: bytes) -> bool:
        """Return whether a file is placed, kept or in conflict as part of a database, whatever its content is."""
        database = self.members.get(path)
        if database is None:
            return False
        is_decided = self.findings.relations.get(database, LOSSLESS[0]) not in LOSSLESS
        return (
            is_decided or (path != database and database in self.replaced) or loses_log(path, self.trees, self.places)
        )

    def _may_be_altered(self, path: bytes, entry: Entry, there: Entry) -> bool:
        if not matches_policy(entry, there, self.decisions.policy):
            return False  # it gets all its metadata anew
        known = self.trees.ledger.get(path)
        return known is None or not known.is_current(entry, there) or not known.keeps_attributes(self.accepted)

    def _is_equal(self, path: bytes, entry: Entry, there: Entry) -> bool:
        if not there.is_file or not entry.is_file or there.size != entry.size:
            return False
        digest = self.findings.equal.get(path) or self._digest_if_same(entry, there)
        if digest:
            self.findings.equal[path] = digest
        return bool(digest)

    def _digest_if_same(self, entry: Entry, there: Entry) -> str:
        if entry.links == 1 and there.links == 1 and there.path not in self.members:
            return self._read_if_same(entry.path, there.path)
        key = (entry.file_key, there.file_key)
        if key not in self.digests:
            self.digests[key] = self._read_if_same(entry.path, there.path)
        return self.digests[key]

    def _read_if_same(self, source: bytes, target: bytes) -> str:
        with error_context("compare the file", source):
            if self._has_to_be_new(source, target):
                return ""
            digest = hash_file(self.sides.source, source)
            return digest if hash_file(self.sides.there(), target) == digest else ""

    def _has_to_be_new(self, source: bytes, target: bytes) -> bool:
        with open_below(self.sides.source, source) as one, open_below(self.sides.there(), target) as two:
            return lacks_early_flags(one, two, self.decisions.policy.losses)

    def _same_attributes(self, entry: Entry, there: Entry) -> bool:
        if entry.links == 1 and there.links == 1:
            return self._read_same_attributes(entry, there.path)
        key = (entry.file_key, there.file_key)
        if key not in self.same:
            self.same[key] = self._read_same_attributes(entry, there.path)
        return self.same[key]

    def _read_same_attributes(self, entry: Entry, target: bytes) -> bool:
        source, mode = entry.path, entry.status.mode
        with error_context("compare the attributes", source):
            with directory_of(self.sides.source, source) as (one, name):
                with directory_of(self.sides.there(), target) as (two, other):
                    with open_handle(one, name, mode) as first, open_handle(two, other, mode) as second:
                        if lacks_flags(first, second, self.decisions.policy.losses):
                            return False
                        return extended_attributes(first) == extended_attributes(second)

    def _relation(self, path: bytes) -> str:
        source = self.places[path]
        with directory_of(self.sides.source, source) as (one, name), directory_of(self.sides.there(), path) as (
            two,
            other,
        ):
            here, there = (
                f"/proc/self/fd/{directory}/" for directory in (one, two)
            )  # of any length, and never elsewhere
            try:
                return relate(there + os.fsdecode(other), here + os.fsdecode(name)).kind
            except ContimgError as error:
                return f"not comparable: {error.what}"
