# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each file of a move at the new place: it is as it was copied, was changed by the services since, or is lost.

A time alone proves nothing: the copy has the source's, and damage may leave any. So a file that differs counts as changed by the
services only if it is not the file that was placed (the ledger of the copy), was written after the services were stopped for the
move, and holds something: a database as many rows in each table as it had.

Nothing is written here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import name_expression
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import directory_of, open_below
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.rows import INTERNAL
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import REPLAYED_SUFFIXES, stem_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import read_header, snapshot
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger

__all__ = ["Proof", "Sides", "rows_in"]

_NOTHING = hashlib.sha256().hexdigest()
_SKEW_NS = 60_000_000_000  # by which the clock of a file server may be ahead
_UNEXPLAINED = "differs, and nothing shows that it was written to after the move"


@dataclass(frozen=True)
class Sides:
    """Both trees as they were read, by path below the new one.

    :ivar old: descriptor of the old tree's root.
    :ivar new: descriptor of the new tree's root.
    :ivar here: the files of the old tree that the manifest knows. The path of an entry is that below the old tree.
    :ivar there: all entries of the new tree.
    """

    old: int
    new: int
    here: Mapping[bytes, Entry]
    there: Mapping[bytes, Entry]


class Proof:
    """Judges what is at the new place.

    :ivar changed: how many files the services have changed since the move; a database with its sidecars is one.
    :ivar lost: what is not there as it should be, by path, with the reason as a clause.
    """

    def __init__(
        self,
        sides: Sides,
        manifest: Mapping[bytes, str],
        ledger: Ledger,
        *,
        moved_at: float,
        accept: Sequence[str],
        baseline: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Judge every file that the old tree still has, and every database of the baseline.

        :param moved_at: when the services were stopped for the move, in seconds since the epoch.
        :param accept: globs of paths that need not be there, or may differ.
        :param baseline: rows by table of databases below the new tree, by path as it is shown.
        """
        self.sides, self.manifest, self.ledger = sides, manifest, ledger
        self._moved_ns, self._accept = int(moved_at * 1e9), tuple(accept)
        shown = {printable(path): path for path in sides.there} if baseline else {}
        self._baseline = {shown.get(path, os.fsencode(path)): rows for path, rows in baseline.items()}
        self.changed = 0
        self.lost: dict[bytes, str] = {}
        for name in {**sides.here, **self._baseline}:
            wrong = "" if self._is_accepted(name) or self._is_sidecar(name) else self._wrong(name)
            if wrong:
                self.lost[name] = wrong

    def _wrong(self, name: bytes) -> str:
        """Say what is wrong with what is there, or is not; empty where nothing is."""
        if not self._stands(name):
            return "is not a regular file" if name in self.sides.there else "is missing"
        wrong = ""
        if name in self.sides.here:
            logs = [name + suffix for suffix in REPLAYED_SUFFIXES]
            alone = not any(log in self.sides.here or log in self.sides.there for log in logs)
            if alone and self._is_as_copied(name):
                wrong = ""
            elif self._is_database(name):
                wrong = self._database_wrong(name, logs)
            else:
                wrong = self._file_wrong(name)
        return wrong or (self._rows_wrong(name) if name in self._baseline else "")

    def _is_accepted(self, name: bytes) -> bool:
        return bool(self._accept) and name_expression(self._accept).fullmatch(name) is not None

    def _is_sidecar(self, name: bytes) -> bool:
        """Return whether a file belongs to a database of the move; the end of a name alone makes no sidecar."""
        stem = stem_of(name)
        return stem in self.manifest and self._is_database(stem)

    def _is_database(self, name: bytes) -> bool:
        """Return whether a file of the manifest is a database: by its header, or by the ledger where it is removed already."""
        if name in self.sides.here:
            with error_context("look into the file", self.sides.here[name].path):
                with open_below(self.sides.old, self.sides.here[name].path) as descriptor:
                    return read_header(f"/proc/self/fd/{descriptor}") is not None
        known = self.ledger.get(name)
        return known is not None and bool(known.flags & DATABASE)

    def _stands(self, name: bytes) -> bool:
        return name in self.sides.there and self.sides.there[name].is_file

    def _is_as_copied(self, name: bytes) -> bool:
        entry = self.sides.there.get(name)
        if entry is None or not entry.is_file or entry.size != self.sides.here[name].size:
            return False
        with error_context("read the file at the new place", name):
            return hash_file(self.sides.new, name) == self.manifest[name]

    def _is_written_since(self, name: bytes) -> bool:
        """Return whether something other than the copy has put there what is there, after the services were stopped."""
        entry = self.sides.there.get(name)
        if entry is None or not self._moved_ns < entry.status.mtime_ns <= time.time_ns() + _SKEW_NS:
            return False
        if name not in self.manifest:
            return True
        old = self.sides.here.get(name)
        has_its_time = old is not None and old.status.mtime_ns == entry.status.mtime_ns
        return not has_its_time and name in self.ledger and not self.ledger.is_ours(entry)

    def _file_wrong(self, name: bytes) -> str:
        if self._is_as_copied(name):
            return ""
        self.changed += 1
        if not self.sides.there[name].size:
            return "is empty"
        return "" if self._is_written_since(name) else _UNEXPLAINED

    def _database_wrong(self, name: bytes, logs: Sequence[bytes]) -> str:
        """Judge a database together with its WAL and journal: rows may be in either."""
        copied = [one for one in (name, *logs) if one in self.sides.here and self.manifest[one] != _NOTHING]
        added = [one for one in logs if one not in copied and one in self.sides.there and self.sides.there[one].size]
        if not added and all(map(self._is_as_copied, copied)):
            return ""
        self.changed += 1
        if not any(map(self._is_written_since, (name, *logs))):
            return _UNEXPLAINED
        return "" if name in self._baseline else self._rows_wrong(name)

    def _rows_wrong(self, name: bytes) -> str:
        """Say what a database at the new place lacks of its baseline, or without one of the old database."""
        try:
            now = _rows_of(self.sides.new, name)
        except ContimgError as error:
            return error.what
        before = self._baseline.get(name)
        if before is None:
            try:
                before = _rows_of(self.sides.old, self.sides.here[name].path)
            except ContimgError as error:
                return f"cannot be compared with the old one, which {error.what}"
        fewer = [f"{table} {now.get(table, 0)} of {rows}" for table, rows in before.items() if now.get(table, 0) < rows]
        return f"has fewer rows than at the move: {', '.join(fewer)}" if fewer else ""


def _rows_of(root: int, path: bytes) -> dict[str, int]:
    """Return the rows of a sound database by table. Raises ContimgError."""
    with _reachable(root, path) as name, snapshot(name) as state:
        return rows_in(content_of(state, integrity="quick").tables)


def rows_in(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Return the rows by table of the tables of a database, as ``state_rows_info`` reports them."""
    return {name: int(facts["rows"]) for name, facts in tables.items() if not name.startswith(INTERNAL)}


@contextlib.contextmanager
def _reachable(root: int, path: bytes) -> Iterator[str]:
    """Yield a name by which SQLite opens a file below a root, whatever links others put in its way."""
    with error_context("reach the database", path), directory_of(root, path) as (directory, name):
        yield f"/proc/self/fd/{directory}/{os.fsdecode(name)}"
