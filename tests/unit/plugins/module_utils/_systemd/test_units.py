# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is made of systemd's answers; the integration target asks systemd itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.edit import repoint_file
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.timers import TimerMoment
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.unit_files import parse_unit_files
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.units import (
    _PROPERTIES,
    Unit,
    describe_units,
    facts_of,
    uses_of,
)

if TYPE_CHECKING:
    import pathlib

OLD = "/stage/dsa110-contimg/state"


def unit(text: str = "", *, files: dict[str, bytes] | None = None, timer: bool = False, **raw: str) -> Unit:
    """Return what was read of a unit that has nothing but what is given."""
    moment = TimerMoment(
        {"OnBootUSec": 60.0}, None, stamp_ends_boot=False, now=1e9, next_after=lambda _expression, _after: None
    )
    properties = {**dict.fromkeys(_PROPERTIES, ""), "Id": "a.service", **raw}
    return Unit(properties, parse_unit_files([text]), files or {}, moment if timer else None)


def test_the_environment_is_read_as_shown_and_secrets_are_masked() -> None:
    facts = facts_of(
        unit(
            Environment=r'A=1 "B=two words \"q\" \\" C= SMTP_PASSWORD=planted "HOOK=https://planted" $' + r"'D=x\ny'",
            EnvironmentFiles="/etc/a.env (ignore_errors=no)\n/etc/b with blank.env (ignore_errors=yes)",
            files={"/etc/a.env": b"A=2\nDRY_RUN=1\nAPI_TOKEN=planted2\nCOPY=x-planted2-y\n", "/etc/b": b"DRY_RUN=0\n"},
        )
    )
    assert facts.environment == {
        "A": "1", "B": 'two words "q" \\', "C": "", "SMTP_PASSWORD": "********", "HOOK": "********", "D": "x\\x0ay",
    }  # fmt: skip
    assert facts.environment_files == [
        {"path": "/etc/a.env", "optional": False},
        {"path": "/etc/b with blank.env", "optional": True},
    ]
    assert (facts.effective_environment["A"], facts.effective_environment["DRY_RUN"]) == ("2", "0")
    assert "planted" not in str(facts)


def test_every_command_is_read_whole_and_its_secrets_are_masked() -> None:
    command = (
        "{{ path=/bin/sh ; argv[]=/bin/sh -c {} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 }}"
    )
    extended = "{ path=/bin/x ; argv[]=/bin/x --api-key planted ; flags= ; start_time=[n/a] }"
    facts = facts_of(
        unit(
            ExecStart=command.format("a ; b") + "\n" + command.format("c"),
            ExecStopPost=command.format("d"),
            ExecReload=extended,
        )
    )
    assert facts.exec == ["/bin/sh -c a ; b", "/bin/sh -c c", "/bin/x --api-key ********", "/bin/sh -c d"]


TEXT = f"""
[Service]
StandardOutput=append:{OLD}/logs/%n.out
BindPaths={OLD}:/state
Description=was in {OLD}
ExecStart=/bin/stale {OLD}
"""


def test_every_place_that_names_a_path_is_told() -> None:
    command = "{{ path=/bin/x ; argv[]=/bin/x {} ; ignore_errors=no ; start_time=[n/a] }}"
    found = list(
        uses_of(
            unit(
                TEXT,
                ExecStop=command.format(f"--state={OLD}"),
                ExecStart=command.format("/data"),
                ReadWritePaths=f"/data -{OLD}",
                WorkingDirectory=f"!{OLD}",
                Environment=f"STATE={OLD}/x SMTP_PASSWORD={OLD}",
                EnvironmentFiles=f"{OLD}/contimg.env (ignore_errors=no)",
                files={f"{OLD}/contimg.env": f"# {OLD}\nQUEUE='{OLD}/ingest.sqlite3'\n".encode()},
            ),
            [OLD, "/stage/other"],
        )
    )
    assert [(one["where"], one.get("name")) for one in found] == [
        ("ExecStop", None),
        ("ReadWritePaths", None),
        ("WorkingDirectory", None),
        ("EnvironmentFile", None),
        ("StandardOutput", None),
        ("BindPaths", None),
        ("Environment", "STATE"),
        ("Environment", "SMTP_PASSWORD"),
        (f"{OLD}/contimg.env", "QUEUE"),
    ]
    assert {one["path"] for one in found} == {OLD}


