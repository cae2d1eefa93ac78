# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Super-journals: what a journal names, when both databases of a transaction are judged, and when they are refused."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import journal as sqlite_journal
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import connect
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import (
    is_hot,
    strip_super_journal,
    super_journal_named_by,
    writable,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import open_readonly
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import snapshot
from ansible_collections.dsa110.contimg.tests.support.databases.hot_journals import (
    content,
    interrupt,
    interrupt_pair,
    make_pair,
    plant,
    trailer,
)
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import Writer

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

#: The modes in which a transaction over two databases has a super-journal.
MODES = ("delete", "truncate", "persist")
_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
_NAME = b"/state/a.db-mj0"


def _signed(name: bytes) -> bytes:
    """Return the end of a journal as it is written where C's ``char`` has a sign."""
    checksum = sum(byte - 256 if byte > 127 else byte for byte in name) & 0xFFFFFFFF
    return name + struct.pack(">II8s", len(name), checksum, _MAGIC)


@pytest.mark.parametrize(
    ("end", "name"),
    [
        (b"", b""),
        (b"x" * 15, b""),
        (b"page" * 300, b""),
        (trailer(_NAME), _NAME),
        (b"page" * 300 + trailer(_NAME), _NAME),
        (trailer("/ä".encode()), "/ä".encode()),
        (_signed("/ä".encode()), "/ä".encode()),
        (trailer(b"/a\0/b"), b"/a"),
        (trailer(b"\0/b"), b""),
        (trailer(b""), b""),
        (trailer(_NAME) + b"x", b""),
        (trailer(_NAME)[:-1] + b"x", b""),
        (b"x" + trailer(_NAME)[1:], b""),
        (trailer(b"n" * 5000), b""),
        (struct.pack(">II8s", 1 << 31, 0, _MAGIC), b""),
        (struct.pack(">II8s", 17, 0, _MAGIC), b""),
    ],
)
def test_a_journal_names_what_sqlite_reads_from_it(tmp_path: pathlib.Path, end: bytes, name: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(end)
    with path.open("r+b") as journal:
        assert super_journal_named_by(journal.fileno()) == name
        assert strip_super_journal(journal.fileno()) == name
        assert super_journal_named_by(journal.fileno()) == b""
    assert not path.read_bytes().endswith(_MAGIC)


@pytest.mark.parametrize("mode", MODES)
def test_what_sqlite_wrote_is_read_from_its_journal(tmp_path: pathlib.Path, mode: str) -> None:
    super_journal = interrupt_pair(tmp_path, mode)
    for name in ("a.db", "b.db"):
        with open(tmp_path / f"{name}-journal", "rb") as journal:
            assert is_hot(journal.fileno())
            assert super_journal_named_by(journal.fileno()) == os.fsencode(super_journal)


def read(path: pathlib.Path) -> set[str]:
    """Return what stands in the table of one of a pair."""
    with open_readonly(str(path)) as connection:
        return {value.decode() for (value,) in connection.execute("SELECT DISTINCT x FROM t")}


@pytest.mark.parametrize("mode", MODES)
def test_both_databases_are_read_as_before_a_transaction_that_was_not_committed(
    tmp_path: pathlib.Path, mode: str
) -> None:
    interrupt_pair(tmp_path / "state", mode)
    before = snapshot(tmp_path / "state")
    assert [read(tmp_path / "state" / name) for name in ("a.db", "b.db", "a.db")] == [{"old"}] * 3
    assert snapshot(tmp_path / "state") == before
    assert content(tmp_path / "state" / "a.db") == {"old"}, "so does SQLite"
    assert read(tmp_path / "state" / "b.db") == {"old"}, "and the other is judged by what is left"


@pytest.mark.parametrize("mode", MODES)
def test_a_finished_transaction_leaves_a_journal_that_counts_for_nothing(tmp_path: pathlib.Path, mode: str) -> None:
    make_pair(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS b", (str(tmp_path / "b.db"),))
        connection.executescript(f"PRAGMA main.journal_mode = {mode}; PRAGMA b.journal_mode = {mode}")
        connection.executescript("BEGIN; UPDATE main.t SET x = 'new'; UPDATE b.t SET x = 'new'; COMMIT")
        assert [read(tmp_path / name) for name in ("a.db", "b.db")] == [{"new"}] * 2
    assert writable(str(tmp_path / "a.db")).path == str(tmp_path / "a.db")


def lost(directory: pathlib.Path, super_journal: pathlib.Path) -> pathlib.Path:
    super_journal.unlink()
    return directory


def moved(directory: pathlib.Path, _super_journal: pathlib.Path) -> pathlib.Path:
    """As a host sees what a container calls by another path."""
    shutil.move(directory, directory.with_name("elsewhere"))
    return directory.with_name("elsewhere")


def copied(directory: pathlib.Path, _super_journal: pathlib.Path) -> pathlib.Path:
    """The name leads to a super-journal, and not to that of the copy."""
    shutil.copytree(directory, directory.with_name("copy"))
    return directory.with_name("copy")


def a_link(directory: pathlib.Path, super_journal: pathlib.Path) -> pathlib.Path:
    super_journal.rename(directory / "real")
    super_journal.symlink_to("real")
    return directory


def a_fifo(directory: pathlib.Path, super_journal: pathlib.Path) -> pathlib.Path:
    super_journal.unlink()
    os.mkfifo(super_journal)
    return directory


def another_file(directory: pathlib.Path, super_journal: pathlib.Path) -> pathlib.Path:
    super_journal.write_bytes(b"/nothing/of/the/kind\0")
    return directory


def of_others(directory: pathlib.Path, super_journal: pathlib.Path) -> pathlib.Path:
    super_journal.write_bytes(os.fsencode(directory / "c.db-journal") + b"\0")
    return directory


def with_a_fifo(directory: pathlib.Path, super_journal: pathlib.Path) -> pathlib.Path:
    """SQLite would wait for it, for it opens each journal that a super-journal names."""
    os.mkfifo(directory / "c.db-journal")
    with super_journal.open("ab") as file:
        file.write(os.fsencode(directory / "c.db-journal") + b"\0")
    return directory


REFUSED: dict[Callable[[pathlib.Path, pathlib.Path], pathlib.Path], str] = {
    lost: "is not there. SQLite takes such a transaction for committed",
    moved: "lies outside of its directory",
    copied: "lies outside of its directory",
    a_link: "is no such file",
    a_fifo: "is no such file",
    another_file: "/nothing/of/the/kind, lies outside of its directory",
    of_others: "does not name it",
    with_a_fifo: "c.db-journal, is not a regular file",
}


@pytest.mark.parametrize("opening", [read, lambda path: writable(str(path))], ids=["reading", "writing"])
@pytest.mark.parametrize("changed", REFUSED)
def test_what_cannot_be_judged_is_refused_and_nothing_is_changed(
    tmp_path: pathlib.Path,
    changed: Callable[[pathlib.Path, pathlib.Path], pathlib.Path],
    opening: Callable[[pathlib.Path], object],
) -> None:
    directory = changed(tmp_path / "state", interrupt_pair(tmp_path / "state", "delete"))
    before = snapshot(tmp_path)
    for name in ("a.db", "b.db"):
        with pytest.raises(ContimgError) as caught:
            opening(directory / name)
        assert REFUSED[changed] in caught.value.message
        assert str(directory / name) == caught.value.path
        assert "start its service" in caught.value.hint
        assert caught.value.details["super_journal"].startswith(str(tmp_path / "state" / "a.db-mj"))
    assert snapshot(tmp_path) == before


def test_a_file_beside_the_database_that_is_no_super_journal_is_refused(tmp_path: pathlib.Path) -> None:
    make_pair(tmp_path)
    plant(tmp_path / "a.db", tmp_path / "b.db")
    for opening in (read, lambda path: writable(str(path))):
        with pytest.raises(ContimgError, match=r"b\.db, is no such file"):
            opening(tmp_path / "a.db")


@pytest.mark.parametrize("mode", MODES)
def test_writing_finishes_a_transaction_of_this_directory_as_sqlite_does(tmp_path: pathlib.Path, mode: str) -> None:
    super_journal = interrupt_pair(tmp_path, mode)
    for name in ("a.db", "b.db"):
        with contextlib.closing(connect(writable(str(tmp_path / name)))) as connection:
            connection.execute("INSERT INTO t VALUES('more')")
        assert content(tmp_path / name) == {"old", "more"}
    assert not super_journal.exists()


def test_a_link_to_a_database_is_judged_where_it_leads(tmp_path: pathlib.Path) -> None:
    interrupt_pair(tmp_path / "state", "delete")
    (tmp_path / "link.db").symlink_to("state/a.db")
    assert read(tmp_path / "link.db") == {"old"}
    (tmp_path / "state" / "link.db").symlink_to("a.db")
    assert writable(str(tmp_path / "state" / "link.db")).path == str(tmp_path / "state" / "a.db")
    with pytest.raises(ContimgError, match="is a symbolic link out of its directory"):
        writable(str(tmp_path / "link.db"))
    shutil.move(tmp_path / "state" / "a.db-journal", tmp_path / "link.db-journal")
    assert read(tmp_path / "link.db") != {"old"}, "a journal beside the link belongs to nothing"


def test_a_writer_at_work_is_waited_for_and_not_judged(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_journal, "ATTEMPTS", 2)
    make_pair(tmp_path)
    with contextlib.closing(Writer(tmp_path / "a.db")) as writer:
        writer("BEGIN IMMEDIATE")
        plant(tmp_path / "a.db", tmp_path / "victim")
        with pytest.raises(ContimgError, match="is locked by a writer"):
            writable(str(tmp_path / "a.db"))
        assert read(tmp_path / "a.db") == {"old"}


def test_a_sidecar_that_is_no_file_stops_a_writer(tmp_path: pathlib.Path) -> None:
    make_pair(tmp_path)
    os.mkfifo(tmp_path / "a.db-journal")
    with pytest.raises(ContimgError, match=r"a\.db-journal: is not a regular file"):
        writable(str(tmp_path / "a.db"))


@pytest.mark.parametrize(("mode", "longest"), [("delete", 247), ("wal", 251)])
def test_a_name_for_which_sqlite_can_make_no_journal_is_refused_before_it_is_written(
    tmp_path: pathlib.Path, mode: str, longest: int
) -> None:
    make_pair(tmp_path)
    interrupt(tmp_path / "a.db", "wal", "SELECT 1")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    for length, fits in ((longest, True), (longest + 1, False), (255, False)):
        path = (tmp_path / "a.db").rename(tmp_path / ("n" * length))
        if fits:
            with contextlib.closing(connect(writable(str(path)))) as connection:
                connection.execute("INSERT INTO t VALUES('more')")
        else:
            with pytest.raises(ContimgError, match="has a name so long that SQLite cannot make the file"):
                writable(str(path))
        path.rename(tmp_path / "a.db")
