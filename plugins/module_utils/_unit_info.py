# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd knows of units: their state, what triggers them, what they run, where their environment comes from."""

from __future__ import annotations

import os
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._env_file import Edit, is_secret
from ansible_collections.dsa110.contimg.plugins.module_utils._env_grammar import parse
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd import show, systemctl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

__all__ = ["Facts", "describe_units", "facts_of", "first_run", "is_below"]

_PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "MainPID", "NRestarts", "Type",
    "Triggers", "TriggeredBy", "User", "Group", "Environment", "EnvironmentFiles", "ExecStartPre", "ExecStart", "ExecStartPost",
    "ReadWritePaths", "WorkingDirectory", "FragmentPath", "DropInPaths", "NextElapseUSecRealtime",
    "LastTriggerUSec", "TimersCalendar", "TimersMonotonic", "Persistent", "Unit", "ActiveEnterTimestampMonotonic",
)  # fmt: skip
_COMMAND = re.compile(r"argv\[\]=(.*?) ; ")
_OUTPUT = re.compile(r"^\s*(StandardOutput|StandardError)\s*=\s*(.*?)\s*$", re.MULTILINE)
_TIMER = re.compile(r"\{ (\w+)=([^;]*) ; next_elapse=([^}]*) \}")
_SPAN = re.compile(r"([0-9.]+)\s*([a-z]+)")
_SECONDS = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
    "w": 604800.0, "week": 604800.0, "weeks": 604800.0, "month": 2629800.0, "months": 2629800.0, "y": 31557600.0,
    "year": 31557600.0, "years": 31557600.0,
}  # fmt: skip
_RUN = ("ExecStartPre", "ExecStart", "ExecStartPost")
_STAMPS = "/var/lib/systemd/timers"


@dataclass(frozen=True)
class Facts:
    """A unit; see the RETURN of ``unit_info``."""

    load_state: str
    active_state: str
    sub_state: str
    unit_file_state: str
    result: str
    main_pid: int
    n_restarts: int
    type: str
    triggers: list[str]
    triggered_by: list[str]
    user: str
    group: str
    environment: dict[str, str]
    environment_files: list[dict[str, Any]]
    exec: list[str]
    standard_output: str
    standard_error: str
    read_write_paths: list[str]
    working_directory: str
    fragment_path: str
    drop_in_paths: list[str]
    next_elapse: str
    would_fire_now: bool
    would_fire_reason: str


def is_below(value: str, path: str) -> bool:
    """Tell whether a text names a path or something below it, at a boundary of both."""
    return bool(re.search(rf"(?<![\w./-]){re.escape(path.rstrip('/'))}(?=/|$|[\s:;,\"'])", value))


def facts_of(raw: Mapping[str, str], *, unit_text: str, uptime: float, stamp: bool) -> Facts:
    """Return the facts of a unit from its properties.

    :param unit_text: its files with their drop-ins, in order: old systemds do not show where a unit logs to.
    :param uptime: seconds since boot.
    :param stamp: whether systemd remembers a run of this persistent timer.
    """
    outputs: dict[str, str] = dict(_OUTPUT.findall(unit_text))
    fires, reason = first_run(raw, uptime=uptime, stamp=stamp)
    return Facts(
        load_state=raw["LoadState"],
        active_state=raw["ActiveState"],
        sub_state=raw["SubState"],
        unit_file_state=raw["UnitFileState"],
        result=raw["Result"],
        main_pid=int(raw["MainPID"] or 0),
        n_restarts=int(raw["NRestarts"] or 0),
        type=raw["Type"],
        triggers=raw["Triggers"].split(),
        triggered_by=raw["TriggeredBy"].split(),
        user=raw["User"],
        group=raw["Group"],
        environment=_environment(raw["Environment"]),
        environment_files=_environment_files(raw["EnvironmentFiles"]),
        exec=[command for name in _RUN for command in _COMMAND.findall(raw[name])],
        standard_output=outputs.get("StandardOutput", ""),
        standard_error=outputs.get("StandardError", ""),
        read_write_paths=raw["ReadWritePaths"].split(),
        working_directory=raw["WorkingDirectory"],
        fragment_path=raw["FragmentPath"],
        drop_in_paths=raw["DropInPaths"].split(),
        next_elapse=raw["NextElapseUSecRealtime"],
        would_fire_now=fires,
        would_fire_reason=reason,
    )


