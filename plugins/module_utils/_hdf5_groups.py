# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups of subbands that an index holds: what mosaicking asks of it, before a split and after it.

Facts: a group has 16 subbands, 12 to 15 are semi-complete, times within 60 s belong together (docs/database-schemas.md).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_derive import DERIVED, mjd_of, parsed, source
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_pair import columns_of, reading, text_of
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_schema import INDEX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = ["Group", "groups_report"]

SUBBANDS = 16
_SEMI_COMPLETE = 12
_DAY_SECONDS = 86400
_SAME_MOMENT = 1e-8  # days: a millisecond, what a date as a number may be off
_NAMED = 1000  # groups that a report lists


@dataclass
class Group:
    """Files that belong together.

    :ivar ids: files by the group id that they have, for each id.
    :ivar mjd: modified Julian date of the first.
    :ivar missing: numbers of the subbands that no file has.
    :ivar on_disk: how many of the files exist, -1 if nobody has looked.
    """

    ids: dict[str, int] = field(default_factory=dict)
    mjd: float = 0.0
    missing: list[int] = field(default_factory=lambda: list(range(SUBBANDS)))
    on_disk: int = -1

    def add(self, group_id: str, subband: int) -> None:
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
    :param tolerance: seconds after the first file of a group within which others belong to it.
    :param check_files: whether each file is looked for on disk.
    :raises ContimgError: when the database cannot be read or has no index, or a moment is none.
    """
    first, last = _mjd_asked("start", start, 0.0), _mjd_asked("end", end, 1e9)
    with reading(path, None) as connection:
        columns = columns_of(connection, "src", INDEX)
        if not columns:
            hint = "After a split the HDF5 database has it. Nothing was changed."
            raise ContimgError(f"has no table {INDEX}", path=path, hint=hint)
        query = (
            f"SELECT {DERIVED['timestamp_mjd']} AS mjd, {DERIVED['subband_num']}, s.group_id, s.path"  # noqa: S608
            f" FROM {source(columns)} AS s WHERE COALESCE(s.stored, 1) <> 0 AND mjd IS NOT NULL"
            " AND mjd >= ? AND mjd <= ? ORDER BY mjd, s.group_id, s.path"
        )
        groups = list(
            _grouped(
                connection.execute(query, (first - _SAME_MOMENT, last + _SAME_MOMENT)),
                tolerance,
                check_files=check_files,
            )
        )
    found = [{**asdict(group), "kind": group.kind} for group in groups]
    kinds = [group.kind for group in groups]
    return {
        "groups": found[:_NAMED],
        "groups_total": len(found),
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


def _grouped(rows: Iterable[tuple[Any, ...]], tolerance: float, *, check_files: bool) -> Iterator[Group]:
    """Yield the groups of files that come in the order of their times."""
    group: Group | None = None
    for mjd, subband, group_id, path in rows:
        if group is None or round((mjd - group.mjd) * _DAY_SECONDS, 3) > tolerance:
            if group is not None:
                yield group
            group = Group(mjd=mjd, on_disk=0 if check_files else -1)
        group.add(text_of(group_id), subband)
        if check_files and os.path.exists(path):
            group.on_disk += 1
    if group is not None:
        yield group
