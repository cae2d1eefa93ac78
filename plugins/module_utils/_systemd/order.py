# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order units are started. Systemd orders only what it has been asked for, and it is asked for one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["in_order", "starting_groups"]


def in_order(names: Sequence[str], after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return units so that each stands behind those of them that it is ordered after; a circle is cut anywhere."""
    ordered: dict[str, None] = {}
    entered = set()

    def put(name: str) -> None:
        if name not in entered:
            entered.add(name)
            for other in names:
                if other in after.get(name, ()):
                    put(other)
            ordered[name] = None

    for name in names:
        put(name)
    return list(ordered)


def starting_groups(names: Sequence[str], after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return units in the groups that are started one after the other.

    A socket must listen before its service runs, which would else make it refuse. Timers and paths come last: what they
    start may need the others.
    """
    late = (".timer", ".path", ".automount")
    groups = (
        [name for name in names if name.endswith(".socket")],
        [name for name in names if not name.endswith((".socket", *late))],
        [name for name in names if name.endswith(late)],
    )
    return [in_order(group, after) for group in groups if group]
