# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping units with what triggers them so that no start request brings them back, and starting just those again.

A unit in /etc/systemd/system cannot be masked at run time. The hold is a drop-in below /run with ``AssertPathExists=!FILE``:
it lasts until it is released, or until a reboot. What was found running is written down before anything is stopped, so that
a run after a crash knows what has to run.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, raise_all
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there, target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import command_of, processes_of_unit
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import (
    Found,
    HoldState,
    asked_for,
    diff_of,
    forget,
    held_units,
    holders,
    place_drop_in,
    read_memory,
    remove_drop_in,
    write_memory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import journal, run, show, systemctl
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.names import (
    is_template,
    resolved_units,
    templates_of,
    units_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.obstacles import (
    OBSTACLE_PROPERTIES,
    UnitObstacle,
    refuse,
    unit_obstacles,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.order import in_order, starting_groups
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.units import logs_of_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["UP", "HoldPlan", "HoldSurvey", "is_up", "known_units", "plan_hold", "run_hold", "survey_hold"]

# What systemd stops together with a unit; see systemd.unit(5).
_STOPPED_TOO = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")
_PROPERTIES = (
    *OBSTACLE_PROPERTIES,
    "SubState",
    "UnitFileState",
    "After",
    "TriggeredBy",
    "NeedDaemonReload",
    *_STOPPED_TOO,
)
#: The properties by which a unit is judged to be up.
UP = ("LoadState", "ActiveState", "SubState", "Type", "Result", "RemainAfterExit")
_UNTOUCHED = "Nothing was touched."
_RUNNING = ("active", "activating", "reloading", "refreshing")
_DOWN = ("inactive", "failed")
_ENABLED = ("enabled", "enabled-runtime")
_KILLED = 5  # processes that an error names


@dataclass(frozen=True)
class HoldPlan:
    """What a hold does.

    :ivar units: all units to be held, as they were found first.
    :ivar stop: those that run, in the order in which they are stopped: what triggers others first.
    :ivar drop_in: those that have no drop-in yet, and templates, whose future instances are held by it.
    :ivar remember: whether the hold file has to be written.
    :ivar reload: whether systemd has not loaded a drop-in: a run was killed between the drop-in and the reload.
    """

    units: Mapping[str, Found]
    stop: tuple[str, ...]
    drop_in: tuple[str, ...]
    remember: bool
    reload: bool = False

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.stop or self.drop_in or self.remember or self.reload)


def plan_hold(
    names: Sequence[str],
    shown: Mapping[str, Mapping[str, str]],
    memory: HoldState,
    held: Iterable[str],
    *,
    templates: Sequence[str] = (),
) -> HoldPlan:
    """Decide what a hold does.

    :param shown: properties of the units and of all that hangs together with them, see :func:`_survey`.
    :param memory: how units were found by an earlier, unfinished hold: that is what counts.
    :param held: units that have their drop-in already.
    :param templates: templates whose instances were asked for by a pattern.
    :raises ContimgError: when a unit does not exist, or could not be stopped or started again; it names all such units.
    """
    units = _units_of_hold(names, shown, memory)
    triggers = {name for name, found in units.items() if found.is_trigger}
    refuse(_obstacles(units, shown), state=_UNTOUCHED)
    running = [name for name in units if shown[name]["ActiveState"] not in _DOWN]
    after = {name: shown[name]["After"].split() for name in running}
    stop = [*(name for name in running if name in triggers)]
    stop += reversed(in_order([name for name in running if name not in triggers], after))
    held = set(held)
    remember = bool(units) and not (memory.on_file and units == memory.units)
    drop_in = tuple(name for name in (*units, *templates) if name not in held)
    reload = any(name in held and shown[name]["NeedDaemonReload"] == "yes" for name in units)
    return HoldPlan(units, tuple(stop), drop_in, remember, reload)


def _units_of_hold(names: Sequence[str], shown: Mapping[str, Mapping[str, str]], memory: HoldState) -> dict[str, Found]:
    """Return all units that a hold of some holds, as they are found or, by an earlier hold, were found first.

    :param shown: properties of the units and of all that hangs together with them, see :func:`_survey`.
    """
    triggers, dependents = _hanging_together(names, shown, memory)
    others = [name for name in memory.units if name not in triggers | dependents | set(names)]
    return {
        name: _found(shown[name], memory.units.get(name), triggers=name in triggers, depends=name in dependents)
        for name in (*sorted(triggers), *sorted(dependents), *others, *names)
    }


def _found(facts: Mapping[str, str], before: Found | None, *, triggers: bool, depends: bool) -> Found:
    """Return how a unit is found; how it was found by an earlier hold counts, and if it runs again, that it ran."""
    active = facts["ActiveState"] in _RUNNING
    failing = facts["ActiveState"] == "failed" or facts["SubState"] == "auto-restart"
    if before is None:
        return Found(active, facts["UnitFileState"] in _ENABLED, triggers, depends, failing)
    return Found(active or before.was_active, before.was_enabled, triggers, depends, before.was_failing)


def _hanging_together(
    names: Sequence[str], shown: Mapping[str, Mapping[str, str]], memory: HoldState
) -> tuple[set[str], set[str]]:
    """Return what triggers the units, and what runs and is stopped with them, directly or by way of others.

    What an earlier hold has found counts: systemd forgets a stopped unit, and with it whom it triggers or requires.
    """
    triggers = {name for name, found in memory.units.items() if found.is_trigger} - set(names)
    dependents = {name for name, found in memory.units.items() if found.is_dependent} - set(names)
    pending = [*names, *triggers, *dependents]
    while pending:
        facts = shown[pending.pop()]
        new_triggers = set(facts["TriggeredBy"].split()) - triggers - set(names)
        with_it = {name for setting in _STOPPED_TOO for name in facts[setting].split()} - dependents - set(names)
        new_dependents = {name for name in with_it if shown[name]["ActiveState"] not in _DOWN} - new_triggers
        triggers |= new_triggers
        dependents |= new_dependents
        pending += new_triggers | new_dependents
    return triggers, dependents - triggers


def _obstacles(names: Iterable[str], shown: Mapping[str, Mapping[str, str]]) -> list[UnitObstacle]:
    return [one for name in names for one in unit_obstacles(name, shown[name], file_is_gone=_is_gone(shown[name]))]


def _is_gone(facts: Mapping[str, str]) -> bool:
    return bool(facts["FragmentPath"]) and not target_exists(facts["FragmentPath"])


@dataclass(frozen=True)
class HoldSurvey:
    """What a hold would find.

    :ivar listed: the units that were asked for.
    :ivar stopped: what runs of these and of all that hangs together with them, in groups: what triggers others is stopped first.
    :ivar obstacles: what the hold would be refused for.
    """

    listed: tuple[str, ...]
    stopped: tuple[tuple[str, ...], tuple[str, ...]]
    obstacles: tuple[UnitObstacle, ...]


def survey_hold(names: Sequence[str], hold_file: str) -> HoldSurvey:
    """Look at what a hold would find. Without names systemd is not asked.

    :raises ContimgError: when systemd cannot be asked, or the hold file is none.
    """
    matches = _matches(names, read_memory(hold_file))
    listed = units_of(matches)
    shown = _survey(listed)
    triggers, dependents = _hanging_together(listed, shown, HoldState())
    others = [*sorted(dependents), *listed]
    return HoldSurvey(
        listed=tuple(listed),
        stopped=(_running(sorted(triggers), shown), _running(others, shown)),
        obstacles=(*_unmatched(matches), *_obstacles((*sorted(triggers), *others), shown)),
    )


def _running(names: Iterable[str], shown: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(name for name in names if shown[name]["ActiveState"] not in _DOWN)


def _matches(names: Sequence[str], memory: HoldState) -> dict[str, list[str]]:
    return resolved_units(names, remembered=asked_for(memory))


def _unmatched(matches: Mapping[str, Sequence[str]]) -> list[UnitObstacle]:
    return [_nothing(name) for name, units in matches.items() if not units]


def _nothing(name: str) -> UnitObstacle:
    if is_template(name):
        every = name.replace("@.", "@*.")
        return UnitObstacle(name, "is a template, which never runs itself", f"List its instances, or {every} for all.")
    return UnitObstacle(name, "matches no unit", "Correct the pattern.")


def hold(
    names: Sequence[str],
    hold_file: str,
    *,
    timeout: float,
    run_id: str,
    check: bool,
    arm: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Stop and hold units, and return the module's result. Without names systemd is not asked.

    :param timeout: seconds that the units have to stop.
    :param run_id: the run that holds them, empty for none.
    :param arm: what is done before anything is stopped, also where an earlier run has stopped all of it.
    :raises ContimgError: when a unit does not exist, cannot be held or does not stop; the hold then stays.
    """
    if not names:
        return _result({}, changed=False)
    memory = read_memory(hold_file)
    matches = _matches(names, memory)
    refuse(_unmatched(matches), state=_UNTOUCHED)
    names = units_of(matches)
    known = [*names, *(name for name in memory.units if name not in names)]
    plan = plan_hold(names, _survey(known), memory, held_units(hold_file), templates=templates_of(matches))
    _require_free(plan.units, hold_file)
    moment = memory.stopped_at
    if not check:
        arm()
    if plan.changed and not check:
        moment = moment if memory.units and not plan.stop and moment else time.time()
        _apply_hold(plan, HoldState(plan.units, moment, run_id=run_id), hold_file, timeout, before=memory)
    return _result(plan.units, changed=plan.changed, stopped=plan.stop, stopped_at=moment)


def _require_free(units: Iterable[str], hold_file: str) -> None:
    """Raise ContimgError when another hold holds one of the units: who has placed it knows what has to run again."""
    others = _held_by_others(hold_file)
    for unit in units:
        if unit in others:
            hint = f"Nothing was touched. Finish that run, with its contimg_run_dir: {os.path.dirname(others[unit])}."
            raise ContimgError(f"is held by another run, whose hold file is {others[unit]}", path=unit, hint=hint)


def _held_by_others(hold_file: str) -> dict[str, str]:
    """Return by unit the hold file of another hold that has placed its drop-in."""
    return {unit: other for unit, other in holders().items() if other != hold_file}


def known_units(names: Sequence[str]) -> list[str]:
    """Return all units that a hold of some names and patterns would take now. Raises ContimgError."""
    units = units_of(_matches(names, HoldState()))
    return list(_units_of_hold(units, _survey(units), HoldState())) if units else []


def _survey(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the properties of units and of all that triggers them or is stopped with them, directly or not.

    :raises ContimgError: when systemd cannot be asked.
    """
    shown: dict[str, dict[str, str]] = {}
    pending = list(names)
    while pending:
        new = show(pending, _PROPERTIES)
        shown.update(new)
        linked = {
            one
            for facts in new.values()
            for setting in ("TriggeredBy", *_STOPPED_TOO)
            for one in facts[setting].split()
        }
        pending = sorted(linked - set(shown))
    return shown


def _apply_hold(plan: HoldPlan, memory: HoldState, hold_file: str, timeout: float, *, before: HoldState) -> None:
    write_memory(hold_file, memory)
    for name in plan.drop_in:
        place_drop_in(name, hold_file, memory)
    if plan.drop_in or plan.reload:
        systemctl("daemon-reload")
        _require_loaded(plan, hold_file, before)
    end = time.monotonic() + timeout
    triggers = [name for name in plan.stop if plan.units[name].is_trigger]
    for group in (triggers, [name for name in plan.stop if name not in triggers]):
        if group:
            _stop(group, max(1.0, end - time.monotonic()))


def _require_loaded(plan: HoldPlan, hold_file: str, before: HoldState) -> None:
    """Check that systemd still knows what runs: it has read all unit files again, as they are now.

    :raises ContimgError: when a unit could not be started again. The hold is then as this run found it.
    """
    obstacles = _obstacles(plan.stop, show(plan.stop, OBSTACLE_PROPERTIES))
    if obstacles:
        for name in plan.drop_in:
            remove_drop_in(name)
        if before.on_file:
            write_memory(hold_file, before)
        else:
            forget(hold_file)
        systemctl("daemon-reload")
    refuse(obstacles, state="This run has stopped nothing.")


def _stop(names: Sequence[str], timeout: float) -> None:
    said = ""
    try:
        said = run(["systemctl", "stop", "--no-pager", "--", *names], timeout=timeout).stderr
    except ContimgError as error:
        said = error.what
    for name, facts in show(list(names), ("ActiveState", "SubState")).items():
        if facts["ActiveState"] not in _DOWN:
            processes = [f"{pid} ({command_of(pid)})" for pid in processes_of_unit(name)]
            raise ContimgError(
                f"did not stop in its time: it is {facts['ActiveState']} ({facts['SubState']}); its processes: "
                f"{', '.join(processes[:_KILLED]) or 'none'}; systemd reports: {said.strip() or 'nothing'}",
                path=name,
                hint="It is held, and was not started again. See 'systemctl status', then run again or release the hold.",
            )


def release(names: Sequence[str], hold_file: str, *, timeout: float, after_hold: bool, check: bool) -> dict[str, Any]:
    """Start exactly what was running before the hold, and return the module's result.

    :param after_hold: in check mode, take what runs now as what a hold would have stopped.
    :raises ContimgError: when a unit does not start; the hold file then stays, for the next run.
    """
    memory = read_memory(hold_file)
    units = memory.units
    if check and after_hold and not units and names:
        names = units_of(_matches(names, memory))
        units = plan_hold(names, _survey(names), memory, ()).units
    start = [name for name, found in units.items() if found.was_active]
    moment, logs = None, {}
    if units and not check:
        logs = _apply_release(memory, start, hold_file, timeout)
        moment = time.time()
    result = _result(units, changed=bool(units), started=start, stopped_at=memory.stopped_at, started_at=moment)
    return {**result, "logs": logs}


def _apply_release(memory: HoldState, start: Sequence[str], hold_file: str, timeout: float) -> dict[str, int]:
    if not memory.on_file:  # else a crash between here and the start would leave nothing that tells what to start
        with contextlib.suppress(ContimgError):  # with a full disk the start is worth more than its memory
            write_memory(hold_file, memory)
    for name in {*memory.units, *held_units(hold_file)} - _held_by_others(hold_file).keys():
        remove_drop_in(name)
    systemctl("daemon-reload")
    logs = _log_sizes(start)
    if start:
        run(["systemctl", "reset-failed", "--", *start])
    after = {name: facts["After"].split() for name, facts in show(start, ("After",)).items()}
    end = time.monotonic() + timeout
    failures: list[ContimgError] = []
    for group in starting_groups(start, after):  # also after one that does not start
        expected = [name for name in group if not memory.units[name].was_failing]
        failures += _start(group, expected, max(1.0, end - time.monotonic()))
    raise_all(failures)
    if is_there(hold_file):
        forget(hold_file)
    return logs


def _log_sizes(names: Sequence[str]) -> dict[str, int]:
    """Return where the files that units append to end; nothing where that cannot be found, which keeps no unit down."""
    try:
        return {path: os.stat(path).st_size if target_exists(path) else 0 for path in logs_of_units(names)}
    except (ContimgError, OSError):
        return {}


def _start(names: Sequence[str], expected: Sequence[str], timeout: float) -> list[ContimgError]:
    """Start units and return an error for each of those expected that does not run then."""
    moment, late = time.time(), False
    try:
        said = run(["systemctl", "start", "--no-pager", "--", *names], timeout=timeout).stderr
    except ContimgError as error:
        said, late = error.what, True
    return [
        _not_started(name, facts, said, moment)
        for name, facts in show(expected, UP).items()
        if not is_up(facts) or (late and facts["ActiveState"] != "active")
    ]


def _not_started(name: str, facts: Mapping[str, str], said: str, since: float) -> ContimgError:
    last = " | ".join(journal(name, since=since)[-5:])
    return ContimgError(
        f"did not start: it is {facts['ActiveState']} ({facts['SubState']}); {said.strip()}; its journal: {last or 'empty'}",
        path=name,
        hint="It is no longer held. Correct the cause and run again.",
    )


def is_up(facts: Mapping[str, str]) -> bool:
    """Return whether a unit runs, or is a command that has ended well; one that is restarted over and over does not run.

    :param facts: its properties, those of :data:`UP`.
    """
    if facts["Type"] == "oneshot" and facts["RemainAfterExit"] != "yes" and facts["ActiveState"] == "inactive":
        return facts["Result"] == "success"
    return facts["ActiveState"] in _RUNNING and facts["SubState"] != "auto-restart"


def _result(
    units: Mapping[str, Found],
    *,
    changed: bool,
    stopped: Sequence[str] = (),
    started: Sequence[str] = (),
    stopped_at: float | None = None,
    started_at: float | None = None,
) -> dict[str, Any]:
    return {
        "changed": changed,
        "units": {
            name: {**asdict(found), "stopped": name in stopped, "started": name in started}
            for name, found in units.items()
        },
        "stopped_at": stopped_at,
        "started_at": started_at,
        "diff": diff_of(stopped, started, "active"),
    }


def run_hold(values: Mapping[str, Any], *, check: bool, arm: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Do what the module's parameters ask for. Raises ContimgError, see :func:`hold` and :func:`release`."""
    names, hold_file, timeout = values["names"], values["hold_file"], float(values["timeout"])
    if values["state"] == "held":
        return hold(names, hold_file, timeout=timeout, run_id=values.get("run_id", ""), check=check, arm=arm)
    return release(names, hold_file, timeout=timeout, after_hold=values["after_hold"], check=check)
