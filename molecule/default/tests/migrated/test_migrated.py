# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After ``migrate`` on the live host, and a second run that had nothing to do."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest

SOURCE = "/stage/dsa110-contimg/state"
DEST = "/data/dsa110-contimg/state"
ENV_FILE = "/data/dsa110-contimg/ops/systemd/contimg.env"
SEALS = "/var/lib/contimg-test/seals"
TIMER = "data-retention-cleanup.timer"
ROWS = 4000
OLD_ENV_FILE = pathlib.Path(__file__).parents[2] / "files" / "contimg.env"

# What the map, the split, the services and `contimg_exclude` have reason to change.
EXPECTED_DIFFERENCES = re.compile(
    r"""\./ | logs/contimg-stream\.out | contimg-stream\.pid
    | db/ | db/(products|cal_registry)\.sqlite3(-wal|-shm)?
    | (ingest|products|cal_registry|hdf5)\.sqlite3(-wal|-shm)?""",
    re.VERBOSE,
)
EXPECTED_ENVIRONMENT = {
    "PIPELINE_STATE_DIR": DEST,
    "CONTIMG_STATE_DIR": DEST,
    "PIPELINE_QUEUE_DB": f"{DEST}/ingest.sqlite3",
    "CONTIMG_QUEUE_DB": f"{DEST}/ingest.sqlite3",
    "PIPELINE_PRODUCTS_DB": f"{DEST}/products.sqlite3",
    "CONTIMG_PRODUCTS_DB": f"{DEST}/products.sqlite3",
    "CAL_REGISTRY_DB": f"{DEST}/cal_registry.sqlite3",
    "CONTIMG_REGISTRY_DB": f"{DEST}/cal_registry.sqlite3",
    "HDF5_DB_PATH": f"{DEST}/hdf5.sqlite3",
    "CATALOG_DB_DIR": f"{DEST}/catalogs",
    "CASALOGFILE": f"{DEST}/logs/casa.log",
    # Data, not state: as it was.
    "CONTIMG_OUTPUT_DIR": "/stage/dsa110-contimg/ms",
    "ALERT_SMTP_PASSWORD": 'planted-secret #1 "quoted"',
    "CONTIMG_API_WORKERS": "2",
}


def query(host: Any, path: str, statement: str) -> list[Any]:
    """Return the rows of a read-only query, as SQLite's own command gives them."""
    answer = host.check_output("sqlite3 -readonly -json %s %s", path, statement)
    return [tuple(row.values()) for row in json.loads(answer or "[]")]


def main_pid(host: Any, unit: str) -> str:
    """Return the main process of a unit."""
    return str(host.check_output("systemctl show --property=MainPID --value %s", unit))


def environment(host: Any, unit: str) -> dict[str, str]:
    """Return what the main process of a unit was started with."""
    raw = host.file(f"/proc/{main_pid(host, unit)}/environ").content_string
    return dict(entry.split("=", 1) for entry in raw.split("\0") if entry)


def open_files(host: Any, unit: str) -> set[str]:
    """Return the paths that the main process of a unit holds open."""
    return set(host.check_output(f"find /proc/{main_pid(host, unit)}/fd -type l -printf '%l\\n'").splitlines())


def test_every_committed_row_has_arrived_once(host: Any) -> None:
    committed = {int(line) for line in host.file("/var/log/contimg-stream.committed").content_string.split()}
    numbers = [number for (number,) in query(host, f"{DEST}/ingest.sqlite3", "SELECT number FROM arrivals")]
    assert len(committed) > 100
    assert committed - set(numbers) == set()
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("name", ["ingest", "products", "cal_registry", "hdf5", "catalogs/nvss_dec+54.6"])
def test_each_database_is_sound(host: Any, name: str) -> None:
    assert query(host, f"{DEST}/{name}.sqlite3", "PRAGMA integrity_check") == [("ok",)]


def test_the_stale_copy_at_the_destination_has_become_the_whole_database(host: Any) -> None:
    """Its log belonged to an older main file: beside the new one it would have brought old rows back, or damage."""
    groups = "SELECT group_id FROM ingest_queue WHERE group_id IN ('stale', 'since') ORDER BY received_at"
    assert query(host, f"{DEST}/ingest.sqlite3", groups) == [("stale",), ("since",)]


def test_the_source_is_what_it_was_when_the_services_had_stopped(host: Any) -> None:
    newest = max(host.file(SEALS).listdir())
    sealed = host.file(f"{SEALS}/{newest}").content_string.splitlines()
    assert len(sealed) > 30
    assert host.check_output("python3 /usr/local/bin/contimg_snapshot.py %s", SOURCE).splitlines() == sealed


def test_rsync_finds_no_difference_without_a_reason(host: Any) -> None:
    listed = host.check_output("rsync -aHAXnci --delete %s/ %s/", SOURCE, DEST).splitlines()
    paths = [line.split(maxsplit=1)[1] for line in listed]
    assert "db/products.sqlite3" in paths
    assert [path for path in paths if not EXPECTED_DIFFERENCES.fullmatch(path)] == []


