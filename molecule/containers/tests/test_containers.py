# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that use the state are named, stopped, created again on the new state, and put back. One story, in order."""

from __future__ import annotations

import json
from typing import Any

from story import DEST, SOURCE, UNITS, assert_units_use, downtime_of, phase_of, play, used_by

DASHBOARD, LOOKER = "contimg-dashboard", "contimg-looker"
PROJECT = "/data/dsa110-contimg/ops/dashboard"
LISTED = {"contimg_containers": [DASHBOARD, LOOKER]}
REPOINTED = {"contimg_unit_files": [f"{PROJECT}/compose.yml"], "contimg_env_files": [f"{PROJECT}/dashboard.env"]}
SECRET = "planted-secret-of-the-dashboard"


def container(host: Any, name: str) -> dict[str, Any]:
    """Return what the engine tells of a container."""
    return dict(json.loads(host.check_output("podman container inspect %s", name))[0])


def standing(host: Any) -> list[tuple[str, str, str]]:
    """Return which containers there are, and since when each has run."""
    found = [container(host, name) for name in (DASHBOARD, LOOKER)]
    return [(one["Id"], one["State"]["Status"], one["State"]["StartedAt"]) for one in found]


def committed(host: Any) -> set[int]:
    """Return the numbers that the dashboard of today has told."""
    return {int(line) for line in host.check_output("podman logs %s", DASHBOARD).split()}


def visits(host: Any, state: str) -> list[int]:
    """Return the numbers that stand in the database of a state directory."""
    return [
        int(line)
        for line in host.check_output(
            "sqlite3 -readonly %s/dashboard.sqlite3 'SELECT number FROM visits'", state
        ).split()
    ]


def assert_dashboard_uses(host: Any, state: str) -> None:
    """The dashboard runs, and is bound to one of the state directories only."""
    told = container(host, DASHBOARD)
    other = SOURCE if state == DEST else DEST
    assert told["State"]["Status"] == "running"
    assert [mount["Source"] for mount in told["Mounts"] if mount["Source"].startswith((SOURCE, DEST))] == [state]
    assert f"DASHBOARD_DB={state}/dashboard.sqlite3" in told["Config"]["Env"]
    assert other not in json.dumps(told["Mounts"])


def test_containers_that_nobody_listed_stop_the_move_by_name(host: Any) -> None:
    before = standing(host)
    refused = play("migrate")
    said = " ".join(refused.stdout.split())
    assert refused.returncode == 2, refused.stdout
    assert f"container {DASHBOARD} (running): mount {SOURCE} shows or names {SOURCE}" in said
    assert f"container {DASHBOARD} (running): environment DASHBOARD_DB shows or names {SOURCE}" in said
    assert f"container {LOOKER} (running): above /stage shows or names {SOURCE}" in said
    assert SECRET not in refused.stdout
    assert standing(host) == before
    assert phase_of(host) == "untouched"


def test_a_name_that_no_engine_knows_is_an_error(host: Any) -> None:
    refused = play("migrate", contimg_containers=[DASHBOARD, "contimg-dashbord"])
    assert refused.returncode == 2, refused.stdout
    assert "contimg-dashbord: no engine of this host knows this container" in " ".join(refused.stdout.split())


def test_a_project_whose_files_would_not_be_repointed_stops_the_move(host: Any) -> None:
    before = standing(host)
    refused = play("migrate", **LISTED)
    assert refused.returncode == 2, refused.stdout
    for name in ("compose.yml", "dashboard.env"):
        assert f"container {DASHBOARD}: {PROJECT}/{name}, which creates it, names the state" in " ".join(
            refused.stdout.split()
        )
    assert standing(host) == before
    assert phase_of(host) == "untouched"


def test_a_preview_changes_nothing(host: Any) -> None:
    before = standing(host)
    preview = play("migrate", "--check", **LISTED, **REPOINTED)
    assert preview.returncode == 0, preview.stdout
    assert standing(host) == before
    assert phase_of(host) == "untouched"
    assert SECRET not in preview.stdout


def test_a_move_that_fails_starts_them_as_they_were(host: Any) -> None:
    before = [one["Id"] for one in (container(host, DASHBOARD), container(host, LOOKER))]
    host.check_output("systemd-run --quiet --unit=contimg-sneaky sh /usr/local/bin/contimg-sneaky")
    failed = play("migrate", **LISTED, **REPOINTED)
    host.check_output("systemctl stop contimg-sneaky.service")
    assert failed.returncode == 2, failed.stdout
    assert phase_of(host) == "rolled_back", failed.stdout
    assert [one["Id"] for one in (container(host, DASHBOARD), container(host, LOOKER))] == before
    assert container(host, LOOKER)["State"]["Status"] == "running"
    assert_dashboard_uses(host, SOURCE)
    assert_units_use(host, SOURCE)


def test_a_service_that_could_do_less_than_before_stops_the_move(host: Any) -> None:
    host.check_output("chmod 0700 /data/dsa110-contimg")
    failed = play("migrate", **LISTED, **REPOINTED)
    host.check_output("chmod 0755 /data/dsa110-contimg")
    assert failed.returncode == 2, failed.stdout
    said = " ".join(failed.stdout.split())
    assert f"user contimg, as whom a unit of contimg_units runs, may not enter {DEST}" in said, failed.stdout
    assert "Nothing was touched" in said
    assert_dashboard_uses(host, SOURCE)
    assert_units_use(host, SOURCE)


def test_the_move_takes_the_containers_along(host: Any) -> None:
    dashboard, looker = container(host, DASHBOARD)["Id"], container(host, LOOKER)["Id"]
    moved = play("migrate", **LISTED, **REPOINTED)
    assert moved.returncode == 0, moved.stdout
    assert phase_of(host) == "done"
    assert SECRET not in moved.stdout
    assert_units_use(host, DEST)
    assert_dashboard_uses(host, DEST)
    assert container(host, DASHBOARD)["Id"] != dashboard, "it was created again"
    assert container(host, LOOKER)["Id"] == looker, "it was only stopped and started"
    assert container(host, LOOKER)["State"]["Status"] == "running"
    assert downtime_of(host) > 0
    print(f"the services were down for {downtime_of(host)} seconds")


def test_no_visit_is_lost(host: Any) -> None:
    told = committed(host)
    kept = visits(host, DEST)
    assert told <= set(kept)
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) > len(visits(host, SOURCE)), "it counts on the new state, and no longer on the old one"


def test_a_second_run_has_nothing_to_do(host: Any) -> None:
    before = standing(host)
    again = play("migrate", **LISTED, **REPOINTED)
    assert again.returncode == 0, again.stdout
    assert "changed=0" in again.stdout
    assert standing(host) == before


def test_the_way_back_takes_them_along(host: Any) -> None:
    looker = container(host, LOOKER)["Id"]
    back = play("rollback", **LISTED, **REPOINTED, contimg_rollback_discard_new_rows=True)
    assert back.returncode == 0, back.stdout
    assert phase_of(host) == "rolled_back"
    assert_dashboard_uses(host, SOURCE)
    assert container(host, LOOKER)["Id"] == looker
    assert host.check_output(f"systemctl is-active {' '.join(UNITS)}").split() == ["active"] * len(UNITS)
    assert used_by(host, "contimg-stream.service", "PIPELINE_STATE_DIR") == SOURCE
