# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A moved host goes back. Its stream has written to the new database since the start. The tests are one story, in order."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

from story import (
    DEST,
    ENV_FILE,
    SOURCE,
    TIMER,
    UNITS,
    assert_units_use,
    downtime_of,
    phase_of,
    play,
    record_of,
    used_by,
)

OLD_ENV_FILE = pathlib.Path(__file__).parents[2] / "default" / "files" / "contimg.env"
DISCARDED = "/var/lib/dsa110-contimg-migration/discarded"


def rows_of(host: Any, path: str) -> int:
    """Return how many rows the stream has in a database."""
    return int(host.check_output("sqlite3 -readonly %s 'SELECT count(*) FROM arrivals'", path))


def processes_of(host: Any) -> str:
    """Return the processes of the services: another one means that a service was down."""
    return str(
        host.check_output("systemctl show --property=MainPID --value contimg-stream.service contimg-api.service")
    )


def test_going_back_is_refused_with_counts_while_it_would_lose_rows_and_nothing_is_stopped(host: Any) -> None:
    before = processes_of(host)
    refused = play("rollback")
    assert processes_of(host) == before
    assert refused.returncode == 2, refused.stdout
    counted = re.search(r"have changed since the move \((\d+) new rows\)", " ".join(refused.stdout.split()))
    assert counted is not None, refused.stdout
    assert int(counted.group(1)) > 0
    assert phase_of(host) == "done"
    assert_units_use(host, DEST)


def test_a_preview_of_the_way_back_changes_nothing(host: Any) -> None:
    before = processes_of(host)
    preview = play("rollback", "--check", contimg_rollback_discard_new_rows=True)
    assert preview.returncode == 0, preview.stdout
    assert phase_of(host) == "done"
    assert not host.file(DISCARDED).exists
    assert processes_of(host) == before


def test_at_the_operators_word_it_goes_back_and_keeps_what_is_left_behind(host: Any) -> None:
    before = rows_of(host, f"{SOURCE}/ingest.sqlite3")
    back = play("rollback", contimg_rollback_discard_new_rows=True)
    assert back.returncode == 0, back.stdout
    assert phase_of(host) == "rolled_back"
    down = float(record_of(host)["facts"]["downtime_back"])
    said = " ".join(back.stdout.split())
    assert f"The services were down for {down} seconds" in said
    assert f"contimg-stream.service: active (running), runs on {SOURCE}" in said
    assert f"copy that counts: {SOURCE}" in said
    assert host.file(ENV_FILE).content_string == OLD_ENV_FILE.read_text()
    assert not host.service(TIMER).is_enabled
    assert not host.service(TIMER).is_running
    (kept,) = host.check_output("ls %s", DISCARDED).split()
    assert kept.startswith("ingest.sqlite3.")
    assert rows_of(host, f"{DISCARDED}/{kept}") > before


def test_the_services_run_on_the_old_state(host: Any) -> None:
    active = host.check_output(
        "systemctl is-active contimg-stream.service contimg-api.service contimg-stream-wake.timer"
    )
    assert active.split() == ["active"] * 3
    pid = host.check_output("systemctl show --property=MainPID --value contimg-stream.service")
    opened = host.check_output(f"find /proc/{pid}/fd -type l -printf '%l\\n'").splitlines()
    assert f"{SOURCE}/ingest.sqlite3" in opened
    assert f"{SOURCE}/logs/contimg-stream.out" in opened
    assert [path for path in opened if path.startswith(DEST)] == []


def test_a_second_way_back_has_nothing_to_do() -> None:
    again = play("rollback")
    assert again.returncode == 0, again.stdout
    assert "changed=0" in again.stdout


def test_the_next_move_asks_what_becomes_of_the_rows_that_were_left_behind(host: Any) -> None:
    asked = play("migrate")
    assert asked.returncode == 2, asked.stdout
    assert "ingest there may hold what the source lacks" in " ".join(asked.stdout.split())
    assert phase_of(host) == "rolled_back"


def test_it_goes_forward_again_with_the_truth_of_the_old_state(host: Any) -> None:
    decided: dict[str, object] = {"contimg_database_decisions": {"ingest": "take_source"}}
    asked = play("migrate", **decided)
    assert asked.returncode == 2, asked.stdout
    # What a service logged on the new path is not given up unasked either.
    assert "holds what this copy has not put there: logs/contimg-stream.out" in " ".join(asked.stdout.split())
    forward = play("migrate", **decided, contimg_on_conflict="replace")
    assert forward.returncode == 0, forward.stdout
    assert phase_of(host) == "done"
    assert downtime_of(host) > 0
    assert f"the services were down for {downtime_of(host)} seconds" in " ".join(forward.stdout.split())
    assert host.service(TIMER).is_enabled
    assert rows_of(host, f"{DEST}/ingest.sqlite3") >= rows_of(host, f"{SOURCE}/ingest.sqlite3")


def test_on_a_full_disk_the_services_come_back_on_the_old_state(host: Any) -> None:
    run_dir = "/dev/shm/run"  # a small file system of its own
    host.check_output("cp -a /var/lib/dsa110-contimg-migration %s", run_dir)
    before = host.check_output("ls %s/discarded", run_dir)
    # More than the room that the reserve of the run directory makes.
    host.check_output(
        "sqlite3 -cmd '.timeout 9000' %s/ingest.sqlite3 'CREATE TABLE large AS SELECT randomblob(4000000)'", DEST
    )
    host.run("dd if=/dev/zero of=/dev/shm/full bs=64k")
    back = play("rollback", contimg_rollback_discard_new_rows=True, contimg_run_dir=run_dir)
    assert json.loads(host.file(f"{run_dir}/record.json").content_string)["phase"] == "rolled_back"
    assert host.check_output("systemctl is-active %s %s %s", *UNITS).split() == ["active"] * len(UNITS)
    assert {used_by(host, unit, "PIPELINE_STATE_DIR") for unit in UNITS[:2]} == {SOURCE}
    assert back.returncode == 2, back.stdout  # no copy of what is left behind can be kept
    said = " ".join(back.stdout.split())
    assert re.search(
        f"{run_dir}/discarded/ingest.sqlite3[^ ]*: could not write the backup: SQLite reports .*is full", said
    ), said
    assert host.check_output("ls %s/discarded", run_dir) == before
