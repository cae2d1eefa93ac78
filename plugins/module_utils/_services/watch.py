# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Following units after a start: they stay up, have the right files open, and their logs stay clean."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import (
    Container,
    containers_of_host,
    unasked_clause,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import processes_of_unit
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted
from ansible_collections.dsa110.contimg.plugins.module_utils._services.health import ask
from ansible_collections.dsa110.contimg.plugins.module_utils._services.left import users_of_left
from ansible_collections.dsa110.contimg.plugins.module_utils._services.log_tail import (
    ContainerTail,
    FileTail,
    JournalTail,
    compiled,
    matching,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import journal, show, utc_seconds
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.units import logs_of_units

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["DEFAULT_PATTERNS", "Seen", "WatchOptions", "not_open", "troubles", "unhealthy", "watch", "watch_options"]

DEFAULT_PATTERNS = (
    "unable to open database file",
    "no such table",
    "readonly database",
    "disk image is malformed",
    "FileNotFoundError",
)
_PROPERTIES = ("ActiveState", "SubState", "NRestarts", "Result", "Type", "InactiveEnterTimestamp")
_PAUSE_SECONDS = 0.5
_GLANCE_SECONDS = 0.02
_LAST_TRIES = 6  # looks after the watch, half a second apart, for a unit that opens its databases only now and then
_NAMED = 5
_MASKED = 100  # lines that are read for secrets that span some
_SHOWN = 300  # characters of a line
_NOTHING: Mapping[str, Any] = {"units": {}, "containers": {}, "matches": []}
_LINES = 5  # last lines of the journal of a unit that is not well


@dataclass(frozen=True)
class WatchOptions:
    """The parameters of ``unit_watch``; see its documentation."""

    names: tuple[str, ...]
    containers: tuple[str, ...]
    since: float
    duration: float
    pattern: re.Pattern[str] | None
    log_files: tuple[str, ...]
    log_offsets: Mapping[str, int]
    expect_open: Mapping[str, Sequence[str]]
    health_url: Mapping[str, str]
    health_status: Mapping[str, int]
    triggered: bool
    left: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Seen:
    """A unit at one moment.

    :ivar active: its active state.
    :ivar sub: what the active state means for this kind of unit.
    :ivar restarts: how often systemd has restarted it since it was started.
    :ivar ended: when it last ended or failed, in whole seconds since the epoch; 0 for never.
    """

    active: str
    sub: str
    restarts: int
    result: str
    type: str
    ended: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether it runs, or has done its one job. One that waits for its next restart has failed."""
        finished = self.type == "oneshot" and self.active == "inactive" and self.result == "success"
        return finished or (self.active in ("active", "activating", "reloading") and self.sub != "auto-restart")

    @property
    def is_starting(self) -> bool:
        """Whether it has not said yet that it is up; a oneshot never does before its end."""
        return self.active == "activating" and self.type != "oneshot"

    def has_ended(self, since: float) -> bool:
        """Return whether it has run to an end, a good or a bad one, since a moment."""
        return self.active in ("inactive", "failed") and self.ended >= math.floor(since)

    def rests(self, since: float) -> bool:
        """Return whether it does not run, and has not failed since a moment: what waits for its trigger."""
        return self.active in ("inactive", "failed") and (self.result == "success" or not self.has_ended(since))


def troubles(before: Mapping[str, Seen], now: Mapping[str, Seen]) -> dict[str, str]:
    """Return what is wrong with units, as a clause by name: one that is down, or that was restarted since ``before``."""
    found = {}
    for name, seen in now.items():
        if not seen.is_well:
            found[name] = f"{name} is {seen.active} ({seen.sub}, result: {seen.result})"
        elif seen.restarts > before[name].restarts:
            found[name] = f"{name} was restarted {seen.restarts - before[name].restarts} times"
    return found


def watch(options: WatchOptions, *, check: bool) -> dict[str, Any]:
    """Follow units for their time and return the module's result; in check mode, look once and judge nothing.

    :raises ContimgError: as soon as a unit is down, was restarted, lacks a file that it must have open, is not healthy,
        a line of its log matches a pattern, or at the end anything uses the path that was to be
        left. The units are left as they are.
    """
    result = _watch(options, check=check) if options.names or options.containers or options.log_files else _NOTHING
    if options.left and not check:
        path, units, containers = (options.left[name] for name in ("path", "units", "containers"))
        wrong = users_of_left(path, units=units, containers=containers)
        if wrong:
            raise ContimgError("; ".join(wrong[:_NAMED]), hint="The units were left as they are.", **result)
    return dict(result)


def _watch(options: WatchOptions, *, check: bool) -> dict[str, Any]:
    watching = _Watch(options)
    end = time.monotonic() + (0 if check else options.duration)
    while not (watching.look() or check or watching.is_over() or time.monotonic() >= end):
        time.sleep(min(_PAUSE_SECONDS, max(0.0, end - time.monotonic())))
    if not check and not watching.wrong:
        watching.look_last()
    result: dict[str, Any] = {**watching.seen(), "matches": watching.matches, **watching.unread()}
    if watching.wrong and not check:
        wrong = "; ".join([*watching.wrong[:_NAMED], *watching.last_lines()])
        raise ContimgError(wrong, hint="The units were left as they are.", **result)
    return result


class _Watch:
    """What has been seen so far.

    :ivar wrong: what is wrong, as clauses.
    :ivar opened: by unit, which of the expected files it was seen to have open.
    """

    def __init__(self, options: WatchOptions) -> None:
        self.options = options
        files = sorted({*options.log_files, *logs_of_units(options.names)})
        self._tails: list[ContainerTail | FileTail | JournalTail] = [
            *(JournalTail(name, options.since) for name in options.names),
            *(ContainerTail(name, options.since, partial(self._container, name)) for name in options.containers),
        ]
        self._tails += [FileTail(path, options.log_offsets.get(path)) for path in files]
        self._before = self._now = self._standing()
        self.matches: list[Mapping[str, str]] = []
        self.wrong: list[str] = []
        self.opened: dict[str, list[str]] = {name: [] for name in options.names}
        self._ill: list[str] = []  # units that are not well

    def look(self) -> bool:
        """Look at units, logs and open files; return whether anything is wrong."""
        self._now = self._standing()
        self.matches += matching(self._tails, self.options.pattern)
        self._look_at_files()
        found = troubles(self._before, self._judged())
        self._ill = [name for name in self.options.names if name in found]
        self.wrong = [*found.values(), *(f"{match['source']} says: {match['line']}" for match in self.matches)]
        return bool(self.wrong)

    def _judged(self) -> dict[str, Seen]:
        """Return what must be well: of units that wait for a trigger, those that run, or have failed since."""
        since = self.options.since
        return {name: seen for name, seen in self._now.items() if not (self.options.triggered and seen.rests(since))}

    def is_over(self) -> bool:
        """Return whether all units that a trigger starts have run to their end since."""
        return self.options.triggered and all(seen.has_ended(self.options.since) for seen in self._now.values())

    def last_lines(self) -> list[str]:
        """Return the last lines of the journals of the units that are not well, a clause for each, secrets masked."""
        if self._ill:
            time.sleep(_PAUSE_SECONDS)  # what a process has written last reaches the journal after its end
        lines = {name: _last_of(journal(name, since=self.options.since)) for name in self._ill}
        return [f"the last lines of {name}: {' | '.join(found).rstrip('.')}" for name, found in lines.items() if found]

    def unread(self) -> dict[str, list[str]]:
        """Return ``warnings`` about log files that are not read, nothing where all are."""
        warnings = [tail.unread for tail in self._tails if isinstance(tail, FileTail) and tail.unread]
        return {"warnings": warnings} if warnings else {}

    def _standing(self) -> dict[str, Seen]:
        """Ask systemd and the engines, once for all that is looked at now."""
        self._there, unasked = containers_of_host() if self.options.containers else ({}, {})
        absent = Seen("inactive", f"not there{unasked_clause(unasked)}", 0, "unknown", "container")
        containers = {
            f"container {name}": _seen_container(self._there[name]) if name in self._there else absent
            for name in self.options.containers
        }
        return {**_seen_units(self.options.names), **containers}

    def _container(self, name: str) -> Container | None:
        return self._there.get(name)

    def look_last(self) -> None:
        """Ask for health, and look once more at what the answers make the units open and write."""
        starting = [] if self.options.triggered else [name for name, seen in self._now.items() if seen.is_starting]
        first = [f"{name} has not come up: it is {self._now[name].active}" for name in starting]
        first += self._ask_and_look()
        for _try in range(_LAST_TRIES):
            if not not_open(self.options.expect_open, self.opened):
                break
            time.sleep(_PAUSE_SECONDS)
            self._ask_and_look()
        self.look()
        self.wrong = [*first, *self.wrong, *not_open(self.options.expect_open, self.opened)]

    def _ask_and_look(self) -> list[str]:
        """Ask for health, and look at open files meanwhile: some have a database open only while they answer."""
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.extend(self._unhealthy()))
        asking.start()
        while asking.is_alive():
            self._look_at_files()
            asking.join(_GLANCE_SECONDS)
        self._look_at_files()
        return answers

    def _unhealthy(self) -> list[str]:
        return unhealthy(self.options.health_url, self.options.health_status)

    def _look_at_files(self) -> None:
        for name, paths in self.options.expect_open.items():
            left = [path for path in paths if path not in self.opened.get(name, ())]
            pids = processes_of_unit(name) if left else []
            found = [path for path in left if find_holders([path], pids=pids).holders]
            self.opened.setdefault(name, []).extend(found)

    def seen(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return units and containers for the module's result."""
        return {
            "units": {name: {**asdict(self._now[name]), "open": self.opened[name]} for name in self.options.names},
            "containers": {name: asdict(self._now[f"container {name}"]) for name in self.options.containers},
        }


def _last_of(lines: Sequence[str]) -> list[str]:
    """Return the last lines of a journal. A secret may span lines, so more of them are masked than are shown."""
    masked = redacted("\n".join(lines[-_MASKED:])).split("\n") if lines else []
    return [line[:_SHOWN] for line in masked[-_LINES:]]


def _seen_units(names: Sequence[str]) -> dict[str, Seen]:
    return {
        name: Seen(
            facts["ActiveState"],
            facts["SubState"],
            int(facts["NRestarts"] or 0),
            facts["Result"],
            facts["Type"],
            utc_seconds(facts["InactiveEnterTimestamp"]) or 0.0,
        )
        for name, facts in show(names, _PROPERTIES).items()
    }


def _seen_container(container: Container) -> Seen:
    active = "active" if container.status == "running" else "inactive"
    return Seen(active, container.status, container.restarts, f"exit code {container.exit_code}", "container")


def unhealthy(urls: Mapping[str, str], known: Mapping[str, int]) -> list[str]:
    """Ask every URL and return, as clauses, which answers are no success.

    :param known: by the name of a unit, the HTTP status of an answer that counts as one, since it was the same before.
    """
    answers = {name: ask(url) for name, url in urls.items()}
    return [
        f"{name} is not healthy: {redacted(urls[name])}: {answer.error}"
        for name, answer in answers.items()
        if answer.error and not (answer.status and answer.status == known.get(name))
    ]


def not_open(expected: Mapping[str, Sequence[str]], opened: Mapping[str, Sequence[str]]) -> list[str]:
    """Return, as clauses, which files units were not seen to have open."""
    return [
        f"{name} does not have {path} open"
        for name, paths in expected.items()
        for path in paths
        if path not in opened.get(name, ())
    ]


def watch_options(values: Mapping[str, Any]) -> WatchOptions:
    """Return the options for a module's parameters. Raises ContimgError on a pattern that is none."""
    places = values["places"]
    return WatchOptions(
        names=tuple(values["names"]),
        containers=tuple(values["containers"]),
        since=time.time() if values["since"] is None else values["since"],
        duration=values["duration"],
        pattern=compiled(values["patterns"]),
        log_files=tuple(values["log_files"]),
        log_offsets={path: int(offset) for path, offset in values["log_offsets"].items()},
        expect_open={name: [places.get(one, one) for one in files] for name, files in values["expect_open"].items()},
        health_url=values["health_url"],
        health_status={name: int(status) for name, status in values["health_status"].items()},
        triggered=values["triggered"],
        left=values["left"],
    )
