# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd knows of units: their state, what triggers them, what they run, where their environment comes from."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import re
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import Edit, effective
from ansible_collections.dsa110.contimg.plugins.module_utils._env.report import Redactor, is_secret
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import read_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import names_path, replaced
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import (
    next_elapse,
    show,
    uptime,
    utc_seconds,
    version,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.names import (
    all_units,
    installed_templates,
    resolved_units,
    units_of,
    with_instance,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.timers import TimerMoment, first_run, seconds_of
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.unit_files import (
    logs_of,
    parse_unit_files,
    specifiers_expanded,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    Moves = Sequence[tuple[str, str]]

__all__ = ["Facts", "Unit", "describe_units", "facts_of", "logs_of_units", "uses_of"]

_COMMANDS = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost")
_PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "MainPID", "NRestarts", "Type", "Triggers",
    "TriggeredBy", "User", "Group", "Environment", "EnvironmentFiles", *_COMMANDS, "ReadWritePaths", "WorkingDirectory",
    "FragmentPath", "DropInPaths", "ExecMainStartTimestamp", "NextElapseUSecRealtime", "NextElapseUSecMonotonic",
    "TimersCalendar", "TimersMonotonic", "Persistent",
)  # fmt: skip
# What uses no path, though it may name one. A state directory may itself be where something is mounted.
_NO_USES = {"Description", "Documentation", "Where"}
# What systemd answers itself; every other setting is looked for in the files.
_ANSWERED = {*_COMMANDS, "Environment", "EnvironmentFile", "ReadWritePaths", "WorkingDirectory", *_NO_USES}
_COMMAND = re.compile(r"argv\[\]=(.*?) ; (?:ignore_errors|flags)=")
_PROGRAM = re.compile(
    r"\{ path=(.*?) ; argv\[\]="
)  # not among the arguments where the unit names them itself: ExecStart=@/x y
_ENVIRONMENT_FILE = re.compile(r"^(.*) \(ignore_errors=(yes|no)\)$", re.MULTILINE)
_ASSIGNMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|\$\'((?:[^\'\\]|\\.)*)\'|(\S+)', re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_TYPES = "--type=service,timer,socket,path,mount,automount"
# The instance with which systemd is asked about a template, since it does not describe one without.
_ANY = "contimganyinstance"
_STAMPS = "/var/lib/systemd/timers"
# The first version in which a stamp was seen to end what counts from the boot; before, such a timer may fire.
_STAMP_ENDS_BOOT = 247


@dataclass(frozen=True)
class Facts:
    """A unit; see the RETURN of ``unit_info``."""

    id: str
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
    effective_environment: dict[str, str]
    exec: list[str]
    standard_output: str
    standard_error: str
    logs: list[str]
    read_write_paths: list[str]
    working_directory: str
    unexpanded_files: list[str]
    unit_files: list[str]
    changed_since_start: list[str]
    fragment_path: str
    drop_in_paths: list[str]
    next_elapse: str
    would_fire_now: bool
    would_fire_restarted: bool
    would_fire_reason: str


@dataclass(frozen=True)
class Unit:
    """What was read of a unit.

    :ivar raw: its properties.
    :ivar settings: its files' settings.
    :ivar files: the content of its environment files, by the path that was found, in order.
    :ivar timer: what decides when it elapses, for a timer.
    :ivar planned: what these files are about to say, by the path that was found.
    """

    raw: Mapping[str, str]
    settings: dict[str, list[str]]
    files: Mapping[str, bytes]
    timer: TimerMoment | None = None
    planned: Mapping[str, Mapping[bytes, bytes]] = field(default_factory=dict)


def facts_of(unit: Unit) -> Facts:
    """Return the facts of a unit; the files that its working directory holds by mistake are looked up."""
    raw, name = unit.raw, unit.raw["Id"]
    environment = _environment(raw["Environment"])
    reason, first = first_run(raw, unit.timer) if unit.timer else ("", None)
    active = raw["ActiveState"] == "active"
    return Facts(
        id=name,
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
        environment=_shown(environment),
        environment_files=_environment_files(raw["EnvironmentFiles"]),
        effective_environment=_shown(_effective(environment, unit)),
        exec=[redacted(command) for setting in _COMMANDS for command in _COMMAND.findall(raw[setting])],
        standard_output="".join(unit.settings.get("StandardOutput", [])),
        standard_error="".join(unit.settings.get("StandardError", [])),
        logs=logs_of(unit.settings, name),
        read_write_paths=raw["ReadWritePaths"].split(),
        working_directory=raw["WorkingDirectory"],
        unexpanded_files=_unexpanded(raw["WorkingDirectory"], raw["Type"]),
        unit_files=_unit_files(raw),
        changed_since_start=_changed_since_start(unit) if active else [],
        fragment_path=raw["FragmentPath"],
        drop_in_paths=raw["DropInPaths"].split(),
        next_elapse=_iso(_scheduled(raw) if active else first) if unit.timer else "",
        would_fire_now=bool(reason) and not active,
        would_fire_restarted=bool(reason),
        would_fire_reason=reason,
    )


def _environment(text: str) -> dict[bytes, bytes]:
    """Return the assignments of ``Environment=``; systemd shows them separated by blanks, in quotes where needed."""
    pairs = (_unquoted(*found).partition("=") for found in _ASSIGNMENT.findall(text))
    return {os.fsencode(name): os.fsencode(value) for name, _sign, value in pairs}


def _unquoted(double: str, dollar: str, plain: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found.group(1), found.group(1)), double or dollar) or plain


def _environment_files(text: str) -> list[dict[str, Any]]:
    return [{"path": path, "optional": optional == "yes"} for path, optional in _ENVIRONMENT_FILE.findall(text)]


def _effective(environment: Mapping[bytes, bytes], unit: Unit) -> dict[bytes, bytes]:
    """Return what a process of the unit is given: the files win over ``Environment=``, the later over the earlier."""
    values = dict(environment)
    for path, content in unit.files.items():
        values.update(effective(content))
        values.update(unit.planned.get(path, {}))
    return values


def _shown(values: Mapping[bytes, bytes]) -> dict[str, str]:
    nothing = Edit()
    secrets = frozenset(values[name] for name in values if is_secret(name, nothing) and len(values[name]) > 3)
    redactor = Redactor(nothing, secrets)
    return {printable(name): redactor.shown(name, values[name]) for name in values}


def _unexpanded(directory: str, kind: str) -> list[str]:
    """Return files in a working directory that are named like a variable: somebody took ``${NAME}`` for a path."""
    path = directory.lstrip("-!") or ("/" if kind else "")
    with contextlib.suppress(OSError):
        return sorted(os.path.join(path, printable(name)) for name in os.listdir(path) if name.startswith("$"))
    return []


def _unit_files(raw: Mapping[str, str]) -> list[str]:
    return [path for path in (raw["FragmentPath"], *raw["DropInPaths"].split()) if path]


def _changed_since_start(unit: Unit) -> list[str]:
    """Return the files that were changed later; not every systemd tells more of the start than its second."""
    start = utc_seconds(unit.raw["ExecMainStartTimestamp"])
    files = [*_unit_files(unit.raw), *unit.files]
    return [] if start is None else [path for path in files if _changed_at(path) >= start + 1]


def _changed_at(path: str) -> float:
    with contextlib.suppress(OSError):
        return os.stat(path).st_mtime
    return 0.0


def _scheduled(raw: Mapping[str, str]) -> float | None:
    """Return when a running timer elapses next; systemd shows a span since the boot for what is no calendar time."""
    span = seconds_of(raw["NextElapseUSecMonotonic"])
    times = [utc_seconds(raw["NextElapseUSecRealtime"])]
    times += [time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + span] if span else []
    return min((one for one in times if one), default=None)


def _iso(moment: float | None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) if moment else ""


def describe_units(
    names: Sequence[str],
    using: Sequence[str],
    *,
    remembered: Sequence[str] = (),
    planned: Mapping[str, Mapping[str, object]] | None = None,
    repointed: Mapping[str, Moves] | None = None,
    leaving: Moves = (),
) -> dict[str, dict[str, Any]]:
    """Return the facts of units by name, and of every unit that uses one of the given paths, with ``uses`` and ``listed``.

    :param names: units, or patterns, for which the units that match them are returned.
    :param remembered: units that a pattern may stand for though systemd does not know them now.
    :param planned: assignments that environment files are about to be given, by the path of the file. Units that are listed are
        described as though the files had them, a file that does not exist yet included.
    :param repointed: old and new paths that are about to be replaced in unit files and drop-ins, by the path of the file. What is
        read of these files themselves is described as it will be, for units that are listed.
    :param leaving: old and new paths, for the logs that would still go to an old one.
    :raises ContimgError: when systemd cannot be asked. Without names and paths it is not asked.
    """
    listed = units_of(resolved_units(names, remembered=remembered))
    moves = {os.path.realpath(path): pairs for path, pairs in (repointed or {}).items()}
    described = {name: _read_unit(raw, planned, moves) for name, raw in show(listed, _PROPERTIES).items()}
    known = {unit.raw["Id"] for unit in described.values()}
    # A disabled unit, too, may be started by hand or by cron.
    for raw in [*show(all_units(_TYPES), _PROPERTIES).values(), *_templates()] if using else ():
        unit = _read_unit(raw)
        if raw["Id"] not in known and next(uses_of(unit, using), None):
            described[raw["Id"]] = unit
            known.add(raw["Id"])
    asked = {*listed, *(template for name in names for template in fnmatch.filter(described, name))}
    return {
        name: {
            **asdict(facts_of(unit)),
            "uses": list(uses_of(unit, using)),
            "listed": name in asked,
            "left_logs": _left_logs(unit, leaving),
        }
        for name, unit in described.items()
    }


def _left_logs(unit: Unit, moves: Moves) -> dict[str, str]:
    """Return by directive where the output of a unit would have to go instead of to an old path."""
    said = {name: "".join(unit.settings.get(name, [])) for name in ("StandardOutput", "StandardError")}
    new = {name: replaced(value, moves) for name, value in said.items()}
    return {name: value for name, value in new.items() if value != said[name]}


def _templates() -> Iterator[dict[str, str]]:
    """Yield the properties of every template. Its environment files are those of all its instances."""
    asked = {with_instance(template, _ANY): template for template in installed_templates(_TYPES)}
    for instance, raw in show(list(asked), _PROPERTIES).items():
        spelled = {
            name: value.replace(_ANY, "*" if name == "EnvironmentFiles" else "%i") for name, value in raw.items()
        }
        yield {**spelled, "Id": asked[instance]}


def logs_of_units(names: Sequence[str]) -> list[str]:
    """Return the files that the output of units goes to. Raises ContimgError when systemd cannot be asked."""
    found = show(names, ("Id", "FragmentPath", "DropInPaths")).values()
    return sorted({path for raw in found for path in logs_of(_settings(raw, {}), raw["Id"])})


def _read_unit(
    raw: Mapping[str, str],
    planned: Mapping[str, Mapping[str, object]] | None = None,
    moves: Mapping[str, Moves] | None = None,
) -> Unit:
    written = {
        os.path.realpath(path): {os.fsencode(name): os.fsencode(str(value)) for name, value in values.items()}
        for path, values in (planned or {}).items()
    }
    paths = [
        path for file in _environment_files(raw["EnvironmentFiles"]) for path in _files_matching(file["path"], written)
    ]
    timer = _timer_moment(raw) if raw["Id"].endswith(".timer") and raw["LoadState"] == "loaded" else None
    said = {path: written[os.path.realpath(path)] for path in paths if os.path.realpath(path) in written}
    return Unit(raw, _settings(raw, moves or {}), {path: _read(path) for path in paths}, timer, said)


def _files_matching(pattern: str, planned: Collection[str]) -> list[str]:
    """Return the files that an ``EnvironmentFile=`` names, one that is about to be made included."""
    if os.path.realpath(pattern) in planned:
        return [pattern]
    made = [path for path in planned if fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/")]
    return sorted({*glob.glob(pattern), *made})


def _settings(raw: Mapping[str, str], moves: Mapping[str, Moves]) -> dict[str, list[str]]:
    files = _unit_files(raw)
    return parse_unit_files([replaced(_text(path), moves.get(os.path.realpath(path), ())) for path in files])


def _text(path: str) -> str:
    return _read(path).decode(errors="surrogateescape")


def _read(path: str) -> bytes:
    with contextlib.suppress(ContimgError):
        return read_regular(path, "read the file", follow=True)
    return b""


def _timer_moment(raw: Mapping[str, str]) -> TimerMoment:
    moments = ("InactiveExitTimestampMonotonic", "InactiveEnterTimestampMonotonic")
    service = show(raw["Triggers"].split()[:1], moments)
    up = uptime()
    monotonic = time.clock_gettime(time.CLOCK_MONOTONIC)
    since = {"OnBootUSec": up, "OnStartupUSec": up}
    for shown in service.values():
        for setting, name in zip(("OnUnitActiveUSec", "OnUnitInactiveUSec"), moments):
            if int(shown[name] or 0):
                since[setting] = monotonic - int(shown[name]) / 1e6
    stamp = _stamp_of(raw)
    return TimerMoment(since, stamp, stamp is not None and version() >= _STAMP_ENDS_BOOT, time.time(), next_elapse)


def _stamp_of(raw: Mapping[str, str]) -> float | None:
    if raw["Persistent"] == "yes":
        with contextlib.suppress(OSError):
            return os.stat(f"{_STAMPS}/stamp-{raw['Id']}").st_mtime
    return None


def uses_of(unit: Unit, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield where a unit names one of the paths: ``path``, ``where``, in an environment ``name``, and the ``files`` with it."""
    found = {"Environment": _environment(unit.raw["Environment"])}
    found.update((file, effective(content)) for file, content in unit.files.items())
    for path in paths:
        for where, values in _places(unit).items():
            if any(names_path(value, path) for value in values):
                yield {"path": path, "where": where, "files": _files_naming(unit, path)}
        for where, values_by_name in found.items():
            for name in (name for name, value in values_by_name.items() if names_path(os.fsdecode(value), path)):
                files = [where] if where in unit.files else _files_naming(unit, path)
                yield {"path": path, "where": where, "name": printable(name), "files": files}


def _files_naming(unit: Unit, path: str) -> list[str]:
    """Return which of a unit's files have a setting that names a path: all of them, where none has it as it is written."""
    files = _unit_files(unit.raw)
    naming = [file for file in files if _has_setting(parse_unit_files([_text(file)]), path)]
    return naming or files


def _has_setting(settings: Mapping[str, list[str]], path: str) -> bool:
    return any(names_path(value, path) for name in settings.keys() - _NO_USES for value in settings[name])


def _places(unit: Unit) -> dict[str, list[str]]:
    raw, name = unit.raw, unit.raw["Id"]
    return {
        **{setting: _PROGRAM.findall(raw[setting]) + _COMMAND.findall(raw[setting]) for setting in _COMMANDS},
        "ReadWritePaths": [raw["ReadWritePaths"]],
        "WorkingDirectory": [raw["WorkingDirectory"]],
        "EnvironmentFile": [file["path"] for file in _environment_files(raw["EnvironmentFiles"])],
        "UnitFile": _unit_files(raw),
        **{
            setting: [specifiers_expanded(value, name) for value in values]
            for setting, values in unit.settings.items()
            if setting not in _ANSWERED
        },
    }
