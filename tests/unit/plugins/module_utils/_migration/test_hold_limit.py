# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what a host does about a run that gives no sign of life: with a real lease, record and hold file, and units in files."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host import lease as host_lease
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import LeaseEnder, leased, take
from ansible_collections.dsa110.contimg.plugins.module_utils._host.place import volatile_place
from ansible_collections.dsa110.contimg.plugins.module_utils._migration import hold_limit
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.hold_limit import (
    Armed,
    Signs,
    Way,
    config_file,
    left,
    program_file,
    read_armed,
    way_of,
    written,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import advance, keep, read_record
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_file
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_units import run_hold
from ansible_collections.dsa110.contimg.tests.support.hosts.host_stubs import write_systemctl

if TYPE_CHECKING:
    from collections.abc import Iterator

ALICE = {"user": "alice", "host": "laptop", "pid": "1234"}
MOVE = {"src": "/stage/state", "dest": "/data/state", "databases": {}, "exclude": []}
PHASES = ("presynced", "held", "proved", "split", "repointed", "started", "done")
COLLECTIONS = next(path for path in sys.path if path.endswith(".build/collections"))
UNITS = ("api.service", "stream.service", "api.timer")

# A step of a run, in a process of its own, that works until its input ends.
STEP = """
import sys
sys.path[:0] = [{path!r}]
from ansible_collections.dsa110.contimg.plugins.module_utils._host import place
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
place._VOLATILE = ({place!r}, {place!r})
with leased({run_id!r}, "state_sync"):
    print("at work", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("now", "sign", "at_work", "expected"),
    [
        (1000.0, 1000.0, False, 600.0),
        (1599.0, 1000.0, False, 1.0),
        (1600.0, 1000.0, False, 0.0),
        (9999.0, 1000.0, False, 0.0),
        (9999.0, 1000.0, True, 600.0),
    ],
)
def test_what_is_left_is_counted_from_the_last_sign(now: float, sign: float, at_work: bool, expected: float) -> None:  # noqa: FBT001
    assert left(now, sign=sign, at_work=at_work, limit=600.0) == expected


def test_a_step_is_a_sign_at_its_beginning_while_it_works_and_at_its_end() -> None:
    signs = Signs()
    assert signs.last(LeaseEnder(0), since=10.0, now=20.0) == 10.0  # no step since it was armed
    assert signs.last(LeaseEnder(0, 15.0), since=10.0, now=20.0) == 15.0
    assert signs.last(None, since=10.0, now=500.0) == 500.0  # it has worked all the time
    assert signs.last(LeaseEnder(0, 490.0), since=10.0, now=505.0) == 500.0
    assert signs.last(LeaseEnder(0, 504.0), since=10.0, now=505.0) == 504.0


def test_a_step_that_was_killed_counts_from_when_it_was_seen_dead() -> None:
    signs = Signs()
    killed = LeaseEnder(0, 15.0, killed=True)
    assert signs.last(killed, since=10.0, now=700.0) == 700.0
    assert signs.last(killed, since=10.0, now=900.0) == 700.0
    assert signs.last(LeaseEnder(0, 901.0, killed=True), since=10.0, now=950.0) == 950.0


@pytest.mark.parametrize(
    ("phase", "facts", "named", "way"),
    [
        ("", {}, [], Way("")),
        ("presynced", {}, ["src"], Way("presynced")),
        ("held", {}, ["src"], Way("rolled_back")),
        ("proved", {}, [], Way("rolled_back")),
        ("split", {}, ["dest"], Way("rolled_back")),  # by no edit of this move
        ("split", {"env_backups": "b"}, ["src"], Way("rolled_back")),
        ("repointed", {"env_backups": "b"}, ["src"], Way("repointed", ("/data/state",))),
        ("repointed", {"env_backups": "b"}, ["dest"], Way("repointed", ("/stage/state",))),
        ("repointed", {"env_backups": "b"}, ["src", "dest"], Way("repointed")),
        ("started", {"env_backups": "b"}, ["dest"], Way("started", ("/stage/state",))),
        ("done", {"env_backups": "b"}, ["dest"], Way("done", ("/stage/state",))),
        ("rolled_back", {"env_backups": "b"}, ["src"], Way("rolled_back", ("/data/state",))),
        ("retired", {}, [], Way("retired")),
    ],
)
def test_the_record_says_on_which_side_services_come_back(
    phase: str, facts: dict[str, Any], named: list[str], way: Way
) -> None:
    assert way_of({"phase": phase, "facts": facts, "move": MOVE}, named) == way


@pytest.mark.parametrize("phase", ["held", "proved", "split"])
def test_nothing_starts_on_a_copy_that_is_not_proved(phase: str) -> None:
    way = way_of({"phase": phase, "facts": {"env_backups": "b"}, "move": MOVE}, ["dest"])
    assert way.refused == "the environment names /data/state, whose copy is not proved"


class Host:
    """A host whose units are held by a run."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root, self.run_dir, self.systemd = root, root / "run", root / "systemd"
        write_systemctl(self.systemd, {"api.service": "", "stream.service": "api.timer", "api.timer": ""})
        journal = self.systemd / "journalctl"
        journal.write_text("#!/bin/sh\n")
        journal.chmod(0o755)
        (root / "drop-ins").mkdir()
        self.hold_file = self.run_dir / "hold.json"
        self.environment = root / "contimg.env"

    def hold(self, phase: str, *, seconds: float = 600.0, env: str = "/stage/state", facts: Any = None) -> str:
        """Hold the units as a run at a phase does, and return the id of that run."""
        run_id = take("migrate", ALICE, take_over="", wait=0.0, check=False).run_id
        self.environment.write_text(f"# once /data/state\nPIPELINE_STATE_DIR={env}\n")
        self.run_dir.mkdir(exist_ok=True)
        record = advance(read_record(str(self.run_dir)), "presynced", {}, at=1.0, run=run_id, move=MOVE)
        for one in PHASES[1 : PHASES.index(phase) + 1]:
            record = advance(record, one, {}, at=2.0, run=run_id)
        known = {"env_files": [str(self.environment)], "env_backups": "b"} if phase in PHASES[4:] else {}
        keep(str(self.run_dir), advance(record, phase, {**known, **(facts or {})}, at=3.0))
        with leased(run_id, "unit_hold"):
            values = {"names": list(UNITS[:2]), "state": "held", "hold_file": str(self.hold_file), "timeout": 9}
            run_hold({**values, "run_id": run_id}, check=False)
        self.arm(seconds)
        assert self.running() == set()
        return run_id

    def arm(self, seconds: float) -> None:
        """Write what the timer would find."""
        armed = Armed(seconds, 9.0, host_lease.host_clock(), {"units": str(self.hold_file)}, "contimg-hold-limit-0-0")
        pathlib.Path(config_file(str(self.run_dir))).write_bytes(written(armed))

    def running(self) -> set[str]:
        """Return the units that run."""
        return {name for name in UNITS if (self.systemd / name).read_text() == "active\n"}

    def record(self) -> dict[str, Any]:
        """Return the record."""
        return read_record(str(self.run_dir))

    def is_clean(self) -> bool:
        """Return whether nothing of the hold or its limit is left."""
        return not [*self.run_dir.glob("hold*"), *(self.root / "drop-ins").iterdir()]


@pytest.fixture(name="host")
def _host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setenv("PATH", str(host.systemd))
    monkeypatch.setenv("STUB_DROP_INS", str(tmp_path / "drop-ins"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(hold_file, "_RUNTIME", str(tmp_path / "drop-ins"))
    monkeypatch.setattr(hold_limit, "_POLL", 0.05)
    monkeypatch.setattr(hold_limit, "_AGAIN", 0.05)
    return host


class Clock:
    """The clock of the host, which a test puts ahead."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (host_lease, hold_limit):
        monkeypatch.setattr(module, "host_clock", clock)
    return clock


@contextlib.contextmanager
def at_work(run_id: str) -> Iterator[subprocess.Popen[str]]:
    """Let a step of a run work in a process of its own, until the end or its death."""
    script = STEP.format(path=COLLECTIONS, place=volatile_place(), run_id=run_id)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("phase", PHASES)
def test_what_ran_runs_again_and_the_record_and_the_run_know(
    host: Host, phase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = host.hold(phase, seconds=0.1)
    assert hold_limit.main(str(host.run_dir)) == 0
    assert host.running() == set(UNITS)
    assert host.is_clean()
    after = "rolled_back" if phase in ("held", "proved", "split") else phase
    record = host.record()
    assert record["phase"] == after
    fact = record["facts"]["hold_limit"]
    assert (fact["run"], fact["seconds"], fact["from"], fact["to"]) == (run_id, 0.1, phase, after)
    said = capsys.readouterr().out
    assert f"{run_id}: no sign of life for 0.1 seconds, so its hold is released\n" in said
    assert "started " in said
    with pytest.raises(ContimgError) as caught, leased(run_id, "state_sync"):
        pytest.fail("the run goes on")
    for words in (
        f"run {run_id} has lost the lease of this host: it gave no sign of life for 0.1 seconds (contimg_hold_limit),",
        "and the host has released its hold.",
        "Run dsa110.contimg.migrate, which reads how the host stands.",
    ):
        assert words in caught.value.message
    assert take("migrate", {}, take_over="", wait=0.0, check=False).run_id  # by anybody, at once


def test_a_controller_that_comes_back_before_the_limit_goes_on(host: Host, clock: Clock) -> None:
    run_id = host.hold("held", seconds=5000.0)
    watcher = hold_limit._Watcher(str(host.run_dir))
    assert watcher.look()
    clock.ahead = 4000.0
    with leased(run_id, "state_sync"):
        pass
    clock.ahead = 6000.0
    assert watcher.look()  # 6000 seconds after the hold, 2000 after the step
    assert host.running() == set()
    clock.ahead = 9500.0
    assert watcher.look() is None
    assert host.running() == set(UNITS)


def ends_under_a_copy(host: Host, run_id: str) -> bool:
    """Return whether a hold ends while a step is at work, or at once after one that has worked for longer than the limit."""
    watcher = hold_limit._Watcher(str(host.run_dir))
    with at_work(run_id) as step:
        for _look in range(8):
            time.sleep(0.1)
            if watcher.look() is None:
                return True
        step.kill()  # it notes no end
        step.wait()
    return watcher.look() is None


def test_a_hold_does_not_end_under_a_copy_at_work(host: Host) -> None:
    run_id = host.hold("held", seconds=0.5)
    assert not ends_under_a_copy(host, run_id)
    assert host.running() == set()
    with leased(run_id, "state_sync"):  # it goes on
        pass
    time.sleep(0.6)
    assert hold_limit.main(str(host.run_dir)) == 0
    assert host.running() == set(UNITS)


@contextlib.contextmanager
def _without_the_lock() -> Iterator[LeaseEnder]:
    with host_lease._opened() as lock:
        yield host_lease._ender(lock)


def _by_the_notes_alone(_signs: Signs, ender: LeaseEnder | None, since: float, _now: float) -> float:
    return max(since, (ender and ender.last_sign) or 0.0)


@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [(hold_limit, "between_steps", _without_the_lock), (Signs, "last", _by_the_notes_alone)],
)
def test_a_hold_that_ends_under_a_copy_at_work_is_caught(
    host: Host, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, mutant: object
) -> None:
    run_id = host.hold("held", seconds=0.5)
    monkeypatch.setattr(owner, name, mutant)
    assert ends_under_a_copy(host, run_id)


def test_no_step_begins_while_the_host_releases(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = host.hold("split", seconds=0.1)
    monkeypatch.setattr(host_lease, "_WAIT", 0.2)
    refused = []

    def release(*_arguments: object) -> list[str]:
        with pytest.raises(ContimgError, match="its last step, hold_limit in process") as caught, leased(run_id, "x"):
            pytest.fail("a step began")
        refused.append(caught.value)
        return []

    monkeypatch.setitem(hold_limit._RELEASES, "units", release)
    time.sleep(0.2)
    assert hold_limit._Watcher(str(host.run_dir)).look()
    assert len(refused) == 1


def test_what_does_not_start_is_tried_again_and_named(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.hold("held", seconds=0.1)
    program = host.systemd / "systemctl"
    working = program.read_text()
    program.write_text(working.replace('put "$unit" active', "status=1"))
    assert hold_limit.main(str(host.run_dir)) == 1
    said = capsys.readouterr().out
    assert said.count("did not start: it is inactive") == len(UNITS) * hold_limit._TRIES
    assert "what could not be started stays down: start it when the cause is corrected" in said
    assert host.hold_file.exists()  # the next run knows what has to run
    program.write_text(working)
    assert hold_limit.main(str(host.run_dir)) == 0
    assert host.running() == set(UNITS)


def test_a_new_run_that_has_taken_the_host_is_not_disturbed_by_what_did_not_start(host: Host, clock: Clock) -> None:
    host.hold("held", seconds=4000.0)
    program = host.systemd / "systemctl"
    working = program.read_text()
    program.write_text(working.replace('put "$unit" active', "status=1"))
    watcher = hold_limit._Watcher(str(host.run_dir))
    clock.ahead = 4100.0
    assert watcher.look()
    program.write_text(working)
    take("migrate", ALICE, take_over="", wait=0.0, check=False)
    assert watcher.look()
    assert host.running() == set()


def test_nothing_is_started_on_a_copy_that_is_not_proved_and_the_run_keeps_the_host(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"env_backups": "b", "env_files": [str(host.environment)]}
    run_id = host.hold("proved", seconds=0.1, env="/data/state", facts=facts)
    assert hold_limit.main(str(host.run_dir)) == 1
    assert host.running() == set()
    assert (
        "the environment names /data/state, whose copy is not proved. Nothing was started." in capsys.readouterr().out
    )
    assert host.record()["phase"] == "proved"
    with leased(run_id, "unit_hold"):
        pass


def test_a_record_that_cannot_be_read_keeps_nothing_down(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.hold("held", seconds=0.1)
    (host.run_dir / "record.json").write_text("{")
    assert hold_limit.main(str(host.run_dir)) == 0
    assert host.running() == set(UNITS)
    assert "record.json: is not the record of a move" in capsys.readouterr().out


def test_a_hold_that_was_released_needs_nothing(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.hold("held")
    values = {"names": [], "state": "released", "hold_file": str(host.hold_file), "timeout": 9, "after_hold": False}
    run_hold(values, check=False)
    assert hold_limit.main(str(host.run_dir)) == 0
    assert "nothing is held any more" in capsys.readouterr().out
    assert host.is_clean()
    assert host.record()["phase"] == "held"


def test_a_hold_whose_file_was_removed_is_released_too(host: Host) -> None:
    host.hold("held", seconds=0.1)
    host.hold_file.unlink()
    assert hold_limit.main(str(host.run_dir)) == 0
    assert host.running() == set(UNITS)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"seconds": "1", "timeout": 1.0, "since": 1.0, "holds": {}}'])
def test_a_limit_that_is_none_is_named(host: Host, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    host.hold("held")
    pathlib.Path(config_file(str(host.run_dir))).write_text(content)
    assert hold_limit.main(str(host.run_dir)) == 1
    assert "hold-limit.json: is not a hold limit. Remove it." in capsys.readouterr().out
    assert read_armed(str(host.root)) is None


def test_a_lease_that_has_no_room_is_removed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = host.hold("held", seconds=0.1)

    def full(*_arguments: object, **_named: object) -> None:
        raise ContimgError("could not write the file: No space left on device", errno=28)

    monkeypatch.setattr(host_lease, "_write", full)
    assert hold_limit.main(str(host.run_dir)) == 0
    with pytest.raises(ContimgError, match="no run has it"), leased(run_id, "state_sync"):
        pytest.fail("the run goes on")


def test_nothing_is_left_but_the_note(host: Host) -> None:
    host.hold("held", seconds=0.1)
    pathlib.Path(program_file(str(host.run_dir))).write_bytes(b"")
    hold_limit.main(str(host.run_dir))
    assert {path.name for path in host.run_dir.iterdir()} == {"record.json"}
    assert json.loads((host.run_dir / "record.json").read_text())["history"][-1]["phase"] == "rolled_back"
    assert os.listdir(host.root / "drop-ins") == []
