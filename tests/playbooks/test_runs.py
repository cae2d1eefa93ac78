# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several runs on one host: what one has left, or still does, is known to the others."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from .conftest import ROOT, Host, failure, fingerprint, rows

#: A task that writes nothing, before the environment is edited.
BEFORE_THE_EDIT = "environment : Point the environment and the logs of the services to the new state"
HOLD = """
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_containers import (
    FoundContainer, HeldContainers, write_memory)
write_memory(sys.argv[1], HeldContainers({"dashboard": FoundContainer("podman", was_running=True)}, 1795535830.5, "migrate-1-2"))
"""


@pytest.mark.parametrize("playbook", ["migrate", "rollback", "split_hdf5", "unsplit_hdf5", "retire"])
@pytest.mark.parametrize("options", [("--check",), ()])
def test_a_hold_of_another_run_directory_stops_every_playbook(
    host: Host, playbook: str, options: tuple[str, ...]
) -> None:
    other = host.root / "another" / "containers.json"
    held = ["-c", f"import sys; sys.path.insert(0, {str(ROOT / '.build' / 'collections')!r}){HOLD}", str(other)]
    subprocess.run([*host.on_host(), sys.executable, *held], check=True)
    (host.root / "inventory.json").touch()
    before = {name: fingerprint(host.root / name) for name in ("stage", "data", "another", "lasting")}
    stopped = host.play(playbook, *options)
    assert stopped.returncode == 2, stopped.stdout
    told = " ".join(stopped.stdout.split())
    for words in (
        "dashboard: stopped since 2026-11-24",
        f"run migrate-1-2 with the run directory {other.parent}",
        f"contimg_run_dir: {other.parent}",
        f"dsa110.contimg.container_hold -a 'state=released names= hold_file={other}'",
        "Nothing was touched",
    ):
        assert words in told
    assert {name: fingerprint(host.root / name) for name in before} == before
    assert not host.run_dir.exists()
    assert not (host.root / "volatile" / "lease.json").exists()


def shown(host: Host) -> dict[str, str]:
    """Return what a run that is refused may not change."""
    return {name: fingerprint(host.root / name) for name in ("stage", "data", "run", "volatile", "lasting")}


def test_a_second_run_is_refused_and_one_that_takes_over_is_not_disturbed_by_the_first(host: Host) -> None:
    with host.stopped_in("migrate", "quiesce : Prove that no process writes to either state directory") as first:
        run_id = host.lease()["run_id"]
        # The write monitor of the first run saves what it has found there.
        before = {**shown(host), "volatile": host.lease()}
        for playbook, options in (("migrate", ()), ("rollback", ()), ("migrate", ("--check",))):
            refused = host.play(playbook, *options)
            assert refused.returncode == 2, refused.stdout
            told = " ".join(refused.stdout.split())
            assert f"another run works on this host: {run_id}, begun at" in told
            assert "Nothing was touched" in told
            assert f"contimg_take_over: {run_id}" in told
            assert "rescued=0" in told
        assert {**shown(host), "volatile": host.lease()} == before
        assert host.record()["phase"] == "presynced"

        second = host.play("migrate", contimg_take_over=run_id)
        assert second.returncode == 0, failure(second)
        assert host.record()["phase"] == "done"
        after = shown(host)
    told = " ".join(first.communicate()[0].split())
    assert first.returncode == 2, told
    assert f"run {run_id} has lost the lease of this host" in told
    assert "This run changes nothing more here, and puts nothing back" in told
    assert shown(host) == after
    assert "changed=0" in host.play("migrate").stdout


def kill(running: subprocess.Popen[str]) -> None:
    """Kill a controller with all that it runs."""
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


