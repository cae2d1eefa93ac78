# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of podman and docker: what they were made from, whether they use a path, and whether they could be made anew.

A container keeps the mounts, the environment and the command that it was created with. So one that is bound to a path follows
it only by being created again, and only its compose project says how.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.podman_storage import has_podman_storage
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import read_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_file
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import is_within
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import names_path
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import has_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

__all__ = [
    "ENGINES",
    "Compose",
    "Container",
    "bound_to",
    "compose_program",
    "container_from",
    "containers_of_host",
    "describe_containers",
    "environment_files_in",
    "ids_of",
    "log_of",
    "obstacle_of",
    "unasked_clause",
]

#: The programs; where docker is another name for podman, podman's containers are reported once.
ENGINES = ("podman", "docker")
_COMPOSE_PROGRAMS = {
    "podman": (("podman-compose",), ("podman", "compose")),
    "docker": (("docker", "compose"), ("docker-compose",)),
}
_LABEL = "com.docker.compose."
_ENV_FILE = re.compile(r"(\s*)env_file:\s*([^#]*)")
_ITEM = re.compile(r"(\s*)-\s+(?:path:\s*)?([^#]+)")
_ALIVE = ("running", "paused", "restarting")


@dataclass(frozen=True)
class Compose:
    """The project that has created a container, by the labels that docker compose and podman-compose leave on it.

    :ivar files: its compose files.
    :ivar environment_files: what ``--env-file`` named; without it a ``.env`` in the directory counts.
    """

    project: str
    directory: str
    files: tuple[str, ...]
    environment_files: tuple[str, ...]
    service: str


@dataclass(frozen=True)
class Container:
    """A container.

    :ivar unit: the unit that runs it, empty where none does.
    :ivar is_removed_at_stop: whether its engine removes it when it stops.
    :ivar mounts: what of the host is bound into it, by where it shows.
    :ivar restarts: how often its engine has restarted it.
    :ivar stop_timeout: the seconds that it asks for before its engine kills it, 0 where it does not say.
    """

    engine: str
    id: str
    name: str
    status: str
    unit: str = ""
    is_removed_at_stop: bool = False
    compose: Compose | None = None
    mounts: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    restarts: int = 0
    exit_code: int = 0
    stop_timeout: int = 0

    @property
    def running(self) -> bool:
        """Whether it has processes, or soon will."""
        return self.status in _ALIVE


def _asked(program: str, *arguments: str) -> str:
    """Run podman or docker and return what it prints. Raises ContimgError with what it says when it fails."""
    done = run([program, *arguments], late=f"Does {program} work? Try '{program} ps'.")
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ContimgError(f"'{program} {' '.join(arguments)}' failed: {said[-1] if said else 'it says nothing'}")
    return done.stdout


def containers_of_host() -> tuple[dict[str, Container], dict[str, str]]:
    """Return the containers of this host by name, and why an engine could not be asked, by its name.

    An engine that is not there has none. One whose daemon is down cannot be asked; its containers are not running then, or
    their processes are seen without it.
    """
    found: dict[str, Container] = {}
    unasked = {}
    for program in filter(has_program, ENGINES):
        try:
            listed = _listed(program) if _may_have_any(program) else []
        except ContimgError as error:
            unasked[program] = ": ".join(filter(None, (error.path, error.what)))
            continue
        known = {container.id for container in found.values()}
        for container in (one for one in listed if one.id not in known):
            found[container.name if container.name not in found else f"{program}:{container.name}"] = container
    return found, unasked


def unasked_clause(unasked: Mapping[str, str]) -> str:
    """Return what is added to a report that a container does not exist: which engines could not be asked, and why."""
    return "".join(f", and {engine} could not be asked: {why}" for engine, why in unasked.items())


def _may_have_any(program: str) -> bool:
    """Return whether an engine is to be asked: podman creates its storage where there is none, by whatever name it is called."""
    is_podman = program == "podman" or _asked(program, "--version").startswith("podman")
    return not is_podman or has_podman_storage()


def _listed(program: str, tries: int = 3) -> list[Container]:
    """Ask an engine for its containers; again where one was removed between both questions."""
    try:
        ids = _asked(program, "ps", "--all", "--quiet", "--no-trunc").split()
        answer = json.loads(_asked(program, "container", "inspect", *ids)) if ids else []
    except ContimgError:
        if tries == 1:
            raise
        return _listed(program, tries - 1)
    return [container_from(program, one) for one in answer]


def container_from(program: str, fields: Mapping[str, Any]) -> Container:
    """Return a container by what its engine's ``inspect`` tells of it."""
    config, host = fields["Config"], fields.get("HostConfig") or {}
    labels = config.get("Labels") or {}
    command = [fields.get("Path") or "", *(fields.get("Args") or [])]
    return Container(
        engine=program,
        id=fields["Id"],
        name=fields["Name"].lstrip("/"),
        status=fields["State"]["Status"],
        unit=labels.get("PODMAN_SYSTEMD_UNIT", ""),
        is_removed_at_stop=bool(host.get("AutoRemove")),
        compose=_compose_from(labels),
        mounts={mount["Destination"]: mount["Source"] for mount in fields.get("Mounts") or [] if mount.get("Source")},
        environment=dict(entry.split("=", 1) for entry in config.get("Env") or [] if "=" in entry),
        command=" ".join(command),
        restarts=int(fields.get("RestartCount") or 0),
        exit_code=int(fields["State"].get("ExitCode") or 0),
        stop_timeout=int(config.get("StopTimeout") or 0),
    )


