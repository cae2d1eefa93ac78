# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what counts as changed by the services since the move, and what as lost, on a state that was really copied."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.tests.support.hosts.moved_state import ROWS, Moved, insert

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

_UNEXPLAINED = "differs, and nothing shows that it was written to after the move"


@pytest.fixture
def moved(tmp_path: pathlib.Path) -> Moved:
    """Return a moved state."""
    return Moved(tmp_path)


def lost(moved: Moved, says: str, **options: Any) -> None:
    """Check that the new place is refused for just this reason, and nothing goes."""
    before = moved.here()
    for check in (True, False):
        with pytest.raises(ContimgError) as raised:
            moved.retire(check=check, **options)
        assert raised.value.what == f"neither there as it was copied nor changed since by the services: {says}"
        assert raised.value.path == str(moved.dest)
    assert (moved.here(), moved.phase) == (before, "done")


def spoil(path: pathlib.Path, *, time_ns: int | None = None) -> None:
    """Flip a bit in the middle of a file, which then has a time: as it was, unless another is asked for."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with open(path, "r+b") as file:
        file.write(content)
    moment = status.st_mtime_ns if time_ns is None else time_ns
    os.utime(path, ns=(moment, moment))


@pytest.mark.parametrize("ahead", [None, -9, 1e6])
def test_a_bit_that_flips_is_no_work_of_a_service_whatever_time_the_source_had(
    tmp_path: pathlib.Path, ahead: float | None
) -> None:
    moved = Moved(tmp_path, ahead=ahead)
    spoil(moved.dest / "logs" / "a.log")
    lost(moved, f"logs/a.log ({_UNEXPLAINED})")


def test_a_time_in_the_future_is_no_proof_of_a_change(moved: Moved) -> None:
    spoil(moved.dest / "logs" / "a.log", time_ns=time.time_ns() + 10**13)
    lost(moved, f"logs/a.log ({_UNEXPLAINED})")


@pytest.mark.parametrize("ahead", [None, -9, 1e6])
def test_another_file_with_the_time_of_the_source_is_no_proof_of_a_change(
    tmp_path: pathlib.Path, ahead: float | None
) -> None:
    moved = Moved(tmp_path, ahead=ahead)
    status = (moved.src / "notes").stat()
    (moved.dest / "notes").unlink()
    (moved.dest / "notes").write_text("older")
    os.utime(moved.dest / "notes", ns=(status.st_mtime_ns, status.st_mtime_ns))
    lost(moved, f"notes ({_UNEXPLAINED})")


def test_a_file_that_was_put_back_from_a_backup_is_no_work_of_a_service(moved: Moved) -> None:
    (moved.dest / "notes").write_text("older")
    os.utime(moved.dest / "notes", (1e9, 1e9))
    lost(moved, f"notes ({_UNEXPLAINED})")


def test_without_the_ledger_no_file_counts_as_changed(moved: Moved) -> None:
    (moved.dest / "notes").write_text("by a service")
    moved.ledger.unlink()
    lost(moved, f"notes ({_UNEXPLAINED})")


def _unlinked(path: pathlib.Path) -> None:
    path.unlink()


def _linked(path: pathlib.Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _emptied(path: pathlib.Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["logs/a.log", "notes-journal", "products.sqlite3"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_unlinked, "is missing"),
        (_linked, "is not a regular file"),
        (_emptied, "is empty"),
    ],
)
def test_a_file_that_is_gone_is_lost_whatever_its_name(
    moved: Moved, name: str, change: Callable[[pathlib.Path], None], says: str
) -> None:
    change(moved.dest / name)
    if name == "products.sqlite3" and says == "is empty":
        says = "is not an SQLite database but an empty file"
    lost(moved, f"{name} ({says})")


def test_services_write_to_files_and_databases(moved: Moved) -> None:
    (moved.dest / "notes").write_text("by a service")
    (moved.dest / "x\udcff").unlink()
    insert(moved.dest / "products.sqlite3", 3, journal_mode="wal")  # it takes in the WAL of the killed one
    assert not (moved.dest / "products.sqlite3-wal").exists()
    insert(moved.dest / "catalogs" / "c.sqlite3", 1)
    assert moved.retire(accept=["x*"])["changed_since"] == 3


def test_a_service_may_have_a_database_open(moved: Moved) -> None:
    with contextlib.closing(sqlite3.connect(moved.dest / "products.sqlite3")) as connection:
        connection.execute("INSERT INTO t (b) VALUES ('now')")
        connection.commit()
        assert moved.retire()["changed_since"] == 1


@pytest.mark.parametrize("name", ["products.sqlite3", "catalogs/c.sqlite3"])
def test_a_database_with_fewer_rows_than_at_the_move_is_lost(moved: Moved, name: str) -> None:
    with contextlib.closing(sqlite3.connect(moved.dest / name, isolation_level=None)) as connection:
        connection.execute("DELETE FROM t WHERE a > 2")
    lost(moved, f"{name} (has fewer rows than at the move: t 2 of {ROWS})")
    assert moved.retire(accept=[name])["files"]


@pytest.mark.parametrize("name", ["products.sqlite3", "catalogs/c.sqlite3"])
def test_a_database_that_is_damaged_is_lost(moved: Moved, name: str) -> None:
    insert(moved.dest / name, 3)
    content = bytearray((moved.dest / name).read_bytes())
    content[4096 : 2 * 4096] = b"\xff" * 4096
    (moved.dest / name).write_bytes(content)
    with pytest.raises(ContimgError, match=rf"{name} \((is damaged|could not read).*Nothing was removed"):
        moved.retire()


def test_a_damaged_index_is_damage_though_every_row_can_be_read(moved: Moved) -> None:
    path = moved.dest / "catalogs" / "c.sqlite3"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE INDEX i ON t (b)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'i'").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(ContimgError, match=r"catalogs/c\.sqlite3 \((is damaged|could not)"):
        moved.retire()


def test_rows_of_a_wal_that_is_gone_are_lost(moved: Moved) -> None:
    (moved.dest / "products.sqlite3-wal").unlink()
    lost(moved, f"products.sqlite3 ({_UNEXPLAINED})")


def test_a_database_of_the_baseline_counts_whether_or_not_the_old_tree_had_it(moved: Moved) -> None:
    insert(moved.dest / "hdf5.sqlite3", 4)
    moved.baseline["./hdf5.sqlite3"] = moved.rows_of("hdf5.sqlite3")
    shutil.copy(moved.dest / "hdf5.sqlite3", moved.root / "kept")
    (moved.dest / "hdf5.sqlite3").unlink()
    lost(moved, "hdf5.sqlite3 (is missing)")
    insert(moved.dest / "hdf5.sqlite3", 1)
    lost(moved, "hdf5.sqlite3 (has fewer rows than at the move: t 1 of 4)")
    shutil.copy(moved.root / "kept", moved.dest / "hdf5.sqlite3")
    assert moved.retire()["changed"]


def test_a_table_that_the_split_has_moved_is_not_missed(moved: Moved) -> None:
    with contextlib.closing(sqlite3.connect(moved.dest / "products.sqlite3", isolation_level=None)) as connection:
        connection.execute("ALTER TABLE t RENAME TO u")
    lost(moved, f"products.sqlite3 (has fewer rows than at the move: t 0 of {ROWS})")
    moved.baseline = {"products": moved.rows_of("products.sqlite3")}
    assert moved.retire()["changed_since"] == 1
