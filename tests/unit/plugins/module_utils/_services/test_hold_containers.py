# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the hold of containers: what a release does, and the hold file."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import (
    Compose,
    Container,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_containers import (
    FoundContainer,
    HeldContainers,
    plan_release,
    read_memory,
    write_memory,
)

OLD, NEW = "/stage/state", "/data/state"


COMPOSE = Compose("dash", "/srv/dash", ("/srv/dash/compose.yml",), (), "web")


def found(*, was_running: bool = True, compose: Compose | None = None) -> FoundContainer:
    """Return a container as a hold has found it."""
    return FoundContainer("podman", was_running, compose)


def test_what_is_bound_is_created_again_and_all_else_that_ran_is_started() -> None:
    memory = HeldContainers(
        {
            "bound": found(compose=COMPOSE),
            "bound, off": found(was_running=False, compose=COMPOSE),
            "bound by hand": found(),
            "free": found(compose=COMPOSE),
            "free, off": found(was_running=False),
            "gone": found(compose=COMPOSE),
            "gone, off": found(was_running=False, compose=COMPOSE),
            "back already": found(compose=COMPOSE),
        }
    )
    off = Container("podman", "1", "a", "exited")
    bound = replace(off, mounts={"/s": OLD})
    now = {
        "bound": bound, "bound, off": bound, "bound by hand": bound, "free": off, "free, off": off,
        "back already": replace(off, status="running", mounts={"/s": NEW}),
    }  # fmt: skip
    plan = plan_release(memory, now, [OLD])
    assert plan.create == ("bound", "bound, off", "gone")
    assert plan.start == ("bound by hand", "free")


def test_a_memory_survives_its_file(tmp_path: pathlib.Path) -> None:
    memory = HeldContainers({"a": found(compose=COMPOSE), "b": found(was_running=False)}, 12.5)
    path = tmp_path / "run" / "containers.json"
    write_memory(str(path), memory)
    assert read_memory(str(path)) == memory
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{}")
    with pytest.raises(ContimgError, match="is no hold file of containers"):
        read_memory(str(path))
