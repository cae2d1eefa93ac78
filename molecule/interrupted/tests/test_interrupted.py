# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A move whose controller dies again and again, wherever it is, and whose host reboots in between; until it is moved.

No rescue runs when a controller dies: the host stays as it was, held perhaps. A reboot lifts the hold, and the services
write on, to the old state or to the new one, as their environment says. The tests are one story: they run in order.
"""

from __future__ import annotations

import subprocess
import time
from typing import Any

import pytest
from story import (
    DEST,
    SOURCE,
    TIMER,
    assert_no_row_is_lost,
    assert_units_use,
    committed,
    kill,
    phase_of,
    play,
    run_until,
)

# the task in whose middle the controller is killed, the phase of the record then, whether the host reboots
DEATHS = [
    ("state : Copy what there is while the services run", "presynced", False),
    ("quiesce : Stop the units with what triggers them, and hold them down", "presynced", False),
    ("quiesce : Prove that no process writes to either state directory", "presynced", True),
    ("state : Copy what changed since, and verify every file", "held", False),
    ("state : Prove that each copied database is equal to its source", "held", True),
    ("hdf5_split : Move the HDF5 index from the products database to the HDF5 database", "proved", False),
    ("hdf5_split : Count and hash the rows of every database of the new state", "proved", False),
    (
        "environment : Set the names of the databases and directories, and repoint what lies below the old",
        "repointed",
        True,
    ),
    ("rollout : Stop if any process but the move has written to either state directory", "repointed", False),
    ("rollout : Prove that the source is as it was copied", "repointed", True),
    ("quiesce : Release the hold and start the units that were running", "started", False),
    ("rollout : Watch the units on the new state", "started", True),
]


def reboot(host: Any) -> None:
    """Restart the container: what is in /run is gone, enabled units start; wait until the stream commits again."""
    subprocess.run(["podman", "restart", "--time=20", host.backend.name], check=True, capture_output=True)
    host.run("systemctl is-system-running --wait")
    before, deadline = len(committed(host)), time.monotonic() + 60
    while len(committed(host)) < before + 5:
        assert time.monotonic() < deadline, "the stream does not write after the reboot"
        time.sleep(0.5)


def standing(host: Any) -> str:
    """Return what is held, and by whom, with the lease of the host."""
    return str(
        host.check_output(
            "systemctl show --property=Id,ActiveState contimg-stream.service contimg-api.service contimg-stream-wake.timer;"
            " cat /run/systemd/system/*.d/90-contimg-hold.conf /var/lib/dsa110-contimg-migration/hold.json"
        )
    )


def test_neither_a_second_run_nor_one_with_another_run_directory_releases_a_hold(host: Any) -> None:
    first = run_until("quiesce : Prove that no process writes to either state directory")
    held = standing(host)
    assert "ActiveState=active" not in held
    for name in ("migrate", "rollback"):
        refused = play(name, contimg_run_dir="/var/lib/another")
        assert refused.returncode == 2, refused.stdout
        assert "another run works on this host: migrate-" in " ".join(refused.stdout.split())
        assert standing(host) == held
    kill(first)
    for options in (["--check"], []):
        refused = play("migrate", *options, contimg_run_dir="/var/lib/another")
        said = " ".join(refused.stdout.split())
        assert refused.returncode == 2, refused.stdout
        assert "contimg-stream.service, contimg-api.service" in said
        assert "by run migrate-" in said
        assert "with contimg_run_dir: /var/lib/dsa110-contimg-migration" in said
        assert "unit_hold -a 'state=released names= hold_file=/var/lib/dsa110-contimg-migration/hold.json'" in said
        assert standing(host) == held
    assert not host.file("/var/lib/another").exists


@pytest.mark.parametrize(("task", "phase", "reboots"), DEATHS)
def test_a_dead_controller_leaves_a_host_that_has_lost_nothing(
    host: Any, task: str, phase: str, *, reboots: bool
) -> None:
    kill(run_until(task))
    time.sleep(2)  # what runs on the host goes on without its controller
    assert phase_of(host) == phase
    if reboots:
        reboot(host)
    on_new = phase == "started" or (phase == "repointed" and host.file(f"{DEST}/ingest.sqlite3-shm").exists)
    assert_no_row_is_lost(host, DEST if on_new else SOURCE)


def test_the_next_run_finishes_the_move(host: Any) -> None:
    moved = play("migrate")
    assert moved.returncode == 0, moved.stdout
    assert phase_of(host) == "done"
    assert_units_use(host, DEST)
    assert host.service(TIMER).is_enabled


def test_the_run_after_that_has_nothing_to_do_and_the_audit_finds_nothing() -> None:
    assert "changed=0" in play("migrate").stdout
    audit = play("verify")
    assert audit.returncode == 0, audit.stdout