def test_a_program_that_is_not_among_its_arguments_is_told() -> None:
    command = f"{{ path={OLD}/bin/x ; argv[]=x --verbose ; ignore_errors=no ; start_time=[n/a] }}"
    assert [one["where"] for one in uses_of(unit(ExecStartPre=command), [OLD])] == ["ExecStartPre"]


def test_the_files_that_name_a_path_are_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.service").write_text(f"[Service]\n# {OLD}\nDescription=was in {OLD}\nDocumentation=file://{OLD}/x\n")
    (tmp_path / "x.conf").write_text(f"[Service]\nEnvironment=DATABASE_URL=sqlite:///{OLD}/x.sqlite3\n")
    main, drop_in = f"{tmp_path}/a.service", f"{tmp_path}/x.conf"
    url = f"DATABASE_URL=sqlite:///{OLD}/x.sqlite3"
    found = list(uses_of(unit(Environment=url, FragmentPath=main, DropInPaths=drop_in), [OLD]))
    assert [(one["name"], one["files"]) for one in found] == [("DATABASE_URL", [drop_in])]
    assert list(uses_of(unit(FragmentPath=main), [OLD])) == []
    # Where no file has it as it is, for example by a specifier, it may be any of them.
    found = list(uses_of(unit(Environment=f"A={OLD}/y", FragmentPath=main), [OLD]))
    assert [one["files"] for one in found] == [[main]]


def test_what_was_changed_since_the_start_is_told(tmp_path: pathlib.Path) -> None:
    start = 1795600000
    names = {
        "a.service": start - 5,
        "10.conf": start + 0.9,
        "20.conf": start + 1,
        "old.env": start,
        "new.env": start + 9,
    }
    for name, moment in names.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (moment, moment))
    found = unit(
        FragmentPath=f"{tmp_path}/a.service",
        DropInPaths=f"{tmp_path}/10.conf {tmp_path}/20.conf {tmp_path}/gone.conf",
        files={f"{tmp_path}/{name}": b"" for name in ("old.env", "new.env")},
        ExecMainStartTimestamp="Wed 2026-11-25 09:46:40 UTC",
        ActiveState="active",
    )
    facts = facts_of(found)
    assert facts.unit_files == [f"{tmp_path}/{name}" for name in ("a.service", "10.conf", "20.conf", "gone.conf")]
    assert facts.changed_since_start == [f"{tmp_path}/{name}" for name in ("20.conf", "new.env")]
    assert facts_of(unit(FragmentPath=f"{tmp_path}/a.service")).changed_since_start == []
    assert [one["where"] for one in uses_of(found, [f"{tmp_path}/20.conf", f"{tmp_path}/other"])] == ["UnitFile"]


def test_logs_and_files_of_an_unexpanded_name_are_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "${PIPELINE_DB}").touch()
    (tmp_path / "$HOME").touch()
    (tmp_path / "plain").touch()
    facts = facts_of(unit(TEXT, WorkingDirectory=f"!{tmp_path}", Type="simple"))
    assert facts.unexpanded_files == [f"{tmp_path}/$HOME", f"{tmp_path}/${{PIPELINE_DB}}"]
    assert facts.logs == [f"{OLD}/logs/a.service.out"]
    assert facts.standard_output == f"append:{OLD}/logs/%n.out"
    assert facts_of(unit(WorkingDirectory=f"{tmp_path}/absent", Type="simple")).unexpanded_files == []


