# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps units down, and the memory of how they were found.

The memory stands twice: in the hold file, which survives a reboot, and in the drop-ins below /run, which do not. So a hold
whose file was removed by mistake still holds, and still knows what has to run again. Every hold file is registered at one
place of the host, so that a run with another run directory finds it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    clear_left,
    decoding,
    ensure_private_directory,
    expected,
    read_json,
    read_optional,
    read_regular,
    replace_file,
    sync_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there, matching
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.reserve import replace_with_reserve, with_reserve
from ansible_collections.dsa110.contimg.plugins.module_utils._host.place import lasting_place, open_place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = [
    "Found",
    "HoldState",
    "asked_for",
    "diff_of",
    "forget",
    "held_units",
    "hold_files",
    "holders",
    "keep_hold_file",
    "place_drop_in",
    "plain_name",
    "read_memory",
    "remove_drop_in",
    "run_of",
    "stopped_at",
    "write_memory",
]

_DROP_IN = "90-contimg-hold.conf"
_RUNTIME = "/run/systemd/system"
_MARK = "# contimg-hold: "
_ENTRY = "hold-"
_NAME = re.compile(r"[A-Za-z0-9_:.@\\][A-Za-z0-9_:.@\\-]*")


@dataclass(frozen=True)
class Found:
    """A unit as it was found before the hold.

    :ivar is_trigger: whether it is held only because it starts another one.
    :ivar is_dependent: whether it is held only because systemd stops it together with another one.
    :ivar was_failing: whether it had failed, or was just being started again after it had: not the hold's fault.
    """

    was_active: bool
    was_enabled: bool
    is_trigger: bool
    is_dependent: bool = False
    was_failing: bool = False


@dataclass(frozen=True)
class HoldState:
    """How units were found by a hold that has not been released.

    :ivar stopped_at: when the first was stopped, seconds since the epoch.
    :ivar on_file: whether this was read from the hold file, not from the drop-ins.
    :ivar run_id: the run that has stopped them, empty where none had an id.
    """

    units: Mapping[str, Found] = field(default_factory=dict)
    stopped_at: float | None = None
    on_file: bool = False
    run_id: str = ""


def read_memory(hold_file: str) -> HoldState:
    """Return what is remembered, from the hold file or, where it is missing, from the drop-ins.

    :raises ContimgError: when the file cannot be read or is none.
    """
    content = read_optional(hold_file, "read the hold file")
    if content is None:
        notes = _notes().get(hold_file, {})
        moments = [note.stopped_at for note in notes.values() if note.stopped_at is not None]
        units = {name: found for note in notes.values() for name, found in note.units.items()}
        run_id = max((note.run_id for note in notes.values()), default="")
        return HoldState(units, min(moments, default=None), run_id=run_id)
    hint = "Nothing was touched. Remove it: what was running is also known from the drop-ins, unless the host was rebooted."
    with decoding(hold_file, "is no hold file", hint):
        fields = read_json(content)
        units = {plain_name(name): _found(one) for name, one in fields["units"].items()}
        return HoldState(units, stopped_at(fields), on_file=True, run_id=run_of(fields))


def stopped_at(fields: Mapping[str, Any]) -> float | None:
    """Return when the first was stopped, as a hold file has it. Raises KeyError, TypeError or ValueError."""
    return None if fields["stopped_at"] is None else float(fields["stopped_at"])


def run_of(fields: Mapping[str, Any]) -> str:
    """Return the run that a hold file names, empty where it names none. Raises TypeError."""
    return expected(fields.get("run_id", ""), str)


