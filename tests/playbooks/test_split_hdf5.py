# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The split alone, on a host without units that was moved by hand years ago."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import advance, move_of, read_record

from .conftest import ROOT, Host, failure, fingerprint

if TYPE_CHECKING:
    import pathlib


def rows(database: pathlib.Path, query: str) -> int:
    """Return the number that a query gives."""
    connection = sqlite3.connect(database)
    try:
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def move_by_hand(host: Host) -> None:
    """Lay the databases where they stand on a moved host, and one where none belongs."""
    host.dest.mkdir()
    for name in ("ingest.sqlite3", "db/products.sqlite3"):
        shutil.copy(host.src / name, host.dest / name.rpartition("/")[2])
    misplaced = host.root / "data" / "src" / "state"
    misplaced.mkdir(parents=True)
    shutil.copy(host.dest / "products.sqlite3", misplaced / "products.sqlite3")


def test_the_split_alone(host: Host) -> None:
    move_by_hand(host)
    incoming, sets = host.root / "incoming", host.root / "ms"
    incoming.mkdir()
    (incoming / "2026-01-01T00:00:00_sb00.hdf5").touch()
    (sets / "2026-01-01T00:00:00.ms").mkdir(parents=True)
    host.variables.update(
        contimg_hdf5_input_dirs=[str(incoming)],
        contimg_ms_roots=[str(sets)],
    )
    before = fingerprint(host.root / "data")
    preview = host.play("split_hdf5", "--check", "--diff")
    assert preview.returncode == 0, failure(preview)
    assert "+CREATE TABLE hdf5_file_index" in preview.stdout
    assert (fingerprint(host.root / "data"), host.run_dir.exists()) == (before, False)

    with (host.root / "data" / "src" / "state" / "products.sqlite3").open("rb"):
        refused = host.play("split_hdf5")
    assert "products.sqlite3: is open in process" in " ".join(refused.stdout.split())
    assert fingerprint(host.root / "data") == before

    done = host.play("split_hdf5")
    assert done.returncode == 0, failure(done)
    assert rows(host.dest / "hdf5.sqlite3", "SELECT count(*) FROM hdf5_file_index") == 201
    assert (
        rows(host.dest / "products.sqlite3", "SELECT count(*) FROM sqlite_master WHERE name = 'hdf5_file_index'") == 0
    )
    assert rows(host.dest / "products.sqlite3", "SELECT count(*) FROM ms_index WHERE path GLOB '*/ms/2026*'") == 1
    assert f"HDF5_DB_PATH={host.dest}/hdf5.sqlite3" in host.env_file.read_text()
    assert [path.name for path in (host.run_dir / "misplaced").rglob("*.sqlite3")] == ["products.sqlite3"]
    assert not list((host.root / "data" / "src" / "state").iterdir())

    again = host.play("split_hdf5")
    assert "changed=0" in again.stdout, again.stdout


def test_an_obstacle_and_a_writer_stop_the_split_before_a_row_moves(host: Host) -> None:
    move_by_hand(host)
    before = fingerprint(host.root / "data")
    stopped = host.play("split_hdf5", contimg_containers=["no-such-container"])
    assert stopped.returncode == 2, stopped.stdout
    said = " ".join(stopped.stdout.split())
    assert "contimg_containers: no-such-container: no engine of this host knows this container" in said
    assert "Nothing was touched. The run would stop at this only when the services are down" in said

    with (host.dest / "products.sqlite3").open("r+b"):
        stopped = host.play("split_hdf5")
    assert stopped.returncode == 2, stopped.stdout
    said = " ".join(stopped.stdout.split())
    assert f"process {os.getpid()} (" in said
    assert (
        f"{host.dest}/products.sqlite3: still writes to the state. This task changed nothing. Stop the process" in said
    )
    assert "Stop before a row is moved" in said
    assert fingerprint(host.root / "data") == before


def test_a_moved_host_has_nothing_to_split_and_still_verifies(moved: Host) -> None:
    done = moved.play("split_hdf5")
    assert done.returncode == 0, failure(done)
    assert "changed=0" in done.stdout
    assert moved.play("verify").returncode == 0


