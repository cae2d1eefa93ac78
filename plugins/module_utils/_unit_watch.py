# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Following units after a start: they stay up, have the right files open, and their logs stay clean."""

from __future__ import annotations

import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._open_files import find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd import journal, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["DEFAULT_PATTERNS", "Seen", "WatchOptions", "troubles", "watch", "watch_options"]

DEFAULT_PATTERNS = (
    "unable to open database file",
    "no such table",
    "readonly database",
    "disk image is malformed",
    "FileNotFoundError",
)
_PROPERTIES = ("ActiveState", "NRestarts", "Result", "Type")
_PAUSE_SECONDS = 0.5
_LINES = 50
_SECRET = re.compile(r"((?:PASSWORD|TOKEN|SECRET|WEBHOOK|_KEY)\w*[=:]\s*)\S+", re.IGNORECASE)
_HEALTH_TIMEOUT = 5


@dataclass(frozen=True)
class WatchOptions:
    """The parameters of ``unit_watch``; see its documentation."""

    names: tuple[str, ...]
    since: float
    duration: float
    patterns: tuple[str, ...]
    log_files: tuple[str, ...]
    expect_open: Mapping[str, Sequence[str]]
    health_url: Mapping[str, str]


@dataclass(frozen=True)
class Seen:
    """A unit at one moment.

    :ivar active: its active state.
    :ivar restarts: how often systemd has restarted it since it was started.
    """

    active: str
    restarts: int
    result: str
    type: str

    @property
    def is_well(self) -> bool:
        """Whether it runs, or has done its one job."""
        finished = self.type == "oneshot" and self.active == "inactive" and self.result == "success"
        return self.active in ("active", "activating", "reloading") or finished


def troubles(before: Mapping[str, Seen], now: Mapping[str, Seen]) -> list[str]:
    """Return what is wrong with units, as clauses: one that is down, or that was restarted since ``before``."""
    found = []
    for name, seen in now.items():
        if not seen.is_well:
            found.append(f"{name} is {seen.active} (result: {seen.result})")
        elif seen.restarts > before[name].restarts:
            found.append(f"{name} was restarted {seen.restarts - before[name].restarts} times")
    return found


def watch(options: WatchOptions, *, check: bool) -> dict[str, Any]:
    """Follow units for their time and return the module's result; in check mode, look once and judge nothing.

    :raises ContimgError: as soon as a unit is down, was restarted, lacks a file that it must have open, is not healthy,
        or a line of its log matches a pattern. The units are left as they are.
    """
    if not options.names and not options.log_files:
        return {"units": {}, "matches": []}
    offsets = {path: _size_at(path, options.since) for path in options.log_files}
    before = _look(options.names)
    end = time.monotonic() + (0 if check else options.duration)
    while True:
        now = _look(options.names)
        matches = _matches(options, offsets)
        wrong = troubles(before, now) + [f"{match['source']} says: {match['line']}" for match in matches]
        if wrong or check or time.monotonic() >= end:
            break
        time.sleep(min(_PAUSE_SECONDS, max(0.0, end - time.monotonic())))
    opened: dict[str, list[str]] = {name: [] for name in options.names}
    if not check and not wrong:
        wrong += _unhealthy(options.health_url)
        opened.update(_opened(options.expect_open))
        wrong += _not_open(options.expect_open, opened)
    units = {name: {**asdict(seen), "open": opened[name]} for name, seen in now.items()}
    if wrong and not check:
        raise ContimgError("; ".join(wrong[:5]), hint="The units were left as they are.", units=units, matches=matches)
    return {"units": units, "matches": matches}


def _look(names: Sequence[str]) -> dict[str, Seen]:
    return {
        name: Seen(facts["ActiveState"], int(facts["NRestarts"] or 0), facts["Result"], facts["Type"])
        for name, facts in show(names, _PROPERTIES).items()
    }


def _size_at(path: str, since: float) -> int:
    """Return where the lines begin that a file got after a moment: at its end, or, if it is younger, at its start."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 0
    return status.st_size if status.st_mtime < since else 0


def _matches(options: WatchOptions, offsets: Mapping[str, int]) -> list[dict[str, str]]:
    patterns = [re.compile(pattern) for pattern in options.patterns]
    lines = [(name, line) for name in options.names for line in journal(name, since=options.since)]
    lines += [(path, line) for path, offset in offsets.items() for line in _appended(path, offset)]
    found = (
        {"source": source, "line": _SECRET.sub(r"\1********", line)[:300]}
        for source, line in lines
        if _any(patterns, line)
    )
    return [match for _number, match in zip(range(_LINES), found)]


def _any(patterns: Sequence[re.Pattern[str]], line: str) -> bool:
    return any(pattern.search(line) for pattern in patterns)


def _appended(path: str, offset: int) -> list[str]:
    if not os.path.exists(path):
        return []
    with failing("read the log", path), open(path, "rb") as file:
        file.seek(offset)
        return [display(line) for line in file.read().splitlines()]


def _unhealthy(urls: Mapping[str, str]) -> list[str]:
    found = []
    for name, url in urls.items():
        if not url.startswith(("http://", "https://")):
            found.append(f"{name} has a health URL that is none: {url}")
            continue
        try:
            with urllib.request.urlopen(url, timeout=_HEALTH_TIMEOUT) as answer:  # noqa: S310
                answer.read()
        except (urllib.error.URLError, OSError) as error:
            found.append(f"{name} is not healthy: {url}: {error}")
    return found


def _opened(expected: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return which of the expected files each unit has open, by their inodes."""
    return {
        name: [path for path in paths if any(holder.unit == name for holder in find_holders([path]).holders)]
        for name, paths in expected.items()
    }


def _not_open(expected: Mapping[str, Sequence[str]], opened: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"{name} does not have {path} open"
        for name, paths in expected.items()
        for path in paths
        if path not in opened[name]
    ]


def watch_options(values: Mapping[str, Any]) -> WatchOptions:
    """Return the options for a module's parameters. Raises ContimgError on a pattern that is none."""
    for pattern in values["patterns"]:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ContimgError(
                f"'{pattern}' is no regular expression: {error}", hint="Correct it and run again."
            ) from error
    return WatchOptions(
        names=tuple(values["names"]),
        since=time.time() if values["since"] is None else values["since"],
        duration=values["duration"],
        patterns=tuple(values["patterns"]),
        log_files=tuple(values["log_files"]),
        expect_open=values["expect_open"],
        health_url=values["health_url"],
    )
