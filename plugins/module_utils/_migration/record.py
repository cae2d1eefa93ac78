# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a host: the one file that says where it stands on its way from the old state to the new.

It belongs to one move: a source, a destination, the databases and what is left out. What it proves holds for that move only,
so a run that is described otherwise is refused.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    decoding,
    expected,
    read_json,
    read_optional,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.reserve import keep_reserve, replace_with_reserve
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.run_readme import explain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = [
    "MOVE",
    "PHASES",
    "advance",
    "allowed",
    "bound_record",
    "differences",
    "keep",
    "move_of",
    "read_record",
    "record_file",
    "run_record",
]

PHASES = ("presynced", "held", "proved", "split", "repointed", "started", "done", "rolled_back", "retiring", "retired")

#: The option ``move`` of a module.
MOVE = {
    "type": "dict",
    "options": {
        "src": {"type": "path", "required": True},
        "dest": {"type": "path", "required": True},
        "databases": {"type": "list", "elements": "dict", "required": True},
        "exclude": {"type": "list", "elements": "str", "required": True},
    },
}

_VERSION = 2
_FIRST = PHASES[0]
_FORMER = 10  # attempts that are remembered
#: What a move is, with the operator's names.
_NAMES = {
    "src": "contimg_state_src",
    "dest": "contimg_state_dest",
    "databases": "contimg_databases",
    "exclude": "contimg_exclude",
}
_FREE = ("", "rolled_back")  # where a move of any description may begin
_NEXT = {
    "": {"presynced"},
    "presynced": {"held", "rolled_back"},
    "held": {"proved", "rolled_back"},
    "proved": {"held", "split", "rolled_back"},
    "split": {"held", "repointed", "rolled_back"},
    "repointed": {"held", "started", "rolled_back"},
    "started": {"done", "rolled_back"},
    "done": {"rolled_back", "retiring", "retired"},
    "rolled_back": {"presynced"},
    "retiring": {"retired"},  # files of the old state are gone: there is no way back
    "retired": set(),
}


def allowed(old: str, new: str) -> bool:
    """Return whether a host may go from one phase to another; staying is allowed. No phase yet is ``""``."""
    return old == new or new in _NEXT[old]


def record_file(run_dir: str) -> str:
    """Return the path of the record below a run directory."""
    return os.path.join(run_dir, "record.json")


def read_record(run_dir: str) -> dict[str, Any]:
    """Return the record, or that of an untouched host where there is none.

    :raises ContimgError: when the file cannot be read or is no record.
    """
    path = record_file(run_dir)
    content = read_optional(path, "read the record")
    if content is None:
        return {"version": _VERSION, "phase": "", "since": "", "history": [], "move": {}, "facts": {}, "former": []}
    hint = "Nothing was touched. Restore it, or move it away if this host was never moved."
    with decoding(path, "is not the record of a move", hint):
        return _checked(read_json(content))


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record holds, and nothing else that stands in its file. Raises ValueError, KeyError or TypeError."""
    if fields["version"] != _VERSION or fields["phase"] not in _NEXT:
        raise ValueError
    return {
        "version": _VERSION,
        "phase": expected(fields["phase"], str),
        "since": expected(fields["since"], str),
        "history": [{name: expected(one[name], str) for name in ("phase", "at", "run")} for one in fields["history"]],
        "move": _checked_move(expected(fields["move"], dict)) if fields["phase"] else {},
        "facts": expected(fields["facts"], dict),
        "former": [expected(facts, dict) for facts in expected(fields["former"], list)],
    }


def _checked_move(fields: Mapping[str, Any]) -> dict[str, Any]:
    databases = expected(fields["databases"], dict)
    return {
        **{name: expected(fields[name], str) for name in ("id", "src", "dest")},
        "databases": {
            name: {"src": [expected(place, str) for place in one["src"]], "dest": expected(one["dest"], str)}
            for name, one in databases.items()
        },
        "exclude": [expected(pattern, str) for pattern in fields["exclude"]],
    }


def move_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a move is, in the form that is recorded and compared: paths normalised, lists whose order does not matter sorted.

    :param described: ``src``, ``dest``, ``databases`` and ``exclude`` as the module takes them.
    :raises ContimgError: when a database has no name or no place.
    """
    with decoding("move.databases", "holds a database without its name, or without its places (src, dest)"):
        databases = {
            expected(one["name"], str): {
                "src": sorted(map(os.path.normpath, one["src"])),
                "dest": os.path.normpath(one["dest"]),
            }
            for one in described["databases"]
        }
    sides = {side: os.path.normpath(described[side]) for side in ("src", "dest")}
    return {**sides, "databases": databases, "exclude": sorted(set(described["exclude"]))}


