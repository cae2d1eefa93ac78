# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading without a trace: in every case the directory is watched with inotify, and compared by stat and content."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import locks
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum, describe
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import (
    is_database,
    open_readonly,
    sidecars,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import relate
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import Writer, make
from ansible_collections.dsa110.contimg.tests.support.faults.traced import environment
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_read_only

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator

# Everything but opening, reading and closing what was not written.
_WATCHED = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800


@contextlib.contextmanager
def watched(directory: pathlib.Path) -> Iterator[list[tuple[int, bytes]]]:
    """Gather what inotify reports of a directory."""
    events: list[tuple[int, bytes]] = []
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(descriptor, os.fsencode(directory), _WATCHED) >= 0
    try:
        yield events
        with contextlib.suppress(BlockingIOError):
            data = os.read(descriptor, 1 << 16)
            while data:
                _watch, mask, _cookie, length = struct.unpack_from("iIII", data)
                events.append((mask, data[16 : 16 + length].rstrip(b"\0")))
                data = data[16 + length :]
    finally:
        os.close(descriptor)


def state(directory: pathlib.Path) -> dict[str, tuple[object, ...]]:
    """Return all that reading must leave as it is; access times are the kernel's own."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (directory, *directory.iterdir()):
        status = path.stat()
        content = path.read_bytes() if path.is_file() else b""
        times = (status.st_mtime_ns, status.st_ctime_ns)
        found[path.name] = (status.st_ino, status.st_mode, status.st_uid, status.st_nlink, *times, content)
    return found


def quiet(directory: pathlib.Path) -> pathlib.Path:
    return make(directory / "a.db")


def quiet_wal(directory: pathlib.Path) -> pathlib.Path:
    return make(directory / "a.db", before="PRAGMA journal_mode = wal;")


def empty_wal(directory: pathlib.Path) -> pathlib.Path:
    path = quiet_wal(directory)
    (directory / "a.db-wal").touch()
    return path


def killed_writer(directory: pathlib.Path, settings: str, work: str) -> pathlib.Path:
    """Let a writer die in the middle of its work."""
    path = quiet(directory)
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.executescript(sys.argv[2]); c.executescript(sys.argv[3]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(path), settings, work], check=True)
    return path


def hot_wal(directory: pathlib.Path) -> pathlib.Path:
    path = killed_writer(directory, "PRAGMA journal_mode = wal", "INSERT INTO no_key VALUES(5, 5)")
    assert os.stat(f"{path}-wal").st_size > 0
    return path


def hot_wal_without_shm(directory: pathlib.Path) -> pathlib.Path:
    path = hot_wal(directory)
    os.unlink(f"{path}-shm")
    return path


def hot_journal(directory: pathlib.Path) -> pathlib.Path:
    work = "PRAGMA cache_size = 1; BEGIN; UPDATE plain SET t = zeroblob(20000); DELETE FROM no_key"
    path = killed_writer(directory, "PRAGMA cache_spill = 1", work)
    assert os.stat(f"{path}-journal").st_size > 0
    return path


def read_only_files(directory: pathlib.Path) -> pathlib.Path:
    path = hot_wal(directory)
    for name in directory.iterdir():
        name.chmod(0o400)
    directory.chmod(0o500)
    return path


CASES: list[Callable[[pathlib.Path], pathlib.Path]] = [
    quiet,
    quiet_wal,
    empty_wal,
    hot_wal,
    hot_wal_without_shm,
    hot_journal,
    read_only_files,
]


def read_all(path: pathlib.Path) -> None:
    describe(str(path), integrity="full", tables=True, workers=2)
    relate(str(path), str(path))
    with open_readonly(str(path)) as connection:
        connection.execute("SELECT * FROM plain").fetchall()


@pytest.mark.parametrize("case", CASES)
def test_reading_leaves_no_trace(tmp_path: pathlib.Path, case: Callable[[pathlib.Path], pathlib.Path]) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    path = case(directory)
    before = state(directory)
    with watched(directory) as events:
        read_all(path)
    assert (events, state(directory)) == ([], before)


@pytest.fixture
def writer(tmp_path: pathlib.Path) -> Iterator[Writer]:
    (tmp_path / "state").mkdir()
    with contextlib.closing(Writer(quiet(tmp_path / "state"))) as process:
        yield process


@pytest.mark.parametrize("mode", ["wal", "delete", "truncate", "persist"])
@pytest.mark.parametrize("pending", [False, True])
def test_reading_beside_a_live_writer_leaves_no_trace(
    tmp_path: pathlib.Path,
    writer: Writer,
    mode: str,
    pending: bool,  # noqa: FBT001
) -> None:
    directory = tmp_path / "state"
    writer(f"PRAGMA journal_mode = {mode}")
    writer("INSERT INTO no_key VALUES(6, 6)")
    committed = writer("SELECT a, b FROM no_key")
    if pending:
        writer("BEGIN IMMEDIATE")
        writer("DELETE FROM no_key")
    before = state(directory)
    with watched(directory) as events:
        read_all(directory / "a.db")
    assert (events, state(directory)) == ([], before)
    with open_readonly(str(directory / "a.db")) as connection:
        connection.text_factory = str
        assert str(connection.execute("SELECT a, b FROM no_key").fetchall()) == committed
    assert writer("COMMIT" if pending else "DELETE FROM no_key") == "[]"


def test_the_watch_sees_what_plain_reading_does(tmp_path: pathlib.Path) -> None:
    path = hot_wal(tmp_path)
    with watched(tmp_path) as events, contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as plain:
        plain.execute("SELECT count(*) FROM plain").fetchone()
    assert events


def test_a_read_only_mount_is_read(tmp_path: pathlib.Path) -> None:
    path = hot_wal(tmp_path)
    checksum = content_checksum(str(path))
    program = (
        "import sys; from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum;"
        "print(content_checksum(sys.argv[1]))"
    )
    assert run_read_only(tmp_path, program, path) == checksum


def test_a_locked_database_is_an_error_after_a_while(
    tmp_path: pathlib.Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "ATTEMPTS", 3)
    writer("BEGIN EXCLUSIVE")
    with pytest.raises(ContimgError, match="is locked by a writer"):
        content_checksum(str(tmp_path / "state" / "a.db"))


def test_a_writer_waits_while_a_snapshot_is_held(tmp_path: pathlib.Path, writer: Writer) -> None:
    path = str(tmp_path / "state" / "a.db")
    with open_readonly(path):
        assert is_database(path), "opening and closing the file must not drop the lock"
        content_checksum(path)
        assert writer("DELETE FROM plain") == "database is locked"
    assert writer("DELETE FROM plain") == "[]"


def test_a_change_under_a_reader_without_locks_is_an_error(tmp_path: pathlib.Path) -> None:
    path = quiet_wal(tmp_path)
    reading = open_readonly(str(path))
    reading.__enter__()
    path.write_bytes(path.read_bytes())
    with pytest.raises(ContimgError, match="changed while it was read"):
        reading.__exit__(None, None, None)


def test_private_copies_are_removed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    (tmp_path / "state").mkdir()
    content_checksum(str(hot_wal(tmp_path / "state")))
    assert list(scratch.iterdir()) == []


READ = """
import sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import open_readonly
try:
    with open_readonly(sys.argv[1]) as connection:
        print(connection.execute("SELECT count(*) FROM plain").fetchone()[0])
except ContimgError as error:
    print(error.message)
"""


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("case", [quiet, quiet_wal, hot_wal, hot_journal])
def test_a_fifo_beside_a_database_is_not_waited_for(
    tmp_path: pathlib.Path, case: Callable[[pathlib.Path], pathlib.Path], suffix: str
) -> None:
    path = case(tmp_path)
    beside = tmp_path / f"{path.name}{suffix}"
    beside.unlink(missing_ok=True)
    os.mkfifo(beside)
    command = [sys.executable, "-c", READ, str(path)]
    read = subprocess.run(command, env=environment(), timeout=30, check=True, stdout=subprocess.PIPE, text=True)
    assert read.stdout == "10\n" or f"{beside}: is not a regular file" in read.stdout


def test_sidecars_are_found(tmp_path: pathlib.Path) -> None:
    path = hot_wal(tmp_path)
    assert sidecars(str(path)) == (f"{path}-wal", f"{path}-shm")
