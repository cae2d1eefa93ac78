# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host whose move fails in every phase of the table in docs/architecture.md, one phase after the other, until it is moved.

Each run of ``migrate`` goes on from where the failure before has left the host, so it also shows that it can. The tests
are one story: they run in the order of this file.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

SOURCE = "/stage/dsa110-contimg/state"
DEST = "/data/dsa110-contimg/state"
ENV_FILE = "/data/dsa110-contimg/ops/systemd/contimg.env"
UNITS = ("contimg-stream.service", "contimg-api.service", "contimg-stream-wake.timer")
TIMER = "data-retention-cleanup.timer"
DECISION = {"contimg_database_decisions": {"products": "keep_dest"}}

# phase, module that is killed then, the phase that the host is in afterwards, the state directory that its units use
FAULTS = [
    ("untouched", "state_databases_info", "untouched", SOURCE),
    ("presynced", "state_sync", "presynced", SOURCE),
    ("presynced", "open_files_info", "presynced", SOURCE),
    ("held", "state_sync", "rolled_back", SOURCE),
    ("proved", "hdf5_db_split", "rolled_back", SOURCE),
    ("split", "migration_record", "rolled_back", SOURCE),
    ("repointed", "env_file", "rolled_back", SOURCE),
    ("repointed", "manifest_info", "rolled_back", SOURCE),
    ("started", "unit_hold", "rolled_back", SOURCE),
    ("started", "unit_watch", "started", DEST),
    ("done", "systemd_service", "done", DEST),
]


def play(name: str, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection on the host of this scenario."""
    command = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], f"dsa110.contimg.{name}", *options]
    config = os.path.join(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ansible.cfg")
    environment = {**os.environ, "ANSIBLE_CONFIG": config, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    command += ["-e", json.dumps(variables)]
    return subprocess.run(
        command, check=False, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def phase_of(host: Any) -> str:
    """Return the phase of the record."""
    record = host.file("/var/lib/dsa110-contimg-migration/record.json")
    return str(json.loads(record.content_string)["phase"]) if record.exists else "untouched"


def used_by(host: Any, unit: str, name: str) -> str:
    """Return what an environment name of a running unit says."""
    pid = host.check_output("systemctl show --property=MainPID --value %s", unit)
    entries = host.file(f"/proc/{pid}/environ").content_string.split("\0")
    return str(dict(entry.split("=", 1) for entry in entries if entry)[name])


def assert_units_use(host: Any, state: str) -> None:
    """All that ran runs, on one state directory, held by nothing; every committed row is in the database that is in use."""
    active = host.check_output(f"systemctl is-active {' '.join(UNITS)}").split()
    assert active == ["active"] * len(UNITS)
    assert not host.run("ls /run/systemd/system/*.d/90-contimg-hold.conf").succeeded
    for unit in UNITS[:2]:
        assert used_by(host, unit, "PIPELINE_STATE_DIR") == state
    committed = {int(line) for line in host.file("/var/log/contimg-stream.committed").content_string.split()}
    answer = host.check_output("sqlite3 -readonly %s/ingest.sqlite3 'SELECT number FROM arrivals'", state)
    numbers = [int(line) for line in answer.split()]
    assert committed - set(numbers) == set()
    assert len(numbers) == len(set(numbers))


def standing(host: Any) -> list[str]:
    """Return how the host stands, but for what its services write."""
    return list(host.check_output("contimg-standing").splitlines())


@pytest.fixture(scope="session", name="environment")
def _environment(host: Any) -> str:
    return str(host.file(ENV_FILE).sha256sum)


def test_a_newer_database_in_use_at_the_destination_stops_the_move(host: Any) -> None:
    before = standing(host)
    stopped = play("migrate")
    assert stopped.returncode == 2, stopped.stdout
    for words in (
        "Nothing was touched",
        "1 only at the destination",
        "contimg_dashboard.py",
        "contimg_database_decisions",
    ):
        assert words in stopped.stdout
    assert standing(host) == before


def test_a_stranger_at_the_destination_stops_the_move_even_when_it_is_decided(host: Any) -> None:
    before = standing(host)
    stopped = play("migrate", **DECISION)
    assert stopped.returncode == 2, stopped.stdout
    assert "contimg-dashboard.service" in stopped.stdout
    assert standing(host) == before


def test_a_unit_that_does_not_exist_stops_the_move(host: Any) -> None:
    host.run_expect([0], "systemctl stop contimg-dashboard.service")
    before = standing(host)
    stopped = play("migrate", contimg_units=["contimg-strem.service", "contimg-api.service"], **DECISION)
    assert stopped.returncode == 2, stopped.stdout
    assert "contimg-strem.service: systemd does not know this unit" in stopped.stdout
    assert standing(host) == before


@pytest.mark.parametrize(("phase", "module", "reached", "state"), FAULTS)
def test_a_failure_ends_as_the_table_says(
    host: Any, environment: str, phase: str, module: str, reached: str, state: str
) -> None:
    host.run_expect([0], f"echo {phase} {module} >/run/contimg-fault")
    failed = play("migrate", **DECISION)
    assert not host.file("/run/contimg-fault").exists, "the fault did not fire"
    assert failed.returncode == 2, failed.stdout
    assert "Traceback" not in failed.stdout
    assert phase_of(host) == reached
    assert_units_use(host, state)
    assert (host.file(ENV_FILE).sha256sum == environment) == (state == SOURCE)
    assert not host.file("/var/log/data-retention-cleanup.ran").exists


def test_the_next_run_finishes_the_move(host: Any) -> None:
    moved = play("migrate", **DECISION)
    assert moved.returncode == 0, moved.stdout
    assert phase_of(host) == "done"
    assert_units_use(host, DEST)
    assert host.service(TIMER).is_enabled


def test_the_kept_database_has_its_row_and_the_index_is_whole(host: Any) -> None:
    def ask(name: str, statement: str) -> str:
        return str(host.check_output("sqlite3 -readonly %s/%s.sqlite3 %s", DEST, name, statement))

    assert ask("products", "SELECT count(*) FROM ms_index WHERE path LIKE '%newer.ms'") == "1"
    assert ask("hdf5", "SELECT count(*) FROM hdf5_file_index") == "4000"
    assert ask("products", "PRAGMA integrity_check") == ask("hdf5", "PRAGMA integrity_check") == "ok"


def test_the_run_after_that_has_nothing_to_do() -> None:
    again = play("migrate", **DECISION)
    assert again.returncode == 0, again.stdout
    assert "changed=0" in again.stdout
