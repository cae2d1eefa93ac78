# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long units may take to stop and to start by their own settings, compared with the time that a hold and a release have.

Facts: systemd.service(5). The limit of a stop holds for each command of ``ExecStop=``, for the processes to end, and for each
command of ``ExecStopPost=``. Units that are ordered after each other stop and start one after another, others at the same time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.order import in_order, starting_groups
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.timers import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LIMIT_PROPERTIES", "Limits", "limits_of", "longest_chain", "start_limit", "stop_limit"]

#: What :func:`limits_of` needs of a unit.
LIMIT_PROPERTIES = (
    "Type",
    "After",
    "TimeoutUSec",
    "TimeoutStopUSec",
    "TimeoutStartUSec",
    "ExecCondition",
    "ExecStartPre",
    "ExecStartPost",
    "ExecStop",
    "ExecStopPost",
)

_WAITS = ("oneshot", "notify", "notify-reload", "forking", "dbus")  # types whose start takes until they are up
_BEFORE_IT_IS_UP = ("ExecCondition", "ExecStartPre", "ExecStartPost")


@dataclass(frozen=True)
class Limits:
    """The seconds that systemd gives a unit at most to stop and to start, infinite where it does not give up."""

    stop: float
    start: float
    after: tuple[str, ...] = ()


def limits_of(facts: Mapping[str, str]) -> Limits:
    """Return the limits of a unit, 0 for what takes no time: a timer, or the start of a process that is not waited for."""
    waits = facts["Type"] in _WAITS or any(facts[setting] for setting in _BEFORE_IT_IS_UP)
    other = facts["TimeoutUSec"]  # of sockets and mounts
    waited_for = 1 + sum(len(facts[setting].splitlines()) for setting in ("ExecStop", "ExecStopPost"))
    return Limits(
        stop=waited_for * _seconds(facts["TimeoutStopUSec"] or other),
        start=_seconds(facts["TimeoutStartUSec"] if waits else other),
        after=tuple(facts["After"].split()),
    )


def _seconds(span: str) -> float:
    return math.inf if span == "infinity" else seconds_of(span)


def longest_chain(names: Sequence[str], seconds: Mapping[str, float], after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return, of units that are ordered after each other, those that take longest together."""
    chains: dict[str, list[str]] = {}
    for name in in_order(names, after):
        before = [chains[other] for other in after.get(name, ()) if other in chains]
        chains[name] = [*max(before, key=lambda chain: _sum(chain, seconds), default=[]), name]
    return max(chains.values(), key=lambda chain: _sum(chain, seconds), default=[])


def _sum(chain: Sequence[str], seconds: Mapping[str, float]) -> float:
    return sum(seconds[name] for name in chain)


def stop_limit(groups: Sequence[Sequence[str]], limits: Mapping[str, Limits]) -> tuple[float, list[str]]:
    """Return the seconds that units may take to stop, and the units that take them.

    :param groups: units that are stopped before those of the next group.
    """
    return _limit(groups, {name: one.stop for name, one in limits.items()}, limits)


def start_limit(names: Sequence[str], limits: Mapping[str, Limits]) -> tuple[float, list[str]]:
    """Return the seconds that units may take to start again, and the units that take them; one that never gives up is left out."""
    seconds = {name: one.start if one.start < math.inf else 0.0 for name, one in limits.items()}
    return _limit(starting_groups(names, {name: one.after for name, one in limits.items()}), seconds, limits)


def _limit(
    groups: Sequence[Sequence[str]], seconds: Mapping[str, float], limits: Mapping[str, Limits]
) -> tuple[float, list[str]]:
    after = {name: one.after for name, one in limits.items()}
    chain = [name for group in groups for name in longest_chain(group, seconds, after) if seconds[name]]
    return _sum(chain, seconds), chain
