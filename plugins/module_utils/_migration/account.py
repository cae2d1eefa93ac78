# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which copy of the state a host uses, as it is seen: by its environment files, by its running services, and by the record.

Nothing is assumed. Where the three do not agree, this is what an operator has to know.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import effective
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import read_optional
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import read_text
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import record_file
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import names_path
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["Seen", "Sides", "account", "lines_of"]

_ON_NEW = ("started", "done", "retiring", "retired")
_NEXT = {
    "": "dsa110.contimg.migrate --check --diff shows what a move would change",
    "presynced": "dsa110.contimg.migrate goes on with the move",
    "held": "dsa110.contimg.migrate goes on with the move",
    "proved": "dsa110.contimg.migrate goes on with the move",
    "split": "dsa110.contimg.migrate goes on with the move",
    "repointed": "dsa110.contimg.migrate goes on with the move; dsa110.contimg.rollback goes back to {old}",
    "started": "dsa110.contimg.migrate watches the services again; dsa110.contimg.rollback goes back to {old}",
    "done": "dsa110.contimg.verify audits the move; dsa110.contimg.rollback goes back to {old}",
    "rolled_back": "dsa110.contimg.migrate moves the host again",
    "retiring": "dsa110.contimg.retire finishes the removal of {old}",
    "retired": "nothing is left to do; dsa110.contimg.verify audits the host at any time",
}


@dataclass(frozen=True)
class Sides:
    """The two state directories. What is on a side is named by ``old`` and ``new``."""

    old: str
    new: str

    def named_in(self, values: Mapping[bytes, bytes]) -> dict[str, list[str]]:
        """Return by side the names of the assignments whose values name it."""
        return {
            side: sorted(printable(name) for name in values if names_path(os.fsdecode(values[name]), path))
            for side, path in vars(self).items()
        }


@dataclass(frozen=True)
class Seen:
    """What was seen of a host.

    :ivar environment: by environment file and side the names that name the side; ``None`` where there is no such file.
    :ivar processes: by unit the same of its main process, where it has one whose environment can be read.
    :ivar unread: why an environment file cannot be read, a sentence for each.
    """

    environment: Mapping[str, Mapping[str, list[str]] | None] = field(default_factory=dict)
    processes: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    unread: Sequence[str] = ()

    def only(self, side: str) -> list[str]:
        """Return the files and units that name one side, and not the other one."""
        found = {**self.environment, **self.processes}
        return [
            what for what, named in found.items() if named and [one for one, names in named.items() if names] == [side]
        ]


def _of_files(sides: Sides, files: Iterable[str]) -> tuple[dict[str, dict[str, list[str]] | None], list[str]]:
    found: dict[str, dict[str, list[str]] | None] = {}
    unread = []
    for path in files:
        try:
            content = read_optional(os.path.realpath(path), "read the environment file")
            found[printable(path)] = None if content is None else sides.named_in(effective(content))
        except ContimgError as error:
            unread.append(error.message)
    return found, unread


def _of_processes(sides: Sides, units: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    found = {}
    for unit, facts in (show(units, ("MainPID",)) if units else {}).items():
        entries = read_text(f"/proc/{facts['MainPID']}/environ").encode().split(b"\0")
        if any(entries):  # else it has none, has ended, or belongs to somebody else
            found[unit] = sides.named_in(dict(entry.split(b"=", 1) for entry in entries if b"=" in entry))
    return found


def account(report: Mapping[str, Any], record: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a host uses its state, and what comes next, see the RETURN of ``host_status`` from ``environment`` on.

    :param report: ``units`` and ``containers``, as ``host_status`` has found them.
    :param values: with ``src``, ``dest``, ``env_files`` and ``run_dir``.
    :raises ContimgError: when systemd cannot be asked.
    """
    sides = Sides(values["src"], values["dest"])
    running = [name for name, facts in report["units"].items() if facts["up"] and name.endswith(".service")]
    environment, unread = _of_files(sides, values["env_files"])
    seen = Seen(environment, _of_processes(sides, running), unread)
    lines = lines_of(
        seen, {**report["units"], **report["containers"]}, {**record, "file": record_file(values["run_dir"])}, sides
    )
    back = record["phase"] == "rolled_back"
    return {
        "environment": dict(seen.environment),
        "processes": dict(seen.processes),
        "lines": lines,
        "next": lines[-1].partition(": ")[2],
        "downtime": record["facts"].get("downtime_back" if back else "downtime"),
    }


def lines_of(seen: Seen, services: Mapping[str, Any], record: Mapping[str, Any], sides: Sides) -> list[str]:
    """Return the account as lines for an operator: phase, services, environment, which copy counts, the next command.

    :param services: units and containers, each with ``state``, ``up`` and ``ran``.
    :param record: the record, with its ``file``.
    """
    phase = record["phase"]
    since = f" since {record['since']}" if record["since"] else ""
    down = [name for name, facts in sorted(services.items()) if facts["ran"] and not facts["up"]]
    return [
        f"phase: {phase or 'untouched'}{since} ({printable(record['file'])})",
        *_released(phase, record.get("facts", {}).get("hold_limit")),
        *(_service(name, facts, seen.processes.get(name), sides) for name, facts in sorted(services.items())),
        *(_environment(path, named, sides) for path, named in seen.environment.items()),
        *seen.unread,
        _truth(seen, phase, sides),
        _next(phase, down, sides),
    ]


def _released(phase: str, limit: Mapping[str, Any] | None) -> list[str]:
    """Return that the host itself has started its services, if no run has taken it further since."""
    if limit is None or limit["to"] != phase:
        return []
    silent = (
        f"at phase '{limit['from']}' {limit['run'] or 'a run'} gave no sign of life for {limit['seconds']:g} seconds"
    )
    return [f"hold limit: {silent}; the host itself started what had run, at {limit['at']}"]


def _service(name: str, facts: Mapping[str, Any], named: Mapping[str, list[str]] | None, sides: Sides) -> str:
    used = [vars(sides)[side] for side, names in (named or {}).items() if names]
    uses = f", runs on {printable(' and '.join(used))}" if used else ""
    missed = ", DOWN: it ran before" if facts["ran"] and not facts["up"] else ""
    return f"{printable(name)}: {facts['state']}{uses}{missed}"


def _environment(path: str, named: Mapping[str, list[str]] | None, sides: Sides) -> str:
    if named is None:
        return f"{path}: does not exist"
    counts = [f"{len(names)} assignments name {printable(vars(sides)[side])}" for side, names in named.items() if names]
    return f"{path}: {', '.join(counts) or 'names neither state directory'}"


def _truth(seen: Seen, phase: str, sides: Sides) -> str:
    """Return which copy counts: the one that the record says, where nothing that was seen says otherwise."""
    old, new = printable(sides.old), printable(sides.new)
    if phase == "repointed":
        return f"copy that counts: {old}, unless a service has written to {new} since it was repointed"
    path, other, side = (new, old, "old") if phase in _ON_NEW else (old, new, "new")
    others = seen.only(side)
    if not others:
        return f"copy that counts: {path}"
    return f"copy that counts: NOT CLEAR. By the record it is {path}, but {other} is named by {', '.join(others)}"


def _next(phase: str, down: Sequence[str], sides: Sides) -> str:
    start = (
        f"start what is down ({', '.join(printable(name) for name in down)}) when the cause is corrected; "
        if down
        else ""
    )
    return f"next: {start}{_NEXT[phase].format(old=printable(sides.old))}"
