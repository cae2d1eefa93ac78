# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to each database of a destination that is not of this copy, together with its sidecars. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._sync.examine import LOSSLESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Decisions

__all__ = ["OF_THIS_COPY", "Verdict", "judge_databases"]


class Verdict(NamedTuple):
    """What happens to a database.

    :ivar decision: ``keep``, ``fail`` or ``replace`` as decided, ``lossless`` where its rows are in the source, too, and
        empty where it is of this copy.
    :ivar reason: why, for the operator.
    """

    decision: str
    reason: str


#: The verdict on what is judged like any other file.
OF_THIS_COPY = Verdict("", "changed")


def judge_databases(
    relations: Mapping[bytes, str], target: Mapping[bytes, Entry], decisions: Decisions
) -> dict[bytes, Verdict]:
    """Decide for each foreign database. One that is behind loses nothing.

    :param relations: what each is to that of the source, by path at the destination.
    :param target: entries at the destination, by path.
    """
    verdicts = {}
    for path, relation in relations.items():
        reason = f"the database there is {relation}"
        decision = "lossless" if relation in LOSSLESS else decisions.for_path(path)
        if decision == "replace" and target[path].is_directory:
            decision, reason = "fail", "is a directory"
        verdicts[path] = Verdict(decision, f"{reason}; backed up" if decision == "replace" else reason)
    return verdicts
