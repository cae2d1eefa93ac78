# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which users of a path a move neither stops nor repoints, judged from what was observed. Nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

__all__ = ["Move", "Seen", "leftovers", "notes", "strangers"]

_SHOWN = 3
_OUTPUTS = ("StandardOutput", "StandardError")


@dataclass(frozen=True)
class Seen:
    """What was observed of a host; see the RETURN of ``unit_info``, ``container_info``, ``open_files_info``.

    :ivar cron: as ``state_users_info`` returns it, and ``mounts`` too.
    :ivar unasked: by engine, why it could not be asked for its containers.
    """

    units: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    containers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unasked: Mapping[str, str] = field(default_factory=dict)
    holders: Sequence[Mapping[str, Any]] = ()
    inside: Sequence[Mapping[str, Any]] = ()
    cron: Sequence[Mapping[str, Any]] = ()
    mounts: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Move:
    """What a move does with the users of its paths.

    :ivar leaving: the paths that are left; what a unit names of the others, it is to use after the move.
    :ivar repointed: the files that are repointed, or reported besides.
    :ivar containers: the names of those that are stopped.
    :ivar timer: the timer of the clean-up, which is enabled last.
    :ivar known: the names, files and commands that may go on, as :func:`known_names` returns it.
    """

    leaving: frozenset[str]
    repointed: frozenset[str] = frozenset()
    containers: frozenset[str] = frozenset()
    timer: str = ""
    known: re.Pattern[str] = field(default_factory=lambda: known_names(()))

    def knows(self, *names: str) -> bool:
        """Return whether any of the names may go on."""
        return any(self.known.match(name) for name in names)


def strangers(seen: Seen, move: Move) -> list[str]:
    """Return a line for each use, before a move, of what it would neither stop nor repoint."""
    return [
        *_strange_units(seen, move),
        *_strange_containers(seen, move),
        *_strange_processes(seen, move),
        *_crontabs(seen, move),
        *_strange_mounts(seen, move),
    ]


def leftovers(seen: Seen, move: Move) -> list[str]:
    """Return a line for each use, after a move, of the paths that it has left. Open files are not judged here."""
    units = [
        f"{name}: {_place(use)} in {' or '.join(use['files'])}"
        for name, unit in seen.units.items()
        for use in unit["uses"]
        if set(use["files"]) - move.repointed and not move.knows(name, *use["files"])
    ]
    mounts = [
        f"{one['point']}: a mount that shows it"
        for one in seen.mounts
        if not one["pid"] and not move.knows(one["point"])
    ]
    return [*units, *_left_containers(seen, move), *_crontabs(seen, move), *mounts]


def notes(seen: Seen) -> list[str]:
    """Return a line for what is unusual before a move and does not prevent it."""
    found = [line for name, unit in seen.units.items() for line in _notes_of_unit(name, unit)]
    found += [
        f"process {one['pid']} ({one['command']}) works in {_files(one['files'], more='')}" for one in seen.inside
    ]
    return found + [f"{name} could not be asked for its containers: {why}" for name, why in seen.unasked.items()]


def _strange_units(seen: Seen, move: Move) -> Iterator[str]:
    for name, unit in seen.units.items():
        for use in unit["uses"]:
            if not _is_handled(name, unit, use, move=move) and not move.knows(name, *use["files"]):
                yield f"{name}: {_place(use)} in {' or '.join(use['files'])} names {use['path']}"


def _is_handled(name: str, unit: Mapping[str, Any], use: Mapping[str, Any], *, move: Move) -> bool:
    """Return whether the move repoints what names a path, or the unit is to use that path after the move.

    The move repoints the logs of a listed unit by a drop-in; a template has none before it is started.
    """
    listed = unit["listed"]
    expected = (listed or move.timer in unit["triggered_by"]) and use["path"] not in move.leaving
    logs = listed and "@." not in name and use["where"] in _OUTPUTS
    return not set(use["files"]) - move.repointed or expected or logs


