# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a path that was to be left: tables of containers and processes, and this process."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import Container
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import Holder, find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._services.left import binding, opening, users_of_left
from ansible_collections.dsa110.contimg.plugins.module_utils._services.watch import watch, watch_options
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import default_options

if TYPE_CHECKING:
    import pathlib

OLD = "/stage/state"


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ({}, ""),
        ({"mounts": {"/s": "/stage"}}, ""),
        ({"mounts": {"/s": f"{OLD}/db"}, "environment": {"DB": f"sqlite:///{OLD}/a"}}, "mount /s, environment DB"),
        ({"command": f"serve {OLD}"}, "command"),
        ({"environment": {"DB": f"{OLD}-new"}}, ""),
    ],
)
def test_a_container_that_is_bound_to_the_path_is_named(values: dict[str, Any], places: str) -> None:
    found = {"board": Container("podman", "1", "board", "running", **values)}
    clauses = list(binding(OLD, found, ["board", "gone"]))
    assert [f"is bound to {OLD} by its {places}. Does" in one for one in clauses] == ([True] if places else [])


def test_a_process_of_another_unit_is_none_of_ours() -> None:
    holder = Holder(7, "stream", "stream.service", "", "", (f"{OLD}/a",), "read")
    assert list(opening(OLD, [holder], ["api.service"])) == []
    (clause,) = opening(OLD, [holder], ["api.service", "stream.service"])
    assert '"pid": 7' in clause
    assert f"has files below {OLD} open after the start" in clause


def test_a_watch_fails_where_a_unit_has_files_of_the_path_open(tmp_path: pathlib.Path) -> None:
    nothing = {**default_options("unit_watch"), "names": [], "duration": 0, "patterns": [], "since": 0}
    (tmp_path / "file").touch()
    with (tmp_path / "file").open() as file, subprocess.Popen(["sleep", "600"], stdin=file) as user:
        (unit,) = {one.unit for one in find_holders([str(tmp_path)]).holders if one.pid == user.pid}
        left = {"path": str(tmp_path), "units": [unit], "containers": ["none"]}
        options = watch_options({**nothing, "left": left})
        assert watch(options, check=True)["units"] == {}
        with pytest.raises(ContimgError, match=rf'"pid": {user.pid}.* has files below .* open after the start'):
            watch(options, check=False)
        user.kill()
    assert users_of_left(str(tmp_path), units=[unit], containers=["none"]) == []
