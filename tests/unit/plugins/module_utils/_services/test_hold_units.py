# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what a hold decides and remembers; the integration target holds real units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_file as hold_file_module
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import (
    Found,
    HoldState,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_units import (
    _PROPERTIES,
    plan_hold,
    run_hold,
)

if TYPE_CHECKING:
    import pathlib

NONE = HoldState()


def facts(state: str = "active", **more: str) -> dict[str, str]:
    """Return a unit's properties."""
    usual = {"LoadState": "loaded", "ActiveState": state, "UnitFileState": "enabled", "Transient": "no"}
    return {**dict.fromkeys(_PROPERTIES, ""), **usual, **more}


def test_what_runs_is_stopped_and_all_is_held() -> None:
    shown = {"a.service": facts(), "b.service": facts("inactive", UnitFileState="disabled")}
    plan = plan_hold(["a.service", "b.service"], shown, NONE, [])
    assert plan.units == {
        "a.service": Found(was_active=True, was_enabled=True, is_trigger=False),
        "b.service": Found(was_active=False, was_enabled=False, is_trigger=False),
    }
    assert (plan.stop, plan.drop_in, plan.remember) == (("a.service",), ("a.service", "b.service"), True)


def test_a_drop_in_that_systemd_has_not_loaded_is_loaded() -> None:
    for reload, changed in (("no", False), ("yes", True)):
        shown = {"a.service": facts("inactive", UnitFileState="disabled", NeedDaemonReload=reload)}
        memory = HoldState(
            {"a.service": Found(was_active=True, was_enabled=False, is_trigger=False)}, 1.0, on_file=True
        )
        plan = plan_hold(["a.service"], shown, memory, ["a.service"])
        assert (plan.reload, plan.changed, plan.drop_in) == (changed, changed, ())


def test_triggers_are_stopped_first_and_then_what_was_started_last() -> None:
    shown = {
        "db.service": facts(TriggeredBy="db.socket idle.timer"),
        "api.service": facts(After="db.service sysinit.target"),
        "web.service": facts(After="api.service"),
        "db.socket": facts(),
        "idle.timer": facts("inactive"),
    }
    plan = plan_hold(["db.service", "api.service", "web.service"], shown, NONE, [])
    assert plan.stop == ("db.socket", "web.service", "api.service", "db.service")
    assert list(plan.units) == ["db.socket", "idle.timer", "db.service", "api.service", "web.service"]
    assert [name for name, found in plan.units.items() if found.is_trigger] == ["db.socket", "idle.timer"]


def test_what_systemd_stops_too_is_remembered_with_what_triggers_it() -> None:
    shown = {
        "a.service": facts(RequiredBy="b.service", ConsistsOf="off.service"),
        "b.service": facts(BoundBy="c.service", TriggeredBy="b.path"),
        "c.service": facts(RequiredBy="a.service"),
        "b.path": facts(),
        "off.service": facts("inactive"),
    }
    plan = plan_hold(["a.service"], shown, NONE, [])
    assert {name: (found.is_trigger, found.is_dependent) for name, found in plan.units.items()} == {
        "b.path": (True, False),
        "b.service": (False, True),
        "c.service": (False, True),
        "a.service": (False, False),
    }
    # After the hold they are down, systemd has forgotten how they hang together, and still they belong to it.
    down = {name: facts("inactive") for name in shown}
    again = plan_hold(["a.service"], down, HoldState(plan.units, 1.0, on_file=True), plan.units)
    assert again.units == plan.units
    assert not again.changed


def test_a_unit_that_is_no_longer_asked_for_stays_held() -> None:
    first = {name: Found(was_active=True, was_enabled=True, is_trigger=False) for name in ("a.service", "b.service")}
    down = {name: facts("inactive") for name in first}
    plan = plan_hold(["a.service"], down, HoldState(first, 1.0, on_file=True), first)
    assert plan.units == first
    assert not plan.changed


def test_how_a_unit_was_found_first_is_what_counts() -> None:
    first = {"a.service": Found(was_active=True, was_enabled=True, is_trigger=False, was_failing=True)}
    plan = plan_hold(
        ["a.service"],
        {"a.service": facts("inactive", UnitFileState="disabled")},
        HoldState(first, 1.0, on_file=True),
        ["a.service"],
    )
    assert plan.units == first
    assert not plan.changed


def test_a_reboot_has_lifted_the_hold_and_started_the_unit() -> None:
    first = {"a.service": Found(was_active=True, was_enabled=True, is_trigger=False)}
    plan = plan_hold(["a.service"], {"a.service": facts()}, HoldState(first, 1.0, on_file=True), [])
    assert (plan.units, plan.stop, plan.drop_in) == (first, ("a.service",), ("a.service",))


def test_a_hold_file_that_is_gone_is_written_again() -> None:
    first = {"a.service": Found(was_active=True, was_enabled=True, is_trigger=False)}
    plan = plan_hold(["a.service"], {"a.service": facts("inactive")}, HoldState(first, 1.0), ["a.service"])
    assert plan.units == first
    assert (plan.stop, plan.drop_in, plan.changed) == ((), (), True)


@pytest.mark.parametrize(
    ("state", "sub", "active", "failing"),
    [
        ("active", "running", True, False),
        ("activating", "start", True, False),
        ("activating", "auto-restart", True, True),
        ("reloading", "reload", True, False),
        ("deactivating", "stop-sigterm", False, False),
        ("failed", "failed", False, True),
        ("inactive", "dead", False, False),
    ],
)
def test_states_are_judged(state: str, sub: str, active: bool, failing: bool) -> None:  # noqa: FBT001
    plan = plan_hold(["a.service"], {"a.service": facts(state, SubState=sub)}, NONE, [])
    assert plan.units["a.service"] == Found(active, was_enabled=True, is_trigger=False, was_failing=failing)
    assert bool(plan.stop) == (state not in ("failed", "inactive"))


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (facts("inactive", LoadState="not-found"), "a.service: systemd does not know this unit.*Nothing was touched"),
        (facts(Transient="yes"), "a.service: is transient, so it could not be started again"),
        (facts(LoadState="masked"), "a.service: is masked, so it could not be started again"),
        (facts(LoadState="not-found"), "a.service: runs, but its unit file does not exist any more"),
        (facts(FragmentPath="/none/a.service"), "its unit file /none/a.service does not exist any more.*Restore"),
        (facts(RefuseManualStop="yes"), "RefuseManualStop=yes, so systemd would refuse to stop it.*drop-in"),
        (facts(RefuseManualStart="yes"), "RefuseManualStart=yes, so systemd would refuse to start it again"),
    ],
)
def test_what_could_not_be_started_again_is_not_stopped(shown: dict[str, str], says: str) -> None:
    with pytest.raises(ContimgError, match=says):
        plan_hold(["a.service"], {"a.service": shown}, NONE, [])


