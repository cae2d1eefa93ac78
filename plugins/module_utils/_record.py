# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a host: the one file that says where it stands on its way from the old state to the new."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import (
    decoding,
    ensure_private_directory,
    expected,
    read_json,
    read_optional,
    replace_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["PHASES", "advance", "allowed", "keep", "read_record", "record_file", "text"]

PHASES = ("presynced", "held", "proved", "split", "repointed", "started", "done", "rolled_back", "retiring", "retired")

_VERSION = 1
_FORMER = 10  # attempts that are remembered
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
    """Tell whether a host may go from one phase to another; staying is allowed. No phase yet is ``""``."""
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
        return {"version": _VERSION, "phase": "", "since": "", "history": [], "facts": {}, "former": []}
    hint = "Nothing was touched. Restore it, or move it away if this host was never moved."
    with decoding(path, "is not the record of a move", hint):
        return _checked(read_json(content))


def _checked(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record holds, and nothing else that stands in its file. Raises ValueError, KeyError or TypeError."""
    if told["version"] != _VERSION or told["phase"] not in _NEXT:
        raise ValueError
    return {
        "version": _VERSION,
        "phase": expected(told["phase"], str),
        "since": expected(told["since"], str),
        "history": [{name: expected(one[name], str) for name in ("phase", "at")} for one in told["history"]],
        "facts": expected(told["facts"], dict),
        "former": [expected(facts, dict) for facts in expected(told["former"], list)],
    }


def advance(record: Mapping[str, Any], phase: str, facts: Mapping[str, Any], *, at: float) -> dict[str, Any]:
    """Return the record in a phase, with facts merged in; a fact that is ``None`` is removed.

    A host that starts again after it went back keeps the facts of the former attempt apart.

    :param at: seconds since the epoch.
    :raises ContimgError: when the phase cannot follow.
    """
    old = record["phase"]
    if not allowed(old, phase):
        expected = ", ".join(sorted(_NEXT[old])) or "nothing"
        raise ContimgError(
            f"a host that stands at '{old or 'untouched'}' cannot be taken to '{phase}': what can follow is {expected}",
            hint="The record was not changed. Run dsa110.contimg.migrate, which reads it first.",
        )
    result = dict(record)
    if phase != old:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        result.update(phase=phase, since=moment, history=[*record["history"], {"phase": phase, "at": moment}])
    if old == "rolled_back" and phase != old:
        result.update(facts={}, former=[*record["former"], record["facts"]][-_FORMER:])
    merged = {**result["facts"], **facts}
    result["facts"] = {name: value for name, value in merged.items() if value is not None}
    return result


def keep(run_dir: str, record: Mapping[str, Any]) -> None:
    """Write a record durably, readable by its owner only. Raises ContimgError."""
    ensure_private_directory(run_dir)
    replace_file(record_file(run_dir), text(record).encode(), mode=0o600)


def text(record: Mapping[str, Any]) -> str:
    """Return the record as it stands in its file."""
    return json.dumps(record, indent=2, sort_keys=True) + "\n"
