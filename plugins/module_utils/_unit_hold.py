# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping units with what triggers them so that no start request brings them back, and starting just those again.

A unit in /etc/systemd/system cannot be masked at run time. The hold is a drop-in below /run with
``AssertPathExists=!HOLD_FILE``: it lasts until it is released, or until a reboot. What was found running is written to
the hold file before anything is stopped, so that whoever comes after a crash knows what has to run.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import (
    ensure_private_directory,
    replace_file,
    sync_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd import journal, run, show, systemctl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["Found", "HoldPlan", "hold", "plan_hold", "release", "run_hold"]

_DROP_IN = "90-contimg-hold.conf"
_RUNTIME = "/run/systemd/system"
_PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "TriggeredBy", "MainPID", "ControlGroup")
_RUNNING = ("active", "activating", "reloading")
_DOWN = ("inactive", "failed")
_ENABLED = ("enabled", "enabled-runtime")


@dataclass(frozen=True)
class Found:
    """A unit as it was found before the hold.

    :ivar is_trigger: whether it is held only because it starts another one.
    """

    was_active: bool
    was_enabled: bool
    is_trigger: bool


@dataclass(frozen=True)
class HoldPlan:
    """What a hold does.

    :ivar units: all units to be held, as they were found first; what triggers others stands before them.
    :ivar stop: those that run.
    :ivar drop_in: those that have no drop-in yet.
    """

    units: Mapping[str, Found]
    stop: tuple[str, ...]
    drop_in: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.stop or self.drop_in)


def plan_hold(
    names: Sequence[str], shown: Mapping[str, Mapping[str, str]], recorded: Mapping[str, Found], held: Sequence[str]
) -> HoldPlan:
    """Decide what a hold does.

    :param shown: properties of the units and of what triggers them.
    :param recorded: how units were found by an earlier, unfinished hold: that is what counts.
    :param held: units that have their drop-in already.
    :raises ContimgError: when a unit does not exist.
    """
    missing = sorted(name for name in names if shown[name]["LoadState"] == "not-found")
    if missing:
        raise ContimgError(
            "systemd does not know this unit", path=", ".join(missing), hint="Nothing was touched. Correct its name."
        )
    triggers = sorted({trigger for name in names for trigger in shown[name]["TriggeredBy"].split()} - set(names))
    units = {}
    for name in (*triggers, *names):
        before = recorded.get(name)
        active = shown[name]["ActiveState"] in _RUNNING or (before is not None and before.was_active)
        enabled = shown[name]["UnitFileState"] in _ENABLED if before is None else before.was_enabled
        units[name] = Found(active, enabled, name in triggers)
    running = tuple(name for name in units if shown[name]["ActiveState"] not in _DOWN)
    return HoldPlan(units, running, tuple(name for name in units if name not in held))


def hold(names: Sequence[str], hold_file: str, *, timeout: float, check: bool) -> dict[str, Any]:
    """Stop and hold units, and return the module's result. Without names systemd is not asked.

    :param timeout: seconds that each unit has to stop.
    :raises ContimgError: when a unit does not exist, cannot be held or does not stop; the hold then stays.
    """
    if not names:
        return _result({}, stopped=(), started=(), changed=False)
    recorded = _read(hold_file)
    shown = show(names, _PROPERTIES)
    triggers = {trigger for name in names for trigger in shown[name]["TriggeredBy"].split()}
    shown.update(show(sorted(triggers - set(names)), _PROPERTIES))
    held = [name for name in shown if os.path.exists(_drop_in(name))]
    plan = plan_hold(names, shown, recorded["units"], held)
    moment = recorded["stopped_at"]
    if plan.changed and not check:
        moment = moment if recorded["units"] and not plan.stop else time.time()
        _write(hold_file, plan.units, moment)
        _apply_hold(plan, hold_file, timeout)
    result = _result(plan.units, stopped=plan.stop, started=(), changed=plan.changed)
    return {**result, "stopped_at": moment, "diff": _diff(plan.stop, "active", "held")}


def _apply_hold(plan: HoldPlan, hold_file: str, timeout: float) -> None:
    for name in plan.drop_in:
        path = _drop_in(name)
        with failing("hold the unit", path):
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        text = f"# Placed by a move of this host's state; released with it.\n[Unit]\nAssertPathExists=!{hold_file}\n"
        replace_file(path, text.encode(), mode=0o644)
    if plan.drop_in:
        systemctl("daemon-reload")
    for name in plan.stop:
        _stop(name, timeout)
    for name, facts in show(list(plan.units), _PROPERTIES).items():
        if facts["ActiveState"] not in _DOWN:
            raise ContimgError(f"is {facts['ActiveState']} after it was stopped", path=name, hint=_stay(name))


def _stop(name: str, timeout: float) -> None:
    try:
        systemctl("stop", "--", name, timeout=timeout)
    except ContimgError as error:
        processes = run(["systemctl", "status", "--no-pager", "-n0", "--", name]).stdout
        tail = " | ".join(line.strip() for line in processes.splitlines() if "─" in line or "Main PID" in line)
        raise ContimgError(
            f"did not stop: {error.what}; its processes: {tail or 'none'}", path=name, hint=_stay(name)
        ) from error


