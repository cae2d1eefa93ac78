# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is remembered of databases: it holds while they are the same, and never longer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import types
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host import open_files
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import mounts_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import process_ids
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import remembered
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import describe, tables_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.newest import newest_row
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import (
    Facts,
    identity_of,
    remembering,
)
from ansible_collections.dsa110.contimg.tests.support.databases.hot_journals import JOURNAL_MODES, interrupt
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import Writer, make
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPT = (
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v, created_at);"
    " INSERT INTO t VALUES(1, 'first value', 1735689600), (2, 'other value', 1735689700);"
)
RACY_SECONDS = 0.05  # more than two ticks of the coarsest clock
MODES = [mode for mode in JOURNAL_MODES if mode != "wal"]


def never(message: str) -> None:
    raise AssertionError(message)


def settled(path: pathlib.Path) -> pathlib.Path:
    """Wait until a change of a database is no longer one that the clock cannot tell from a later one."""
    time.sleep(RACY_SECONDS)
    return path


@pytest.fixture(autouse=True)
def _without_the_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all processes be seen: where these tests run in a container, its first one may be another user's."""
    monkeypatch.setattr(open_files, "process_ids", lambda: [pid for pid in process_ids() if pid != 1])


@pytest.fixture(name="path")
def _path(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "state").mkdir()
    return settled(make(tmp_path / "state" / "a.db", SCRIPT))


@pytest.fixture(name="cache")
def _cache(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "proofs.json"


@pytest.fixture(name="writer")
def _writer(path: pathlib.Path) -> Iterator[Writer]:
    writer = Writer(path)
    yield writer
    writer.close()


def asked(path: pathlib.Path, cache: pathlib.Path, **options: Any) -> tuple[dict[str, Any], bool]:
    """Return what is reported of a database, and whether it was remembered."""
    with remembering(str(cache), write=True, warn=never) as proofs:
        found = describe(str(path), **{"integrity": "quick", "tables": True, **options}, proofs=proofs)
    return found, str(path) in proofs.used


def is_remembered(path: pathlib.Path, cache: pathlib.Path, **options: Any) -> bool:
    """Return whether a database was remembered; what is reported of it is true in any case."""
    found, known = asked(path, cache, **options)
    assert found == describe(str(path), **{"integrity": "quick", "tables": True, **options})
    return known


def known_after_reading(path: pathlib.Path, cache: pathlib.Path) -> bool:
    """Return whether what one call finds holds for the next one."""
    is_remembered(path, cache)
    return is_remembered(path, cache)


@pytest.mark.parametrize("mode", JOURNAL_MODES)
def test_what_is_the_same_is_not_read_again(path: pathlib.Path, cache: pathlib.Path, mode: str) -> None:
    make(path, f"PRAGMA journal_mode = {mode}; UPDATE t SET v = 'new' WHERE id = 2;")
    settled(path)
    assert not is_remembered(path, cache)
    assert is_remembered(path, cache)
    before = cache.stat()
    assert (before.st_mode & 0o777, before.st_uid) == (0o600, os.geteuid())
    assert is_remembered(path, cache, integrity="none")
    assert is_remembered(path, cache, tables=False)
    after = cache.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns), "nothing was noted"


def test_nothing_of_the_database_changes(path: pathlib.Path, cache: pathlib.Path) -> None:
    before = identity_of(str(path)), sorted(os.listdir(path.parent))
    assert known_after_reading(path, cache)
    assert (identity_of(str(path)), sorted(os.listdir(path.parent))) == before


@pytest.mark.parametrize("mode", JOURNAL_MODES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE t SET v = 'firsd value' WHERE id = 1",
        "INSERT INTO t VALUES(3, 'third value', 0)",
        "DELETE FROM t WHERE id = 1",
        "CREATE INDEX i ON t(v)",
        "PRAGMA user_version = 9",
        "VACUUM",
    ],
)
def test_what_another_process_writes_is_noticed(
    path: pathlib.Path, cache: pathlib.Path, writer: Writer, mode: str, statement: str
) -> None:
    writer(f"PRAGMA journal_mode = {mode}")
    writer("UPDATE t SET v = v")
    settled(path)
    assert known_after_reading(path, cache), "an open connection alone is no writer"
    writer(statement)
    assert not is_remembered(path, cache)


