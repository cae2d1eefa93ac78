# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the holds that a host has, whatever run has placed them; the integration target asks real units."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import run_record
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.status import foreign_holds, holds_of_host, look
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_containers
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_file as hold_file_module
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_containers import FoundContainer
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import (
    Found,
    HoldState,
    forget,
    write_memory,
)
from ansible_collections.dsa110.contimg.tests.support.hosts.host_stubs import write_failing_docker

if TYPE_CHECKING:
    import pathlib

RAN = Found(was_active=True, was_enabled=True, is_trigger=False)
DOWN = Found(was_active=False, was_enabled=True, is_trigger=False)
FAILING = Found(was_active=True, was_enabled=True, is_trigger=False, was_failing=True)
HELD = HoldState(
    {"a.service": RAN, "b.service": DOWN, "c.service": FAILING}, 1795535830.5, run_id="migrate-20261127T064100Z-3f9a1c"
)


@pytest.fixture(autouse=True)
def _runtime(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_file_module, "_RUNTIME", str(tmp_path / "system"))


def asked(run_dir: pathlib.Path, **more: Any) -> dict[str, Any]:
    """Return the module's parameters."""
    lists: dict[str, Any] = {"units": [], "containers": [], "own_holds": [], "fail_on": [], "env_files": []}
    usual = {**lists, "before": None, "src": None, "dest": None, "move": None}
    return {"run_dir": str(run_dir), **usual, **more}


def held_in(run_dir: pathlib.Path) -> str:
    """Hold units with a run directory and return the hold file."""
    hold_file = str(run_dir / "hold.json")
    write_memory(hold_file, HELD)
    hold_file_module.place_drop_in("a.service", hold_file, HELD)
    return hold_file


def test_a_hold_is_known_by_its_file_in_any_run_directory_and_by_its_drop_ins(tmp_path: pathlib.Path) -> None:
    assert holds_of_host() == []
    hold_file = held_in(tmp_path / "run")
    (hold,) = holds_of_host()
    assert (hold.hold_file, hold.since, hold.run_id) == (hold_file, HELD.stopped_at, HELD.run_id)
    assert (hold.units, hold.ran) == (("a.service", "b.service", "c.service"), ("a.service",))

    hold_file_module.remove_drop_in("a.service")  # as a reboot does
    assert holds_of_host() == [hold]

    hold_file_module.place_drop_in("a.service", hold_file, HELD)
    forget(hold_file)  # removed by mistake
    (kept,) = holds_of_host()
    assert (kept.units, kept.since, kept.run_id) == (("a.service",), hold.since, hold.run_id)

    hold_file_module.remove_drop_in("a.service")
    assert holds_of_host() == []


def test_a_hold_of_containers_is_known(tmp_path: pathlib.Path) -> None:
    hold_file = str(tmp_path / "run" / "containers.json")
    found = {"web": FoundContainer("podman", was_running=True), "old": FoundContainer("podman", was_running=False)}
    hold_containers.write_memory(hold_file, hold_containers.HeldContainers(found, 5.0, "rollback-x"))
    (hold,) = holds_of_host()
    assert (hold.containers, hold.ran, hold.since, hold.run_id) == (("web", "old"), ("web",), 5.0, "rollback-x")
    shutil.rmtree(tmp_path / "run")
    assert holds_of_host() == []


def test_a_foreign_hold_is_refused_with_its_owner_and_the_way_to_release_it(tmp_path: pathlib.Path) -> None:
    hold_file = held_in(tmp_path / "other")
    values = asked(tmp_path / "run", fail_on=["foreign_holds"])
    with pytest.raises(ContimgError) as caught:
        look(values)
    for words in (
        "a.service, b.service, c.service: held down since 2026-11-24",
        f"by run {HELD.run_id} with the run directory {tmp_path / 'other'} (hold file {hold_file})",
        f"dsa110.contimg.migrate with contimg_run_dir: {tmp_path / 'other'}",
        f"ansible HOST -b -m dsa110.contimg.unit_hold -a 'state=released names= hold_file={hold_file}'",
        "Nothing was touched.",
    ):
        assert words in caught.value.message
    assert foreign_holds(holds_of_host(), [hold_file]) == []
    with pytest.raises(ContimgError, match=hold_file):  # of another playbook with the same run directory
        look(asked(tmp_path / "other", own_holds=["split-hold.json"], fail_on=["foreign_holds"]))


def test_nothing_is_asked_where_nothing_is_listed_or_held(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = look(asked(tmp_path / "run", fail_on=["down", "foreign_holds"]))
    assert found == {
        "units": {},
        "containers": {},
        "ran": {"units": [], "containers": []},
        "down": [],
        "foreign_holds": [],
        "phase": "",
    }


def test_a_container_that_ran_and_is_gone_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # there is no engine
    values = asked(tmp_path / "run", containers=["web"])
    assert look(values)["ran"] == {"units": [], "containers": []}
    with pytest.raises(
        ContimgError, match=r"what ran before this run does not run now: web is not-found.*phase 'untouched'"
    ):
        look({**values, "before": {"containers": ["web"]}, "fail_on": ["down"]})


def test_why_an_engine_could_not_be_asked_is_said_of_a_container_that_is_not_found(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_failing_docker(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    state = look(asked(tmp_path / "run", containers=["web"]))["containers"]["web"]["state"]
    assert state.startswith("not-found, and docker could not be asked: ")
    assert state.endswith("failed: the daemon is down")


def test_the_record_is_returned_for_its_own_move_and_refused_for_another(tmp_path: pathlib.Path) -> None:
    move = {"src": "/stage/state", "dest": "/data/state", "databases": [], "exclude": []}
    untouched = look(asked(tmp_path / "run", move=move))
    assert (untouched["record"]["phase"], untouched["record_file"]) == ("", f"{tmp_path}/run/record.json")
    begun = {
        "run_dir": str(tmp_path / "run"),
        "phase": "presynced",
        "move": move,
        "facts": {},
        "record": {},
        "moments": [],
    }
    run_record({**begun, "run_id": "migrate-1"}, check=False)
    found = look(asked(tmp_path / "run", move=move))
    read = run_record({**begun, "phase": None, "run_id": ""}, check=False)
    assert {name: found[name] for name in ("record", "record_file")} == {
        name: read[name] for name in ("record", "record_file")
    }
    assert isinstance(found["now"], float)
    with pytest.raises(
        ContimgError, match=r"record.json: belongs to the move migrate-1, .*Nothing was touched"
    ) as caught:
        look(asked(tmp_path / "run", move={**move, "dest": "/other/state"}))
    assert caught.value.result()["ran"] == {"units": [], "containers": []}