def test_a_split_goes_back_and_forth_on_a_host_that_has_moved(moved: Host) -> None:
    products, hdf5 = moved.dest / "products.sqlite3", moved.dest / "hdf5.sqlite3"
    with contextlib.closing(sqlite3.connect(hdf5, isolation_level=None)) as connection:
        connection.execute("UPDATE hdf5_file_index SET dec_deg = 37.5 WHERE rowid = 1")
    kept, before = hdf5.read_bytes(), [fingerprint(moved.root / name) for name in ("data", "run", "stage")]
    preview = moved.play("unsplit_hdf5", "--check", "--diff")
    assert preview.returncode == 0, failure(preview)
    assert "+CREATE TABLE hdf5_file_index" in preview.stdout
    assert "-HDF5_DB_PATH=" in preview.stdout
    assert [fingerprint(moved.root / name) for name in ("data", "run", "stage")] == before

    back = moved.play("unsplit_hdf5")
    assert back.returncode == 0, failure(back)
    assert rows(products, "SELECT count(*) FROM hdf5_file_index") == 200
    assert rows(products, "SELECT count(*) FROM hdf5_file_index WHERE dec_deg = 37.5") == 1
    assert hdf5.read_bytes() == kept
    assert "HDF5_DB_PATH" not in moved.env_file.read_text()
    for name in ("unsplit_hdf5", "migrate"):
        again = moved.play(name)
        assert "changed=0" in again.stdout, again.stdout
    assert "HDF5_DB_PATH" not in moved.env_file.read_text()
    verified = moved.play("verify")
    assert verified.returncode == 0, failure(verified)

    forward = moved.play("split_hdf5")
    assert forward.returncode == 0, failure(forward)
    assert rows(hdf5, "SELECT count(*) FROM hdf5_file_index WHERE dec_deg = 37.5") == 1
    assert rows(products, "SELECT count(*) FROM sqlite_master WHERE name = 'hdf5_file_index'") == 0
    assert f"HDF5_DB_PATH={hdf5}" in moved.env_file.read_text()
    assert "unsplit" not in moved.record()["facts"]
    assert moved.play("verify").returncode == 0


def test_a_preview_after_a_rollback_plans_on_what_a_run_copies_again(went_back: Host) -> None:
    planned, moved = (went_back.play("migrate", *options) for options in (["--check", "-v"], ["-v"]))
    assert (planned.returncode, moved.returncode) == (0, 0), planned.stdout + moved.stdout
    for said in (planned.stdout, moved.stdout):
        split = said.partition("Move the HDF5 index from the products database")[2].partition("TASK [")[0]
        assert '"moved": 200' in split, split


def test_a_kept_products_database_gets_its_index_back_after_a_rollback(host: Host) -> None:
    host.dest.mkdir()
    products = host.dest / "products.sqlite3"
    shutil.copy(host.src / "db" / "products.sqlite3", products)
    environment = host.env_file.read_bytes()
    assert host.play("migrate", contimg_database_decisions={"products": "keep_dest"}).returncode == 0
    went_back = host.play("rollback")
    assert "run dsa110.contimg.unsplit_hdf5" in " ".join(went_back.stdout.split())
    back = host.play("unsplit_hdf5")
    assert back.returncode == 0, failure(back)
    assert rows(products, "SELECT count(*) FROM hdf5_file_index") == 200
    assert (host.record()["phase"], host.env_file.read_bytes()) == ("rolled_back", environment)


ODD = """
INSERT INTO hdf5_file_index (path, filename, group_id, subband_code, indexed_at) VALUES
  ('/incoming/test_sb00.hdf5', 'test_sb00.hdf5', 'test', 'sb00', 1.0),
  ('/incoming/late_sb01.hdf5', 'late_sb01.hdf5', 'late', 'sb01', 1.0),
  ('/incoming/20251002T154135_sb02.hdf5', '20251002T154135_sb02.hdf5', '20251002T154135', 'sb02', 1.0),
  ('/incoming/2025-10-02T00:00:00_sb00_spl.hdf5', '2025-10-02T00:00:00_sb00_spl.hdf5', '2025-10-02T00:00:00', 'sb00_spl', 1.0);
"""
INDEXED = "SELECT count(*) FROM hdf5_file_index"


def add_odd_rows(products: pathlib.Path) -> None:
    with contextlib.closing(sqlite3.connect(products)) as connection:
        connection.executescript(ODD)


def test_rows_that_do_not_fit_stop_a_move_until_their_decision_and_then_stay_in_products(host: Host) -> None:
    add_odd_rows(host.src / "db" / "products.sqlite3")
    before = fingerprint(host.root / "stage")
    refused = host.play("migrate")
    assert refused.returncode == 2, refused.stdout
    for named in (
        "/incoming/test_sb00.hdf5 has no timestamp",
        "contimg_hdf5_rejected",
        "keep_in_products",
        "quarantine",
    ):
        assert named in " ".join(refused.stdout.split())
    assert (fingerprint(host.root / "stage"), host.dest.exists()) == (before, False)

    host.variables["contimg_hdf5_rejected"] = "keep_in_products"
    preview = host.play("migrate", "--check")
    assert preview.returncode == 0, failure(preview)
    assert "late_sb01.hdf5 has no timestamp" in preview.stdout
    done = host.play("migrate")
    assert done.returncode == 0, failure(done)
    products, hdf5 = host.dest / "products.sqlite3", host.dest / "hdf5.sqlite3"
    assert (rows(products, INDEXED), rows(hdf5, INDEXED)) == (2, 202)
    for name in ("migrate", "split_hdf5", "verify"):
        again = host.play(name)
        assert again.returncode == 0, failure(again)
        assert "changed=0" in again.stdout, again.stdout
    back = host.play("unsplit_hdf5")
    assert back.returncode == 0, failure(back)
    assert (rows(products, INDEXED), rows(hdf5, INDEXED)) == (204, 202)
    assert host.play("verify").returncode == 0


