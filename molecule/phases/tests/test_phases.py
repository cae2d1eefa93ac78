# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host whose move fails in every phase of the table in docs/architecture.md, one phase after the other, until it is moved.

Each run of ``migrate`` goes on from where the failure before has left the host, so it also shows that it can. The tests
are one story: they run in the order of this file.
"""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from story import DEST, ENV_FILE, SOURCE, TIMER, assert_units_use, phase_of, play, standing

DECISION = {"contimg_database_decisions": {"products": "keep_dest"}}

# phase, modules that are killed then (the second one on the way back), the phase of the host afterwards, the state directory
# that its units use
FAULTS = [
    ("untouched", "state_databases_info", "untouched", SOURCE),
    ("presynced", "state_sync", "presynced", SOURCE),
    ("presynced", "migration_phase", "presynced", SOURCE),
    ("held", "state_sync migration_record", "held", SOURCE),
    ("held", "state_sync", "rolled_back", SOURCE),
    ("proved", "hdf5_db_split", "rolled_back", SOURCE),
    ("split", "migration_record", "rolled_back", SOURCE),
    ("repointed", "env_file", "rolled_back", SOURCE),
    ("repointed", "migration_phase", "rolled_back", SOURCE),
    ("started", "unit_hold", "rolled_back", SOURCE),
    ("repointed", "migration_phase env_file", "repointed", DEST),
    ("started", "unit_watch", "started", DEST),
    ("done", "systemd_service", "done", DEST),
]


@pytest.fixture(scope="session", name="old_environment")
def _old_environment(host: Any) -> str:
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


@pytest.mark.parametrize("options", [["--check"], []])
def test_what_would_be_found_while_the_services_are_down_stops_the_move(host: Any, options: list[str]) -> None:
    unit_file = "/etc/systemd/system/contimg-api.service"
    host.run_expect([0], f"mv {unit_file} /root/")
    before = standing(host)
    stopped = play(
        "migrate",
        *options,
        contimg_stop_timeout=180,
        contimg_health_url={"contimg-api.service": "http://127.0.0.1:8011/health", "contimg-strem.service": "x"},
        contimg_expect_open={"contimg-api.service": ["product"]},
        contimg_watch_patterns=["("],
        **DECISION,
    )
    assert standing(host) == before
    host.run_expect([0], f"mv /root/contimg-api.service {unit_file} && systemctl daemon-reload")
    assert stopped.returncode == 2, stopped.stdout
    said = " ".join(stopped.stdout.split())
    for words in (
        f"contimg-api.service: runs, but its unit file {unit_file} does not exist any more",
        "contimg_stop_timeout: 180 s do not exceed the 180 s",
        "contimg_health_url: contimg-api.service runs, yet http://127.0.0.1:8011/health does not answer",
        "contimg_health_url: contimg-strem.service is none of contimg_units",
        "contimg_expect_open: 'product' (contimg-api.service) is not a database",
        "contimg_watch_patterns: '('",
        "Nothing was touched",
    ):
        assert words in said


def test_an_answer_that_is_no_success_before_the_move_is_a_finding() -> None:
    preview = play("migrate", "--check", **DECISION)
    assert preview.returncode == 0, preview.stdout
    answer = 'contimg-stream.service answers "HTTP Error 503: Service Unavailable" before the move'
    assert answer in " ".join(preview.stdout.split())


PLAYS = pathlib.Path(__file__).parents[1]


def test_a_quiesce_alone_stops_nothing_where_no_move_has_begun(host: Any) -> None:
    before = standing(host)
    refused = play(str(PLAYS / "quiesce.yml"))
    assert refused.returncode == 2, refused.stdout
    assert "'untouched' cannot be taken to 'held'" in " ".join(refused.stdout.split())
    assert standing(host) == before


def test_a_quiesce_alone_that_fails_leaves_nothing_held(host: Any) -> None:
    begun = play(str(PLAYS / "begun.yml"))
    assert begun.returncode == 0, begun.stdout
    stray = f"{SOURCE}/stray.log"
    host.run_expect([0], f"systemd-run --unit=stray --property=StandardOutput=append:{stray} sleep 600")
    quiesced = play(str(PLAYS / "quiesce.yml"))
    host.run_expect([0], f"systemctl stop stray.service && rm {stray}")
    assert quiesced.returncode == 2, quiesced.stdout
    assert "writes to the state" in " ".join(quiesced.stdout.split())
    assert phase_of(host) == "presynced"
    assert_units_use(host, SOURCE)
    host.run_expect([0], "rm /var/lib/dsa110-contimg-migration/record.json")
    assert phase_of(host) == "untouched"


@pytest.mark.parametrize(("phase", "modules", "reached", "state"), FAULTS)
def test_a_failure_ends_as_the_table_says(
    host: Any, old_environment: str, phase: str, modules: str, reached: str, state: str
) -> None:
    for module in modules.split():
        host.run_expect([0], f"echo {phase} {module} >>/run/contimg-fault")
    failed = play("migrate", **DECISION)
    assert not host.file("/run/contimg-fault").exists, "the fault did not fire"
    assert failed.returncode == 2, failed.stdout
    assert "Traceback" not in failed.stdout
    said = " ".join(failed.stdout.split())
    assert ("The way back failed, too." in said) == (" " in modules)
    assert f"contimg-stream.service: active (running), runs on {state}" in said
    assert "DOWN" not in said
    assert phase_of(host) == reached
    assert_units_use(host, state)
    assert (host.file(ENV_FILE).sha256sum == old_environment) == (state == SOURCE)
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
