# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of damage that a database can have, each made anew in a directory."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import make

if TYPE_CHECKING:
    from collections.abc import Callable

    Damage = Callable[[pathlib.Path], pathlib.Path]

PAGE = 1024
SCRIPT = (
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX by_v ON t(v);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)"
    " INSERT INTO t SELECT i, 'value ' || i || hex(randomblob(20)) FROM n;"
    "CREATE TABLE large(b BLOB); INSERT INTO large VALUES(randomblob(9000));"
    "CREATE TABLE gone(b BLOB); INSERT INTO gone VALUES(randomblob(9000)); DROP TABLE gone;"
)


def sound(directory: pathlib.Path, name: str = "a.sqlite3") -> pathlib.Path:
    """Make a database of many small pages: an interior page, leaves, an index, an overflow chain and free pages."""
    return make(directory / name, SCRIPT, before=f"PRAGMA page_size = {PAGE};")


def overwritten(offset: int, data: bytes) -> Damage:
    """Return the damage that writes some bytes over a database; an offset below zero counts from its end."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        path = sound(directory)
        with path.open("r+b") as file:
            file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
            file.write(data)
        return path

    return damage


def truncated(size: Callable[[int], int]) -> Damage:
    """Return the damage that cuts a database off at a size, computed from its own."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        path = sound(directory)
        os.truncate(path, size(path.stat().st_size))
        return path

    return damage


def page_of(path: pathlib.Path, kind: int) -> int:
    """Return the offset of the last page of a b-tree kind: 2, 5 interior, 10, 13 leaf (of an index, of a table)."""
    data = path.read_bytes()
    return max(offset for offset in range(PAGE, len(data), PAGE) if data[offset] == kind)


def on_page(kind: int, change: Callable[[bytes], bytes]) -> Damage:
    """Return the damage that changes a page of a b-tree kind."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        path = sound(directory)
        offset = page_of(path, kind)
        with path.open("r+b") as file:
            file.seek(offset)
            page = change(file.read(PAGE))
            file.seek(offset)
            file.write(page)
        return path

    return damage


def zeroed_root(name: str) -> Damage:
    """Return the damage that zeroes the root page of a table or index."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        path = sound(directory)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        with path.open("r+b") as file:
            file.seek((root - 1) * PAGE)
            file.write(bytes(PAGE))
        return path

    return damage


def schema(statement: str) -> Damage:
    """Return the damage that a statement does to the schema table."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        path = sound(directory)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(f"PRAGMA writable_schema = 1; {statement}")
        return path

    return damage


def written(data: bytes, name: str = "a.sqlite3") -> Damage:
    """Return what makes a file of some bytes."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        (directory / name).write_bytes(data)
        return directory / name

    return damage


def encrypted(directory: pathlib.Path) -> pathlib.Path:
    """Hide every byte, as an encrypting build of SQLite does."""
    path = sound(directory)
    data, key = path.read_bytes(), random.Random(5)
    path.write_bytes(bytes(byte ^ key.randrange(256) for byte in data))
    return path


def compressed(directory: pathlib.Path) -> pathlib.Path:
    """Compress it."""
    path = sound(directory)
    path.write_bytes(zlib.compress(path.read_bytes()))
    return path


def fifo(directory: pathlib.Path) -> pathlib.Path:
    """Put a FIFO in its place, with no writer."""
    os.mkfifo(directory / "a.sqlite3")
    return directory / "a.sqlite3"


def listening(directory: pathlib.Path) -> pathlib.Path:
    """Put a socket in its place."""
    before = pathlib.Path.cwd()
    os.chdir(directory)  # the name of a socket must be short
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind("a.sqlite3")
    os.chdir(before)
    return directory / "a.sqlite3"


def directory(directory: pathlib.Path) -> pathlib.Path:
    """Put a directory in its place."""
    (directory / "a.sqlite3").mkdir()
    return directory / "a.sqlite3"


def link(target: str) -> Damage:
    """Return what makes a symbolic link that leads nowhere."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        (directory / "a.sqlite3").symlink_to(target)
        return directory / "a.sqlite3"

    return damage


def _dead_writer(path: pathlib.Path, script: str) -> None:
    program = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.executescript(sys.argv[2]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(path), script], check=True)


def foreign(suffix: str, settings: str, work: str) -> Damage:
    """Return the damage of a log that a writer of another database of the same shape left."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        path = sound(directory)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(f"{settings}; DELETE FROM t WHERE id > 200; VACUUM")
        (directory / "other").mkdir()
        other = sound(directory / "other")
        _dead_writer(other, f"{settings}; {work}")
        shutil.move(f"{other}{suffix}", f"{path}{suffix}")
        shutil.rmtree(directory / "other")
        return path

    return damage