def plain_name(name: str) -> str:
    """Return the name of a unit or container that a file has: it becomes a part of commands and paths. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(name)
    return name


def _found(fields: Mapping[str, Any]) -> Found:
    return Found(**{name: expected(value, bool) for name, value in fields.items()})


def asked_for(memory: HoldState) -> list[str]:
    """Return the units that were held for their own sake, not because they hang together with others."""
    return [name for name, found in memory.units.items() if not (found.is_trigger or found.is_dependent)]


def write_memory(hold_file: str, memory: HoldState) -> None:
    """Write the hold file durably, for its owner only. Raises ContimgError."""
    units = {name: asdict(found) for name, found in memory.units.items()}
    keep_hold_file(hold_file, {"units": units, "stopped_at": memory.stopped_at, "run_id": memory.run_id})


def keep_hold_file(hold_file: str, content: Mapping[str, Any]) -> None:
    """Register a hold file, units' or containers', and write it durably, for its owner only. Raises ContimgError."""
    ensure_private_directory(os.path.dirname(hold_file))
    with_reserve(os.path.dirname(hold_file), lambda: _register(hold_file))
    replace_with_reserve(hold_file, json.dumps(content, indent=2).encode())


def _register(hold_file: str) -> None:
    with open_place(lasting_place(), make=True) as place, error_context("register the hold", lasting_place()):
        with contextlib.suppress(FileExistsError):
            os.symlink(os.path.abspath(hold_file), _entry(hold_file), dir_fd=place)
            os.fsync(cast("int", place))


def forget(hold_file: str) -> None:
    """Remove the hold file durably. Raises ContimgError."""
    with error_context("remove the hold file", hold_file):
        os.unlink(hold_file)
        sync_directory(os.path.dirname(hold_file))
    with open_place(lasting_place(), make=False) as place:
        if place is not None:
            with contextlib.suppress(OSError):  # an entry that leads to nothing does no harm
                os.unlink(_entry(hold_file), dir_fd=place)


def _entry(hold_file: str) -> str:
    return _ENTRY + hashlib.sha256(os.fsencode(os.path.abspath(hold_file))).hexdigest()[:32]


def hold_files() -> set[str]:
    """Return the path of every hold file of this host, in whatever run directory: those that exist, or have a drop-in.

    :raises ContimgError: when the place where they are registered cannot be read.
    """
    with open_place(lasting_place(), make=False) as place, error_context("read which holds there are", lasting_place()):
        entries = [] if place is None else [name for name in os.listdir(place) if name.startswith(_ENTRY)]
        registered = {os.readlink(name, dir_fd=place) for name in entries}
    return {*_notes(), *(path for path in registered if is_there(path))}


def holders() -> dict[str, str]:
    """Return by held unit the hold file that its drop-in names."""
    return {unit: hold_file for hold_file, notes in _notes().items() for unit in notes}


def diff_of(stopped: Sequence[str], started: Sequence[str], running: str) -> dict[str, str]:
    """Return the ``diff`` of a hold, or of a release; ``running`` is the word for what is up."""
    before, after = (running, "held") if stopped else ("held", running)
    names = stopped or started
    return {
        side: "".join(f"{name}: {word}\n" for name in names) for side, word in (("before", before), ("after", after))
    }


def held_units(hold_file: str) -> set[str]:
    """Return the units that have a drop-in of this hold."""
    return set(_notes().get(hold_file, {}))


def _notes() -> dict[str, dict[str, HoldState]]:
    """Return by hold file, and by unit, what the drop-ins of this host remember: of a template nothing."""
    notes: dict[str, dict[str, HoldState]] = {}
    for path in matching(f"{glob.escape(_RUNTIME)}/*.d/{_DROP_IN}"):
        with contextlib.suppress(ContimgError), decoding(path, "is no drop-in of a hold"):
            lines = read_regular(path, "read the drop-in").decode().splitlines()
            note = read_json(next((line[len(_MARK) :] for line in lines if line.startswith(_MARK)), "{}").encode())
            name = plain_name(os.path.basename(os.path.dirname(path))[: -len(".d")])
            units = {} if note["found"] is None else {name: _found(note["found"])}
            memory = HoldState(units, stopped_at(note), run_id=run_of(note))
            notes.setdefault(expected(note["hold_file"], str), {})[name] = memory
    return notes


def place_drop_in(unit: str, hold_file: str, memory: HoldState) -> None:
    """Hold a unit, as soon as systemd has reloaded: every start request fails while hold file or drop-in exists.

    Of a template, whose future instances are held, there is nothing to remember.

    :raises ContimgError: when the drop-in cannot be written.
    """
    path = _path(unit)
    with error_context("hold the unit", path):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    found = memory.units.get(unit)
    note = {
        "hold_file": hold_file,
        "found": found and asdict(found),
        "stopped_at": memory.stopped_at,
        "run_id": memory.run_id,
    }
    asserts = "".join(f"AssertPathExists=!{one.replace('%', '%%')}\n" for one in (hold_file, path))
    text = f"{_explanation(hold_file, memory)}{_MARK}{json.dumps(note)}\n[Unit]\n{asserts}"
    replace_file(path, text.encode(), mode=0o644)


def _explanation(hold_file: str, memory: HoldState) -> str:
    """Return the comment for an operator who finds that a unit cannot be started: who holds it, and how to do without Ansible."""
    moment = (
        ""
        if memory.stopped_at is None
        else time.strftime(" since %Y-%m-%d %H:%M:%S UTC", time.gmtime(memory.stopped_at))
    )
    run = f"run {memory.run_id}" if memory.run_id else "a run"
    return (
        f"# Held{moment} by {run} of a move of this host's state, which releases it at its end. A rollback does, too.\n"
        f"# Without Ansible, when no run is at work here: remove all files {_RUNTIME}/*.d/{_DROP_IN}\n"
        f"# and {printable(hold_file)}, run 'systemctl daemon-reload', and start the units.\n"
    )


def remove_drop_in(unit: str) -> None:
    """Let a unit go, as soon as systemd has reloaded. Raises ContimgError when the drop-in cannot be removed."""
    path = _path(unit)
    directory = os.path.dirname(path)
    with error_context("release the unit", path), contextlib.suppress(FileNotFoundError):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        clear_left(path)
        if not os.listdir(directory):
            os.rmdir(directory)


def _path(unit: str) -> str:
    return f"{_RUNTIME}/{unit}.d/{_DROP_IN}"