def test_a_record_is_trusted_for_its_own_move_only_and_for_what_still_stands_at_its_destination(host: Host) -> None:
    with host.stopped_in("migrate", BEFORE_THE_EDIT) as first:
        kill(first)
    assert host.record()["phase"] == "split"
    other = {"contimg_state_dest": str(host.root / "other" / "state")}
    before = shown(host)
    for playbook, described in (
        ("migrate", other),
        ("verify", other),
        ("rollback", other),
        ("retire", other),
        ("split_hdf5", other),
        ("migrate", {"contimg_state_src": str(host.root / "stage"), "contimg_exclude": ["*.log"]}),
    ):
        refused = host.play(playbook, **described)
        assert refused.returncode == 2, refused.stdout
        told = " ".join(refused.stdout.split())
        assert "run/record.json: belongs to the move migrate-" in told
        assert "which is at phase 'split' and was described otherwise" in told
        assert "Nothing was touched" in told
        assert "first go back with the values of the record (dsa110.contimg.rollback)" in told
        if described is other:
            assert f'contimg_state_dest was \\"{host.dest}\\" and is \\"{other["contimg_state_dest"]}\\" now' in told
        else:
            assert 'contimg_exclude was [\\"*.pid\\"] and is [\\"*.log\\"] now' in told
    assert {name: value for name, value in shown(host).items() if name != "volatile"} == {
        name: value for name, value in before.items() if name != "volatile"
    }
    assert not (host.root / "other").exists()

    victim = next(path for path in host.dest.rglob("*.log") if path.is_file())
    victim.unlink()
    move = host.record()["move"]["id"]
    finished = host.play("migrate")
    assert finished.returncode == 0, failure(finished)
    assert victim.exists()
    record = host.record()
    assert record["move"]["id"] == move == record["history"][0]["run"]
    assert record["history"][-1]["run"] != move
    assert host.play("verify").returncode == 0


def test_what_a_move_that_went_back_has_placed_is_ours_at_its_own_destination_only(went_back: Host) -> None:
    theirs = went_back.root / "other" / "state" / "products.sqlite3"
    theirs.parent.mkdir(parents=True)
    shutil.copy(went_back.src / "db" / "products.sqlite3", theirs)
    with sqlite3.connect(theirs) as products:
        products.execute("INSERT INTO ms_index (path) VALUES ('/stage/dsa110-contimg/ms/new.ms')")
    products.close()
    before = fingerprint(theirs.parent)
    asked = went_back.play("migrate", contimg_state_dest=str(theirs.parent))
    assert asked.returncode == 2, asked.stdout
    assert "products there may hold what the source lacks" in " ".join(asked.stdout.split())
    assert fingerprint(theirs.parent) == before


@pytest.mark.parametrize("place", ["data", "other"])
def test_a_move_that_went_back_before_its_split_begins_again_with_the_same_or_other_values(
    host: Host, place: str
) -> None:
    with host.stopped_in(
        "migrate", "hdf5_split : Move the HDF5 index from the products database to the HDF5 database"
    ) as first:
        kill(first)
    assert (host.record()["phase"], host.record()["facts"]["split_made"]) == ("proved", True)
    assert not (host.dest / "hdf5.sqlite3").exists()
    back = host.play("rollback")
    assert back.returncode == 0, failure(back)
    assert host.record()["phase"] == "rolled_back"
    dest = host.root / place / "state"
    moved = host.play("migrate", contimg_state_dest=str(dest))
    assert moved.returncode == 0, failure(moved)
    assert (host.record()["phase"], host.record()["move"]["dest"]) == ("done", str(dest))


def test_a_decision_is_about_what_stood_at_the_destination_before_the_move(host: Host) -> None:
    """The destination lacks the database, so it is copied; what the application adds after a way back is copied, too."""
    host.variables["contimg_database_decisions"] = {"products": "keep_dest"}
    assert host.play("migrate").returncode == 0
    assert host.record()["facts"]["decisions"] == {}
    back = host.play("rollback")
    assert back.returncode == 0, failure(back)
    assert "was kept by contimg_database_decisions" not in " ".join(back.stdout.split())
    with contextlib.closing(sqlite3.connect(host.src / "db" / "products.sqlite3")) as products:
        products.execute("INSERT INTO ms_index (path) VALUES ('/stage/dsa110-contimg/ms/new.ms')")
        products.execute("DELETE FROM hdf5_file_index WHERE rowid = 1")
        products.commit()
    again = host.play("migrate")
    assert again.returncode == 0, failure(again)
    assert rows(host.dest / "products.sqlite3", "ms_index WHERE path LIKE '%/new.ms'") == 1
    assert rows(host.dest / "hdf5.sqlite3", "hdf5_file_index") == 199


