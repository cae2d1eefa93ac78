# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The move of a host without units: preview, run, run again, verify, go back, and the guard of the destination."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

from .conftest import Host, failure, fingerprint, result_of, rows

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


#: Tasks that a move of the sample shows at most.
_SHOWN = 64


def test_the_whole_way_and_back(host: Host) -> None:
    environment, source, data = host.env_file.read_bytes(), fingerprint(host.src), fingerprint(host.root / "data")

    preview = host.play("migrate", "--check", "--diff")
    assert preview.returncode == 0, failure(preview)
    assert "planted-secret" not in preview.stdout
    assert (fingerprint(host.src), fingerprint(host.root / "data")) == (source, data)
    assert not host.run_dir.exists()

    progress = host.root / "progress.json"
    moved = host.play("migrate", "-v", contimg_progress_file=str(progress), contimg_bandwidth_limit=1 << 40)
    assert moved.returncode == 0, failure(moved)
    assert json.loads(progress.read_text())["phase"] == "done"
    # What was found is not asked again, and what is not due is not shown.
    assert moved.stdout.count("Find each database and what is to be done with it") == 1
    assert "Find the databases of both sides" not in moved.stdout
    assert moved.stdout.count("\nTASK [") <= _SHOWN
    prepared = result_of(moved.stdout, "Make the HDF5 database from the first copy")
    assert prepared["tables"]["hdf5_file_index"]["moved"] == 200
    assert not (host.run_dir / "prepared").exists()
    # What did not change since the first copy is not read again while the services are down: three databases, on both sides.
    proved = result_of(moved.stdout, "Prove that each copied database is equal to its source")
    assert len(proved["remembered"]) == 6
    assert fingerprint(host.src) == source
    assert rows(host.dest / "hdf5.sqlite3", "hdf5_file_index") == 200
    assert f"PIPELINE_PRODUCTS_DB={host.dest}/products.sqlite3" in host.env_file.read_text()
    assert host.record()["phase"] == "done"

    again = host.play("migrate")
    assert "changed=0" in again.stdout, again.stdout
    assert host.play("verify").returncode == 0

    back = host.play("rollback")
    assert back.returncode == 0, failure(back)
    assert host.env_file.read_bytes() == environment
    assert host.record()["phase"] == "rolled_back"

    forward = host.play("migrate")
    assert forward.returncode == 0, failure(forward)
    assert host.record()["phase"] == "done"


def test_rollback_refuses_to_leave_new_rows_behind(moved: Host) -> None:
    with sqlite3.connect(moved.dest / "products.sqlite3") as products:
        products.execute("INSERT INTO ms_index (path) VALUES ('/stage/dsa110-contimg/ms/new.ms')")
    products.close()
    refused = moved.play("rollback")
    assert refused.returncode == 2, refused.stdout
    assert "1 new rows" in refused.stdout
    assert moved.record()["phase"] == "done"
    assert moved.play("rollback", contimg_rollback_discard_new_rows=True).returncode == 0
    (kept,) = (moved.run_dir / "discarded").glob("products.sqlite3.*")
    assert rows(kept, "ms_index") == rows(moved.src / "db" / "products.sqlite3", "ms_index") + 1
    asked = " ".join(moved.play("migrate").stdout.split())
    assert "data/state: products there may hold what the source lacks" in asked
    forward = moved.play("migrate", contimg_database_decisions={"products": "take_source"})
    assert forward.returncode == 0, failure(forward)
    assert rows(moved.dest / "hdf5.sqlite3", "hdf5_file_index") == 200


def test_rows_that_come_after_a_rollback_are_neither_removed_nor_overwritten_unasked(went_back: Host) -> None:
    hdf5, ingest = went_back.dest / "hdf5.sqlite3", went_back.dest / "ingest.sqlite3"
    for database, statement in {
        hdf5: "UPDATE hdf5_file_index SET ra_deg = 12.5 WHERE rowid = 1",
        ingest: "INSERT INTO arrivals (number, arrived_at) VALUES (999999, 1.0)",
    }.items():
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute(statement)
            connection.commit()
    before = fingerprint(went_back.root / "data")
    for options in (["--check"], []):
        asked = " ".join(went_back.play("migrate", *options).stdout.split())
        assert "data/state: ingest, hdf5 there may hold what the source lacks. Nothing was touched" in asked
        assert fingerprint(went_back.root / "data") == before
    decided = went_back.play("migrate", contimg_database_decisions={"ingest": "take_source", "hdf5": "take_source"})
    assert decided.returncode == 0, failure(decided)
    assert rows(hdf5, "hdf5_file_index WHERE ra_deg = 12.5") == 0
    (kept,) = (went_back.run_dir / "replaced").rglob("hdf5.sqlite3")
    assert rows(kept, "hdf5_file_index WHERE ra_deg = 12.5") == 1
    assert went_back.play("verify").returncode == 0


