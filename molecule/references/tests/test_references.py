# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A unit that is not in ``contimg_units`` gets the old path from its environment and its unit file. The tests are one story."""

from __future__ import annotations

from typing import Any

import pytest
from story import DEST, ENV_FILE, SOURCE, TIMER, assert_units_use, downtime_of, phase_of, play, standing, used_by

SERVICES = ("contimg-stream.service", "contimg-api.service")
MONITOR = "contimg-monitor.service"
NIGHTLY = "contimg-nightly.service"
CRON = "/etc/cron.d/contimg-mover"
MONITOR_ENV = "/etc/default/contimg-monitor.env"
MONITOR_UNIT = f"/etc/systemd/system/{MONITOR}"
BROKEN = "contimg-broken.service"
LISTED: dict[str, object] = {
    "contimg_units": [*SERVICES, BROKEN],
    "contimg_env_files": [MONITOR_ENV],
    "contimg_unit_files": [MONITOR_UNIT],
    "contimg_rewrite_database_paths": True,
}
CHANGED: dict[str, object] = {**LISTED, "contimg_env_secrets": {"ALERT_SMTP_PASSWORD": 'planted-secret #2 "anew"'}}


def files(host: Any) -> list[tuple[str, str, int, str]]:
    """Return owner, group, mode and hash of the three files."""
    found = [host.file(path) for path in (ENV_FILE, MONITOR_ENV, MONITOR_UNIT)]
    return [(one.user, one.group, one.mode, one.sha256sum) for one in found]


def starts(host: Any) -> dict[str, int]:
    """Return how often each unit has been started, as systemd has logged it."""
    messages = host.check_output("journalctl --no-pager --output=cat _PID=1").splitlines()
    return {unit: sum(line.startswith(f"Started {unit}") for line in messages) for unit in (*SERVICES, MONITOR)}


def drop_in(host: Any, unit: str, text: str) -> None:
    """Change a unit by a drop-in."""
    directory = f"/etc/systemd/system/{unit}.d"
    host.run_expect(
        [0], f"mkdir -p {directory} && printf '{text}\\n' >{directory}/test.conf && systemctl daemon-reload"
    )


@pytest.fixture(scope="module", name="said")
def _said() -> list[str]:
    """What the playbooks have said, at the verbosity that shows the arguments of modules."""
    return []


@pytest.fixture(scope="module", name="before")
def _before(host: Any) -> list[tuple[str, str, int, str]]:
    return files(host)


def test_the_audit_lists_what_names_the_old_path(said: list[str]) -> None:
    audit = play("audit", "-vvv")
    said.append(audit.stdout)
    assert audit.returncode == 2
    assert f"{MONITOR}: MONITOR_STATE in {MONITOR_ENV}" in audit.stdout
    assert f"{MONITOR}: MONITOR_LOG in {MONITOR_UNIT}" in audit.stdout
    assert f"{ENV_FILE}:9 (env): PIPELINE_STATE_DIR={SOURCE}" in audit.stdout


def test_all_that_uses_the_state_stops_the_move_by_name(host: Any, said: list[str]) -> None:
    """The unit, a job that is at work on the new state directory, and cron; the misplaced file is told besides."""
    before = standing(host)
    stopped = play("migrate", "-vvv")
    said.append(stopped.stdout)
    assert stopped.returncode == 2, stopped.stdout
    told = " ".join(stopped.stdout.split())
    for words in (
        f"{MONITOR}: MONITOR_STATE in {MONITOR_ENV} names {SOURCE}",
        f"{NIGHTLY}: NIGHTLY_STATE in /etc/systemd/system/{NIGHTLY} names {DEST}",
        f"{CRON}:1: */5 * * * * root /usr/local/bin/contimg-mover --token=******** {SOURCE}/logs /data/logs",
        f"{NIGHTLY} is at work: activating (start)",
        "/data/dsa110-contimg/products/${PIPELINE_DB}: somebody gave contimg-nightly.service a variable for a path",
        "Nothing was touched",
    ):
        assert words in told
    assert standing(host) == before


