# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups of subbands that an index holds: what mosaicking asks of it, before a split and after it.

Facts: a group has 16 subbands, 12 to 15 are semi-complete, times within 60 s belong together, and a window with fewer than 12
subbands is not consumed (docs/database-schemas.md).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Optional, Tuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import DERIVED, mjd_of, parsed, source
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import columns_of, reading, text_of
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import INDEX, REQUIRED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

__all__ = ["Group", "file_query", "groups_report"]

SUBBANDS = 16
_SEMI_COMPLETE = 12
_DAY_SECONDS = 86400
_SAME_MOMENT = 1e-8  # days: a millisecond, what a date as a number may be off
_NAMED = 1000  # groups that a report lists

#: The modified Julian date, number of the subband, group id and path of a file.
File = Tuple[float, Optional[int], "bytes | str", str]


@dataclass
class Group:
    """Files that belong together.

    :ivar ids: files by the group id that they have, for each id.
    :ivar mjd: modified Julian date of the first.
    :ivar missing: numbers of the subbands that no file has.
    :ivar on_disk: how many of the files exist, -1 if they were not looked for.
    """

    ids: dict[str, int] = field(default_factory=dict)
    mjd: float = 0.0
    missing: list[int] = field(default_factory=lambda: list(range(SUBBANDS)))
    on_disk: int = -1

    def add(self, group_id: str, subband: int | None) -> None:
        """Count a file in."""
        self.ids[group_id] = self.ids.get(group_id, 0) + 1
        if subband in self.missing:
            self.missing.remove(subband)

    @property
    def kind(self) -> str:
        """``complete``, ``semi_complete`` or ``incomplete``."""
        there = SUBBANDS - len(self.missing)
        if there == SUBBANDS:
            return "complete"
        return "semi_complete" if there >= _SEMI_COMPLETE else "incomplete"


def groups_report(
    *, path: str, start: str | None, end: str | None, tolerance: float, check_files: bool
) -> dict[str, Any]:
    """Return what ``hdf5_groups_info`` reports.

    :param start: the first moment asked for, ISO 8601 in UTC.
    :param end: the last one.
    :param tolerance: seconds before and after a file within which others belong to it.
    :param check_files: whether each file is looked for on disk.
    :raises ContimgError: when the database cannot be read or has no index, or a moment is not a time.
    """
    first, last = _mjd_asked("start", start, 0.0), _mjd_asked("end", end, 1e9)
    with reading(path, None) as connection:
        query = (
            f"{file_query(connection, path, 's.path')} AND mjd >= ? AND mjd <= ? AND COALESCE(s.stored, 1) >= ?"
            " ORDER BY mjd, s.group_id, s.path"
        )
        times = (first - _SAME_MOMENT, last + _SAME_MOMENT)
        stored = _groups(connection.execute(query, (*times, 1)), tolerance, check_files=check_files)
        every = _groups(connection.execute(query, (*times, 0)), tolerance, check_files=False)
    found = [{**asdict(group), "kind": group.kind} for group in stored]
    return {"groups": found[:_NAMED], **_summary(stored), "unfiltered": _summary(every)}


def file_query(connection: sqlite3.Connection, path: str, last: str) -> str:
    """Return the SQL of the files of an index: ``mjd``, ``subband``, the group id and a last column. More conditions may follow.

    :param path: the database, for the error.
    :param last: SQL of a column of a row ``s``.
    :raises ContimgError: when the database has no index.
    """
    columns = columns_of(connection, "src", INDEX)
    if not columns:
        hint = "After a split the HDF5 database has it. Nothing was changed."
        raise ContimgError(f"has no table {INDEX}", path=path, hint=hint)
    return (
        f"SELECT {DERIVED['timestamp_mjd']} AS mjd, {DERIVED['subband_num']} AS subband, s.group_id, {last}"  # noqa: S608
        f" FROM {source(columns)} AS s WHERE mjd IS NOT NULL"
        f" AND {' AND '.join(f's.{name} IS NOT NULL' for name in REQUIRED)}"  # without these, a row is no file
    )


def _summary(groups: Sequence[Group]) -> dict[str, Any]:
    """Return the counts of groups, and a digest of all of them."""
    kinds = [group.kind for group in groups]
    found = [{**asdict(group), "kind": group.kind} for group in groups]
    return {
        "groups_total": len(groups),
        "groups_digest": hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest(),
        "files": sum(sum(group.ids.values()) for group in groups),
        **{kind: kinds.count(kind) for kind in ("complete", "semi_complete", "incomplete")},
    }


def _mjd_asked(name: str, text: str | None, otherwise: float) -> float:
    if text is None:
        return otherwise
    moment = parsed(text)
    if moment is None:
        raise ContimgError(f"{name} '{text}' is no time", hint="Write it like 2025-10-02T00:12:00 (UTC).")
    return mjd_of(moment)


def _groups(rows: Iterable[File], tolerance: float, *, check_files: bool) -> list[Group]:
    """Return the groups of files that come in the order of their times, and those of the files that are in no group."""
    window = _Window(tolerance)
    whole = list(window.groups(rows))
    found = [_group(files, check_files=check_files) for files in [*whole, *_runs(window.left, tolerance)]]
    return sorted(found, key=lambda group: group.mjd)


class _Window:
    """Finds groups as the application does: around each file in turn, of the files that no group has yet.

    A window with fewer than 12 subbands is not consumed: its files may be found again around a later one.

    :ivar left: the files that no group has, in the order of their times.
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.left: list[File] = []
        self._tried: deque[File] = deque()  # files around which there was no group, as long as they are near
        self._ahead: deque[File] = deque()  # files that have not been tried
        self._subbands: Counter[int | None] = Counter()

    def groups(self, rows: Iterable[File]) -> Iterator[list[File]]:
        """Yield the files of each group."""
        remaining = iter(rows)
        following = next(remaining, None)
        while following is not None or self._ahead:
            if not self._ahead and following is not None:
                self._take(following)
                following = next(remaining, None)
            while following is not None and _seconds(self._ahead[0], following) <= self.tolerance:
                self._take(following)
                following = next(remaining, None)
            self._forget()
            if _SEMI_COMPLETE <= len(self._subbands) <= SUBBANDS:
                yield [*self._tried, *self._ahead]
                self._tried.clear()
                self._ahead.clear()
                self._subbands.clear()
            else:
                self._tried.append(self._ahead.popleft())
        self.left += self._tried

    def _take(self, file: File) -> None:
        self._ahead.append(file)
        self._subbands[file[1]] += 1

    def _forget(self) -> None:
        """Drop the files that were tried and are too early for the one that is tried now."""
        while self._tried and _seconds(self._tried[0], self._ahead[0]) > self.tolerance:
            file = self._tried.popleft()
            self.left.append(file)
            self._subbands[file[1]] -= 1
            if not self._subbands[file[1]]:
                del self._subbands[file[1]]


def _seconds(earlier: File, later: File) -> float:
    return round((later[0] - earlier[0]) * _DAY_SECONDS, 3)


def _runs(files: Iterable[File], tolerance: float) -> Iterator[list[File]]:
    """Yield files that are in no group, those together that come soon after the first."""
    run: list[File] = []
    for file in files:
        if run and _seconds(run[0], file) > tolerance:
            yield run
            run = []
        run.append(file)
    if run:
        yield run


def _group(files: Sequence[File], *, check_files: bool) -> Group:
    group = Group(mjd=files[0][0], on_disk=0 if check_files else -1)
    for _mjd, subband, group_id, path in files:
        group.add(text_of(group_id), subband)
        if check_files and target_exists(path):
            group.on_disk += 1
    return group