def test_a_newer_database_at_the_destination_stops_the_move_until_it_is_decided(host: Host) -> None:
    host.dest.mkdir()
    shutil.copy(host.src / "db" / "products.sqlite3", host.dest / "products.sqlite3")
    with sqlite3.connect(host.dest / "products.sqlite3") as newer:
        newer.execute("INSERT INTO ms_index (path) VALUES ('/stage/dsa110-contimg/ms/newer.ms')")
    newer.close()
    before = fingerprint(host.root / "data")

    stopped = host.play("migrate")
    assert stopped.returncode == 2, stopped.stdout
    assert "contimg_database_decisions" in stopped.stdout
    assert fingerprint(host.root / "data") == before
    assert not host.run_dir.exists()

    decided = host.play("migrate", contimg_database_decisions={"products": "keep_dest"})
    assert decided.returncode == 0, failure(decided)
    assert (
        rows(host.dest / "products.sqlite3", "ms_index") == rows(host.src / "db" / "products.sqlite3", "ms_index") + 1
    )
    assert rows(host.dest / "hdf5.sqlite3", "hdf5_file_index") == 200
    audit = host.play("verify")
    assert audit.returncode == 0, failure(audit)
    assert "kept at the destination by decision: products.sqlite3" in " ".join(audit.stdout.replace('"', "").split())

    back = host.play("rollback")
    assert back.returncode == 0, failure(back)
    assert "products database there was kept by contimg_database_decisions, and stays as the move left it" in " ".join(
        back.stdout.split()
    )
    assert rows(host.dest / "products.sqlite3", "sqlite_master WHERE name = 'hdf5_file_index'") == 0
    (backup,) = (host.run_dir / "backups").glob("products.sqlite3.*")
    assert rows(backup, "hdf5_file_index") == 200


def test_verify_names_what_is_missing(moved: Host) -> None:
    victim = next(path for path in moved.dest.rglob("*.log") if path.is_file())
    victim.unlink()
    result = moved.play("verify")
    assert result.returncode == 2
    assert victim.name in result.stdout


USER = "import sys, time; file = open(sys.argv[1], sys.argv[2]); print(flush=True); time.sleep(600)"


@contextlib.contextmanager
def process_with(path: pathlib.Path, mode: str) -> Iterator[None]:
    """Let a process that belongs to no listed unit have a file open."""
    command = [sys.executable, "-c", USER, str(path), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        user.stdout.readline()
        try:
            yield
        finally:
            user.kill()


def test_a_process_that_the_move_would_not_stop_is_named_before_anything_is_touched(host: Host) -> None:
    host.dest.mkdir()
    theirs = host.dest / "report.html"
    theirs.write_text("made daily\n")
    before = fingerprint(host.root / "data")
    known = {"contimg_known_references": [".*import sys, time.*"]}
    with process_with(host.src / "ingest.sqlite3", "rb"):
        stopped = " ".join(host.play("migrate").stdout.split())
        assert f"reads {host.src}/ingest.sqlite3" in stopped
        assert "Nothing was touched" in stopped
        accepted = host.play("migrate", "--check", **known)
        assert accepted.returncode == 0, failure(accepted)
    with process_with(theirs, "r+b"):
        stopped = " ".join(host.play("migrate", **known).stdout.split())
        assert f"can write to {theirs}" in stopped
    assert fingerprint(host.root / "data") == before
    assert not host.run_dir.exists()


@contextlib.contextmanager
def writing_to(path: pathlib.Path) -> Iterator[str]:
    """Let a process write to a file again and again, and hold nothing open in between; yield its command."""
    command = ["sh", "-c", 'while sleep .1; do echo x >>"$0"; done', str(path)]
    with subprocess.Popen(command, start_new_session=True) as writer:
        try:
            yield " ".join(command)
        finally:
            writer.kill()


def test_a_writer_that_holds_nothing_open_is_named_before_anything_is_stopped(host: Host) -> None:
    with writing_to(host.src / "notes.txt") as command:
        for options in (["--check"], []):
            stopped = " ".join(host.play("migrate", *options, contimg_observe_seconds=6).stdout.split())
            assert "these write to the state, and the move would not stop them" in stopped
            assert f"{host.src}/notes.txt" in stopped
            assert "Stop the units with what triggers them" not in stopped
        known = host.play(
            "migrate", "--check", contimg_observe_seconds=3, contimg_known_references=[re.escape(command)]
        )
        assert known.returncode == 0, failure(known)
    assert host.record()["phase"] == "presynced"


def test_one_write_while_the_services_are_held_stops_the_start_and_without_any_nothing_waits(host: Host) -> None:
    """It is one to the destination: the source is still what was copied."""
    host.variables["contimg_watch_still_seconds"] = None
    with host.stopped_in("migrate", "environment : Record that the host is being repointed") as first:
        subprocess.run(["sh", "-c", 'echo x >"$0"; sleep .2', str(host.dest / "notes.txt")], check=True)
    told = " ".join(first.communicate()[0].split())
    assert first.returncode == 2, told
    assert "these have written to the state since its services were stopped" in told
    assert f"{host.dest}/notes.txt" in told
    assert host.record()["phase"] == "rolled_back"

    moved = host.play("migrate")
    assert moved.returncode == 0, failure(moved)
    assert "Wait until the source has been unchanged long enough" not in moved.stdout
    assert not [path.name for path in (host.root / "volatile").iterdir() if path.suffix in (".socket", ".json")]


def test_another_way_to_the_state_is_named_until_it_is_known(host: Host) -> None:
    elsewhere = host.root / "elsewhere"
    elsewhere.mkdir()
    mount = f'mount --bind {host.src} {elsewhere} && exec "$@"'
    host.inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    stopped = " ".join(host.play("migrate").stdout.split())
    assert f"this host has it mounted at {elsewhere}" in stopped
    assert "Nothing was touched" in stopped
    accepted = host.play("migrate", "--check", contimg_known_references=[str(elsewhere)])
    assert accepted.returncode == 0, failure(accepted)