def test_a_unit_that_would_go_on_with_the_old_path_stops_the_move_by_name(host: Any) -> None:
    host.run_expect(
        [0], f"systemctl stop {NIGHTLY} && rm /etc/systemd/system/{NIGHTLY} {CRON} && systemctl daemon-reload"
    )
    before = standing(host)
    stopped = play("migrate", contimg_env_files=[MONITOR_ENV])
    assert stopped.returncode == 2, stopped.stdout
    assert f"{MONITOR}: MONITOR_LOG in {MONITOR_UNIT}" in stopped.stdout
    assert "MONITOR_STATE" not in stopped.stdout
    assert "Nothing was touched" in stopped.stdout
    assert standing(host) == before


def test_what_is_known_stops_nothing_and_a_preview_changes_nothing(host: Any, said: list[str]) -> None:
    before = standing(host)
    known = {"contimg_known_references": [r"/etc/systemd/.*\.service"], "contimg_env_files": [MONITOR_ENV]}
    preview = play("migrate", "--check", "--diff", "-vvv", **known)
    said.append(preview.stdout)
    assert preview.returncode == 0, preview.stdout
    assert f"+MONITOR_STATE={DEST}" in preview.stdout
    assert standing(host) == before


def test_a_clean_up_that_would_delete_at_once_stops_the_move_unless_it_may(host: Any) -> None:
    """The boot was so long ago that the timer would fire as soon as it is enabled."""
    drop_in(host, TIMER, "[Timer]\nOnBootSec=1s")
    before = standing(host)
    stopped = " ".join(play("migrate", **LISTED).stdout.split())
    assert f"{TIMER}: enabling it would run the clean-up at once: OnBootSec=1s has passed" in stopped
    assert f"{TIMER}: enabling it would run /usr/local/bin/data-retention-cleanup at once (OnBootSec=1s" in stopped
    assert "with DRY_RUN=0, and so may delete data. Nothing was touched" in stopped
    assert standing(host) == before
    allowed = play("migrate", "--check", **LISTED, contimg_retention_allow_immediate_run=True)
    assert allowed.returncode == 0, allowed.stdout
    drop_in(host, "data-retention-cleanup.service", f"[Service]\nEnvironmentFile={ENV_FILE}")
    written = {
        **LISTED,
        "contimg_env_values": {"DRY_RUN": "true"},
    }  # the file has another value, or none, until the move writes it
    reporting = play("migrate", "--check", **written)
    assert reporting.returncode == 0, reporting.stdout
    deleting = " ".join(
        play("migrate", "--check", **{**written, "contimg_env_values": {"DRY_RUN": "no"}}).stdout.split()
    )
    assert "with DRY_RUN=no, and so may delete data. Nothing was touched" in deleting
    for answer in (
        'contimg_env_values: {DRY_RUN: "true"}',
        "contimg_retention_allow_immediate_run: true",
        "contimg_retention_timer",
    ):
        assert answer in deleting
    drop_in(host, "data-retention-cleanup.service", "[Service]\nEnvironment=DRY_RUN=1")
    harmless = play("migrate", "--check", **LISTED)
    assert harmless.returncode == 0, harmless.stdout
    host.run_expect([0], f"rm -r /etc/systemd/system/{TIMER}.d && systemctl daemon-reload")


def test_what_is_listed_is_repointed_and_restarted_once(host: Any, said: list[str], before: list[Any]) -> None:
    started = starts(host)
    moved = play("migrate", "--diff", "-vvv", **LISTED)
    said.append(moved.stdout)
    assert moved.returncode == 0, moved.stdout
    assert phase_of(host) == "done"
    assert downtime_of(host) > 0
    told = " ".join(moved.stdout.split())
    assert f"{BROKEN} is activating (auto-restart) before the move, which is not its fault" in told
    assert f"{BROKEN}: failed before the move" in told
    logs = host.file(f"/etc/systemd/system/{BROKEN}.d/60-contimg-state.conf").content_string
    assert f"StandardError=append:{DEST}/logs/contimg-broken.err" in logs
    assert "StandardOutput" not in logs
    assert_units_use(host, DEST)
    assert used_by(host, MONITOR, "MONITOR_STATE") == DEST
    assert used_by(host, MONITOR, "MONITOR_LOG") == f"{DEST}/logs/monitor.log"
    assert used_by(host, MONITOR, "MONITOR_OLD") == "/stage/dsa110-contimg/state-2024"
    assert used_by(host, MONITOR, "MONITOR_DATA") == "/stage/dsa110-contimg/ms"
    assert starts(host) == {unit: started[unit] + 1 for unit in started}
    assert [one[:3] for one in files(host)] == [one[:3] for one in before]