WAL_WORK = "UPDATE t SET v = v || 'x' WHERE id % 9 = 0; INSERT INTO t SELECT id + 1000, v FROM t"
JOURNAL_WORK = "PRAGMA cache_size = 1; BEGIN; UPDATE t SET v = hex(randomblob(90))"


def sidecar(suffix: str, settings: str, work: str) -> Damage:
    """Return what names a log instead of its database."""

    def damage(directory: pathlib.Path) -> pathlib.Path:
        path = sound(directory)
        _dead_writer(path, f"{settings}; {work}")
        return pathlib.Path(f"{path}{suffix}")

    return damage


def _cells(page: bytes, count: int) -> bytes:
    return page[:3] + struct.pack(">H", count) + page[5:]


KINDS: dict[str, Damage] = {
    "nothing there": lambda directory: directory / "a.sqlite3",
    "below a file": lambda directory: written(b"x", "file")(directory) / "a.sqlite3",
    "a name too long": lambda directory: directory / ("a" * 300),
    "an empty file": written(b""),
    "text": written(b"not a database\n" * 100),
    "noise": written(random.Random(1).randbytes(8192)),
    "zeros": written(bytes(8192)),
    "half a header": truncated(lambda _size: 50),
    "a header and nothing more": truncated(lambda _size: 100),
    "encrypted": encrypted,
    "compressed": compressed,
    "a directory": directory,
    "a FIFO": fifo,
    "a socket": listening,
    "a device": lambda _directory: pathlib.Path("/dev/zero"),
    "a link to nothing": link("none"),
    "a link to itself": link("a.sqlite3"),
    "a write-ahead log": sidecar("-wal", "PRAGMA journal_mode = wal", WAL_WORK),
    "a journal": sidecar("-journal", "PRAGMA cache_spill = 1", JOURNAL_WORK),
    "truncated after a page": truncated(lambda _size: PAGE),
    "truncated within a page": truncated(lambda size: size // 2 + 17),
    "truncated in the middle": truncated(lambda size: size // PAGE // 2 * PAGE),
    "without its last page": truncated(lambda size: size - PAGE),
    "a wrong magic": overwritten(0, b"SQLite format 4\0"),
    "page size 0": overwritten(16, b"\0\0"),
    "page size 3": overwritten(16, b"\0\3"),
    "another page size": overwritten(16, b"\x08\0"),
    "a file format of the future": overwritten(18, b"\x09\x09"),
    "too much reserved space": overwritten(20, b"\xff"),
    "wrong payload fractions": overwritten(21, b"\1\1\1"),
    "a schema format of the future": overwritten(44, b"\0\0\0\x63"),
    "an encoding of the future": overwritten(56, b"\0\0\0\7"),
    "a free list that leads nowhere": overwritten(32, b"\0\0\xff\xff"),
    "a wrong count of free pages": overwritten(36, b"\0\0\0\1"),
    "a zeroed schema": overwritten(100, bytes(PAGE - 100)),
    "a zeroed table": zeroed_root("t"),
    "a zeroed index": zeroed_root("by_v"),
    "a zeroed leaf": on_page(13, lambda page: bytes(len(page))),
    "a zeroed interior page": on_page(5, lambda page: bytes(len(page))),
    "noise on a leaf": on_page(13, lambda page: random.Random(2).randbytes(len(page))),
    "ones on an index": on_page(10, lambda page: b"\xff" * len(page)),
    "too many cells": on_page(13, lambda page: _cells(page, 0x7FFF)),
    "no cells": on_page(5, lambda page: _cells(page, 0)),
    "cells outside the page": on_page(13, lambda page: page[:8] + b"\xff\xff" * 4 + page[16:]),
    "a page of another kind": on_page(13, lambda page: b"\x0a" + page[1:]),
    "a child that is its parent": on_page(5, lambda page: page[:8] + struct.pack(">I", 3) + page[12:]),
    "a table without a page": schema("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 't'"),
    "two tables on one page": schema(
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 't') WHERE name = 'large'"
    ),
    "a definition that is none": schema("UPDATE sqlite_master SET sql = 'CREATE TABLE t(' WHERE name = 't'"),
    "an index's page for a table": schema(
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'by_v') WHERE name = 't'"
    ),
    "another database's write-ahead log": foreign("-wal", "PRAGMA journal_mode = wal", WAL_WORK),
    "another database's journal": foreign("-journal", "PRAGMA cache_spill = 1", JOURNAL_WORK),
}
