# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of when a timer would run its service. The integration target of ``unit_info`` compares the same with systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.timers import TimerMoment, first_run, seconds_of

if TYPE_CHECKING:
    from typing import Any

NOW, DAY = 1_700_000_000.0, 86400.0
UP = {"OnBootUSec": 3600.0, "OnStartupUSec": 3600.0}


def timer(calendar: str = "", *, persistent: bool = False, **monotonic: str) -> dict[str, str]:
    """Return a timer's properties, as systemd shows them."""
    spans = [f"{{ {name}={span} ; next_elapse=12h 3min }}" for name, span in monotonic.items()]
    calendars = [f"{{ OnCalendar={calendar} ; next_elapse=Thu 2026-11-26 00:00:00 UTC }}"] if calendar else []
    return {
        "TimersMonotonic": "\n".join(spans),
        "TimersCalendar": "\n".join(calendars),
        "Persistent": "yes" if persistent else "no",
    }


def daily(_expression: str, after: float) -> float:
    """Return the next midnight."""
    return after - after % DAY + DAY


@pytest.mark.parametrize(
    ("raw", "moment", "reason", "first"),
    [
        (timer(OnBootUSec="1h 30min"), {}, "", NOW + 1800),
        (timer(OnBootUSec="15min"), {}, "OnBootSec=15min has passed: the host is up since 3600 seconds", NOW),
        (timer(OnStartupUSec="1min"), {}, "OnStartupSec=1min has passed: systemd is up since 3600 seconds", NOW),
        (timer(OnActiveUSec="0"), {}, "OnActiveSec=0", NOW),
        (timer(OnActiveUSec="5s"), {}, "", NOW + 5),
        (timer(OnUnitActiveUSec="1h"), {}, "", None),
        (
            timer(OnUnitActiveUSec="1h"),
            {"since": {**UP, "OnUnitActiveUSec": 7200.0}},
            "OnUnitActiveSec=1h has passed: its service was last started since 7200 seconds",
            NOW,
        ),
        (timer(OnUnitInactiveUSec="1d"), {"since": {**UP, "OnUnitInactiveUSec": 60.0}}, "", NOW + DAY - 60),
        (timer("daily"), {}, "", daily("", NOW)),
        (timer("daily"), {"stamp": NOW - 5 * DAY}, "", daily("", NOW)),
        (timer("daily", persistent=True), {}, "", daily("", NOW)),
        (timer("daily", persistent=True), {"stamp": NOW - 60}, "", daily("", NOW)),
        (timer("daily", persistent=True), {"stamp": NOW + DAY}, "", daily("", NOW)),
        (
            timer("daily", persistent=True),
            {"stamp": NOW - 2 * DAY},
            "it is persistent, and OnCalendar=daily was missed since its last run at 2023-11-12T22:13:20Z",
            NOW,
        ),
        (
            timer("daily", persistent=True),
            {"stamp": NOW - 60, "next_after": lambda _expression, _after: None},
            "it is persistent, and OnCalendar=daily may have been missed since its last run at 2023-11-14T22:12:20Z",
            None,
        ),
        (
            timer("daily", persistent=True, OnBootUSec="1min"),
            {"stamp": NOW - 60},
            "OnBootSec=1min has passed: the host is up since 3600 seconds",
            NOW,
        ),
        (
            timer("daily", persistent=True, OnBootUSec="1min"),
            {"stamp": NOW - 60, "stamp_ends_boot": True},
            "",
            daily("", NOW),
        ),
        (timer(), {}, "", None),
    ],
)
def test_a_timer_runs_when_it_elapses(
    raw: dict[str, str], moment: dict[str, Any], reason: str, first: float | None
) -> None:
    usual = {"since": UP, "stamp": None, "stamp_ends_boot": False, "now": NOW, "next_after": daily}
    assert first_run(raw, TimerMoment(**{**usual, **moment})) == (reason, first)


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        ("1h 30min", 5400),
        ("0", 0),
        ("500ms", 0.5),
        ("1w 2d 3s", 777603),
        ("1month", 2629800),
        ("2y", 63115200),
        ("", 0),
    ],
)
def test_spans_are_read(span: str, seconds: float) -> None:
    assert seconds_of(span) == seconds