def test_the_audit_finds_nothing_any_more(said: list[str]) -> None:
    audit = play("audit", "-vvv", **LISTED)
    said.append(audit.stdout)
    assert audit.returncode == 0, audit.stdout


def test_a_changed_secret_restarts_what_reads_it_once(host: Any, said: list[str]) -> None:
    started = starts(host)
    changed = play("migrate", "--diff", "-vvv", **CHANGED)
    said.append(changed.stdout)
    assert changed.returncode == 0, changed.stdout
    assert "+ALERT_SMTP_PASSWORD=******** (changed)" in changed.stdout
    again = play("migrate", **CHANGED)
    assert "changed=0 " in again.stdout, again.stdout
    assert starts(host) == {unit: started[unit] + (unit in SERVICES) for unit in started}
    assert_units_use(host, DEST)
    for unit in SERVICES:
        assert used_by(host, unit, "ALERT_SMTP_PASSWORD") == 'planted-secret #2 "anew"'


def test_a_clean_up_that_fails_at_once_is_reported(host: Any) -> None:
    drop_in(host, TIMER, "[Timer]\nOnActiveSec=0\nAccuracySec=1us\nRandomizedDelaySec=0")
    service = "data-retention-cleanup.service"
    drop_in(
        host,
        service,
        '[Service]\nEnvironment=DRY_RUN=1\nExecStart=\nExecStart=/bin/sh -c "echo no products here, token=planted; exit 3"',
    )
    host.run_expect([0], f"systemctl disable --now {TIMER}")
    failed = play("migrate", **CHANGED)
    host.run_expect(
        [0], f"rm -r /etc/systemd/system/{TIMER}.d && systemctl daemon-reload && systemctl reset-failed {service}"
    )
    told = " ".join(failed.stdout.split())
    assert failed.returncode == 2, told
    assert (
        f"{TIMER} was enabled, and what it starts has failed: {service} is failed (failed, result: exit-code)" in told
    )
    assert f"the last lines of {service}: " in told
    assert "no products here, token=********" in told
    assert "The move stands" in told
    assert phase_of(host) == "done"


def test_going_back_brings_every_file_back_and_restarts_what_reads_them(
    host: Any, said: list[str], before: list[Any]
) -> None:
    back = play("rollback", "--diff", "-vvv", **CHANGED, contimg_rollback_discard_new_rows=True)
    said.append(back.stdout)
    assert back.returncode == 0, back.stdout
    assert files(host) == before
    assert used_by(host, MONITOR, "MONITOR_STATE") == SOURCE
    assert used_by(host, MONITOR, "MONITOR_LOG") == f"{SOURCE}/logs/monitor.log"
    for unit in SERVICES:
        assert used_by(host, unit, "PIPELINE_STATE_DIR") == SOURCE
        assert used_by(host, unit, "ALERT_SMTP_PASSWORD") == 'planted-secret #1 "quoted"'


def test_no_secret_is_anywhere_but_in_its_file_and_the_private_backups_of_it(host: Any, said: list[str]) -> None:
    journal = host.check_output("journalctl --no-pager --all")
    assert len(said) == 7
    assert [text for text in (*said, journal) if "planted-secret" in text] == []
    listed = host.run("grep -rl 'planted-secre[t]' /var/lib/dsa110-contimg-migration /var/log /tmp /run").stdout
    kept = {path.rsplit("/", 1)[1].split(".env")[0] for path in listed.split()}
    assert kept == {"contimg", "contimg-monitor"}
    for path in listed.split():
        assert not host.run("runuser -u contimg -- test -r %s", path).succeeded
