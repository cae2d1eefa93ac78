# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a database with its owner's rights: who owns the directory gains nothing by what he does to it meanwhile."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.measurement_sets import reconcile
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import split
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import READ_WRITE, Place, connect
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import writable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.owner import Owner, acting_for, owner_of
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    file_row,
    make_products,
    options_for,
    rows_of,
)
from ansible_collections.dsa110.contimg.tests.support.databases.hot_journals import content, make_pair, plant
from ansible_collections.dsa110.contimg.tests.support.faults.traced import Work, environment, traced

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts for others")

SERVICE = Owner(65534, 65534)
_STOPPED = re.compile(r"^(\d+) +--- stopped by SIGSTOP ---", re.MULTILINE)
_AS_ROOT = """
import ctypes
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import connection as sqlite_connection
def owner_of(path):
    ctypes.CDLL(None).setfsuid(0)  # where the trial is stopped
sqlite_connection.owner_of = owner_of
"""


@pytest.fixture(name="state")
def _state(monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """Return a directory of the service, below one that any user may enter."""
    monkeypatch.delenv("TMPDIR", raising=False)
    base = pathlib.Path(tempfile.mkdtemp(dir="/var/tmp"))
    base.chmod(0o755)
    state = base / "state"
    state.mkdir()
    try:
        yield state
    finally:
        shutil.rmtree(base)


def give(state: pathlib.Path, owner: Owner = SERVICE) -> None:
    """Give a directory and all in it to a user."""
    for path in (state, *state.iterdir()):
        os.chown(path, *owner)


def insert(path: str) -> str:
    """Write a row, which is what is tried here."""
    with contextlib.closing(connect(writable(path))) as connection:
        connection.execute("INSERT INTO t VALUES('more')")
    return "done"


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_rows_and_sidecars_are_written_as_the_owner(state: pathlib.Path, mode: str) -> None:
    make_pair(state)
    with contextlib.closing(sqlite3.connect(state / "a.db")) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    give(state)
    command = ["strace", "-f", "-qq", "-e", "trace=setfsuid,openat", "-o", str(state.parent / "log")]
    program = f"from {__name__} import insert; insert('{state}/a.db')"
    subprocess.run([*command, sys.executable, "-c", program], check=True, env=environment())
    assert content(state / "a.db") == {"old", "more"}
    assert {path.stat().st_uid for path in state.iterdir()} == {SERVICE.user}
    acting, opened = 0, []
    for line in (state.parent / "log").read_text().splitlines():
        number = re.search(r"setfsuid\((\d+)\)", line)
        acting = int(number.group(1)) if number else acting
        if f"{state}/a.db" in line and ("O_RDWR" in line or "O_CREAT" in line):
            opened.append(acting)
    assert len(opened) > 1
    assert set(opened) == {SERVICE.user}
    assert acting == 0, "it is root again"


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_a_split_works_as_the_owner(state: pathlib.Path, journal_mode: str) -> None:
    products = make_products(
        state / "products.sqlite3", [file_row(number) for number in range(50)], journal_mode=journal_mode
    )
    give(state)
    split(
        options_for(products, state / "hdf5.sqlite3", vacuum=True, backup_dir=str(state.parent / "backups")),
        check=False,
    )
    assert len(rows_of(state / "hdf5.sqlite3")) == 50
    assert rows_of(products) == []
    assert {path.stat().st_uid for path in state.iterdir()} == {SERVICE.user}
    assert {path.stat().st_uid for path in (state.parent / "backups").iterdir()} == {0}
    _require_root()


def _require_root() -> None:
    with open("/proc/thread-self/status", encoding="ascii") as status:
        assert re.search(r"^Uid:\t0\t0\t0\t0$", status.read(), re.MULTILINE)


def test_a_backup_that_is_roots_is_compared_while_the_owners_database_is_written(state: pathlib.Path) -> None:
    products = make_products(state / "products.sqlite3", [])
    give(state)
    sets = state.parent / "sets"
    sets.mkdir()
    with contextlib.closing(sqlite3.connect(products)) as connection:
        connection.execute(f"UPDATE ms_index SET path = '{sets}/gone.ms'")
        connection.commit()
    give(state)
    found = reconcile(
        products_db=str(products),
        roots=[str(sets)],
        max_removed_fraction=1,
        backup_dir=str(state.parent / "backups"),
        check=False,
    )
    assert found["removed"] == [f"{sets}/gone.ms"]
    assert rows_of(products, "ms_index") == []


def of_root(state: pathlib.Path) -> None:
    give(state, Owner(0, 0))


def with_a_log_of_root(state: pathlib.Path) -> None:
    (state / "a.db-wal").touch()


def in_a_directory_of_root(state: pathlib.Path) -> None:
    os.chown(state, 0, 0)


def in_a_directory_that_he_may_not_write_to(state: pathlib.Path) -> None:
    state.chmod(0o555)


def read_only(state: pathlib.Path) -> None:
    (state / "a.db").chmod(0o444)


def below_a_closed_directory(state: pathlib.Path) -> None:
    state.parent.chmod(0o700)


@pytest.mark.parametrize(
    "change",
    [
        of_root,
        with_a_log_of_root,
        in_a_directory_of_root,
        in_a_directory_that_he_may_not_write_to,
        read_only,
        below_a_closed_directory,
    ],
)
def test_what_its_owner_could_not_write_himself_is_written_as_root(state: pathlib.Path, change: Any) -> None:
    make_pair(state)
    give(state)
    assert owner_of(str(state / "a.db")) == SERVICE
    change(state)
    assert owner_of(str(state / "a.db")) is None
    assert insert(str(state / "a.db")) == "done"
    _require_root()


def test_databases_of_several_owners_are_written_as_root(state: pathlib.Path) -> None:
    make_pair(state)
    (state.parent / "other").mkdir()
    shutil.move(state / "b.db", state.parent / "other" / "b.db")
    give(state)
    give(state.parent / "other", Owner(1, 1))
    with contextlib.closing(connect(writable(str(state / "a.db")))) as connection:
        connection.execute("INSERT INTO t VALUES('one')")
        connection.load(
            writable(str(state.parent / "other" / "b.db")), "ATTACH ? AS b", str(state.parent / "other" / "b.db")
        )
        connection.execute("INSERT INTO b.t VALUES('two')")
        connection.execute("INSERT INTO main.t VALUES('three')")
    assert content(state / "a.db") == {"old", "one", "three"}
    assert content(state.parent / "other" / "b.db") == {"old", "two"}


def test_an_error_leaves_nobody_acting_for_another(state: pathlib.Path) -> None:
    make_pair(state)
    give(state)
    with contextlib.closing(connect(Place(str(state / "a.db"), READ_WRITE))) as connection:
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("SELECT * FROM none")
        _require_root()
    with acting_for(None):
        _require_root()


@pytest.mark.parametrize("prelude", ["", _AS_ROOT], ids=["as the owner", "as root"])
def test_a_journal_that_comes_after_it_was_judged_removes_only_what_its_owner_could(
    state: pathlib.Path, prelude: str
) -> None:
    make_pair(state)
    give(state)
    victim = state.parent / "a.db-mj012345678"
    victim.write_text("victim")
    work = Work(f"{__name__}:insert", {"path": str(state / "a.db")}, state.parent / "log")
    with traced(work, "-e", "trace=setfsuid", "-e", "inject=setfsuid:signal=STOP:when=1", prelude=prelude) as running:
        process = _await_stop(running.told)
        plant(state / "a.db", victim)
        give(state)
        os.kill(process, signal.SIGCONT)
    assert victim.exists() == (not prelude), running.outcome


def _await_stop(told: Any) -> int:
    for _attempt in range(2000):
        found = _STOPPED.search(told())
        if found:
            return int(found.group(1))
        time.sleep(0.01)
    raise AssertionError("was not stopped")
