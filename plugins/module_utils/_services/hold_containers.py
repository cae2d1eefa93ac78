# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping containers, and letting them come back: as they were, or created again where they were bound to a path that was left.

What was running is written down before anything is stopped, so that a run after a crash knows what has to run.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import (
    ENGINES,
    Compose,
    Container,
    bound_to,
    compose_program,
    containers_of_host,
    obstacle_of,
    unasked_clause,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, raise_all
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    decoding,
    expected,
    read_json,
    read_optional,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import (
    diff_of,
    forget,
    keep_hold_file,
    plain_name,
    run_of,
    stopped_at,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

__all__ = ["FoundContainer", "ReleasePlan", "plan_release", "run_container_hold"]

_LATE = "Its engine may be at work still: look at its containers, and run again."


@dataclass(frozen=True)
class FoundContainer:
    """A container as it was found before the hold."""

    engine: str
    was_running: bool
    compose: Compose | None = None


@dataclass(frozen=True)
class HeldContainers:
    """How containers were found by a hold that has not been released.

    :ivar stopped_at: when the first was stopped, seconds since the epoch.
    :ivar run_id: the run that has stopped them, empty where none had an id.
    """

    containers: Mapping[str, FoundContainer] = field(default_factory=dict)
    stopped_at: float | None = None
    run_id: str = ""


@dataclass(frozen=True)
class ReleasePlan:
    """What a release does, by the names of the containers.

    :ivar create: those that are created again by their compose projects.
    :ivar start: those that are started as they are.
    """

    create: tuple[str, ...]
    start: tuple[str, ...]


def read_memory(hold_file: str) -> HeldContainers:
    """Return what is remembered, nothing where there is no hold file. Raises ContimgError when it is none."""
    content = read_optional(hold_file, "read the hold file")
    if content is None:
        return HeldContainers()
    hint = "Nothing was touched. Move it away, and start yourself what was running before the move."
    with decoding(hold_file, "is no hold file of containers", hint):
        fields = read_json(content)
        found = {plain_name(name): _found_from(one) for name, one in fields["containers"].items()}
        return HeldContainers(found, stopped_at(fields), run_of(fields))


def _found_from(fields: Mapping[str, Any]) -> FoundContainer:
    if fields["engine"] not in ENGINES:
        raise ValueError(fields["engine"])
    compose = None if fields["compose"] is None else _compose_from(fields["compose"])
    return FoundContainer(fields["engine"], expected(fields["was_running"], bool), compose)


def _compose_from(fields: Mapping[str, Any]) -> Compose:
    files, environment_files = (
        tuple(expected(path, str) for path in fields[name]) for name in ("files", "environment_files")
    )
    texts = {name: expected(fields[name], str) for name in ("project", "directory", "service")}
    plain_name(texts["service"])  # it stands where a command has options, too
    return Compose(files=files, environment_files=environment_files, **texts)


def write_memory(hold_file: str, memory: HeldContainers) -> None:
    """Write the hold file durably, for its owner only. Raises ContimgError."""
    keep_hold_file(hold_file, asdict(memory))


def hold(
    names: Sequence[str],
    hold_file: str,
    leaving: Sequence[str],
    *,
    timeout: float,
    run_id: str,
    check: bool,
    arm: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Stop containers and return the module's result. Without names no engine is asked.

    :param arm: what is done before anything is stopped, also where an earlier run has stopped all of it.
    :raises ContimgError: when one does not exist, could not come back without the paths, or does not stop.
    """
    memory = read_memory(hold_file)
    if not names and not memory.containers:
        return _result({}, changed=False)
    now, unasked = containers_of_host()
    found = {
        **{name: _found(name, now, leaving, unasked=unasked) for name in names if name not in memory.containers},
        **memory.containers,
    }
    stop = [name for name in reversed(list(found)) if name in now and now[name].running]
    found.update({name: _running(found[name]) for name in stop})
    changed = bool(stop) or found != memory.containers
    moment = memory.stopped_at
    if not check:
        arm()
    if changed and not check:
        moment = moment or time.time()
        write_memory(hold_file, HeldContainers(found, moment, run_id))
        for name in stop:
            _stop(now[name], timeout)
    return _result(found, changed=changed, stopped=stop, stopped_at=moment)


def _found(
    name: str, now: Mapping[str, Container], leaving: Sequence[str], *, unasked: Mapping[str, str]
) -> FoundContainer:
    container = now.get(name)
    if container is None:
        why = unasked_clause(unasked)
        hint = f"Nothing was touched. Correct {'the cause, or ' if why else ''}its name."
        raise ContimgError(f"no engine of this host knows this container{why}", path=name, hint=hint)
    obstacle = obstacle_of(container, leaving)
    if obstacle:
        hint = "Nothing was touched. Stop it yourself, and start it yourself when the move is done."
        raise ContimgError(f"could not come back after the move: it {obstacle}", path=name, hint=hint)
    return FoundContainer(container.engine, container.running, container.compose)


def _running(found: FoundContainer) -> FoundContainer:
    """Return that it ran: one that runs again since an earlier hold counts as running."""
    return replace(found, was_running=True)


def _stop(container: Container, timeout: float) -> None:
    said = run(
        [container.engine, "stop", "-t", str(int(timeout)), container.id], timeout=timeout + 30, late=_LATE
    ).stderr
    hint = "What was stopped before it stays stopped. Stop it yourself and run again, or release the hold."
    found, unasked = containers_of_host()
    if container.engine in unasked:
        raise ContimgError(_unseen("stop", container.engine, unasked), path=container.name, hint=hint)
    now = found.get(container.name)
    if now is not None and now.running:
        raise ContimgError(
            f"did not stop: it is {now.status}; {container.engine} reports: {said.strip()}",
            path=container.name,
            hint=hint,
        )


def _unseen(order: str, engine: str, unasked: Mapping[str, str]) -> str:
    return f"was asked to {order}, and {engine} could not be asked whether it has: {unasked[engine]}"


def plan_release(memory: HeldContainers, now: Mapping[str, Container], leaving: Sequence[str]) -> ReleasePlan:
    """Decide how each container comes back.

    One that is bound to a path that is left, or is gone, is created again where a project knows how; also one that did not
    run, which would else come back to the old path some day. What else ran is started.
    """
    create = [name for name, found in memory.containers.items() if _must_be_created(found, now.get(name), leaving)]
    start = [
        name
        for name, found in memory.containers.items()
        if found.was_running and name not in create and not now[name].running
    ]
    return ReleasePlan(tuple(create), tuple(start))


def _must_be_created(found: FoundContainer, now: Container | None, leaving: Sequence[str]) -> bool:
    if now is None:
        return found.was_running
    return found.compose is not None and bound_to(now, leaving)


def release(
    names: Sequence[str], hold_file: str, leaving: Sequence[str], *, timeout: float, after_hold: bool, check: bool
) -> dict[str, Any]:
    """Let containers come back, and return the module's result.

    :param after_hold: in check mode, take what runs now as what a hold would have stopped.
    :raises ContimgError: when one does not come back; the hold file then stays, for the next run.
    """
    memory = read_memory(hold_file)
    now, unasked = containers_of_host() if names or memory.containers else ({}, {})
    if check and after_hold and not memory.containers:
        memory = HeldContainers({name: _found(name, now, leaving, unasked=unasked) for name in names})
        now = {name: replace(one, status="exited") for name, one in now.items()}
    unknown = {
        name: _unknown(name, one.engine, unasked) for name, one in memory.containers.items() if one.engine in unasked
    }
    known = {name: one for name, one in memory.containers.items() if name not in unknown}
    plan = plan_release(replace(memory, containers=known), now, leaving)
    moment = None
    if check:
        raise_all(list(unknown.values()))
    elif memory.containers:
        _apply_release(plan, memory, unknown, timeout)
        moment = time.time()
        forget(hold_file)
    result = _result(
        memory.containers,
        changed=bool(memory.containers),
        started=[name for name in (*plan.create, *plan.start) if memory.containers[name].was_running],
        stopped_at=memory.stopped_at,
        started_at=moment,
    )
    return {**result, "created": list(plan.create)}


def _unknown(name: str, engine: str, unasked: Mapping[str, str]) -> ContimgError:
    """Return the error for a held container of which nothing is known: it may be gone, or be bound to a path that is left."""
    what = f"was not started: {engine} could not be asked for it: {unasked[engine]}"
    return ContimgError(what, path=name, hint="It stays held. Correct the cause and run again.")


def _apply_release(
    plan: ReleasePlan, memory: HeldContainers, unknown: Mapping[str, ContimgError], timeout: float
) -> None:
    """Let every container come back that can; an error of one does not keep the others down. Raises ContimgError for all."""
    said: dict[str, str] = {}
    failed = dict(unknown)
    services = set()
    for name in (*plan.create, *plan.start):
        found = memory.containers[name]
        service = found.compose and (found.compose.project, found.compose.service)
        try:
            if name in plan.start:
                said[name] = run([found.engine, "start", name], timeout=timeout, late=_LATE).stderr
            elif service not in services:
                services.add(service)
                said[name] = _create(name, found, timeout)
        except ContimgError as error:
            failed[name] = ContimgError(error.what, path=name, hint=error.hint)
    now, unasked = containers_of_host()
    missed = {name: one for name, one in memory.containers.items() if one.was_running and not _runs(now, name)}
    raise_all(
        [
            failed.get(name) or _not_started(name, one.engine, now, unasked, said=said.get(name, ""))
            for name, one in missed.items()
        ]
    )
    raise_all(list(failed.values()))


def _runs(now: Mapping[str, Container], name: str) -> bool:
    return name in now and now[name].running


def _not_started(
    name: str, engine: str, now: Mapping[str, Container], unasked: Mapping[str, str], *, said: str
) -> ContimgError:
    hint = f"See '{engine} logs {name}', correct the cause and run again."
    if engine in unasked:
        return ContimgError(_unseen("start", engine, unasked), path=name, hint=hint)
    status = now[name].status if name in now else "not there"
    last = " | ".join(said.strip().splitlines()[-3:]) or "nothing"
    return ContimgError(f"did not start: it is {status}; {engine} reports: {last}", path=name, hint=hint)


def _create(name: str, found: FoundContainer, timeout: float) -> str:
    program = compose_program(found.engine)
    if found.compose is None or not program:
        hint = "Create it yourself, with the new path, and run again."
        raise ContimgError("cannot be created again: no compose project or no compose program", path=name, hint=hint)
    compose = found.compose
    command = [*program, "--project-name", compose.project]
    if compose.directory and os.path.dirname(compose.files[0]) != compose.directory:
        command += ["--project-directory", compose.directory]
    for option, files in (("--file", compose.files), ("--env-file", compose.environment_files)):
        command += [part for file in files for part in (option, file)]
    start = "--detach" if found.was_running else "--no-start"
    done = run(
        [*command, "up", start, "--no-deps", "--force-recreate", compose.service], timeout=timeout + 60, late=_LATE
    )
    return done.stderr or done.stdout


def _result(
    found: Mapping[str, FoundContainer],
    *,
    changed: bool,
    stopped: Sequence[str] = (),
    started: Sequence[str] = (),
    stopped_at: float | None = None,
    started_at: float | None = None,
) -> dict[str, Any]:
    return {
        "changed": changed,
        "containers": {
            name: {
                "engine": one.engine,
                "was_running": one.was_running,
                "stopped": name in stopped,
                "started": name in started,
            }
            for name, one in found.items()
        },
        "stopped_at": stopped_at,
        "started_at": started_at,
        "diff": diff_of(stopped, started, "running"),
    }


def run_container_hold(
    values: Mapping[str, Any], *, check: bool, arm: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Do what the module's parameters ask for. Raises ContimgError, see :func:`hold` and :func:`release`."""
    names, hold_file, leaving = values["names"], values["hold_file"], values["leaving"]
    timeout = float(values["timeout"])
    if values["state"] == "held":
        run_id = values.get("run_id", "")
        return hold(names, hold_file, leaving, timeout=timeout, run_id=run_id, check=check, arm=arm)
    return release(names, hold_file, leaving, timeout=timeout, after_hold=values["after_hold"], check=check)