def _stay(name: str) -> str:
    return f"It is held, and was not started again. See 'systemctl status {name}', then run again or release the hold."


def release(names: Sequence[str], hold_file: str, *, timeout: float, after_hold: bool, check: bool) -> dict[str, Any]:
    """Start exactly what was running before the hold, and return the module's result.

    :param after_hold: in check mode, take what runs now as what a hold would have stopped.
    :raises ContimgError: when a unit does not start; the hold file then stays, for the next run.
    """
    recorded = _read(hold_file)
    units = recorded["units"]
    if check and after_hold and not units and names:
        units = {name: Found(**found) for name, found in _would_hold(names, hold_file, timeout).items()}
    start = tuple(name for name, found in units.items() if found.was_active)
    moment = None
    if units and not check:
        _apply_release(units, start, hold_file, timeout)
        moment = time.time()
    result = _result(units, stopped=(), started=start, changed=bool(units))
    return {
        **result,
        "stopped_at": recorded["stopped_at"],
        "started_at": moment,
        "diff": _diff(start, "held", "active"),
    }


def _would_hold(names: Sequence[str], hold_file: str, timeout: float) -> dict[str, dict[str, bool]]:
    found = hold(names, hold_file, timeout=timeout, check=True)["units"]
    return {
        name: {key: facts[key] for key in ("was_active", "was_enabled", "is_trigger")} for name, facts in found.items()
    }


def _apply_release(units: Mapping[str, Found], start: Sequence[str], hold_file: str, timeout: float) -> None:
    for name in units:
        path = _drop_in(name)
        with failing("release the unit", path):
            if os.path.exists(path):
                os.unlink(path)
                if not os.listdir(os.path.dirname(path)):
                    os.rmdir(os.path.dirname(path))
    systemctl("daemon-reload")
    run(["systemctl", "reset-failed", "--", *units])
    moment = time.time()
    services = [name for name in start if not units[name].is_trigger]
    for group in (services, [name for name in start if units[name].is_trigger]):
        if group:
            done = run(["systemctl", "start", "--no-pager", "--", *group], timeout=timeout)
            _require_started(group, done.stderr, moment)
    with failing("remove the hold file", hold_file):
        os.unlink(hold_file)
        sync_directory(os.path.dirname(hold_file))


def _require_started(names: Sequence[str], said: str, since: float) -> None:
    for name, facts in show(names, ("ActiveState", "Type", "Result")).items():
        finished = facts["Type"] == "oneshot" and facts["Result"] == "success"
        if facts["ActiveState"] not in _RUNNING and not finished:
            last = " | ".join(journal(name, since=since)[-5:])
            raise ContimgError(
                f"did not start: it is {facts['ActiveState']}; {said.strip()}; its journal: {last or 'empty'}",
                path=name,
                hint="It is no longer held. Mend the cause and run again.",
            )


def _drop_in(name: str) -> str:
    return f"{_RUNTIME}/{name}.d/{_DROP_IN}"


def _read(hold_file: str) -> dict[str, Any]:
    """Return ``units`` and ``stopped_at`` of an unfinished hold, empty where there is none. Raises ContimgError."""
    if not os.path.exists(hold_file):
        return {"units": {}, "stopped_at": None}
    try:
        with failing("read the hold file", hold_file), open(hold_file, encoding="utf-8") as file:
            content = json.load(file)
        return {
            "units": {name: Found(**found) for name, found in content["units"].items()},
            "stopped_at": content["stopped_at"],
        }
    except (ValueError, KeyError, TypeError) as error:
        hint = "Nothing was touched. Remove it once every unit is as it should be."
        raise ContimgError("is no hold file", path=hold_file, hint=hint) from error


def _write(hold_file: str, units: Mapping[str, Found], moment: float) -> None:
    ensure_private_directory(os.path.dirname(hold_file))
    content = {"units": {name: asdict(found) for name, found in units.items()}, "stopped_at": moment}
    replace_file(hold_file, json.dumps(content, indent=2).encode(), mode=0o600)


def _result(
    units: Mapping[str, Found], *, stopped: Sequence[str], started: Sequence[str], changed: bool
) -> dict[str, Any]:
    return {
        "changed": changed,
        "units": {
            name: {**asdict(found), "stopped": name in stopped, "started": name in started}
            for name, found in units.items()
        },
        "stopped_at": None,
        "started_at": None,
    }


def _diff(names: Sequence[str], before: str, after: str) -> dict[str, str]:
    return {
        "before": "".join(f"{name}: {before}\n" for name in names),
        "after": "".join(f"{name}: {after}\n" for name in names),
    }


def run_hold(values: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the module's parameters ask for. Raises ContimgError, see :func:`hold` and :func:`release`."""
    names, hold_file, timeout = values["names"], values["hold_file"], float(values["timeout"])
    if values["state"] == "held":
        return hold(names, hold_file, timeout=timeout, check=check)
    return release(names, hold_file, timeout=timeout, after_hold=values["after_hold"], check=check)
