# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking and telling systemd, and other programs of the host: argument lists, a plain locale, errors that name the unit."""

from __future__ import annotations

import calendar
import errno
import math
import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "has_program",
    "journal",
    "journal_from",
    "next_elapse",
    "run",
    "show",
    "systemctl",
    "uptime",
    "utc_seconds",
    "version",
]

_PLAIN = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "SYSTEMD_LESS": ""}
_BATCH = 50
_CURSOR = "-- cursor: "
#: What ``show`` of systemd before 245 prints for a property.
_FORMER_NAMES = {"EnvironmentFile": "EnvironmentFiles"}


def run(
    command: Sequence[str],
    *,
    timeout: float = 60.0,
    environment: Mapping[str, str] | None = None,
    late: str = "See 'systemctl list-jobs'.",
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its output as text; its exit status is the caller's to judge.

    :param timeout: seconds.
    :param environment: further variables for it.
    :param late: what to do if it does not end in its time.
    :raises ContimgError: when it is not on this host, or does not end in its time.
    """
    shown = " ".join(command)
    try:
        return subprocess.run(
            list(command),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            env={**os.environ, **_PLAIN, **(environment or {})},
            timeout=timeout,
        )
    except FileNotFoundError as error:
        hint = "This host has no systemd: leave the list of units empty."
        raise ContimgError(f"the command '{command[0]}' does not exist", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise ContimgError(f"'{shown}' has not ended in {timeout:g} seconds", hint=late) from error


def has_program(name: str) -> bool:
    """Return whether this host has a program on its PATH. Raises ContimgError when that cannot be found out."""
    places = (os.path.join(directory, name) for directory in os.get_exec_path() if directory)
    return any(_is_program(place) for place in places)


def _is_program(path: str) -> bool:
    try:
        return is_file(path) and os.access(path, os.X_OK)
    except ContimgError as error:
        if error.details.get("errno") != errno.EACCES:  # a directory of another user's is none for this one
            raise
        return False


def systemctl(*arguments: str, timeout: float = 60.0) -> str:
    """Run ``systemctl`` and return what it prints. Raises ContimgError with what it says when it fails."""
    done = run(["systemctl", "--no-pager", *arguments], timeout=timeout, environment={"TZ": "UTC"})
    if done.returncode != 0:
        raise ContimgError(f"'systemctl {' '.join(arguments)}' failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def show(units: Sequence[str], properties: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return properties of units, as ``systemctl show`` prints them. One that an old systemd lacks is empty.

    A property that is printed more than once (``ExecStart`` of a unit with several commands) has a line for each.
    Times are in UTC.

    :raises ContimgError: when systemd cannot be asked.
    """
    found: dict[str, dict[str, str]] = {}
    for first in range(0, len(units), _BATCH):
        batch = units[first : first + _BATCH]
        found.update(zip(batch, _shown(batch, properties)))
    return found


def _shown(units: Sequence[str], properties: Sequence[str]) -> list[dict[str, str]]:
    """Return the properties of units in their order; a value that holds an empty line needs a question for each unit."""
    text = systemctl("show", "--all", "-p", ",".join(properties), "--", *units)
    blocks = text.rstrip("\n").split("\n\n") if len(units) > 1 else [text]
    if len(blocks) != len(units):
        return [one for unit in units for one in _shown([unit], properties)]
    return [_parsed(block, properties) for block in blocks]


def _parsed(text: str, properties: Sequence[str]) -> dict[str, str]:
    values: dict[str, list[str]] = {name: [] for name in properties}
    current = ""
    for line in text.splitlines():
        printed, separator, value = line.partition("=")
        name = _FORMER_NAMES.get(printed, printed)
        if separator and name in values:
            current = name
            values[name].append(value)
        elif current:  # a value may span lines
            values[current].append(line)
    return {name: "\n".join(lines) for name, lines in values.items()}


def version() -> int:
    """Return the version of systemd. Raises ContimgError when there is none."""
    found = re.match(r"systemd (\d+)", systemctl("--version"))
    return int(found.group(1)) if found else 0


def uptime() -> float:
    """Return the seconds since boot; in a container systemd counts from its own start. Raises ContimgError."""
    started = 0.0
    if os.path.exists("/run/systemd/container"):
        started = float(systemctl("show", "-p", "UserspaceTimestampMonotonic").partition("=")[2] or 0) / 1e6
    return time.clock_gettime(time.CLOCK_MONOTONIC) - started


def next_elapse(expression: str, after: float) -> float | None:
    """Return when a calendar expression elapses next after a moment, both in seconds since the epoch.

    ``None`` where it never does, or where this host's systemd cannot tell (before 244).
    """
    base = math.floor(after)  # expressions elapse at whole seconds, and one of this very second must not be passed over
    done = run(["systemd-analyze", "calendar", "--iterations=1", f"--base-time=@{base}", expression])
    times = re.findall(r"^ *(?:Next elapse|\(in UTC\)): (.*) UTC$", done.stdout, re.MULTILINE)
    return utc_seconds(times[-1]) if times else None


def utc_seconds(text: str) -> float | None:
    """Return the seconds since the epoch of a moment as systemd prints it in UTC, ``None`` for one that is none."""
    found = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", text)
    return float(calendar.timegm(time.strptime(found.group(1), "%Y-%m-%d %H:%M:%S"))) if found else None


def journal(unit: str, *, since: float) -> list[str]:
    """Return the messages of a unit since a moment (seconds since the epoch). Raises ContimgError."""
    return journal_from(unit, f"--since=@{since:.6f}")[0]


def journal_from(unit: str, start: str) -> tuple[list[str], str]:
    """Return the messages of a unit, and the option that asks for what comes after them.

    :param start: the option that says where they begin.
    :raises ContimgError: when the journal cannot be read.
    """
    command = ["journalctl", "-u", unit, start, "-o", "cat", "--no-pager", "-q"]
    done = run([*command, "--show-cursor"])
    if (
        done.returncode != 0 and not done.stdout
    ):  # without a message there is no cursor to show, and that is an error to it
        done = run(command)
    if done.returncode != 0:
        raise ContimgError(f"the journal cannot be read: {done.stderr.strip()}", path=unit, hint="Run as root.")
    lines = done.stdout.splitlines()
    if lines and lines[-1].startswith(_CURSOR):
        return lines[:-1], f"--after-cursor={lines[-1][len(_CURSOR) :]}"
    return lines, start
