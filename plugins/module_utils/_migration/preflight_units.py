# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in the description of a host's units would stop its move later: pure judgements of what was observed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted
from ansible_collections.dsa110.contimg.plugins.module_utils._services.health import url_fault
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.limits import start_limit, stop_limit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._services.health import Answer
    from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.limits import Limits

__all__ = [
    "Judged",
    "State",
    "askable",
    "judge_containers",
    "judge_expected",
    "judge_health",
    "judge_limits",
    "judge_names",
]


@dataclass
class Judged:
    """What was found.

    :ivar obstacles: what would stop the move, as lines for an operator.
    :ivar findings: what an operator should know, and what stops nothing.
    """

    obstacles: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def add(self, other: Judged) -> None:
        """Take in what else was found."""
        self.obstacles += other.obstacles
        self.findings += other.findings


class State(NamedTuple):
    """A listed unit or container.

    :ivar called: how systemd calls it.
    :ivar state: for example ``active (running)``.
    :ivar watched: whether it runs well, so that the move watches it after its start.
    :ivar stale: whether systemd has not read its unit file since that was changed.
    """

    called: str
    state: str
    watched: bool
    stale: bool = False


def judge_names(units: Mapping[str, State]) -> Judged:
    """Judge the names of units that exist: processes and holds know a unit by one name only."""
    judged = Judged()
    for name, one in units.items():
        if one.called not in ("", name):
            judged.obstacles.append(f"contimg_units: {name} is called {one.called} by systemd. List it by that name.")
        if one.stale:
            judged.findings.append(
                f"contimg_units: the unit file of {name} was changed since systemd read it; the move lets systemd read it"
            )
    return judged


def judge_limits(timeout: float, stopped: Sequence[Sequence[str]], limits: Mapping[str, Limits]) -> Judged:
    """Compare ``contimg_stop_timeout`` with what units may take to stop, and to start again.

    :param stopped: what runs, in groups: what triggers others is stopped first.
    """
    judged = Judged()
    for name in (name for group in stopped for name in group):
        if limits[name].stop == math.inf:
            judged.obstacles.append(
                f"contimg_units: {name} has TimeoutStopSec=infinity, so no contimg_stop_timeout can exceed it: a stop that hangs "
                f"would leave it down. Give it a limit ('systemctl edit {name}')."
            )
        if limits[name].start == math.inf:
            judged.findings.append(
                f"contimg_units: {name} has TimeoutStartSec=infinity; its start is waited for {timeout:g} s (contimg_stop_timeout)"
            )
    running = [name for group in stopped for name in group]
    finite = [[name for name in group if limits[name].stop < math.inf] for group in stopped]
    for doing, setting, (needed, chain) in (
        ("stop", "TimeoutStopSec, for each command and the processes", stop_limit(finite, limits)),
        ("start again", "TimeoutStartSec", start_limit(running, limits)),
    ):
        if chain and needed >= timeout:
            judged.obstacles.append(
                f"contimg_stop_timeout: {timeout:g} s do not exceed the {needed:g} s that {' and then '.join(chain)} may take to "
                f"{doing} ({setting}). Set it to more than {needed:g}."
            )
    return judged


def judge_containers(timeout: float, asked: Mapping[str, float]) -> Judged:
    """Compare ``contimg_stop_timeout`` with the seconds that containers ask for before they are killed."""
    return Judged(
        [
            f"contimg_stop_timeout: {timeout:g} s are less than the {seconds:g} s that container {name} asks for to stop, and it "
            f"would be killed after that. Set it to at least {seconds:g}."
            for name, seconds in asked.items()
            if seconds > timeout
        ]
    )


def _unlisted(variable: str, name: str, states: Mapping[str, State]) -> str:
    return f"{variable}: {printable(name)} is none of contimg_units ({', '.join(states) or 'which is empty'})."


def askable(urls: Mapping[str, object], states: Mapping[str, State]) -> dict[str, str]:
    """Return the URLs that are asked before a move, by unit: those of units that run."""
    return {
        name: str(url) for name, url in urls.items() if name in states and states[name].watched and not url_fault(url)
    }


def judge_health(
    urls: Mapping[str, object], states: Mapping[str, State], answers: Mapping[str, Answer]
) -> tuple[Judged, dict[str, int]]:
    """Judge ``contimg_health_url``; return also the statuses other than success, which are the baseline of the watch.

    :param answers: of those that :func:`askable` returns.
    """
    judged, statuses = Judged(), {}
    for name, url in urls.items():
        answer = answers.get(name)
        fault = url_fault(url)
        if name not in states:
            judged.obstacles.append(_unlisted("contimg_health_url", name, states))
        elif fault:
            judged.obstacles.append(f"contimg_health_url: the value for {name} {fault}.")
        elif answer is None:
            judged.findings.append(f"contimg_health_url: {name} is {states[name].state} now, so its URL is not asked")
        elif not answer.status:
            judged.obstacles.append(
                f"contimg_health_url: {name} runs, yet {redacted(str(url))} does not answer before the move ({answer.error}), "
                "so the watch after the move could not pass. Correct the URL or the service, or leave it out."
            )
        elif answer.error:
            statuses[name] = answer.status
            judged.findings.append(
                f'contimg_health_url: {name} answers "{answer.error}" before the move; the same answer passes after it'
            )
    return judged, statuses


def judge_expected(
    expected: Mapping[str, object], states: Mapping[str, State], *, mapped: Collection[str], present: Collection[str]
) -> Judged:
    """Judge ``contimg_expect_open``.

    :param mapped: the names of ``contimg_databases``.
    :param present: those that exist on either side, or that the move makes.
    """
    judged = Judged()
    for name, value in expected.items():
        if name not in states:
            judged.obstacles.append(_unlisted("contimg_expect_open", name, states))
        elif not name.endswith(".service"):
            judged.obstacles.append(f"contimg_expect_open: {name} is not a service, and has no process to look at.")
        elif not states[name].watched:
            judged.findings.append(f"contimg_expect_open: {name} is {states[name].state} now")
        databases = value if isinstance(value, list) else [value]
        if not isinstance(value, list):
            judged.obstacles.append(f"contimg_expect_open: the value for {printable(name)} is not a list of databases.")
        for one in databases:
            if one not in mapped:
                judged.obstacles.append(
                    f"contimg_expect_open: '{printable(str(one))}' ({printable(name)}) is not a database of contimg_databases, "
                    f"only {', '.join(sorted(mapped))} are."
                )
            elif one not in present:
                judged.obstacles.append(
                    f"contimg_expect_open: the database {one} ({printable(name)}) exists on neither side, so nothing can open it."
                )
    return judged