def test_a_host_is_moved_under_a_strategy_that_lets_no_host_wait_for_another(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")
    moved = host.play("migrate", contimg_watch_still_seconds=2)
    assert moved.returncode == 0, failure(moved)
    assert host.record()["phase"] == "done"


def test_a_late_writer_to_the_old_state_is_named_and_stops_the_move_once(host: Host) -> None:
    """It has written after the last look before the start; the new state has rows of its own by then, so the host stays there."""
    with host.stopped_in("migrate", "rollout : Count the rows of the new databases") as first:
        (host.src / "late.log").write_text("late\n")
        for database in (host.src / "db" / "products.sqlite3", host.dest / "products.sqlite3"):
            with contextlib.closing(sqlite3.connect(database)) as products:
                products.execute("INSERT INTO ms_index (path) VALUES ('/stage/dsa110-contimg/ms/new.ms')")
                products.commit()
    told = " ".join(first.communicate()[0].split())
    assert first.returncode == 2, told
    assert f"{host.src}: changed after the start on {host.dest} (db/products.sqlite3, late.log)" in told
    assert host.record()["phase"] == "started"

    again = host.play("migrate")
    assert again.returncode == 0, failure(again)
    assert host.record()["phase"] == "done"
    audit = host.play("verify")
    assert audit.returncode == 2
    assert "late.log" in audit.stdout


# The interpreter of the controller alone reads this: a module runs in another one.
AHEAD = """
import datetime, sys, time
if any(word.endswith("ansible-playbook") for word in sys.orig_argv):
    seconds, exact = time.time, datetime.datetime
    class Ahead(type):
        def __instancecheck__(cls, value):
            return isinstance(value, exact)
    class datetime_ahead(exact, metaclass=Ahead):
        @classmethod
        def now(cls, tz=None):
            return exact.now(tz) + datetime.timedelta(seconds=120)
        @classmethod
        def utcnow(cls):
            return cls.now(datetime.timezone.utc).replace(tzinfo=None)
    datetime.datetime = datetime_ahead
    time.time = lambda: seconds() + 120
"""


def test_no_moment_is_that_of_a_controller_whose_clock_is_two_minutes_ahead(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host.root / "ahead").mkdir()
    (host.root / "ahead" / "sitecustomize.py").write_text(AHEAD)
    monkeypatch.setenv("PYTHONPATH", str(host.root / "ahead"))
    clock = host.root / "clock.yml"
    clock.write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"debug": {"msg": "{{ now().timestamp() }}"}}]}])
    )
    first = time.time()
    program = pathlib.Path(sys.executable).parent / "ansible-playbook"
    shown = subprocess.check_output([str(program), "-i", "localhost,", "-c", "local", str(clock)], text=True)
    assert [float(at) > time.time() + 60 for at in re.findall(r'"msg": "?([0-9.]+)', shown)] == [True]

    moved = host.play("migrate", "-vvv")
    assert moved.returncode == 0, failure(moved)
    last, facts = time.time(), host.record()["facts"]
    for moment in ("held_at", "quiet_at", "started_at", "done_at"):
        assert first < facts[moment] < last, moment
    watched = moved.stdout.partition("rollout : Watch the units on the new state")[2].partition("TASK [")[0]
    assert [float(since) for since in re.findall(r'"since": ([0-9.]+)', watched)] == [facts["started_at"]]
    record = host.record()
    record["facts"]["done_at"] = time.time() - 86400 + 100  # by the clock of the controller, a day has passed
    (host.run_dir / "record.json").write_text(json.dumps(record))
    kept = host.play("retire", contimg_backup_window_days=1)
    assert f"{host.src}: the host was moved 1.0 days ago, and its old state is kept for 1" in " ".join(
        kept.stdout.split()
    )