def _strange_containers(seen: Seen, move: Move) -> Iterator[str]:
    for name, container in seen.containers.items():
        if name in move.containers:
            yield from ([f"container {name}: {container['obstacle']}"] if container.get("obstacle") else [])
            for file in _creating(container, move):
                yield f"container {name}: {file}, which creates it, names the state"
        elif not move.knows(name, container["id"]):
            for use in container["uses"]:
                yield f"container {name} ({container['status']}): {_binding(use)} shows or names {use['path']}"


def _left_containers(seen: Seen, move: Move) -> Iterator[str]:
    for name, container in seen.containers.items():
        if not move.knows(name):
            for use in container.get("uses", ()):
                if use["where"] != "above":
                    yield f"container {name} ({container['status']}): {_binding(use)}"
            for file in _creating(container, Move(move.leaving, known=move.known)):
                yield f"container {name}: {file}, which creates it"


def _creating(container: Mapping[str, Any], move: Move) -> list[str]:
    files = container.get("named_in", ())
    return [file for file in files if file not in move.repointed and not move.knows(file)]


def _strange_processes(seen: Seen, move: Move) -> Iterator[str]:
    """Yield processes of what is not stopped. One that only reads may be known."""
    listed = {name for name, unit in seen.units.items() if unit["listed"]}
    held = {one["id"] for name, one in seen.containers.items() if name in move.containers and "id" in one}
    for one in seen.holders:
        unit, user_unit, container = one["unit"], one["user_unit"], one["container"]
        if unit in listed or container in held:
            continue
        writes = one["mode"] == "write"
        if writes or not move.knows(unit, user_unit, container, one["command"]):
            owner = f" of {container or user_unit or unit}" if container or unit else ""
            does = "can write to" if writes else "reads"
            yield f"process {one['pid']} ({one['command']}){owner} {does} {_files(one['files'])}"


def _crontabs(seen: Seen, move: Move) -> list[str]:
    return [f"{one['file']}:{one['line']}: {one['text']}" for one in seen.cron if not move.knows(one["file"])]


def _strange_mounts(seen: Seen, move: Move) -> Iterator[str]:
    """Yield mounts of this host and of containers that were not reported as such.

    The mounts of other units' own namespaces are left out: what they name and have open is reported anyway, and most of them
    show half of the host.
    """
    listed = {name for name, unit in seen.units.items() if unit["listed"]}
    reported = {one["id"] for one in seen.containers.values() if "id" in one}
    for one in seen.mounts:
        names = (one["point"], one["unit"], one["container"], one["command"])
        others = one["pid"] and not one["container"]
        if others or one["unit"] in listed or one["container"] in reported or move.knows(*names):
            continue
        where = f"container {one['container']} ({one['command']})" if one["container"] else "this host"
        yield f"{where} has it mounted at {one['point']}"


def _notes_of_unit(name: str, unit: Mapping[str, Any]) -> Iterator[str]:
    active, state = unit["active_state"], f"{unit['active_state']} ({unit['sub_state']})"
    if active == "failed" or unit["sub_state"] == "auto-restart":
        yield f"{name} is {state} before the move, which is not its fault"
    elif active not in ("active", "inactive"):
        stopped = "; it would be stopped, and started again after the move" if unit["listed"] else ""
        yield f"{name} is at work: {state}{stopped}"
    for path in unit["unexpanded_files"]:
        yield f"{path}: somebody gave {name} a variable for a path, which systemd does not expand"


def _place(use: Mapping[str, Any]) -> str:
    return str(use.get("name", use["where"]))


def _binding(use: Mapping[str, Any]) -> str:
    return f"{use['where']} {use['name']}".rstrip()


def _files(files: Sequence[str], more: str = " and more") -> str:
    return ", ".join(files[:_SHOWN]) + (more if len(files) > _SHOWN else "")