@pytest.mark.parametrize(("state", "now"), [("active", False), ("inactive", True), ("failed", True)])
def test_an_active_timer_is_not_run_by_enabling_it(state: str, now: bool) -> None:  # noqa: FBT001
    shown = "{ OnBootUSec=10s ; next_elapse=10s }"
    facts = facts_of(unit(timer=True, Id="a.timer", ActiveState=state, TimersMonotonic=shown))
    assert (facts.would_fire_now, facts.would_fire_restarted) == (now, True)
    assert facts.would_fire_reason.startswith("OnBootSec=10s has passed")
    assert facts.next_elapse == ("" if state == "active" else "2001-09-09T01:46:40Z")


def test_the_next_elapse_of_an_active_timer_is_what_systemd_says() -> None:
    facts = facts_of(
        unit(timer=True, ActiveState="active", Id="a.timer", NextElapseUSecRealtime="Thu 2026-11-26 00:00:00 UTC")
    )
    assert facts.next_elapse == "2026-11-26T00:00:00Z"


def test_systemd_is_not_asked_for_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_units([], []) == {}


@pytest.mark.parametrize("name", ["a.service", "link.service"])
def test_the_logs_are_told_as_they_will_be_in_a_unit_file_that_is_repointed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fragment, drop_in, link = tmp_path / "a.service", tmp_path / "b.conf", tmp_path / "link.service"
    fragment.write_text(f"[Service]\nStandardOutput=append:{OLD}/logs/a.log\n")
    drop_in.write_text(f"[Service]\nStandardError=append:{OLD}/logs/b.log\n")
    link.symlink_to("a.service")
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    (tmp_path / "systemctl").chmod(0o755)
    (tmp_path / "answer").write_text(
        f"Id=a.service\nLoadState=loaded\nFragmentPath={fragment}\nDropInPaths={drop_in}\n"
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    moves = [(f"{OLD}/logs", "/var/log/x"), (OLD, "/data/state")]
    (preview,) = describe_units(["a.service"], [], repointed={str(tmp_path / name): moves}, leaving=moves).values()
    assert preview["standard_output"] == "append:/var/log/x/a.log"
    assert preview["standard_error"] == f"append:{OLD}/logs/b.log"  # the drop-in is not repointed
    assert preview["left_logs"] == {"StandardError": "append:/var/log/x/b.log"}
    repoint_file(str(fragment), moves, backup_dir=None, check=False)
    (run,) = describe_units(["a.service"], [], repointed={str(tmp_path / name): moves}, leaving=moves).values()
    assert run == preview


@pytest.mark.parametrize(
    ("files", "planned", "value"),
    [
        (["a.env"], {"a.env": "true"}, "true"),  # although the file says otherwise
        (["a.env", "b.env"], {"a.env": "true"}, "later"),  # a later file wins
        (["b.env", "a.env"], {"a.env": "true"}, "true"),
        (["none.env"], {"none.env": "true"}, "true"),  # made by then
        (["*.env"], {"none.env": "true"}, "true"),
        (["link.env"], {"a.env": "true"}, "true"),
        (["b.env"], {"a.env": "true"}, "later"),  # not a file of this unit
        (["a.env"], {"a.env": True}, "True"),
    ],
)
def test_the_environment_is_told_as_it_will_be(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str],
    planned: dict[str, object],
    value: str,
) -> None:
    (tmp_path / "a.env").write_text("DRY_RUN=false\n")
    (tmp_path / "b.env").write_text("DRY_RUN=later\n")
    (tmp_path / "link.env").symlink_to("a.env")
    lines = "".join(f"EnvironmentFiles={tmp_path}/{name} (ignore_errors=no)\n" for name in files)
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    (tmp_path / "systemctl").chmod(0o755)
    (tmp_path / "answer").write_text(f"Id=a.service\nLoadState=loaded\n{lines}Environment=DRY_RUN=0\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    asked = {str(tmp_path / name): {"DRY_RUN": said} for name, said in planned.items()}
    (found,) = describe_units(["a.service"], [], planned=asked).values()
    assert found["effective_environment"] == {"DRY_RUN": value}