def test_a_unit_that_does_not_run_is_held_whatever_it_refuses() -> None:
    shown = facts("inactive", RefuseManualStop="yes", RefuseManualStart="yes", FragmentPath="/none/a.service")
    assert plan_hold(["a.service"], {"a.service": shown}, NONE, []).stop == ()


def test_all_that_cannot_be_held_is_named_at_once_with_what_hangs_together() -> None:
    shown = {
        "a.service": facts(TriggeredBy="a.socket", RequiredBy="b.service"),
        "a.socket": facts(RefuseManualStart="yes"),
        "b.service": facts(LoadState="masked"),
        "c.service": facts("inactive", LoadState="not-found"),
    }
    with pytest.raises(ContimgError) as refused:
        plan_hold(["a.service", "c.service"], shown, NONE, [])
    for words in ("a.socket: has RefuseManualStart", "b.service: is masked", "c.service: systemd does not know"):
        assert words in refused.value.message
    assert refused.value.message.count("Nothing was touched") == 1


def test_the_template_of_a_pattern_is_held_with_its_instances() -> None:
    plan = plan_hold(["wk@1.service"], {"wk@1.service": facts()}, NONE, [], templates=["wk@.service"])
    assert plan.drop_in == ("wk@1.service", "wk@.service")
    assert list(plan.units) == ["wk@1.service"]
    again = plan_hold(
        ["wk@1.service"],
        {"wk@1.service": facts("inactive")},
        HoldState(plan.units, 1.0, on_file=True),
        plan.drop_in,
        templates=["wk@.service"],
    )
    assert not again.changed


@pytest.fixture
def runtime(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return a directory that stands for /run/systemd/system."""
    monkeypatch.setattr(hold_file_module, "_RUNTIME", str(tmp_path / "system"))
    return tmp_path / "system"


def test_systemd_is_not_asked_for_nothing(runtime: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(runtime))
    values = {"names": [], "hold_file": str(runtime / "hold.json"), "timeout": 1, "after_hold": False}
    for state in ("held", "released"):
        assert run_hold({**values, "state": state}, check=False)["changed"] is False