def test_rows_that_do_not_fit_are_exported_to_the_backups(host: Host) -> None:
    move_by_hand(host)
    products, hdf5 = host.dest / "products.sqlite3", host.dest / "hdf5.sqlite3"
    add_odd_rows(products)
    host.variables["contimg_hdf5_rejected"] = "quarantine"
    before = fingerprint(host.root / "data")
    preview = host.play("split_hdf5", "--check", "--diff")
    assert "2 rows do not move (contimg_hdf5_rejected: quarantine), the first: /incoming/" in " ".join(
        preview.stdout.split()
    )
    assert fingerprint(host.root / "data") == before
    done = host.play("split_hdf5")
    assert done.returncode == 0, failure(done)
    (exported,) = (host.run_dir / "backups").glob("*.jsonl")
    assert str(exported) in "".join(done.stdout.split())
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    assert sorted(row["filename"] for row in lines) == ["late_sb01.hdf5", "test_sb00.hdf5"]
    assert rows(hdf5, INDEXED) == 202
    assert rows(products, "SELECT count(*) FROM sqlite_master WHERE name = 'hdf5_file_index'") == 0
    again = host.play("split_hdf5")
    assert "changed=0" in again.stdout, again.stdout


@pytest.mark.parametrize("playbook", ["split_hdf5", "unsplit_hdf5"])
def test_a_move_that_is_under_way_goes_first(host: Host, playbook: str) -> None:
    move_by_hand(host)
    host.run_dir.mkdir(mode=0o700)
    defaults = DataLoader().load_from_file(str(ROOT / "roles" / "contimg" / "defaults" / "main.yml"))
    databases = json.loads(json.dumps(defaults["contimg_databases"]))
    move = {"src": str(host.src), "dest": str(host.dest), "databases": databases, "exclude": ["*.pid"]}
    under_way = advance(read_record(str(host.run_dir)), "presynced", {}, at=0, move=move_of(move))
    (host.run_dir / "record.json").write_text(json.dumps(under_way))
    before = fingerprint(host.root / "data")
    refused = host.play(playbook)
    assert refused.returncode == 2, refused.stdout
    assert "Finish its move first" in refused.stdout
    assert fingerprint(host.root / "data") == before


def test_a_split_that_fails_on_rewritten_paths_is_found_before_anything_is_touched(host: Host) -> None:
    """A row of products below the old state gets the path of another row, which the HDF5 database has already."""
    products, hdf5 = host.src / "db" / "products.sqlite3", host.src / "hdf5.sqlite3"
    with contextlib.closing(sqlite3.connect(products)) as source, contextlib.closing(sqlite3.connect(hdf5)) as target:
        (sql,) = source.execute("SELECT sql FROM sqlite_master WHERE name = 'hdf5_file_index'").fetchone()
        target.execute(sql)
        first = source.execute("SELECT * FROM hdf5_file_index LIMIT 1").fetchone()
        target.execute(f"INSERT INTO hdf5_file_index VALUES ({', '.join('?' * len(first))})", first)
        source.execute("UPDATE hdf5_file_index SET path = ? WHERE path = ?", (f"{host.src}/1.hdf5", first[0]))
        target.execute("UPDATE hdf5_file_index SET path = ?, filename = 'another'", (f"{host.dest}/1.hdf5",))
        source.commit()
        target.commit()
    host.variables["contimg_rewrite_database_paths"] = True
    for options in (("--check",), ()):
        stopped = host.play("migrate", *options)
        assert stopped.returncode == 2, stopped.stdout
        assert (
            f"1 rows differ from those of {products}, by column in filename (1): {host.dest}/1.hdf5" in stopped.stdout
        )
        assert not host.dest.exists()
    moved = host.play("migrate", contimg_hdf5_on_conflict="keep")
    assert moved.returncode == 0, failure(moved)
    assert rows(host.dest / "hdf5.sqlite3", "SELECT count(*) FROM hdf5_file_index WHERE filename = 'another'") == 1
