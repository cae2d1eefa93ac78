# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an index answers what mosaicking asks as the one did that it comes from, after a split and after its way back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.groups import file_query
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import reading

__all__ = ["Answers", "answers_of", "differ", "require_same_answers"]

_CHUNK = 10000  # rows


@dataclass(frozen=True)
class Answers:
    """The files from which an index answers, by all that their groups are made from: moment, subband, group id, whether stored.

    Groups are found from nothing else, in the order of the moments. So the same files are in the same groups, and that
    they are the same is seen much sooner.

    :ivar stored: how many files are stored.
    :ivar every: how many there are.
    :ivar digest: the hash of all of them, in the order of the moments.
    """

    stored: int
    every: int
    digest: str


def answers_of(path: str) -> Answers:
    """Return the files of a database's index.

    :raises ContimgError: when the database cannot be read or has no index.
    """
    stored = every = 0
    whole = hashlib.sha256()
    with reading(path, None) as connection:
        files = file_query(connection, path, "COALESCE(s.stored, 1) >= 1 AS there")
        # hex() is that of the text, also of a number; quote() gives every digit of a number.
        fields = ("quote(CAST(mjd AS REAL))", "quote(CAST(subband AS INTEGER))", "hex(group_id)", "there", "'\n'")
        line = " || ' ' || ".join(fields)
        select = f"SELECT CAST({line} AS BLOB), there FROM ({files})"  # noqa: S608
        rows = connection.execute(f"{select} ORDER BY mjd, group_id, subband, there")
        while chunk := rows.fetchmany(_CHUNK):
            lines, there = zip(*chunk)
            stored, every = stored + sum(there), every + len(there)
            whole.update(b"".join(lines))
    return Answers(stored, every, whole.hexdigest())


def differ(before: Answers, after: Answers, *, rejected: int, exact: bool) -> bool:
    """Return whether files are missing, or in other groups, after the index was moved or copied.

    :param rejected: rows that the HDF5 database cannot take; they may be missing.
    :param exact: whether the files have to be the same. A database that had an index before may have files of its own.
    """
    if after.stored < before.stored - rejected or after.every < before.every - rejected:
        return True
    return exact and after.digest != before.digest


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
        f"answers otherwise than {printable(source)} did: {after.every} files, {before.every} before",
        path=target,
        hint=f"Every row was proved. {state} hdf5_groups_info on each shows which groups differ.",
    )
