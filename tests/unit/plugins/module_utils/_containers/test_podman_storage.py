# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where podman never ran, nothing that only reads makes its storage. A stub makes one as the real podman does."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._containers import podman_storage
from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import containers_of_host
from ansible_collections.dsa110.contimg.plugins.module_utils._containers.podman_storage import has_podman_storage
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.tests.support.hosts.host_stubs import write_podman
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module

VARIABLES = ("CONTAINERS_STORAGE_CONF", "CONTAINERS_CONF", "CONTAINER_HOST", "CONTAINER_CONNECTION", "XDG_CONFIG_HOME")
REAL = shutil.which("podman") if os.geteuid() == 0 else None


@pytest.fixture(name="engine")
def _engine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    for name in (*VARIABLES, "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    engine = tmp_path / "engine"
    write_podman(engine, [])
    monkeypatch.setenv("PATH", str(engine))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(engine / "storage.conf"))
    return engine


def as_docker(engine: pathlib.Path) -> None:
    """Give podman the name of docker, too, as the package podman-docker does."""
    (engine / "docker").write_text('#!/bin/sh\nexec podman "$@"\n')
    (engine / "docker").chmod(0o755)


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("container_info", {"names": ["a"], "using": ["/stage/state"], "leaving": ["/stage/state"]}),
    ("container_hold", {"names": [], "state": "held", "hold_file": "/nowhere/hold.json"}),
    ("container_hold", {"names": [], "state": "released", "hold_file": "/nowhere/hold.json"}),
]


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize(("module", "asked"), CALLS)
def test_a_look_makes_no_storage(engine: pathlib.Path, module: str, asked: dict[str, Any], *, docker: bool) -> None:
    if docker:
        as_docker(engine)
        (engine / "podman").rename(engine / "podman.real")
        (engine / "podman").symlink_to("podman.real")
    for check in (True, False):
        run_module(module, asked, check=check)
    assert containers_of_host() == ({}, {})
    assert not (engine / "storage").exists()


def test_an_empty_storage_is_none(engine: pathlib.Path) -> None:
    (engine / "storage").mkdir()
    assert containers_of_host() == ({}, {})
    assert os.listdir(engine / "storage") == []


def test_podman_is_asked_where_it_has_a_storage(engine: pathlib.Path) -> None:
    (engine / "web.status").write_text("running\n")
    assert containers_of_host()[0] == {}
    (engine / "storage" / "libpod").mkdir(parents=True)
    as_docker(engine)
    found, unasked = containers_of_host()
    assert (list(found), found["web"].engine, unasked) == (["web"], "podman", {})


def test_another_docker_is_asked_without_a_storage_of_podman(engine: pathlib.Path) -> None:
    (engine / "docker").write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Docker version 24.0.7" || echo "is down" >&2\n'
    )
    with open(engine / "docker", "a", encoding="ascii") as file:
        file.write('[ "$1" = --version ]\n')
    (engine / "docker").chmod(0o755)
    found, unasked = containers_of_host()
    assert (found, list(unasked)) == ({}, ["docker"])
    assert "is down" in unasked["docker"]


def test_what_cannot_be_read_is_not_taken_for_no_container(engine: pathlib.Path) -> None:
    os.truncate(engine / "storage.conf", 65 << 20)
    found, unasked = containers_of_host()
    assert (found, list(unasked)) == ({}, ["podman"])
    hold = {"names": ["web"], "state": "held", "hold_file": "/nowhere/hold.json"}
    with pytest.raises(
        ContimgError, match=f"web: no engine .*, and podman could not be asked: {engine}/storage.conf: has"
    ):
        run_module("container_hold", hold, check=True)
    assert not (engine / "storage").exists()


