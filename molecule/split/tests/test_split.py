# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A live host that has already moved gets its HDF5 database, and goes back. The tests are one story: they run in order."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest
from story import DEST, UNITS, assert_units_use, environment, play, standing, used_by

HDF5 = f"{DEST}/hdf5.sqlite3"
ASKED = {"contimg_hdf5_input_dirs": ["/data/incoming-2026"], "contimg_ms_roots": ["/stage/dsa110-contimg/ms"]}
LITERAL = "/data/dsa110-contimg/${PIPELINE_DB}"
OWN = "/data/dsa110-contimg/src/dsa110_contimg/state/products.sqlite3"


def ask(host: Any, name: str, statement: str) -> str:
    return str(host.check_output("sqlite3 -readonly %s/%s.sqlite3 %s", DEST, name, statement))


def index_rows(host: Any, name: str) -> int:
    return int(ask(host, name, "SELECT count(*) FROM hdf5_file_index"))


def split(*options: str) -> subprocess.CompletedProcess[str]:
    return play("split_hdf5", *options, **ASKED)


def test_the_preview_counts_and_changes_nothing(host: Any) -> None:
    before = standing(host)
    preview = split("--check", "--diff", "-v")
    assert preview.returncode == 0, preview.stdout
    counted = re.search(
        r"hdf5_file_index:\n\s+conflicts: 0\n\s+derived: 4000\n\s+merged: 0\n\s+moved: 4000\n\s+rejected: 0",
        preview.stdout,
    )
    assert counted is not None, preview.stdout
    assert "+CREATE TABLE hdf5_file_index" in preview.stdout
    assert standing(host) == before


def test_the_split_moves_every_row_and_the_units_use_the_hdf5_database(host: Any) -> None:
    done = split("-v")
    assert done.returncode == 0, done.stdout
    assert (index_rows(host, "hdf5"), index_rows(host, "products")) == (4016, 0)  # the API has made an empty one again
    assert ask(host, "hdf5", "SELECT count(*) FROM hdf5_file_index WHERE note = 'flagged' AND stored = 1") == "1"
    assert "h5py is missing on the host: 1 files have none" in done.stdout
    of_products, of_hdf5 = (host.file(f"{DEST}/{name}.sqlite3") for name in ("products", "hdf5"))
    assert (of_hdf5.user, of_hdf5.group, of_hdf5.mode) == (of_products.user, of_products.group, of_products.mode)
    assert_units_use(host, DEST)
    assert {used_by(host, f"contimg-{unit}.service", "HDF5_DB_PATH") for unit in ("stream", "api")} == {HDF5}
    assert ask(host, "products", "SELECT count(*) FROM ms_index WHERE path GLOB '*/2026-*'") == "1"
    assert ask(host, "products", "SELECT count(*) FROM ms_index") == "250"  # one is gone, one was registered


def test_misplaced_databases_are_quarantined_but_for_that_with_rows_of_its_own(host: Any) -> None:
    kept = host.check_output("find /var/lib/dsa110-contimg-migration/misplaced -type f")
    assert "${PIPELINE_DB}" in kept
    assert "/products.sqlite3" in kept
    assert not host.file("/data/dsa110-contimg/src/state/products.sqlite3").exists
    assert not host.file(LITERAL).exists
    assert host.file(OWN).exists


def test_a_second_run_has_nothing_to_do_and_still_names_that_database() -> None:
    again = split()
    assert again.returncode == 0, again.stdout
    assert "changed=0" in again.stdout
    assert f"may hold rows of their own: {OWN}" in " ".join(again.stdout.split())


def test_the_preview_of_the_way_back_changes_nothing(host: Any) -> None:
    before = standing(host)
    preview = play("unsplit_hdf5", "--check", "--diff", "-v")
    assert preview.returncode == 0, preview.stdout
    assert "+CREATE TABLE hdf5_file_index" in preview.stdout or "+ALTER TABLE hdf5_file_index" in preview.stdout
    assert "-HDF5_DB_PATH=" in preview.stdout
    assert standing(host) == before


def test_the_way_back_copies_every_row_to_products_and_the_units_use_it(host: Any) -> None:
    kept = host.file(HDF5).sha256sum
    back = play("unsplit_hdf5")
    assert back.returncode == 0, back.stdout
    assert (index_rows(host, "hdf5"), index_rows(host, "products")) == (4016, 4016)
    assert ask(host, "products", "SELECT count(*) FROM hdf5_file_index WHERE note = 'flagged' AND stored = 1") == "1"
    # What was written to products since the split is kept.
    assert ask(host, "products", "SELECT count(*) FROM ms_index WHERE path GLOB '*/2026-*'") == "1"
    assert ask(host, "products", "PRAGMA integrity_check") == "ok"
    assert host.file(HDF5).sha256sum == kept
    assert_units_use(host, DEST)
    assert not host.run("grep HDF5_DB_PATH /data/dsa110-contimg/ops/systemd/contimg.env").succeeded
    for unit in ("contimg-stream.service", "contimg-api.service"):
        with pytest.raises(KeyError):
            used_by(host, unit, "HDF5_DB_PATH")


def test_a_second_way_back_has_nothing_to_do_and_stops_nothing(host: Any) -> None:
    since = host.check_output("systemctl show --property=ActiveEnterTimestamp contimg-api.service")
    again = play("unsplit_hdf5")
    assert again.returncode == 0, again.stdout
    assert "changed=0" in again.stdout
    assert host.check_output("systemctl show --property=ActiveEnterTimestamp contimg-api.service") == since


def test_a_hold_of_a_run_that_died_before_the_release_is_released(host: Any) -> None:
    units = ",".join(UNITS[:2])
    held = f"names={units} state=held hold_file=/var/lib/dsa110-contimg-migration/split-hold.json"
    inventory = ["-i", os.environ["MOLECULE_INVENTORY_FILE"], "contimg"]
    words = ["ansible", *inventory, "-m", "dsa110.contimg.unit_hold", "-a", held]
    subprocess.run(words, check=True, env=environment(), stdout=subprocess.DEVNULL)
    assert not host.service(UNITS[1]).is_running
    done = play("unsplit_hdf5")
    assert done.returncode == 0, done.stdout
    assert_units_use(host, DEST)
    assert not host.file("/var/lib/dsa110-contimg-migration/split-hold.json").exists


def test_it_goes_forward_again_and_merges(host: Any) -> None:
    forward = split()
    assert forward.returncode == 0, forward.stdout
    assert (index_rows(host, "hdf5"), index_rows(host, "products")) == (4016, 0)
    assert used_by(host, "contimg-api.service", "HDF5_DB_PATH") == HDF5
