# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stop a move only when its services are down, or after they have started: looked for before, all of it at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import (
    containers_of_host,
    unasked_clause,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.private_directory import private_place
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import existing_parent
from ansible_collections.dsa110.contimg.plugins.module_utils._host.access import shut_out
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import is_within
from ansible_collections.dsa110.contimg.plugins.module_utils._migration import users
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.preflight_map import (
    excluded_databases,
    map_obstacles,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.preflight_places import (
    Place,
    needs_of,
    place_obstacles,
    reserve_of,
    sizes_of,
    space_obstacles,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.preflight_units import (
    Judged,
    State,
    askable,
    judge_containers,
    judge_expected,
    judge_health,
    judge_limits,
    judge_names,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services.health import ask
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_units import survey_hold
from ansible_collections.dsa110.contimg.plugins.module_utils._services.log_tail import compiled
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import show
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.limits import LIMIT_PROPERTIES, limits_of
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.units import logs_of_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_units import HoldSurvey

__all__ = ["look", "pattern_obstacles", "unlisted_uses"]

_STATE = ("Id", "LoadState", "ActiveState", "SubState", "NeedDaemonReload")
_BESIDE = "contimg_state_dest (whose manifest is written beside it)"
_LATE = (
    "The run would stop at this only when the services are down, or after they have started. Correct it and run again."
)
_STOP_THEM = (
    "Stop them; or list units and containers that are to be stopped in contimg_units and contimg_containers, and environment"
    " files, unit files and compose files that are to be repointed in contimg_env_files and contimg_unit_files. What may go on"
    " so, and does not write, goes into contimg_known_references."
)
_UNSEEN = (
    "Not every process's open files, mounts and crontab can be read, so it cannot be proved that the services are quiet."
    " Run the play as root (--become), or accept the missing proof with contimg_require_proof: false."
)
_HOLDS, _SETTINGS = "/run/systemd/system", "/etc/systemd/system"


def look(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``preflight_info`` reports for its parameters. Nothing is written.

    :raises ContimgError: when systemd or an engine of containers cannot be asked, or a place cannot be looked at; with
        ``fail_on`` also for what is found, all of it in one message.
    """
    judged = Judged(pattern_obstacles(values["patterns"]) + map_obstacles(values["databases"]))
    judged.obstacles += excluded_databases(values["state_src"], values["databases"], values["exclude"])
    survey = survey_hold(values["units"], values["hold_file"])
    judged.obstacles += [f"contimg_units: {one}" for one in survey.obstacles]
    units = _states(survey)
    judged.add(judge_names(units))
    judged.add(_limits(survey, values["stop_timeout"]))
    states = {**units, **_containers(values, judged)}
    urls = values["health_url"]
    answers = {name: ask(url) for name, url in askable(urls, states).items()}
    health, statuses = judge_health(urls, states, answers)
    judged.add(health)
    judged.add(_expected(values, units))
    with error_context("look where the move writes", values["state_dest"], "Nothing was touched."):
        judged.obstacles += place_obstacles(_places(values, survey), values["state_src"])
        judged.obstacles += _closed(values["state_src"], values["state_dest"], survey)
        reserve = _room(values, judged)
    used = _used(values, judged)
    report = {
        "obstacles": judged.obstacles,
        "findings": judged.findings,
        "health": statuses,
        "reserve": reserve,
        **used,
    }
    if judged.obstacles and "obstacles" in values["fail_on"]:
        raise ContimgError(_stopping(report), hint=_LATE, **report)
    return report


def _used(values: Mapping[str, Any], judged: Judged) -> dict[str, Any]:
    """Return what uses the directories and would go on with them (``unlisted``, ``open``); add to the findings what is unusual."""
    nothing: dict[str, Any] = {"unlisted": "", "open": {}}
    if not values["users"] or pattern_obstacles({"known": values["known"]}):
        return nothing
    paths = [values["state_src"], values["state_dest"]]
    repointed = [*([values["env_file"]] if values["env_file"] else []), *values["env_files"], *values["unit_files"]]
    asked = {name: values[name] for name in ("units", "hold_file", "containers", "timer", "known")}
    try:
        found = users.look({**asked, "paths": paths, "leaving": paths[:1], "repointed": repointed, "moved": False})
    except ContimgError as error:
        if not judged.obstacles:
            raise
        judged.obstacles.append(error.message)
        return nothing
    judged.findings += found["notes"]
    unseen = values["require_proof"] and not found["complete"]
    return {"unlisted": unlisted_uses(found["users"], paths, unseen=unseen), "open": found["open"]}


def unlisted_uses(lines: Sequence[str], paths: Sequence[str], *, unseen: bool) -> str:
    """Return what an operator reads of uses of the paths that a move would leave, and of what cannot be seen; empty for neither."""
    heading = f"These use {' or '.join(map(printable, paths))}, and the move would neither stop nor repoint them:"
    return "\n".join([*([heading, *lines, _STOP_THEM] if lines else []), *([_UNSEEN] if unseen else [])])


def _stopping(report: Mapping[str, Any]) -> str:
    besides = [f"Besides: {one}" for one in report["findings"]]
    return "\n".join(filter(None, [*report["obstacles"], report["unlisted"], *besides, "Nothing was touched"]))


def pattern_obstacles(patterns: Mapping[str, list[str]]) -> list[str]:
    """Return which regular expressions are none, each alone or all of a variable at once.

    :param patterns: by the name of the variable that holds them.
    """
    found = []
    for variable, expressions in patterns.items():
        try:
            compiled(expressions)
        except ContimgError as error:
            found.append(f"{variable}: {error.what}.")
    return found


def _states(survey: HoldSurvey) -> dict[str, State]:
    """Return the listed units that systemd knows."""
    shown = show(survey.listed, _STATE)
    return {
        name: State(
            called=facts["Id"],
            state=f"{facts['ActiveState']} ({facts['SubState']})",
            watched=facts["ActiveState"] in ("active", "activating", "reloading", "refreshing")
            and facts["SubState"] != "auto-restart",
            stale=facts["NeedDaemonReload"] == "yes",
        )
        for name, facts in shown.items()
        if facts["LoadState"] != "not-found" or facts["ActiveState"] != "inactive"
    }


def _containers(values: Mapping[str, Any], judged: Judged) -> dict[str, State]:
    """Return the listed containers; add those that do not exist, and what is wrong with the time that the others have to stop."""
    names = values["containers"]
    there, unasked = containers_of_host() if names else ({}, {})
    found = {name: there[name] for name in names if name in there}
    judged.obstacles += [
        f"contimg_containers: {name}: no engine of this host knows this container{unasked_clause(unasked)}."
        for name in names
        if name not in there
    ]
    asked = {name: one.stop_timeout for name, one in found.items() if one.running}
    judged.add(judge_containers(values["stop_timeout"], asked))
    states = {name: State("", one.status, one.running) for name, one in found.items()}
    return {name: states.get(name, State("", "not there", watched=False)) for name in names}


def _limits(survey: HoldSurvey, timeout: float) -> Judged:
    running = [name for group in survey.stopped for name in group]
    limits = {name: limits_of(facts) for name, facts in show(running, LIMIT_PROPERTIES).items()}
    return judge_limits(timeout, survey.stopped, limits)


def _expected(values: Mapping[str, Any], units: Mapping[str, State]) -> Judged:
    databases = values["databases"]
    places = {
        one["name"]: [os.path.join(values["state_src"], place) for place in one["src"]]
        + [os.path.join(values["state_dest"], one["dest"])]
        for one in databases
    }
    present = {name for name, paths in places.items() if any(map(target_exists, paths))}
    made = {"hdf5"} if "products" in present else set()  # by the split
    return judge_expected(values["expect_open"], units, mapped=set(places), present=present | made)


def _places(values: Mapping[str, Any], survey: HoldSurvey) -> list[Place]:
    """Return where the move writes, beside databases and code, which are looked at by the steps that change them."""
    src, dest = values["state_src"], values["state_dest"]
    logs = any(is_within(path, src) for path in logs_of_units(survey.listed))
    return [
        Place("contimg_state_dest", dest, apart=False),
        *([Place(_BESIDE, os.path.dirname(dest), apart=False)] if is_directory(dest) else []),
        Place("contimg_run_dir", values["run_dir"]),
        Place(_private_variable(), private_place()),
        *(Place("contimg_env_file", path, replaced=True) for path in [values["env_file"]] if path),
        *(Place("contimg_env_files", path, replaced=True) for path in values["env_files"]),
        *(Place("contimg_unit_files", path, replaced=True) for path in values["unit_files"]),
        *(
            Place("contimg_code_paths", path, replaced=not is_directory(path))
            for path in values["code_paths"]
            if target_exists(path)
        ),
        *([Place("contimg_units (their hold)", _HOLDS)] if survey.listed else []),
        *([Place("contimg_units (where they log)", _SETTINGS)] if logs else []),
    ]


def _closed(src: str, dest: str, survey: HoldSurvey) -> list[str]:
    """Return where users of the units could not get to the destination, and can to the source."""
    users = sorted({facts["User"] for facts in show(survey.listed, ("User",)).values()} - {"", "root"})
    there = existing_parent(dest)
    out = [user for user in shut_out(users, there) if user not in shut_out([user], existing_parent(src))]
    return [
        f"contimg_state_dest: user {user}, as whom a unit of contimg_units runs, may not enter {printable(there)}."
        " Give access to it."
        for user in out
    ]


def _private_variable() -> str:
    return "contimg_tmp_dir" if os.environ.get("TMPDIR") else "contimg_tmp_dir (which is not set)"


def _room(values: Mapping[str, Any], judged: Judged) -> dict[str, int]:
    """Add what lacks room to the obstacles, and return what is needed besides the copy."""
    sizes = sizes_of(values["state_src"], values["state_dest"], values["databases"])
    run_dir, dest, private = values["run_dir"], values["state_dest"], private_place()
    taken = [name for name, decision in values["decisions"].items() if decision == "take_source"]
    needs = needs_of(sizes, taken, run_dir=run_dir, dest=dest, private=private, vacuum=values["vacuum"])
    names = {run_dir: "contimg_run_dir", private: _private_variable(), dest: "contimg_state_dest"}
    judged.obstacles += space_obstacles(needs, names)
    if not is_directory(private):
        judged.obstacles.append(f"{_private_variable()}: {private} does not exist. Make it, or name another place.")
    return reserve_of(needs)