def test_the_index_is_in_its_own_database(host: Any) -> None:
    rows = """SELECT path, filename, group_id, subband_code, timestamp_iso, timestamp_mjd, file_size_bytes, stored
        FROM hdf5_file_index ORDER BY path"""
    moved = query(host, f"{DEST}/hdf5.sqlite3", rows)
    assert len(moved) == ROWS
    assert moved == query(host, f"file:{SOURCE}/db/products.sqlite3?immutable=1", rows)


def test_the_subbands_are_numbered(host: Any) -> None:
    numbered = query(
        host,
        f"{DEST}/hdf5.sqlite3",
        "SELECT DISTINCT subband_num, subband_code FROM hdf5_file_index ORDER BY subband_num",
    )
    assert numbered == [(number, f"sb{number:02d}") for number in range(16)]


def test_products_hold_no_index_and_all_else(host: Any) -> None:
    """The application makes the table anew when it connects: empty is as good as absent."""
    products = f"{DEST}/products.sqlite3"
    tables = {name for (name,) in query(host, products, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "hdf5_file_index" in tables:
        assert query(host, products, "SELECT count(*) FROM hdf5_file_index") == [(0,)]
    assert query(host, products, "SELECT count(*) FROM ms_index") == [(ROWS // 16,)]
    assert query(host, products, "SELECT count(*) FROM storage_locations") == [(4,)]


def test_the_input_location_is_the_newest_active_one(host: Any) -> None:
    locations = query(host, f"{DEST}/hdf5.sqlite3", "SELECT name, path FROM storage_locations")
    assert ("hdf5_incoming", "/data/incoming") in locations


def test_the_hot_log_of_the_registry_has_come_along(host: Any) -> None:
    assert query(host, f"{DEST}/cal_registry.sqlite3", "SELECT count(*) FROM caltables") == [(3,)]


def test_both_accounts_may_write_the_new_database(host: Any) -> None:
    products, hdf5 = (host.file(f"{DEST}/{name}.sqlite3") for name in ("products", "hdf5"))
    assert (hdf5.uid, hdf5.gid, hdf5.mode) == (products.uid, products.gid, products.mode) == (1500, 1500, 0o664)


@pytest.mark.parametrize("unit", ["contimg-stream.service", "contimg-api.service"])
def test_a_unit_runs_on_the_new_environment(host: Any, unit: str) -> None:
    assert EXPECTED_ENVIRONMENT.items() <= environment(host, unit).items()


@pytest.mark.parametrize(
    ("unit", "files"),
    [
        ("contimg-stream.service", {f"{DEST}/ingest.sqlite3", f"{DEST}/logs/contimg-stream.out"}),
        ("contimg-api.service", {f"{DEST}/products.sqlite3"}),
    ],
)
def test_a_unit_has_the_new_files_open_and_none_of_the_old(host: Any, unit: str, files: set[str]) -> None:
    found = open_files(host, unit)
    assert files <= found
    assert [path for path in found if path.startswith(f"{SOURCE}/")] == []


def test_the_api_answers(host: Any) -> None:
    ask = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8010/health').read().decode())"
    assert json.loads(host.check_output("python3 -c %s", ask)) == {"measurement_sets": ROWS // 16}


def test_the_hand_tended_environment_file_survives(host: Any) -> None:
    """Comments, order and secrets stay; only lines that name the old state differ, and new names are added."""
    old = OLD_ENV_FILE.read_text().splitlines()
    new = host.file(ENV_FILE).content_string.splitlines()
    kept = [line for line in old if line in new]
    assert [line for line in old if line not in kept and SOURCE not in line] == []
    assert [line for line in new if line in kept] == kept
    found = host.file(ENV_FILE)
    assert (found.user, found.group, found.mode) == ("root", "contimg", 0o640)


def test_the_downtime_is_recorded(host: Any) -> None:
    """From the first stop to the last start: at least the time that the source has to lie still."""
    record = json.loads(host.file("/var/lib/dsa110-contimg-migration/record.json").content_string)
    assert record["facts"]["downtime"] >= 5


def test_the_clean_up_is_enabled_and_has_not_run(host: Any) -> None:
    assert host.service(TIMER).is_enabled
    assert host.service(TIMER).is_running
    assert not host.file("/var/log/data-retention-cleanup.ran").exists
    assert host.file("/data/dsa110-contimg/products/2024-01-01.img").exists


def test_what_woke_the_stream_is_back(host: Any) -> None:
    assert host.service("contimg-stream-wake.timer").is_running


def test_only_root_reads_a_secret_outside_its_file(host: Any) -> None:
    """The backup of the environment file is the one other place; the pattern does not match its own trace in the journal."""
    listed = host.run("grep -rl 'planted-secre[t]' /var/lib/dsa110-contimg-migration /var/log /tmp").stdout.split()
    assert [path.rsplit("/", 1)[1].split(".env")[0] for path in listed] == ["contimg"]
    assert not host.run("runuser -u contimg -- test -r %s", listed[0]).succeeded
