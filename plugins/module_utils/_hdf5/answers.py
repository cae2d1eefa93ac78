# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an index answers what mosaicking asks as the one did that it comes from, after a split and after its way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.groups import groups_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["answers_of", "differ", "require_same_answers"]


def answers_of(path: str) -> dict[str, Any]:
    """Return the groups of a database's index, as ``hdf5_groups_info`` returns them by default.

    :raises ContimgError: see :func:`groups_report`.
    """
    return groups_report(path=path, start=None, end=None, tolerance=60, check_files=False)


def differ(before: Mapping[str, Any], after: Mapping[str, Any], *, rejected: int, exact: bool) -> bool:
    """Return whether files or groups are missing after the index was moved or copied.

    :param rejected: rows that the HDF5 database cannot take; they may be missing.
    :param exact: whether the groups have to be the same. A database that had an index before may have files of its own.
    """
    sides = [(before, after), (before["unfiltered"], after["unfiltered"])]
    if any(now["files"] < then["files"] - rejected for then, now in sides):
        return True
    return exact and any(now["groups_digest"] != then["groups_digest"] for then, now in sides)


def require_same_answers(
    before: Mapping[str, Any], *, source: str, target: str, rejected: int, exact: bool, state: str
) -> None:
    """Compare the groups of a database with those of the one that its rows come from, before they were written.

    :param before: what :func:`answers_of` returned for ``source``.
    :param state: the state that the databases are in and the way back, as whole sentences.
    :raises ContimgError: when ``target`` answers otherwise.
    """
    after = answers_of(target)
    if not differ(before, after, rejected=rejected, exact=exact):
        return
    then, now = before["unfiltered"], after["unfiltered"]
    raise ContimgError(
        f"answers otherwise than {printable(source)} did: {now['files']} files in {now['groups_total']} groups,"
        f" {then['files']} in {then['groups_total']} before",
        path=target,
        hint=f"Every row was proved. {state} hdf5_groups_info on each shows which groups differ.",
    )
