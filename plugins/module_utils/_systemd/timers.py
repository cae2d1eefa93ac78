# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a timer would run its service, were it started now.

Facts: systemd.timer(5) and timer_start() and timer_enter_waiting() in systemd's timer.c. Starting a timer forgets when it last
elapsed, save for the stamp of a persistent one; what has elapsed by then fires at once.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TimerMoment", "first_run", "seconds_of"]

_ENTRY = re.compile(r"\{ (\w+)=([^;]*?) ; next_elapse=[^}]* \}")
_SPAN = re.compile(r"([0-9.]+)\s*([a-z]+)")
_SECONDS = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "w": 604800.0, "week": 604800.0, "weeks": 604800.0, "month": 2629800.0, "months": 2629800.0, "y": 31557600.0,
    "year": 31557600.0, "years": 31557600.0,
}  # fmt: skip
_SINCE = {
    "OnBootUSec": "the host is up",
    "OnStartupUSec": "systemd is up",
    "OnUnitActiveUSec": "its service was last started",
    "OnUnitInactiveUSec": "its service has last ended",
}


@dataclass(frozen=True)
class TimerMoment:
    """What decides when a timer elapses first. All times in seconds.

    :ivar since: how long ago the base of each kind of monotonic setting was, by its name as systemd shows it; a kind whose base
        has not been is absent.
    :ivar stamp: when a persistent timer last ran, since the epoch, ``None`` where systemd remembers no run.
    :ivar stamp_ends_boot: whether the stamp means that what counts from the boot and has passed is over.
    :ivar next_after: gives the first time, since the epoch, that a calendar expression elapses after another, ``None`` where
        the host cannot tell.
    """

    since: Mapping[str, float]
    stamp: float | None
    stamp_ends_boot: bool
    now: float
    next_after: Callable[[str, float], float | None]


def first_run(raw: Mapping[str, str], moment: TimerMoment) -> tuple[str, float | None]:
    """Tell why a timer that is started now would run its service at once, empty if it would not, and when it would run.

    :param raw: the properties ``TimersMonotonic``, ``TimersCalendar`` and ``Persistent``.
    :return: the reason, and the time since the epoch, ``None`` where it is not known. A random delay is not counted.
    """
    reasons, times = [], []
    for name, span in _ENTRY.findall(raw["TimersMonotonic"]):
        left = _left(name, seconds_of(span), moment)
        if left is not None and left <= 0:
            reasons.append(_reason(name, span, moment))
        if left is not None:
            times.append(moment.now + max(0.0, left))
    for _name, expression in _ENTRY.findall(raw["TimersCalendar"]):
        missed = moment.stamp if raw["Persistent"] == "yes" else None
        elapses = moment.next_after(expression, moment.now if missed is None else min(missed, moment.now))
        if missed is not None and (elapses is None or elapses <= moment.now):
            may = "may have been" if elapses is None else "was"
            reasons.append(
                f"it is persistent, and OnCalendar={expression} {may} missed since its last run at {_utc(missed)}"
            )
        if elapses is not None:
            times.append(max(elapses, moment.now))
    return "; ".join(reasons), min(times) if times else None


def _left(name: str, span: float, moment: TimerMoment) -> float | None:
    """Return the seconds until a monotonic setting elapses, ``None`` if it does not."""
    if name == "OnActiveUSec":
        return span
    passed = moment.since.get(name)
    if passed is None:
        return None
    once = name in ("OnBootUSec", "OnStartupUSec")
    return None if once and passed > span and moment.stamp_ends_boot else span - passed


def _reason(name: str, span: str, moment: TimerMoment) -> str:
    setting = f"{name[: -len('USec')]}Sec={span}"
    if name not in _SINCE:
        return setting
    return f"{setting} has passed: {_SINCE[name]} since {moment.since[name]:.0f} seconds"


def seconds_of(span: str) -> float:
    """Return the seconds of a time span as systemd prints it, for example ``1h 30min``."""
    return sum(float(number) * _SECONDS.get(unit, 0.0) for number, unit in _SPAN.findall(span))


def _utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