def differences(record: Mapping[str, Any], described: Mapping[str, Any]) -> list[str]:
    """Return a clause for each value of the record's move that a run describes otherwise.

    :param described: as :func:`move_of` returns it.
    """
    recorded = record["move"]
    found = []
    for key, name in _NAMES.items():
        old, new = recorded[key], described[key]
        if key == "databases":
            changed = sorted(one for one in {*old, *new} if old.get(one) != new.get(one))
            found += [f"{name}: {one} was {_shown(old.get(one))} and is {_shown(new.get(one))} now" for one in changed]
        elif old != new:
            found.append(f"{name} was {_shown(old)} and is {_shown(new)} now")
    return found


def _shown(value: object) -> str:
    return "not there" if value is None else printable(json.dumps(value))


def bound_record(record: dict[str, Any], described: Mapping[str, Any] | None, run_dir: str) -> dict[str, Any]:
    """Return the record for a run: of a former move with another description, which went back, no fact counts.

    :raises ContimgError: when the record belongs to a move that is described otherwise.
    """
    if described is None or not record["phase"]:
        return record
    found = differences(record, move_of(described))
    if not found:
        return record
    if record["phase"] in _FREE:
        return {**record, "facts": {}}
    phase, move = record["phase"], record["move"]
    hint = "Nothing was touched. What that move has proved says nothing of another one. Run again with the values of the record."
    if phase not in ("retiring", "retired"):
        hint += " To choose others, first go back with the values of the record (dsa110.contimg.rollback)."
    raise ContimgError(
        f"belongs to the move {move['id']}, which is at phase '{phase}' and was described otherwise: {'; '.join(found)}",
        path=record_file(run_dir),
        hint=hint,
    )


def advance(
    record: Mapping[str, Any],
    phase: str,
    facts: Mapping[str, Any],
    *,
    at: float,
    run: str = "",
    move: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the record in a phase, with facts merged in; a fact that is ``None`` is removed.

    A host that starts again after it went back keeps the facts of the former attempt apart.

    :param at: seconds since the epoch.
    :param run: the id of the run that takes the host there. A new move gets it for its own.
    :param move: what a new move is, as :func:`move_of` returns it.
    :raises ContimgError: when the phase cannot follow, or a move begins that is not described.
    """
    old = record["phase"]
    if not allowed(old, phase):
        expected = ", ".join(sorted(_NEXT[old])) or "nothing"
        raise ContimgError(
            f"a host that stands at '{old or 'untouched'}' cannot be taken to '{phase}': what can follow is {expected}",
            hint="The record was not changed. Run dsa110.contimg.migrate, which reads it first.",
        )
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    result = dict(record)
    if old in _FREE and phase not in _FREE:
        if move is None:
            raise ContimgError("a move begins without its description", hint="The record was not changed. Name 'move'.")
        result["move"] = {**move, "id": run or f"move-{moment}"}
    if phase != old:
        entry = {"phase": phase, "at": moment, "run": run}
        result.update(phase=phase, since=moment, history=[*record["history"], entry])
    if old == "rolled_back" and phase != old:
        result.update(facts={}, former=[*record["former"], record["facts"]][-_FORMER:])
    merged = {**result["facts"], **facts}
    result["facts"] = {name: value for name, value in merged.items() if value is not None}
    return result


def keep(run_dir: str, record: Mapping[str, Any]) -> None:
    """Write a record durably, readable by its owner only.

    A move begins with a reserve of room, so that the way back can be recorded on a full disk too.

    :raises ContimgError: when it cannot be written, or a move begins without room for the reserve.
    """
    if record["phase"] == _FIRST:
        keep_reserve(run_dir)
    replace_with_reserve(record_file(run_dir), text(record).encode())
    if record["phase"] == _FIRST:
        explain(run_dir)


def text(record: Mapping[str, Any]) -> str:
    """Return the record as it stands in its file."""
    return json.dumps(record, indent=2, sort_keys=True) + "\n"


def _predicted(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record that an earlier task of the same preview has predicted."""
    with decoding("record", "is not a record as this module returns it"):
        return _checked(record)


def run_record(values: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Read the record, or take it to a phase, and return the result of ``migration_record``.

    :raises ContimgError: see :func:`read_record` and :func:`advance`, and when the record belongs to another move.
    """
    run_dir, phase, move = values["run_dir"], values["phase"], values["move"]
    now = time.time()
    before = _predicted(values["record"]) if check and phase is not None and values["record"] else read_record(run_dir)
    found = bound_record(before, move, run_dir)
    after = found
    if phase is not None:
        described = None if move is None else move_of(move)
        facts = {**dict.fromkeys(values["moments"], now), **values["facts"]}
        after = advance(before, phase, facts, at=now, run=values["run_id"], move=described)
    changed = phase is not None and after != before
    if changed and not check:
        keep(run_dir, after)
    diff = {"before": text(before), "after": text(after)} if changed else {}
    return {"changed": changed, "record": after, "record_file": record_file(run_dir), "now": now, "diff": diff}
