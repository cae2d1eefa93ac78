# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the removal of a database: never one that is in use, never through a link, and never without its copy."""

from __future__ import annotations

import os
import pathlib
import sqlite3
import subprocess
import sys
from typing import Any, Callable, Iterator

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs import backup as backup_module
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import proven_name
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import removal as removal_module
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.removal import (
    put_back,
    remove_database,
    remove_unchanged,
    require_unused,
)
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    dump,
    file_row,
    make_products,
    snapshot,
)

_USER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
print(connection.execute("SELECT count(*) FROM ms_index").fetchone(), flush=True)
for line in sys.stdin:
    connection.execute(line)
    print("done", flush=True)
"""


class User:
    """A process that has a database open."""

    def __init__(self, path: pathlib.Path) -> None:
        command = [sys.executable, "-c", _USER, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.said()

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def execute(self, statement: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{statement}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(params=["WAL", "DELETE"])
def database(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> pathlib.Path:
    (tmp_path / "place").mkdir()
    rows = [file_row(number) for number in range(3)]
    return make_products(tmp_path / "place" / "products.sqlite3", rows, journal_mode=request.param)


@pytest.fixture
def user(database: pathlib.Path) -> Iterator[User]:
    there = User(database)
    yield there
    there.end()


def removed(path: pathlib.Path, judge: Callable[[str], None] = lambda _copy: None, *, proof: bool = False) -> str:
    return remove_database(str(path), backup_dir=str(path.parents[1] / "backups"), judge=judge, require_proof=proof)


def test_a_database_goes_with_its_sidecars_and_its_copy_holds_every_commit(database: pathlib.Path, user: User) -> None:
    user.execute("INSERT INTO ms_index VALUES ('/late.ms', 'done')")
    user.said()
    user.end()
    assert len(os.listdir(database.parent)) in (1, 3)  # killed, it leaves its log
    copy = removed(database)
    assert "/late.ms" in "".join(dump(pathlib.Path(copy)))
    assert os.listdir(database.parent) == []


def test_one_that_a_process_has_open_stays_with_all_that_is_written_later(database: pathlib.Path, user: User) -> None:
    before = snapshot(database.parent)
    with pytest.raises(ContimgError, match=r"(?s)is (open in process|locked: another program).*It is where it was"):
        removed(database)
    assert snapshot(database.parent) == before
    user.execute("INSERT INTO ms_index VALUES ('/late.ms', 'done')")
    assert user.said() == "done\n"
    user.end()
    assert "/late.ms" in "".join(dump(database))


def _first(monkeypatch: pytest.MonkeyPatch, name: str, before: Callable[[], Any]) -> None:
    """Let something happen just before a step of the removal, the first time."""
    step: Any = getattr(removal_module, name)
    todo = [before]

    def done(*values: Any, **named: Any) -> Any:
        while todo:
            todo.pop()()
        return step(*values, **named)

    monkeypatch.setattr(removal_module, name, done)


def test_who_opens_it_at_the_last_moment_keeps_it(database: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys; held = open(sys.argv[1], 'rb'); print(flush=True); sys.stdin.read()"
    late: list[subprocess.Popen[bytes]] = []

    def open_it() -> None:
        command = [sys.executable, "-c", program, str(database)]
        late.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert late[0].stdout is not None
        late[0].stdout.readline()

    inode = database.stat().st_ino
    _first(monkeypatch, "_take_away", open_it)
    try:
        with pytest.raises(ContimgError, match=r"/place/products.sqlite3: is open in process .*It is where it was"):
            removed(database)
    finally:
        late[0].communicate()
    assert (os.listdir(database.parent), database.stat().st_ino) == ([database.name], inode)


def test_a_lock_is_held_from_the_copy_to_the_end(database: pathlib.Path) -> None:
    def write(_copy: str) -> None:
        connection = sqlite3.connect(str(database), timeout=0.1)
        with pytest.raises(sqlite3.OperationalError, match="database is locked"):
            connection.execute("INSERT INTO ms_index VALUES ('/late.ms', 'done')")
        connection.close()

    removed(database, write)
    assert not database.exists()


def test_one_that_must_stay_stays_and_leaves_no_copy(database: pathlib.Path) -> None:
    def refuse(copy: str) -> None:
        raise ContimgError("holds rows of its own", path=copy)

    before = snapshot(database.parent)
    with pytest.raises(ContimgError, match="holds rows of its own"):
        removed(database, refuse)
    assert snapshot(database.parent) == before
    assert os.listdir(database.parents[1] / "backups") == []


def test_a_link_is_not_followed(database: pathlib.Path) -> None:
    link = database.with_name("link.sqlite3")
    link.symlink_to(database)
    with pytest.raises(ContimgError, match=r"link.sqlite3: could not remove the database.*errno 40"):
        removed(link)
    assert database.exists()
    os.mkfifo(database.with_name("fifo"))
    with pytest.raises(ContimgError, match="fifo: is not a regular file"):
        removed(database.with_name("fifo"))


def test_a_place_that_becomes_a_link_is_not_followed_either(
    database: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "victim").mkdir()
    victim = make_products(tmp_path / "victim" / "products.sqlite3", [])

    def swap() -> None:
        database.parent.rename(tmp_path / "moved")
        database.parent.symlink_to(tmp_path / "victim")

    _first(monkeypatch, "back_up_file", swap)
    removed(database)
    assert victim.exists()
    assert list((tmp_path / "moved").iterdir()) == []


def test_without_its_copy_nothing_is_removed(database: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_module, "hash_file", lambda *_values, **named: str(named))
    before = snapshot(database.parent)
    with pytest.raises(ContimgError, match="the backup differs from the original"):
        removed(database)
    assert snapshot(database.parent) == before


def _set_aside(database: pathlib.Path, *names: str) -> pathlib.Path:
    aside = database.parent / os.fsdecode(proven_name(b"moved aside"))
    aside.mkdir()
    for name in names:
        database.with_name(name).rename(aside / name)
    return aside


def test_the_next_run_puts_back_what_a_killed_one_has_moved_aside(database: pathlib.Path) -> None:
    wanted = dump(database)
    log = database.with_name("products.sqlite3-wal")
    log.touch()
    _set_aside(database, log.name, database.name)
    put_back(str(database.parent))
    assert sorted(os.listdir(database.parent)) == [database.name, log.name]
    assert dump(database) == wanted


def test_what_is_in_use_again_is_not_replaced(database: pathlib.Path) -> None:
    aside = _set_aside(database, database.name)
    make_products(database, [])
    with pytest.raises(ContimgError, match=r"products.sqlite3: is in use again.*\.contimg-\S+ beside it"):
        removed(database)
    assert os.listdir(aside) == [database.name]


def test_what_a_living_run_has_moved_aside_is_its_own(database: pathlib.Path) -> None:
    aside = _set_aside(database, database.name)
    program = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), 2); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(aside)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        put_back(str(database.parent))
        assert os.listdir(aside) == [database.name]
        other.communicate()


def test_only_a_database_of_the_expected_content_is_removed(database: pathlib.Path) -> None:
    backups = str(database.parents[1] / "backups")
    checksum = content_checksum(str(database))

    def run(*, check: bool = False) -> dict[str, Any]:
        return remove_unchanged(
            path=str(database), checksum=checksum, backup_dir=backups, require_proof=False, check=check
        )

    connection = sqlite3.connect(str(database))
    connection.execute("INSERT INTO ms_index VALUES ('/late.ms', 'done')")
    connection.commit()
    connection.close()
    before = snapshot(database.parent)
    for check in (True, False):
        with pytest.raises(ContimgError, match=r"products.sqlite3: has changed: its content is .*It is where it was"):
            run(check=check)
        assert snapshot(database.parent) == before
    checksum = content_checksum(str(database))
    wanted = dump(database)
    preview = run(check=True)
    result = run()
    assert {**preview, "backup_file": ""} == {**result, "backup_file": ""}
    assert (result["changed"], os.listdir(database.parent)) == (True, [])
    assert dump(pathlib.Path(result["backup_file"])) == wanted
    assert [run(check=check)["changed"] for check in (True, False)] == [False, False]


def test_a_run_goes_on_where_a_killed_one_has_moved_it_aside(database: pathlib.Path) -> None:
    backups = str(database.parents[1] / "backups")
    checksum = content_checksum(str(database))
    _set_aside(database, database.name)
    done = remove_unchanged(path=str(database), checksum=checksum, backup_dir=backups, require_proof=False, check=False)
    assert (done["changed"], os.listdir(database.parent)) == (True, [])


def test_a_view_of_some_processes_proves_nothing(database: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal_module, "users_of", lambda _path: ([], False))
    with pytest.raises(ContimgError, match=r"may be open: .*contimg_require_proof"):
        require_unused(str(database), require_proof=True)
    require_unused(str(database), require_proof=False)
