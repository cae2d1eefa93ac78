# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose controller vanishes while the services are held: the host starts them, and the next run goes on.

The timers are those of a real systemd. The tests are one story: they run in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from story import (
    DEST,
    SOURCE,
    UNITS,
    committed,
    kill,
    phase_of,
    play,
    record_of,
    run_until,
    used_by,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RUN_DIR = "/var/lib/dsa110-contimg-migration"
LIMIT = 20
VARIABLES: dict[str, Any] = {"contimg_hold_limit": LIMIT, "contimg_watch_still_seconds": 0}

# It stops the next copy, in the middle of its work, and says which process that is.
STOP_THE_COPY = """
import os, signal, time
while True:
    pid, _moment, step = (open("/run/dsa110-contimg/lock").read().split(" ", 2) + ["", "", ""])[:3]
    if step.startswith("state_sync"):
        os.kill(int(pid), signal.SIGSTOP)
        print(pid)
        break
    time.sleep(0.002)
"""

# Rows that a rollback has left behind, as it was told.
discarded: set[int] = set()

# the task in whose middle the controller is killed, and the phase once the host has started the services
DEATHS = [
    ("quiesce : Prove that no process writes to either state directory", "presynced"),
    ("state : Copy what changed since, and verify every file", "rolled_back"),
    ("state : Prove that each copied database is equal to its source", "rolled_back"),
    ("hdf5_split : Move the HDF5 index from the products database to the HDF5 database", "rolled_back"),
    ("hdf5_split : Count and hash the rows of every database of the new state", "rolled_back"),
    ("environment : Set the names of the databases and directories, and repoint what lies below the old", "repointed"),
    ("rollout : Stop if any process but the move has written to either state directory", "repointed"),
    ("rollout : Prove that the source is as it was copied", "repointed"),
    ("quiesce : Release the hold and start the units that were running", "started"),
]


def wait_until(what: Callable[[], bool], *, seconds: float, why: str) -> None:
    """Wait until something is true, for so long at most."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.2)


def running(host: Any) -> int:
    """Return how many of the units run."""
    states = host.run(f"systemctl is-active {' '.join(UNITS)}").stdout.split()
    return sum(state == "active" for state in states)


def wait_for_release(host: Any) -> None:
    """Wait until the host has started what ran, and nothing of the limit is left; the stream commits again."""
    wait_until(lambda: running(host) == len(UNITS), seconds=3 * LIMIT + 30, why="the host leaves its services down")
    wait_until(lambda: not left_behind(host), seconds=30, why=f"something is left: {left_behind(host)}")
    before = len(committed(host))
    wait_until(lambda: len(committed(host)) > before + 5, seconds=60, why="the stream does not write")


def left_behind(host: Any) -> str:
    """Return what is left of a hold and its limit."""
    files = host.run(f"ls -d {RUN_DIR}/hold* /run/systemd/system/*.d/90-contimg-hold.conf 2>/dev/null").stdout
    units = host.run("systemctl list-units --all --plain --no-legend 'contimg-hold-limit*'").stdout
    return str(files + units)


def said_by_the_limit(host: Any) -> str:
    """Return what the programs of the limit have written to the journal."""
    return str(host.check_output("journalctl -q --no-pager -o cat -u 'contimg-hold-limit*.service'"))


def side_in_use(host: Any) -> str:
    """Return the one state directory that both services use."""
    used = {used_by(host, unit, "PIPELINE_STATE_DIR") for unit in UNITS[:2]}
    assert len(used) == 1
    return used.pop()


def processes_of(host: Any) -> str:
    """Return the processes of the services: another one means that a service was down."""
    return str(
        host.check_output("systemctl show --property=MainPID --value contimg-stream.service contimg-api.service")
    )


def rows_of(host: Any, state: str) -> set[int]:
    """Return the numbers of the rows that the stream has in a state directory."""
    answer = host.check_output("sqlite3 -readonly %s/ingest.sqlite3 'SELECT number FROM arrivals'", state)
    return {int(line) for line in answer.split()}


def assert_whole(host: Any, state: str) -> None:
    """Every row that was committed, and not left behind at the operator's word, is in a state directory."""
    expected = committed(host) - discarded
    assert expected - rows_of(host, state) == set()


def go_back(host: Any) -> None:
    """Roll the host back at the operator's word, whatever the new state has got."""
    back = play("rollback", contimg_rollback_discard_new_rows=True, **VARIABLES)
    assert back.returncode == 0, back.stdout
    assert phase_of(host) == "rolled_back"
    assert running(host) == len(UNITS)
    assert side_in_use(host) == SOURCE
    assert not left_behind(host)
    written = committed(host)
    discarded.update(written - rows_of(host, SOURCE))
    VARIABLES.update(
        contimg_database_decisions={"ingest": "take_source"}, contimg_on_conflict="replace"
    )  # what stayed there


def last_sign(host: Any) -> float:
    """Return when the last step began or ended, by the clock that this machine and its container share."""
    return float(host.file("/run/dsa110-contimg/lock").content_string.split()[1])


def now() -> float:
    """Return the present moment of that clock."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def finish(controller: subprocess.Popen[str]) -> str:
    """Let a stopped controller go on to its end, and return what it says."""
    os.kill(controller.pid, signal.SIGCONT)
    return " ".join(controller.communicate()[0].split())


def test_a_timer_that_cannot_be_set_stops_the_move_before_the_services(host: Any) -> None:
    host.check_output("printf '#!/bin/sh\\necho no timer today >&2; exit 1\\n' > /usr/local/sbin/systemd-run")
    host.check_output("chmod 755 /usr/local/sbin/systemd-run")
    before = processes_of(host)
    refused = play("migrate", **VARIABLES)
    host.check_output("rm /usr/local/sbin/systemd-run")
    assert refused.returncode == 2, refused.stdout
    said = " ".join(refused.stdout.split())
    assert "cannot be set: no timer today. Nothing was stopped by this task." in said
    assert "contimg_hold_limit: 0" in said
    assert processes_of(host) == before
    assert not left_behind(host)


@pytest.mark.parametrize(("task", "phase"), DEATHS)
def test_a_host_whose_controller_was_killed_starts_its_services(host: Any, task: str, phase: str) -> None:
    kill(run_until(task, **VARIABLES))
    if phase != "started":
        assert running(host) == 0
    wait_for_release(host)
    assert phase_of(host) == phase
    side = side_in_use(host)
    assert side == SOURCE or phase in ("repointed", "started")
    assert_whole(host, side)
    if phase == "started":  # what is killed then may have been at its end
        moved = play("migrate", **VARIABLES)
        assert moved.returncode == 0, moved.stdout
        assert phase_of(host) == "done"
        assert_whole(host, DEST)
    else:
        fact = record_of(host)["facts"]["hold_limit"]
        assert (fact["to"], fact["seconds"]) == (phase, LIMIT)
        assert f"{fact['run']}: no sign of life for {LIMIT} seconds, so its hold is released" in said_by_the_limit(host)
    if phase in ("repointed", "started"):
        go_back(host)


def test_a_controller_that_comes_back_after_the_limit_changes_nothing(host: Any) -> None:
    controller = run_until("state : Prove that each copied database is equal to its source", **VARIABLES)
    wait_for_release(host)
    before = processes_of(host)
    said = finish(controller)
    assert controller.returncode == 2, said
    assert f"has lost the lease of this host: it gave no sign of life for {LIMIT} seconds (contimg_hold_limit)" in said
    assert processes_of(host) == before
    assert phase_of(host) == "rolled_back"
    assert running(host) == len(UNITS)
    assert_whole(host, SOURCE)


def test_a_controller_that_comes_back_before_the_limit_goes_on_and_so_does_a_copy_that_takes_longer(host: Any) -> None:
    controller = run_until("quiesce : Prove that no process writes to either state directory", **VARIABLES)
    time.sleep(max(0.0, last_sign(host) + LIMIT - 5 - now()))
    assert running(host) == 0
    stopping = subprocess.Popen(
        ["podman", "exec", host.backend.name, "python3", "-c", STOP_THE_COPY], stdout=subprocess.PIPE, text=True
    )
    os.kill(controller.pid, signal.SIGCONT)
    step = int(stopping.communicate(timeout=120)[0])
    time.sleep(2 * LIMIT)  # a copy at work, for longer than the limit
    assert running(host) == 0
    assert phase_of(host) == "held"
    host.check_output(f"kill -CONT {step}")
    rest = controller.communicate()[0]
    assert controller.returncode == 0, rest
    assert phase_of(host) == "done"
    assert running(host) == len(UNITS)
    assert_whole(host, DEST)
    assert not left_behind(host)


def test_nothing_is_found_wrong_then(host: Any) -> None:
    assert "changed=0" in play("migrate", **VARIABLES).stdout
    audit = play("verify")
    assert audit.returncode == 0, audit.stdout
    assert not host.run("systemctl --failed --plain --no-legend | grep contimg-hold-limit").succeeded


def test_a_rollback_whose_controller_was_killed_leaves_no_host_down_either(host: Any) -> None:
    options: dict[str, Any] = {"contimg_rollback_discard_new_rows": True, **VARIABLES}
    task = "rollback : Undo in the environment files what the move has changed there"
    kill(run_until(task, name="rollback", **options))
    assert running(host) == 0
    wait_for_release(host)
    assert phase_of(host) == "done"
    go_back(host)


def test_a_run_in_which_nothing_vanishes_starts_no_program(host: Any) -> None:
    said = said_by_the_limit(host)
    moved = play("migrate", **{**VARIABLES, "contimg_hold_limit": 600})
    assert moved.returncode == 0, moved.stdout
    go_back(host)
    assert said_by_the_limit(host) == said
    assert not left_behind(host)