def _environment(text: str) -> dict[str, str]:
    """Return the assignments of ``Environment=``; systemd shows them separated by blanks, in quotes where needed."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)
    pairs = ((quoted or plain).partition("=") for quoted, plain in found)
    nothing = Edit()
    return {name: "********" if is_secret(name.encode(), nothing) else value for name, _sign, value in pairs}


def _environment_files(text: str) -> list[dict[str, Any]]:
    found = re.findall(r"^(.*) \(ignore_errors=(yes|no)\)$", text, re.MULTILINE)
    return [{"path": path, "optional": optional == "yes"} for path, optional in found]


def first_run(raw: Mapping[str, str], *, uptime: float, stamp: bool) -> tuple[bool, str]:
    """Tell whether starting a timer would run its service at once, and why.

    Facts: systemd.timer(5). A monotonic ``OnBootSec=`` that has passed elapses at once, unless the timer has run since
    the boot. A persistent calendar timer runs at once if a run was missed; without a stamp of a former run systemd
    makes one and waits.
    """
    ran_before = raw["LastTriggerUSec"] not in ("", "0", "n/a")
    for name, span, _next in _TIMER.findall(raw["TimersMonotonic"]):
        seconds = _seconds(span)
        if name in ("OnBootUSec", "OnStartupUSec") and seconds <= uptime and not ran_before:
            return True, f"{name[:-4]}Sec={span} has passed: the host is up for {uptime:.0f} seconds"
        if name == "OnActiveUSec" and seconds == 0:
            return True, "OnActiveSec=0"
    if raw["Persistent"] == "yes" and raw["TimersCalendar"] and stamp:
        return True, "it is persistent, and a run since its last one may have been missed"
    return False, ""


def _seconds(span: str) -> float:
    return sum(float(number) * _SECONDS.get(unit, 0.0) for number, unit in _SPAN.findall(span))


def describe_units(names: Sequence[str], using: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the facts of units by name, and of every unit that uses one of the given paths, with ``uses``.

    :raises ContimgError: when systemd cannot be asked. Without names and paths it is not asked.
    """
    described = {name: _describe(name) for name in names}
    for name in _all_units() if using else ():
        if name not in described:
            facts = _describe(name)
            if any(True for _use in uses_of(facts, using)):
                described[name] = facts
    return {name: {**asdict(facts), "uses": list(uses_of(facts, using))} for name, facts in described.items()}


def _describe(name: str) -> Facts:
    raw = show([name], _PROPERTIES)[name]
    files = [raw["FragmentPath"], *raw["DropInPaths"].split()]
    stamp = os.path.exists(f"{_STAMPS}/stamp-{name}")
    return facts_of(raw, unit_text="\n".join(map(_read, files)), uptime=_uptime(), stamp=stamp)


def _uptime() -> float:
    """Return the seconds since boot; in a container systemd counts from its own start."""
    started = 0.0
    if os.path.exists("/run/systemd/container"):
        shown = systemctl("show", "-p", "UserspaceTimestampMonotonic", "--value").strip()
        started = float(shown or 0) / 1e6
    return time.clock_gettime(time.CLOCK_MONOTONIC) - started


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _all_units() -> list[str]:
    listed = systemctl("list-units", "--all", "--full", "--plain", "--no-legend", "--type=service,timer,socket,path")
    return sorted({line.split()[0] for line in listed.splitlines() if line.split() and "@." not in line.split()[0]})


def uses_of(facts: Facts, paths: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield where a unit names one of the paths: ``path``, ``where`` and, for an environment, ``name``."""
    for path in paths:
        places = {
            "ExecStart": facts.exec,
            "StandardOutput": [facts.standard_output],
            "StandardError": [facts.standard_error],
            "ReadWritePaths": facts.read_write_paths,
            "WorkingDirectory": [facts.working_directory],
            "Environment": list(facts.environment.values()),
        }
        for where, values in places.items():
            if any(is_below(value, path) for value in values):
                yield {"path": path, "where": where}
        for file in facts.environment_files:
            for one in parse(_read(file["path"]).encode()):
                if is_below(one.value.decode(errors="replace"), path):
                    yield {"path": path, "where": file["path"], "name": one.name.decode(errors="replace")}
