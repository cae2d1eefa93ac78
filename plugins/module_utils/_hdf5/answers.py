# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an index answers what mosaicking asks as the one did that it comes from, after a split and after its way back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.groups import file_query
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import reading, text_of

__all__ = ["Answers", "Files", "answers_of", "differ", "require_same_answers"]

_CHUNK = 10000  # rows


@dataclass(frozen=True)
class Files:
    """Files of an index, by all that their groups are made from: the moment, the subband and the group id.

    Groups are found from nothing else, in the order of the moments. So the same files are in the same groups, and it takes
    a tenth of the time to see that they are the same.

    :ivar number: how many there are.
    :ivar digest: the hash of all three, in the order of the moments.
    """

    number: int
    digest: str


@dataclass(frozen=True)
class Answers:
    """The files from which an index answers: those that are stored, and every one."""

    stored: Files
    every: Files


def answers_of(path: str) -> Answers:
    """Return the files of a database's index.

    :raises ContimgError: when the database cannot be read or has no index.
    """
    stored, every = _Counting(), _Counting()
    with reading(path, None) as connection:
        query = file_query(connection, path, "COALESCE(s.stored, 1) >= 1")
        rows = connection.execute(f"{query} ORDER BY mjd, s.group_id, subband")
        while chunk := rows.fetchmany(_CHUNK):
            files = [(f"{mjd!r} {subband} {text_of(group)!r}\n", is_stored) for mjd, subband, group, is_stored in chunk]
            every.add([file for file, _stored in files])
            stored.add([file for file, is_stored in files if is_stored])
    return Answers(stored.files(), every.files())


class _Counting:
    """Files that come one after the other."""

    def __init__(self) -> None:
        self._number, self._hash = 0, hashlib.sha256()

    def add(self, files: list[str]) -> None:
        """Count files in."""
        self._number += len(files)
        self._hash.update("".join(files).encode())

    def files(self) -> Files:
        """Return them all."""
        return Files(self._number, self._hash.hexdigest())


def differ(before: Answers, after: Answers, *, rejected: int, exact: bool) -> bool:
    """Return whether files are missing, or in other groups, after the index was moved or copied.

    :param rejected: rows that the HDF5 database cannot take; they may be missing.
    :param exact: whether the files have to be the same. A database that had an index before may have files of its own.
    """
    sides = [(before.stored, after.stored), (before.every, after.every)]
    if any(now.number < then.number - rejected for then, now in sides):
        return True
    return exact and any(now.digest != then.digest for then, now in sides)


def require_same_answers(before: Answers, *, source: str, target: str, rejected: int, exact: bool, state: str) -> None:
    """Compare the files of a database with those of the one that its rows come from, before they were written.

    :param before: what :func:`answers_of` returned for ``source``.
    :param state: the state that the databases are in and the way back, as whole sentences.
    :raises ContimgError: when ``target`` answers otherwise.
    """
    after = answers_of(target)
    if not differ(before, after, rejected=rejected, exact=exact):
        return
    raise ContimgError(
        f"answers otherwise than {printable(source)} did: {after.every.number} files, {before.every.number} before",
        path=target,
        hint=f"Every row was proved. {state} hdf5_groups_info on each shows which groups differ.",
    )
