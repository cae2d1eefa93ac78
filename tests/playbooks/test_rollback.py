# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of a host without units: what was edited since the move stays, and no new row is left behind unasked."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from typing import TYPE_CHECKING

from .conftest import failure

if TYPE_CHECKING:
    import pathlib

    from .conftest import Host


def add_row(database: pathlib.Path) -> None:
    """Add a row to a table of its own, which is made where there is none."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS since (a INTEGER)")
        connection.execute("INSERT INTO since VALUES (1)")
        connection.commit()


def said_by(output: str) -> str:
    """Return what a play printed, with its line breaks as spaces."""
    return " ".join(output.split())


def test_what_was_edited_since_the_move_stays_and_is_named(host: Host) -> None:
    more = host.root / "data" / "more.env"
    more.write_text(f"A={host.src}/a\nB={host.src}/b\nTHREADS=2\n")
    host.variables["contimg_env_files"] = [str(more)]
    unit = host.root / "data" / "x.service"
    unit.write_text(f"[Service]\nExecStart=/bin/x {host.src}/db/products.sqlite3\nReadWritePaths={host.src}\nNice=1\n")
    host.variables["contimg_unit_files"] = [str(unit)]
    before = host.env_file.read_text()
    assert host.play("migrate").returncode == 0

    text = host.env_file.read_text()
    host.env_file.write_text(text.replace("planted-secret", "rotated-secret") + "ADDED=since\n")
    more.write_text(more.read_text().replace(f"B={host.dest}/b", "B=/mine/b").replace("THREADS=2", "THREADS=4"))
    assert f"/bin/x {host.dest}/products.sqlite3" in unit.read_text()
    unit.write_text(unit.read_text().replace("/bin/x", "/bin/y").replace("Nice=1", "Nice=2"))
    preview = host.play("rollback", "--check", "--diff")
    assert preview.returncode == 0, failure(preview)
    back = host.play("rollback", "--diff")
    assert back.returncode == 0, failure(back)
    assert unit.read_text() == (
        f"[Service]\nExecStart=/bin/y {host.dest}/products.sqlite3\nReadWritePaths={host.src}\nNice=2\n"
    )
    assert f"{unit}: ExecStart: changed by somebody else since" in said_by(back.stdout + back.stderr)
    assert host.env_file.read_text() == before.replace("planted-secret", "rotated-secret") + "ADDED=since\n"
    assert more.read_text() == f"A={host.src}/a\nB=/mine/b\nTHREADS=4\n"
    assert f"{more}: B: changed by somebody else since" in said_by(back.stdout + back.stderr)
    journals = (host.run_dir / "backups").rglob("edits.json")
    assert not [secret for secret in ("planted-", "rotated-") if secret in back.stdout + back.stderr]
    assert not [path for path in journals if "planted-" in path.read_text()]


def test_new_rows_of_a_database_that_has_no_name_are_counted_and_refused(host: Host) -> None:
    (host.src / "catalogs").mkdir(exist_ok=True)
    add_row(host.src / "catalogs" / "nvss.sqlite3")
    assert host.play("migrate").returncode == 0
    add_row(host.dest / "catalogs" / "nvss.sqlite3")
    add_row(host.dest / "made.sqlite3")
    refused = host.play("rollback")
    assert refused.returncode == 2, refused.stdout
    said = said_by(refused.stdout)
    assert "2 new rows" in said
    assert "catalogs/nvss.sqlite3" in said
    assert "made.sqlite3" in said
    assert host.record()["phase"] == "done"
    assert host.play("rollback", contimg_rollback_discard_new_rows=True).returncode == 0
    kept = {path.name.split(".")[0] for path in (host.run_dir / "discarded").iterdir()}
    assert kept == {"nvss", "made"}


def damage(database: pathlib.Path) -> None:
    """Overwrite all but the header of a database."""
    content = database.read_bytes()
    database.write_bytes(content[:100] + bytes(len(content) - 100))


def test_a_damaged_new_database_is_refused_before_anything_stops_and_is_no_obstacle_when_rows_are_discarded(
    moved: Host,
) -> None:
    (moved.dest / "products.sqlite3-wal").unlink(missing_ok=True)
    damage(moved.dest / "products.sqlite3")
    refused = moved.play("rollback")
    assert refused.returncode == 2, refused.stdout
    said = said_by(refused.stdout)
    assert "So it is not known what the old state lacks" in said
    assert "Nothing was stopped or changed." in said
    assert "Stop the units" not in said
    assert moved.record()["phase"] == "done"
    back = moved.play("rollback", contimg_rollback_discard_new_rows=True)
    assert back.returncode == 0, failure(back)
    assert f"It stays below {moved.dest}" in said_by(back.stdout)
    assert moved.env_file.read_text() == moved.first_environment
    assert "products" not in moved.record()["facts"]["placed"]


def test_a_disk_that_is_gone_is_no_obstacle_when_rows_are_discarded(moved: Host) -> None:
    shutil.rmtree(moved.dest)
    assert moved.play("rollback").returncode == 2
    away = moved.src.rename(moved.src.with_name("away"))
    neither = moved.play("rollback", contimg_rollback_discard_new_rows=True)
    assert neither.returncode == 2, neither.stdout
    assert moved.record()["phase"] == "done"
    away.rename(moved.src)
    back = moved.play("rollback", contimg_rollback_discard_new_rows=True)
    assert back.returncode == 0, failure(back)
    assert moved.env_file.read_text() == moved.first_environment
    assert moved.record()["phase"] == "rolled_back"