@pytest.mark.parametrize("statement", ["PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(TRUNCATE)"])
def test_a_commit_in_the_wal_and_its_checkpoint_are_noticed(
    path: pathlib.Path, cache: pathlib.Path, writer: Writer, statement: str
) -> None:
    writer("PRAGMA journal_mode = wal")
    writer("PRAGMA wal_autocheckpoint = 0")
    writer("UPDATE t SET v = 'in the WAL' WHERE id = 1")
    settled(path)
    assert known_after_reading(path, cache)
    assert asked(path, cache, integrity="none")[0]["integrity"] == "ok", "a WAL is always checked"
    writer("UPDATE t SET v = 'again' WHERE id = 1")
    assert not is_remembered(path, cache)
    settled(path)
    assert known_after_reading(path, cache)
    writer(statement)
    assert not is_remembered(path, cache)
    settled(path)
    assert known_after_reading(path, cache)
    writer.close()
    assert not is_remembered(path, cache), "the last connection has removed the WAL"


@pytest.mark.parametrize("mode", JOURNAL_MODES)
def test_a_writer_that_maps_the_database_writes_past_the_mapping(
    path: pathlib.Path, cache: pathlib.Path, writer: Writer, mode: str
) -> None:
    writer("PRAGMA mmap_size = 268435456")
    writer(f"PRAGMA journal_mode = {mode}")
    writer("SELECT * FROM t")
    settled(path)
    assert known_after_reading(path, cache)
    writer("UPDATE t SET v = 'mapped' WHERE id = 1")
    writer("PRAGMA wal_checkpoint")
    assert not is_remembered(path, cache)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_writer_within_its_transaction_lets_nothing_be_remembered(
    path: pathlib.Path, cache: pathlib.Path, writer: Writer, mode: str
) -> None:
    writer(f"PRAGMA journal_mode = {mode}")
    writer("BEGIN IMMEDIATE")
    settled(path)
    assert not known_after_reading(path, cache)
    writer("COMMIT")
    assert known_after_reading(path, cache)


def test_a_writer_with_the_wal_to_itself_is_seen_by_its_lock(
    path: pathlib.Path, cache: pathlib.Path, writer: Writer
) -> None:
    for statement in ("PRAGMA locking_mode = exclusive", "PRAGMA journal_mode = wal", "UPDATE t SET v = 'x'"):
        writer(statement)
    settled(path)
    with remembering(str(cache), write=True, warn=never) as proofs, proofs.taking(str(path)) as note:
        note(str(path), Facts(newest="never true"))
    assert not cache.exists()


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_a_hot_journal_is_noticed_and_never_remembered(path: pathlib.Path, cache: pathlib.Path, mode: str) -> None:
    make(path, "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
         " INSERT INTO t SELECT i, hex(randomblob(99)), 0 FROM n;")  # fmt: skip
    settled(path)
    assert known_after_reading(path, cache)
    interrupt(path, mode, "UPDATE t SET v = hex(randomblob(99))")
    assert not is_remembered(path, cache)
    settled(path)
    assert not known_after_reading(path, cache)


def replaced_by_rename(path: pathlib.Path) -> None:
    other = path.with_name("b.db")
    shutil.copy2(path, other)
    in_place(other)
    other.rename(path)


def in_place(path: pathlib.Path) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(content.index(b"first value"))
        file.write(b"FIRST VALUE")


def in_its_wal(path: pathlib.Path) -> None:
    status = path.stat()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = wal")
    connection.execute("UPDATE t SET v = 'FIRST VALUE' WHERE id = 1")
    connection.close()
    os.truncate(path, status.st_size)


def beside_it(path: pathlib.Path) -> None:
    path.with_name("a.db-wal").write_bytes(b"")


