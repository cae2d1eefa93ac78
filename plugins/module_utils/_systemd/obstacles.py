# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would keep a unit from being stopped, or from being started again. Facts: systemd.unit(5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["OBSTACLE_PROPERTIES", "UnitObstacle", "refuse", "unit_obstacles"]

#: What :func:`unit_obstacles` needs of a unit.
OBSTACLE_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "Transient",
    "FragmentPath",
    "RefuseManualStart",
    "RefuseManualStop",
)

_DOWN = ("inactive", "failed")
_BY_HAND = "Stop it yourself, and start it yourself when the move is done."
_OVERRIDE = (
    "Set it to 'no' in a drop-in ('systemctl edit') for the time of the move, or stop and start the unit yourself."
)


@dataclass(frozen=True)
class UnitObstacle:
    """Why a unit cannot be held.

    :ivar what: a clause.
    :ivar advice: what to do, a sentence.
    """

    unit: str
    what: str
    advice: str

    def __str__(self) -> str:
        """Return it as a line for an operator."""
        return f"{self.unit}: {self.what}. {self.advice}"


def unit_obstacles(name: str, facts: Mapping[str, str], *, file_is_gone: bool) -> list[UnitObstacle]:
    """Return what is in the way of a hold. A unit that does not run need not be stopped or started.

    :param facts: its :data:`OBSTACLE_PROPERTIES`.
    :param file_is_gone: whether the file of ``FragmentPath`` does not exist.
    """
    if facts["ActiveState"] in _DOWN:
        unknown = facts["LoadState"] == "not-found"
        return [UnitObstacle(name, "systemd does not know this unit", "Correct its name.")] if unknown else []
    found = _not_startable(name, facts, file_is_gone=file_is_gone)
    for setting, refused in (("RefuseManualStop", "stop it"), ("RefuseManualStart", "start it again")):
        if facts[setting] == "yes":
            found.append(UnitObstacle(name, f"has {setting}=yes, so systemd would refuse to {refused}", _OVERRIDE))
    return found


def _not_startable(name: str, facts: Mapping[str, str], *, file_is_gone: bool) -> list[UnitObstacle]:
    again = "so it could not be started again"
    if facts["Transient"] == "yes":
        return [UnitObstacle(name, f"is transient, {again}", _BY_HAND)]
    if facts["LoadState"] == "not-found" or file_is_gone:
        path = facts["FragmentPath"]
        what = f"runs, but its unit file{f' {path}' if path else ''} does not exist any more, {again}"
        return [UnitObstacle(name, what, f"Restore the unit file and run 'systemctl daemon-reload'. Or: {_BY_HAND}")]
    if facts["LoadState"] != "loaded":
        return [UnitObstacle(name, f"is {facts['LoadState']}, {again}", _BY_HAND)]
    return []


def refuse(obstacles: Sequence[UnitObstacle], *, state: str) -> None:
    """Raise a ContimgError with all obstacles, if there are any.

    :param state: what state the units are in, a sentence.
    """
    if not obstacles:
        return
    advice = " ".join(dict.fromkeys(one.advice for one in obstacles))
    if len({one.unit for one in obstacles}) == 1:
        path, what = obstacles[0].unit, "; ".join(one.what for one in obstacles)
        raise ContimgError(what, path=path, hint=f"{state} {advice}")
    raise ContimgError("; ".join(f"{one.unit}: {one.what}" for one in obstacles), hint=f"{state} {advice}")