def _compose_from(labels: Mapping[str, str]) -> Compose | None:
    project, service = labels.get(f"{_LABEL}project", ""), labels.get(f"{_LABEL}service", "")
    directory = labels.get(f"{_LABEL}project.working_dir", "")
    files = [os.path.join(directory, one) for one in labels.get(f"{_LABEL}project.config_files", "").split(",") if one]
    if not (project and service and files):
        return None
    named = labels.get(f"{_LABEL}project.environment_file", "")
    return Compose(project, directory, tuple(files), tuple(filter(None, named.split(","))), service)


def log_of(container: Container, since: float) -> list[str]:
    """Return the lines that a container has written on either stream since a moment, a second at most too many.

    :param since: seconds since the epoch.
    """
    done = run([container.engine, "logs", "--since", str(int(since)), container.id])
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def uses_of(container: Container, paths: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield where a container uses one of the paths: ``path``, ``where``, and ``name`` of the mount point or variable.

    A mount ``above`` a path shows it too, but does not bind the container to it.
    """
    for path in paths:
        for point, source in container.mounts.items():
            if _lies_in(source, path) or _lies_in(path, source):
                yield {"path": path, "where": "mount" if _lies_in(source, path) else "above", "name": point}
        for name, value in container.environment.items():
            if names_path(value, path):
                yield {"path": path, "where": "environment", "name": name}
        if names_path(container.command, path):
            yield {"path": path, "where": "command", "name": ""}


def _lies_in(path: str, directory: str) -> bool:
    return is_within(path, directory) or is_within(os.path.realpath(path), os.path.realpath(directory))


def bound_to(container: Container, paths: Sequence[str]) -> bool:
    """Return whether a container would have to be created again to leave the paths."""
    return any(use["where"] != "above" for use in uses_of(container, paths))


def compose_program(program: str) -> tuple[str, ...]:
    """Return the command that works on an engine's compose projects, empty where there is none."""
    for command in _COMPOSE_PROGRAMS[program]:
        if has_program(command[0]) and run([*command, "version"]).returncode == 0:
            return command
    return ()


def obstacle_of(container: Container, leaving: Sequence[str]) -> str:
    """Say why a container that is stopped now could not come back without the paths; empty where it could."""
    if container.unit:
        return f"is run by {container.unit}: list that unit instead of it"
    binding = bound_to(container, leaving)
    if not binding and not container.is_removed_at_stop:
        return ""
    why = "keeps the mounts and the environment that it was created with" if binding else "is removed when it stops"
    if container.compose is None:
        return f"{why}, and no compose project could create it again"
    missing = [path for path in container.compose.files if not is_file(path)]
    if missing:
        return f"{why}, and {', '.join(missing)}, which created it, is not there"
    if not compose_program(container.engine):
        programs = " nor ".join(f"'{' '.join(command)}'" for command in _COMPOSE_PROGRAMS[container.engine])
        return f"{why}, and neither {programs} is on this host to create it again"
    return ""


def ids_of(names: Sequence[str]) -> list[str]:
    """Return the ids of containers; a name that no engine knows stays as it is."""
    found, _unasked = containers_of_host() if names else ({}, {})
    return [found[name].id if name in found else name for name in names]


def describe_containers(names: Sequence[str], using: Sequence[str], leaving: Sequence[str]) -> dict[str, Any]:
    """Return ``containers`` and ``unasked`` as ``container_info`` returns them.

    :raises ContimgError: when a file of a compose project cannot be read.
    """
    found, unasked = containers_of_host()
    fields: dict[str, dict[str, Any]] = {name: {"status": "not-found"} for name in names if name not in found}
    for name, container in found.items():
        uses = list(uses_of(container, using))
        if name in names or uses:
            fields[name] = {
                "engine": container.engine,
                "id": container.id,
                "status": container.status,
                "running": container.running,
                "unit": container.unit,
                "compose": asdict(container.compose) if container.compose else {},
                "uses": uses,
                "named_in": _naming(container.compose, leaving),
                "obstacle": obstacle_of(container, leaving),
            }
    return {"containers": fields, "unasked": unasked}


def _naming(compose: Compose | None, paths: Sequence[str]) -> list[str]:
    """Return the files of a project that name one of the paths: compose files, and the environment files that they name."""
    if compose is None:
        return []
    texts = {file: _text(file) for file in compose.files if is_file(file)}
    named = [name for text in texts.values() for name in environment_files_in(text)]
    for name in named + list(compose.environment_files or [".env"]):
        file = os.path.join(compose.directory, name)
        if is_file(file):
            texts[file] = _text(file)
    return [file for file, text in texts.items() if any(names_path(text, path) for path in paths)]


def environment_files_in(text: str) -> list[str]:
    """Return what the ``env_file`` entries of a compose file name, written in any of its three forms.

    A managed host has no YAML parser. What stands in a form that is not known here is found when the container is looked at after
    it was created again.
    """
    found: list[str] = []
    indent = -1
    for line in text.splitlines():
        entry = _ENV_FILE.match(line)
        item = _ITEM.match(line)
        if entry:
            indent = len(entry[1])
            found += entry[2].strip("[] ").split(",")
        elif item and 0 <= indent <= len(item[1]):
            found.append(item[2])
        elif line.strip() and len(line) - len(line.lstrip()) <= indent:
            indent = -1
    return [name for name in (one.strip(" \t\"'") for one in found) if name]


def _text(path: str) -> str:
    hint = "Nothing was changed. Run the play as a user who may read it."
    return read_regular(path, "read the file of a compose project", follow=True, hint=hint).decode(
        errors="surrogateescape"
    )