@pytest.mark.parametrize("change", [replaced_by_rename, in_place, in_its_wal, beside_it])
def test_a_change_that_keeps_size_and_mtime_is_noticed(
    path: pathlib.Path, cache: pathlib.Path, change: Callable[[pathlib.Path], None]
) -> None:
    assert known_after_reading(path, cache)
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert not is_remembered(path, cache)


def test_a_mutant_without_the_ctime_is_caught(
    path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = remembered._identity
    monkeypatch.setattr(
        remembered, "_identity", lambda entries: tuple(one and (*one[:4], 0) for one in identity(entries))
    )
    assert known_after_reading(path, cache)
    before = path.stat()
    in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(AssertionError, match="checksum"):
        is_remembered(path, cache)


@pytest.mark.parametrize(("milliseconds", "known"), [(-1, 0), (0, 0), (10, 0), (30, 1)])
def test_what_changed_within_a_tick_before_it_was_read_is_not_remembered(
    path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, milliseconds: int, known: int
) -> None:
    moment = path.stat().st_ctime_ns + milliseconds * 1_000_000
    clock = types.SimpleNamespace(time_ns=lambda: moment, strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr(remembered, "time", clock)
    assert known_after_reading(path, cache) == known


def test_changes_one_after_the_other_are_never_taken_for_each_other(path: pathlib.Path, cache: pathlib.Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number in range(60):
            connection.execute(f"UPDATE t SET v = 'value {number:05}' WHERE id = 1")
            is_remembered(path, cache)


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_what_changes_while_it_is_read_is_not_remembered(
    path: pathlib.Path, cache: pathlib.Path, writer: Writer, mode: str
) -> None:
    writer(f"PRAGMA journal_mode = {mode}")
    settled(path)
    with remembering(str(cache), write=True, warn=never) as proofs, proofs.taking(str(path)) as note:
        note(str(path), Facts(newest="before"))
        writer("UPDATE t SET v = 'x'")
    assert not cache.exists()


def test_what_a_process_maps_writable_is_not_remembered(path: pathlib.Path, cache: pathlib.Path) -> None:
    program = (
        "import mmap, sys\nfile = open(sys.argv[1], 'r+b')\nmapped = mmap.mmap(file.fileno(), 0)\nfile.close()\n"
        "print(flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert not known_after_reading(path, cache)
        process.communicate()
    assert known_after_reading(path, cache)


def test_where_mappings_cannot_be_seen_only_what_nobody_has_open_for_writing_is_remembered(
    path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "mapped_for_writing", lambda: None)
    with path.open("r+b"):
        assert not known_after_reading(path, cache)
    with path.open("rb"):
        assert known_after_reading(path, cache)


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "tmpfs", "a newer one"])
def test_a_file_system_whose_times_say_too_little_is_not_trusted(
    path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounts = [mount.__class__(**{**vars(mount), "kind": kind}) for mount in mounts_of()]
    monkeypatch.setattr(remembered, "mounts_of", lambda: mounts)
    assert not known_after_reading(path, cache)


def test_on_tmpfs_where_a_store_into_a_mapping_may_leave_no_trace_nothing_is_remembered(cache: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        path = settled(make(pathlib.Path(name) / "a.db", SCRIPT))
        assert not known_after_reading(path, cache)
        place = path.read_bytes().index(b"first value")
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            assert mapped[place : place + 5] == b"first"
            mapped[place : place + 5] = b"FIRST"
        assert not is_remembered(path, cache)


def test_the_full_check_is_always_made(path: pathlib.Path, cache: pathlib.Path) -> None:
    assert not is_remembered(path, cache, integrity="full")
    assert not is_remembered(path, cache, integrity="full")
    assert is_remembered(path, cache, integrity="quick"), "the full check finds all that the quick one finds"


def test_a_check_that_was_not_made_is_not_remembered(path: pathlib.Path, cache: pathlib.Path) -> None:
    assert not is_remembered(path, cache, integrity="none")
    assert is_remembered(path, cache, integrity="none")
    assert not is_remembered(path, cache, integrity="quick")
    assert is_remembered(path, cache, integrity="quick")


def test_a_damaged_database_is_never_remembered(path: pathlib.Path, cache: pathlib.Path) -> None:
    make(path, "CREATE INDEX i ON t(v)")
    with path.open("r+b") as file:
        file.seek(4096 * 2 + 1)
        file.write(b"\xff" * 4)
    settled(path)
    for _time in range(2):
        with pytest.raises(ContimgError):
            asked(path, cache)
    assert not cache.exists()


def test_a_link_leads_to_what_is_known_of_its_database(path: pathlib.Path, cache: pathlib.Path) -> None:
    assert known_after_reading(path, cache)
    link, other = path.with_name("link"), settled(make(path.with_name("b.db"), SCRIPT + "DELETE FROM t"))
    link.symlink_to(path)
    assert is_remembered(link, cache)
    link.unlink()
    link.symlink_to(other)
    assert not is_remembered(link, cache)


def test_names_that_are_no_text_are_known_too(path: pathlib.Path, cache: pathlib.Path) -> None:
    odd = pathlib.Path(os.fsdecode(bytes(path.parent) + b"/\xff\n.db"))
    shutil.copy(path, odd)
    settled(odd)
    asked(odd, cache)
    with remembering(str(cache), write=True, warn=never) as proofs:
        describe(str(odd), integrity="quick", proofs=proofs)
    assert list(proofs.used) == [f"{path.parent}/\\xff\\x0a.db"]


def sealed(values: dict[str, Any]) -> bytes:
    """Return a file as it would be with other values, its digest right."""
    values = {key: values[key] for key in ("format", "sha256", "sqlite", "boot", "databases")}
    body = {key: values[key] for key in ("sqlite", "boot", "databases")}
    values["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps(values).encode()


def changed(**further: Any) -> Callable[[bytes], bytes]:
    return lambda content: sealed({**json.loads(content), **further})


def with_entry(**further: Any) -> Callable[[bytes], bytes]:
    def edited(content: bytes) -> bytes:
        values = json.loads(content)
        for one in values["databases"].values():
            one.update(further)
        return sealed(values)

    return edited


def with_facts(**further: Any) -> Callable[[bytes], bytes]:
    def edited(content: bytes) -> bytes:
        values = json.loads(content)
        for one in values["databases"].values():
            one["facts"].update(further)
        return sealed(values)

    return edited


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[:-20],
    "a digit of a checksum": lambda content: content.replace(b"contimg1:sha256:", b"contimg1:sha256:0", 1),
    "rows": lambda content: content.replace(b'"rows": 2', b'"rows": 3'),
    "zeros": lambda content: content[:100] + bytes(len(content) - 100),
    "another version": lambda content: content.replace(b"contimg proofs 1", b"contimg proofs 2"),
    "another SQLite": changed(sqlite="3.1.0"),
    "another boot": changed(boot="00000000-0000-0000-0000-000000000000"),
    "no databases": changed(databases=[]),
    "an entry that is none": changed(databases={"x": 1}),
    "no identity": with_entry(identity=None),
    "a short identity": with_entry(identity=[[1, 2, 3, 4, 5]]),
    "an identity of texts": with_entry(identity=[["1"] * 5, None, None]),
    "a moment that is none": with_entry(taken_at="yesterday"),
    "a checksum of another kind": with_facts(checksum="md5:0"),
    "a checksum that is none": with_facts(checksum=["x"]),
    "rows that are none": with_facts(tables={"t": {"rows": "2", "checksum": "sha256:" + "0" * 64}}),
    "a check that is a number": with_facts(sound=1),
    "deep": lambda _content: b'{"format": "contimg proofs 1", "databases": ' + b"[" * 200_000,
    "a huge number": lambda content: content.replace(b'"rows": 2', b'"rows": ' + b"2" * 10_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_means_that_nothing_is_remembered(path: pathlib.Path, cache: pathlib.Path, damage: str) -> None:
    assert known_after_reading(path, cache)
    cache.write_bytes(DAMAGES[damage](cache.read_bytes()))
    assert not is_remembered(path, cache)
    assert is_remembered(path, cache), "the file is written anew"


def test_the_seal_of_these_tests_is_that_of_the_file(path: pathlib.Path, cache: pathlib.Path) -> None:
    assert known_after_reading(path, cache)
    cache.write_bytes(changed()(cache.read_bytes()))
    assert is_remembered(path, cache)


def look(path: pathlib.Path) -> tuple[object, ...]:
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else b""


@pytest.mark.parametrize("kind", ["FIFO", "link", "directory", "database", "JSON", "of others", "empty"])
def test_what_is_no_such_file_is_left_alone(path: pathlib.Path, cache: pathlib.Path, kind: str) -> None:
    target = cache.with_name("target")
    assert known_after_reading(path, target)
    if kind == "FIFO":
        os.mkfifo(cache)
    elif kind == "link":
        cache.symlink_to(target)
    elif kind == "directory":
        cache.mkdir()
    elif kind == "of others":
        target.rename(cache)
        cache.chmod(0o620)
    else:
        cache.write_bytes({"database": path.read_bytes(), "JSON": b'{"a": 1}', "empty": b""}[kind])
    before = look(cache)
    warned: list[str] = []
    for _time in range(2):
        with remembering(str(cache), write=True, warn=warned.append) as proofs:
            describe(str(path), proofs=proofs)
        assert proofs.used == {}
    assert len(warned) == 2
    assert all(one.startswith(f"{cache}: is not a file of this user that remembers databases") for one in warned)
    assert look(cache) == before


def test_without_its_directory_nothing_is_written(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "absent" / "proofs.json"
    assert not known_after_reading(path, cache)
    assert not cache.parent.exists()


def test_what_cannot_be_written_is_a_warning(path: pathlib.Path, cache: pathlib.Path) -> None:
    warned: list[str] = []
    subprocess.run(["chattr", "+i", str(cache.parent)], check=True)
    try:
        with remembering(str(cache), write=True, warn=warned.append) as proofs:
            assert describe(str(path), proofs=proofs)["checksum"]
    finally:
        subprocess.run(["chattr", "-i", str(cache.parent)], check=True)
    (message,) = warned
    assert "[errno" in message
    assert message.endswith("The databases are read again by the next run.")


def test_databases_that_are_gone_or_changed_are_forgotten(path: pathlib.Path, cache: pathlib.Path) -> None:
    others = [settled(make(path.with_name(f"{number}.db"), SCRIPT)) for number in range(3)]
    for one in others:
        asked(one, cache)
    assert len(json.loads(cache.read_bytes())["databases"]) == 3
    others[0].unlink()
    in_place(others[1])
    assert known_after_reading(path, cache)
    assert set(json.loads(cache.read_bytes())["databases"]) == {str(path), str(others[2])}


@pytest.mark.parametrize(("constant", "value"), [("_MOST", 2), ("_LARGEST", 3000)])
def test_the_file_is_bounded_and_keeps_the_newest(
    path: pathlib.Path, cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, constant: str, value: int
) -> None:
    monkeypatch.setattr(remembered, constant, value)
    moments = iter(f"2026-11-28T00:00:{second:02}Z" for second in range(60))
    clock = types.SimpleNamespace(time_ns=time.time_ns, strftime=lambda _form, _time: next(moments), gmtime=time.gmtime)
    monkeypatch.setattr(remembered, "time", clock)
    for number in range(6):
        asked(settled(make(path.with_name(f"{number}.db"), SCRIPT)), cache)
    kept = list(json.loads(cache.read_bytes())["databases"])
    assert kept[:2] == [str(path.with_name("5.db")), str(path.with_name("4.db"))]
    assert len(kept) < 6
    assert cache.stat().st_size <= remembered._LARGEST


def test_two_runs_at_once_keep_what_both_have_read(path: pathlib.Path, cache: pathlib.Path) -> None:
    other = settled(make(path.with_name("b.db"), SCRIPT))
    with remembering(str(cache), write=True, warn=never) as one, remembering(str(cache), write=True, warn=never) as two:
        describe(str(path), proofs=one)
        describe(str(other), proofs=two)
    assert is_remembered(path, cache, integrity="none")
    assert is_remembered(other, cache, integrity="none")


def test_many_processes_at_once_leave_a_whole_file(path: pathlib.Path, cache: pathlib.Path) -> None:
    paths = [settled(make(path.with_name(f"{number}.db"), SCRIPT)) for number in range(4)]
    program = PROGRAM.format(paths=[str(one) for one in paths], cache=str(cache), times=10)
    processes = [subprocess.Popen([sys.executable, "-c", program], env=environment()) for _number in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert all(is_remembered(one, cache) for one in paths)
    assert os.listdir(cache.parent) == [cache.name]


#: Reads databases and remembers them, each time as if for the first time.
PROGRAM = """
import os, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import remembered
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import describe
for _time in range({times}):
    with remembered.remembering({cache!r}, write=True, warn=sys.exit) as proofs:
        for path in {paths!r}:
            with proofs.taking(path) as note:
                found = describe(path, integrity="full", proofs=proofs)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize("call", ["flock", "fsync", "fchmod", "rename,renameat,renameat2", "write"])
def test_killed_while_it_writes_the_file_is_old_or_new(path: pathlib.Path, cache: pathlib.Path, call: str) -> None:
    assert known_after_reading(path, cache)
    other = settled(make(path.with_name("b.db"), SCRIPT))
    program = PROGRAM.format(paths=[str(other)], cache=str(cache), times=1)
    for ordinal in range(1, 20):
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={ordinal}", "-o", os.devnull]
        ended = subprocess.run(
            ["strace", "-qq", *inject, sys.executable, "-c", program], env=environment(), check=False
        )
        assert json.loads(cache.read_bytes())["format"] == "contimg proofs 1"
        assert is_remembered(path, cache)
        if not ended.returncode:
            break
    assert ordinal > 1, "it was killed at least once"
    assert is_remembered(other, cache, integrity="none")
    asked(settled(make(path.with_name("c.db"), SCRIPT)), cache)
    assert os.listdir(cache.parent) == [cache.name], "what the killed run has left is gone"


def test_rows_and_newest_row_are_remembered_too(path: pathlib.Path, cache: pathlib.Path) -> None:
    for known in (False, True, True):
        with remembering(str(cache), write=True, warn=never) as proofs:
            assert tables_of(str(path), proofs=proofs) == describe(str(path), tables=True)["tables"]
            assert newest_row(str(path), proofs=proofs) == "2025-01-01T00:01:40Z (t.created_at)"
        assert (str(path) in proofs.used) is known
    in_place(path)
    with remembering(str(cache), write=True, warn=never) as proofs:
        assert tables_of(str(path), proofs=proofs) == describe(str(path), tables=True)["tables"]
    assert proofs.used == {}


def test_a_copy_to_the_byte_is_known_by_its_source(path: pathlib.Path, cache: pathlib.Path) -> None:
    there = path.with_name("copy.db")
    shutil.copy(path, there)
    settled(there)
    with remembering(str(cache), write=True, warn=never) as proofs:
        describe(str(path), integrity="quick", tables=True, proofs=proofs)
        assert relate(str(path), str(there), proofs=proofs).kind == "identical"
    assert is_remembered(there, cache), "it was compared and not read"
    with remembering(str(cache), write=True, warn=never) as proofs:
        assert relate(str(path), str(there), proofs=proofs).kind == "identical"
    assert set(proofs.used) == {str(path), str(there)}
    in_place(there)
    with remembering(str(cache), write=True, warn=never) as proofs:
        assert relate(str(path), str(there), proofs=proofs).kind == "diverged"
    assert not is_remembered(there, cache)


def test_a_copy_whose_wal_was_taken_in_has_another_file(
    path: pathlib.Path, cache: pathlib.Path, writer: Writer
) -> None:
    writer("PRAGMA journal_mode = wal")
    writer("UPDATE t SET v = 'in the WAL' WHERE id = 1")
    there = path.with_name("copy.db")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{there}{suffix}")
    with contextlib.closing(sqlite3.connect(there)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    settled(there)
    with remembering(str(cache), write=True, warn=never) as proofs:
        describe(str(path), integrity="quick", proofs=proofs)
        assert relate(str(path), str(there), proofs=proofs).kind == "identical"
        assert relate(str(there), str(path), proofs=proofs).kind == "identical"
    assert is_remembered(path, cache)
    is_remembered(there, cache)


def test_a_source_that_changes_is_no_proof_of_its_copy(path: pathlib.Path, cache: pathlib.Path) -> None:
    there = path.with_name("copy.db")
    shutil.copy(path, there)
    settled(there)
    with remembering(str(cache), write=True, warn=never) as proofs:
        describe(str(path), integrity="quick", proofs=proofs)
        in_place(path)
        in_place(there)
        assert relate(str(path), str(there), proofs=proofs).kind == "identical"
    assert not is_remembered(there, cache)


@pytest.fixture(name="dest")
def _dest(path: pathlib.Path, cache: pathlib.Path) -> pathlib.Path:
    dest = cache.parent.parent / "dest"
    dest.mkdir()
    shutil.copy(path, dest / "a.db")
    return settled(dest)


def calls(path: pathlib.Path, dest: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Return the parameters of each module that remembers."""
    src = str(path.parent)
    mapped = [{"name": "a", "src": ["a.db"], "dest": "a.db"}]
    return {
        "sqlite_checksum": {"path": src, "compare_to": str(dest), "integrity": "quick", "tables": True},
        "state_databases_info": {"src": src, "dest": str(dest), "databases": mapped, "integrity": "quick"},
        "state_rows_info": {"path": str(dest)},
    }


@pytest.mark.parametrize("name", ["sqlite_checksum", "state_databases_info", "state_rows_info"])
def test_a_module_returns_the_same_and_says_what_was_remembered(
    path: pathlib.Path, cache: pathlib.Path, dest: pathlib.Path, name: str
) -> None:
    parameters = calls(path, dest)[name]
    plain = run_module(name, parameters)
    assert plain.pop("remembered") == {}
    for check in (True, False):
        found = run_module(name, {**parameters, "proofs": str(cache)}, check=check)
        assert (found.pop("remembered"), found) == ({}, plain)
        assert cache.exists() is not check, "check mode writes nothing"
    before = cache.read_bytes()
    found = run_module(name, {**parameters, "proofs": str(cache)}, check=True)
    sides = {str(dest / "a.db")} if name == "state_rows_info" else {str(path), str(dest / "a.db")}
    assert (set(found.pop("remembered")), found, cache.read_bytes()) == (sides, plain, before)


def test_what_one_module_has_read_no_other_reads_again(
    path: pathlib.Path, cache: pathlib.Path, dest: pathlib.Path
) -> None:
    asked_for = {name: {**parameters, "proofs": str(cache)} for name, parameters in calls(path, dest).items()}
    run_module("state_databases_info", asked_for["state_databases_info"])
    rows = run_module("state_rows_info", asked_for["state_rows_info"])
    assert set(rows["remembered"]) == {str(dest / "a.db")}
    several = [{"path": str(path), "compare_to": str(dest / "a.db"), "integrity": one} for one in ("quick", "full")]
    for one, known in zip(several, (True, False)):
        found = run_module("sqlite_checksum", {"databases": [one], "proofs": str(cache)})
        assert ((str(path) in found["remembered"]), found["identical"]) == (known, True)
    in_place(dest / "a.db")
    assert run_module("state_rows_info", asked_for["state_rows_info"])["remembered"] == {}
    compared = run_module("sqlite_checksum", asked_for["sqlite_checksum"])
    assert (compared["identical"], compared["databases"][0]["relation"]) == (False, "diverged")
