# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking and telling systemd: argument lists, a plain locale, errors that name the unit."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["journal", "run", "show", "systemctl"]

_PLAIN = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "SYSTEMD_LESS": ""}


def run(command: Sequence[str], *, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its output as text; its exit status is the caller's to judge.

    :param timeout: seconds.
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
            env={**os.environ, **_PLAIN},
            timeout=timeout,
        )
    except FileNotFoundError as error:
        hint = "This host has no systemd: leave the list of units empty."
        raise ContimgError(f"the command '{command[0]}' does not exist", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise ContimgError(
            f"'{shown}' has not ended in {timeout:g} seconds", hint="See 'systemctl list-jobs'."
        ) from error


def systemctl(*arguments: str, timeout: float = 60.0) -> str:
    """Run ``systemctl`` and return what it prints. Raises ContimgError with what it says when it fails."""
    done = run(["systemctl", "--no-pager", *arguments], timeout=timeout)
    if done.returncode != 0:
        raise ContimgError(f"'systemctl {' '.join(arguments)}' failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def show(units: Sequence[str], properties: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return properties of units, as ``systemctl show`` prints them. One that an old systemd lacks is empty.

    A property that is printed more than once (``ExecStart`` of a unit with several commands) has a line for each.

    :raises ContimgError: when systemd cannot be asked.
    """
    return {
        unit: _parsed(systemctl("show", "--all", "-p", ",".join(properties), "--", unit), properties) for unit in units
    }


def _parsed(text: str, properties: Sequence[str]) -> dict[str, str]:
    values: dict[str, list[str]] = {name: [] for name in properties}
    current = ""
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and name in values:
            current = name
            values[name].append(value)
        elif current:  # a value may span lines
            values[current].append(line)
    return {name: "\n".join(lines) for name, lines in values.items()}


def journal(unit: str, *, since: float) -> list[str]:
    """Return the messages of a unit since a moment (seconds since the epoch). Raises ContimgError."""
    done = run(["journalctl", "-u", unit, f"--since=@{since:.6f}", "-o", "cat", "--no-pager", "-q"])
    if done.returncode != 0:
        raise ContimgError(f"the journal cannot be read: {done.stderr.strip()}", path=unit, hint="Run as root.")
    return done.stdout.splitlines()