@pytest.mark.parametrize("check", [True, False])
def test_a_held_container_of_which_nothing_is_known_is_neither_started_nor_created(
    engine: pathlib.Path, tmp_path: pathlib.Path, *, check: bool
) -> None:
    (engine / "web.status").write_text("running\n")
    (engine / "storage" / "libpod").mkdir(parents=True)
    asked = {"names": ["web"], "hold_file": str(tmp_path / "run" / "hold.json")}
    run_module("container_hold", {**asked, "state": "held"})
    assert not containers_of_host()[0]["web"].running
    configuration = (engine / "storage.conf").read_bytes()
    os.truncate(engine / "storage.conf", 65 << 20)
    with pytest.raises(
        ContimgError, match=r"web: was not started: podman could not be asked for it: .*storage\.conf: has"
    ):
        run_module("container_hold", {**asked, "state": "released"}, check=check)
    (engine / "storage.conf").write_bytes(configuration)
    assert not containers_of_host()[0]["web"].running
    run_module("container_hold", {**asked, "state": "released"})
    assert containers_of_host()[0]["web"].running


@pytest.mark.parametrize("name", ["CONTAINER_HOST", "CONTAINER_CONNECTION"])
def test_a_client_of_a_service_is_asked(engine: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert not has_podman_storage()
    monkeypatch.setenv(name, "unix:///run/podman.sock")
    assert has_podman_storage()
    monkeypatch.delenv(name)
    (engine / "containers.conf").write_text("[engine]\n  remote = true # of another host\n")
    monkeypatch.setenv("CONTAINERS_CONF", str(engine / "containers.conf"))
    assert has_podman_storage()


@pytest.mark.parametrize(
    ("user", "file", "text", "place"),
    [
        (0, "etc/storage.conf", 'graphroot = "{}"', "big"),
        (0, "etc/storage.conf.d/10.conf", "graphroot='{}'", "big"),
        (0, "usr/storage.conf", '[storage]\n  graphroot="{}"  # here', "big"),
        (0, "etc/storage.conf", 'rootless_storage_path = "{}"', "root"),
        (0, "etc/storage.conf", '# graphroot = "{}"', "root"),
        (7, "etc/storage.conf", 'rootless_storage_path = "{}/$UID"', "big/7"),
        (7, "home/.config/containers/storage.conf", 'graphroot = "{}"', "big"),
        (7, "none", "", "home/.local/share/containers/storage"),
        (7, "etc/storage.conf", 'graphroot = "{}/of/root"', "home/.local/share/containers/storage"),
    ],
)
def test_a_storage_is_found_where_it_is_configured(
    engine: pathlib.Path, monkeypatch: pytest.MonkeyPatch, user: int, file: str, text: str, place: str
) -> None:
    base = engine.parent
    monkeypatch.delenv("CONTAINERS_STORAGE_CONF")
    monkeypatch.setattr(podman_storage, "_SYSTEM", (str(base / "usr"), str(base / "etc")))
    monkeypatch.setattr(podman_storage, "_OF_ROOT", str(base / "root"))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    path = base / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(base / "big"))
    if user or place == "root":  # whatever is configured for root, the default counts, too
        (base / ("root" if user else "big") / "libpod").mkdir(parents=True)
    assert not has_podman_storage()
    (base / place / "libpod").mkdir(parents=True)
    assert has_podman_storage()


@pytest.mark.parametrize("program", ["stub", *(["real"] if REAL else [])])
def test_podman_makes_its_storage_when_it_is_asked_but_for_its_version(engine: pathlib.Path, program: str) -> None:
    """The stub does what the real one does, which runs apart from this host's ``/run``."""
    podman = [str(engine / "podman")] if program == "stub" else [str(REAL)]
    if program == "real":
        podman = ["/usr/bin/unshare", "-m", "/bin/sh", "-c", 'mount -t tmpfs t /run && exec "$0" "$@"', *podman]
    environment = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run([*podman, "--version"], check=True, env=environment)
    assert not (engine / "storage").exists()
    subprocess.run([*podman, "ps", "--all", "--quiet", "--no-trunc"], check=True, env=environment)
    assert (engine / "storage" / "libpod").exists()
