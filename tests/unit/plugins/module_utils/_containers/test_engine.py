# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is read from an engine's answer and decided by it. The scenario ``containers`` asks a real engine."""

from __future__ import annotations

import pathlib
import re
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._containers import engine as engine_module
from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import (
    Compose,
    Container,
    bound_to,
    container_from,
    describe_containers,
    environment_files_in,
    obstacle_of,
    uses_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_containers import (
    FoundContainer,
)

OLD, NEW = "/stage/state", "/data/state"
COMPOSE = Compose("dash", "/srv/dash", ("/srv/dash/compose.yml",), (), "web")
PODMAN = {
    "Id": "b2a4",
    "Name": "contimg-dashboard",
    "State": {"Status": "running", "Running": True},
    "Path": "python3",
    "Args": ["/srv/dash.py", "--db=/stage/state/a.sqlite3"],
    "RestartCount": 2,
    "Mounts": [
        {"Type": "bind", "Source": "/stage/state/db", "Destination": "/db", "RW": True},
        {"Type": "bind", "Source": "/stage", "Destination": "/mnt", "RW": False},
        {"Type": "volume", "Name": "cache", "Source": "/var/lib/containers/cache", "Destination": "/cache"},
    ],
    "HostConfig": {"AutoRemove": False},
    "Config": {
        "Env": ["PATH=/bin", "DASHBOARD_DB=/stage/state/a.sqlite3", "OTHER=/stage/state-of-the-art"],
        "Labels": {
            "com.docker.compose.project": "dash",
            "com.docker.compose.project.working_dir": "/srv/dash",
            "com.docker.compose.project.config_files": "compose.yml,over.yml",
            "com.docker.compose.service": "web",
        },
    },
}
# What docker tells otherwise: a slash before the name, null for what is empty, files as absolute paths.
DOCKER: dict[str, Any] = {
    "Id": "c0ff",
    "Name": "/dash-web-1",
    "State": {"Status": "exited", "Running": False},
    "Path": "sleep",
    "Args": None,
    "RestartCount": 0,
    "Mounts": None,
    "HostConfig": {"AutoRemove": True},
    "Config": {
        "Env": None,
        "Labels": {
            "com.docker.compose.project": "dash",
            "com.docker.compose.project.working_dir": "/srv/dash",
            "com.docker.compose.project.config_files": "/srv/dash/compose.yml",
            "com.docker.compose.project.environment_file": "/srv/one.env,/srv/two.env",
            "com.docker.compose.service": "web",
        },
    },
}


def test_podmans_answer_is_understood() -> None:
    found = container_from("podman", PODMAN)
    assert (found.name, found.id, found.running, found.restarts) == ("contimg-dashboard", "b2a4", True, 2)
    assert found.compose == Compose("dash", "/srv/dash", ("/srv/dash/compose.yml", "/srv/dash/over.yml"), (), "web")
    assert list(uses_of(found, [OLD])) == [
        {"path": OLD, "where": "mount", "name": "/db"},
        {"path": OLD, "where": "above", "name": "/mnt"},
        {"path": OLD, "where": "environment", "name": "DASHBOARD_DB"},
        {"path": OLD, "where": "command", "name": ""},
    ]


def test_dockers_answer_is_understood() -> None:
    found = container_from("docker", DOCKER)
    assert (found.name, found.running, found.is_removed_at_stop, found.command) == ("dash-web-1", False, True, "sleep")
    assert found.compose == Compose(
        "dash", "/srv/dash", ("/srv/dash/compose.yml",), ("/srv/one.env", "/srv/two.env"), "web"
    )
    assert not list(uses_of(found, [OLD]))


def test_a_container_without_labels_has_no_project() -> None:
    config: dict[str, Any] = {"Env": [], "Labels": None}
    assert container_from("docker", {**DOCKER, "Config": config}).compose is None


def test_a_mount_above_binds_to_nothing() -> None:
    assert not bound_to(Container("podman", "1", "a", "running", mounts={"/mnt": "/stage"}), [OLD])
    assert bound_to(Container("podman", "1", "a", "running", mounts={"/s": "/stage/state"}), [OLD])


def test_a_mount_by_way_of_a_link_binds(tmp_path: pathlib.Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "state")
    container = Container("podman", "1", "a", "running", mounts={"/s": str(tmp_path / "link")})
    assert bound_to(container, [str(tmp_path / "state")])


@pytest.mark.parametrize(
    ("changes", "programs", "obstacle"),
    [
        ({}, ("podman-compose",), ""),
        ({"unit": "dash.service"}, ("podman-compose",), "is run by dash.service: list that unit"),
        ({"compose": None}, ("podman-compose",), "keeps the mounts and the environment .* no compose project"),
        ({"compose": None, "mounts": {}}, (), ""),
        (
            {"compose": None, "mounts": {}, "is_removed_at_stop": True},
            (),
            "is removed when it stops, and no compose project",
        ),
        ({}, (), "neither 'podman-compose' nor 'podman compose' is on this host"),
        (
            {"compose": replace(COMPOSE, files=("/nowhere/compose.yml",))},
            ("podman-compose",),
            "/nowhere/compose.yml, .* not there",
        ),
    ],
)
def test_an_obstacle_is_told(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    programs: tuple[str, ...],
    obstacle: str,
) -> None:
    (tmp_path / "compose.yml").touch()
    compose = replace(COMPOSE, files=(str(tmp_path / "compose.yml"),))
    monkeypatch.setattr(engine_module, "compose_program", lambda _engine: programs)
    container = replace(Container("podman", "1", "a", "running", compose=compose, mounts={"/s": OLD}), **changes)
    told = obstacle_of(container, [OLD])
    assert bool(told) == bool(obstacle)
    assert re.search(obstacle, told)


def test_every_form_of_env_file_is_read() -> None:
    text = (
        "services:\n  a:\n    env_file: x.env # why\n    volumes:\n      - /a:/b\n  b:\n    env_file: ['p.env', \"q.env\"]\n"
        "  c:\n    env_file:\n      - one.env\n      - path: two.env\n        required: false\n    command:\n      - no\n"
        "  d:\n    env_file:\n    - same.env\n    expose:\n    - '80'\n"
    )
    assert environment_files_in(text) == ["x.env", "p.env", "q.env", "one.env", "two.env", "same.env"]


def test_the_files_of_a_project_that_name_a_path_are_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compose.yml").write_text(f"    env_file: [web.env, gone.env]\n    volumes: ['{OLD}:/s']\n")
    (tmp_path / "web.env").write_text(f"DB={OLD}/a.sqlite3\n")
    (tmp_path / ".env").write_text(f"STATE={OLD}-of-the-art\n")
    compose = Compose("dash", str(tmp_path), (str(tmp_path / "compose.yml"),), (), "web")
    container = Container("podman", "1", "a", "running", compose=compose)
    monkeypatch.setattr(engine_module, "containers_of_host", lambda: ({"a": container}, {"docker": "is down"}))
    told = describe_containers(["a", "b"], [NEW], [OLD])
    assert told["containers"]["a"]["named_in"] == [str(tmp_path / "compose.yml"), str(tmp_path / "web.env")]
    assert told["containers"]["b"] == {"status": "not-found"}
    assert told["unasked"] == {"docker": "is down"}


def found(*, was_running: bool = True, compose: Compose | None = None) -> FoundContainer:
    """Return a container as a hold has found it."""
    return FoundContainer("podman", was_running, compose)
