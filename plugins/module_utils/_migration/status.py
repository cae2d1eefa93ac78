# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host of what has to run, and which holds keep it down, whatever run has placed them.

A run looks at its beginning, and again at its end with what it saw then. What an unfinished hold remembers counts as well:
it ran before that hold.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import (
    containers_of_host,
    unasked_clause,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.account import account
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import (
    bound_record,
    read_record,
    record_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_containers
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_file as unit_holds
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_units import UP, is_up, known_units
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["Hold", "foreign_holds", "holds_of_host", "look", "release_of"]

_KINDS = ("units", "containers")


@dataclass(frozen=True)
class Hold:
    """A hold that has not been released.

    :ivar since: when the first was stopped, seconds since the epoch; ``None`` where that is not known.
    :ivar run_id: the run that has placed it, empty where none had an id.
    :ivar units: all that it holds.
    :ivar containers: all that it remembers.
    :ivar ran: those of either that ran before.
    """

    hold_file: str
    since: float | None
    run_id: str
    units: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    ran: tuple[str, ...] = ()

    @property
    def run_dir(self) -> str:
        """The run directory of the run that has placed it."""
        return os.path.dirname(self.hold_file)


def holds_of_host() -> list[Hold]:
    """Return every hold of this host. Raises ContimgError when one cannot be read."""
    return [_read_hold(path) for path in sorted(unit_holds.hold_files())]


def _read_hold(path: str) -> Hold:
    try:
        units = unit_holds.read_memory(path)
    except ContimgError:
        containers = hold_containers.read_memory(path)
        ran = tuple(name for name, one in containers.containers.items() if one.was_running)
        return Hold(path, containers.stopped_at, containers.run_id, containers=tuple(containers.containers), ran=ran)
    ran = tuple(name for name, found in units.units.items() if found.was_active and not found.was_failing)
    return Hold(path, units.stopped_at, units.run_id, units=tuple(units.units), ran=ran)


def foreign_holds(holds: Iterable[Hold], own: Sequence[str]) -> list[str]:
    """Return a line for each hold that is not among a playbook's own: what it holds, whose it is, and how it is released.

    :param own: the paths of the playbook's own hold files.
    """
    return [_line_of(hold) for hold in holds if hold.hold_file not in own]


def _line_of(hold: Hold) -> str:
    since = "" if hold.since is None else f" since {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime(hold.since))}"
    by = f"run {hold.run_id}" if hold.run_id else "a run without an id"
    playbook = hold.run_id.split("-", 1)[0] if hold.run_id else "migrate or rollback"
    held = f"{', '.join(hold.units)}: held down" if hold.units else f"{', '.join(hold.containers)}: stopped"
    return (
        f"{printable(held)}{since} by {by} with the run directory {printable(hold.run_dir)}"
        f" (hold file {printable(hold.hold_file)}). "
        f"Finish that run: dsa110.contimg.{playbook} with contimg_run_dir: {printable(hold.run_dir)}. "
        f"Or only start again what it has stopped: {release_of(hold)}"
    )


def release_of(hold: Hold) -> str:
    """Return the command that releases a hold and starts what ran before it."""
    module = "unit_hold" if hold.units else "container_hold"
    return (
        f"ansible HOST -b -m dsa110.contimg.{module} -a 'state=released names= hold_file={printable(hold.hold_file)}'"
    )


def look(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``host_status`` reports for its parameters.

    :raises ContimgError: when a hold cannot be read, systemd cannot be asked, or the record belongs to another move.
    """
    holds = holds_of_host()
    run_dir = os.path.abspath(values["run_dir"])
    own = [hold for hold in holds if hold.run_dir == run_dir]
    foreign = foreign_holds(holds, [os.path.join(run_dir, name) for name in values["own_holds"]])
    if "foreign_holds" in values["fail_on"]:
        _require_none(foreign)
    before = None if values["before"] is None else {kind: values["before"].get(kind, []) for kind in _KINDS}
    asked = {kind: [*values[kind], *(before or {}).get(kind, [])] for kind in _KINDS}
    found = {
        "units": _units([*asked["units"], *_all_of("units", own)]),
        "containers": _containers([*asked["containers"], *_all_of("containers", own)]),
    }
    ran = {
        kind: sorted({*(before[kind] if before else _up(found[kind])), *(set(_ran(own)) & set(found[kind]))})
        for kind in _KINDS
    }
    for kind in _KINDS:
        for name, facts in found[kind].items():
            facts["ran"] = name in ran[kind]
    down = [f"{name} is {one['state']}" for kind in _KINDS for name, one in found[kind].items() if _is_missed(one)]
    record = read_record(run_dir)
    phase = record["phase"]
    report = {**found, "ran": ran, "down": down, "foreign_holds": foreign, "phase": phase}
    if values["src"] is not None and values["dest"] is not None:
        report.update(account(found, record, values))
    if values["move"] is not None:
        report.update(_record_of(values["move"], record, run_dir, report))
    if down and "down" in values["fail_on"]:
        where = f"The host is at phase '{phase or 'untouched'}' ({record_file(run_dir)})."
        hint = (
            f"{where} Find the cause with 'systemctl status' and 'journalctl -u', correct it, and start what is down."
        )
        hint = "\n".join([hint, *report.get("lines", [])])
        raise ContimgError(f"what ran before this run does not run now: {'; '.join(down)}", hint=hint, **report)
    return report


def _record_of(
    move: Mapping[str, Any], record: dict[str, Any], run_dir: str, report: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what ``migration_record`` would, read for a move. An error has the report, which the end of the run needs."""
    path = record_file(run_dir)
    try:
        return {"record": bound_record(record, move, run_dir), "record_file": path, "now": time.time()}
    except ContimgError as error:
        raise ContimgError(error.what, path=path, hint=error.hint, **report) from error


def _require_none(foreign: Sequence[str]) -> None:
    if foreign:
        what = "holds of other runs keep units or containers of this host down, and this run could not start them again"
        raise ContimgError("\n".join([f"{what}:", *foreign, "Nothing was touched"]), foreign_holds=foreign)


def _all_of(kind: str, holds: Iterable[Hold]) -> list[str]:
    return [name for hold in holds for name in (hold.units if kind == "units" else hold.containers)]


def _ran(holds: Iterable[Hold]) -> list[str]:
    return [name for hold in holds for name in hold.ran]


def _up(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [name for name, facts in found.items() if facts["up"]]


def _is_missed(facts: Mapping[str, Any]) -> bool:
    return bool(facts["ran"] and not facts["up"])


def _units(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how units are, and all that a hold of them would stop too. Without names systemd is not asked."""
    if not names:
        return {}
    held = unit_holds.holders()
    return {
        name: {"up": is_up(facts), "state": _state_of(facts, held.get(name, ""))}
        for name, facts in show(known_units(list(dict.fromkeys(names))), UP).items()
    }


def _state_of(facts: Mapping[str, str], hold_file: str) -> str:
    if facts["LoadState"] not in ("loaded", "masked"):
        return str(facts["LoadState"])
    held = f", held by {printable(hold_file)}" if hold_file else ""
    return f"{facts['ActiveState']} ({facts['SubState']}{held})"


def _containers(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how containers are. Without names no engine is asked."""
    now, unasked = containers_of_host() if names else ({}, {})
    absent = f"not-found{unasked_clause(unasked)}"
    return {
        name: {"up": name in now and now[name].running, "state": now[name].status if name in now else absent}
        for name in dict.fromkeys(names)
    }
