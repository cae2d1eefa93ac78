# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases for the tests of SQLite: one with every kind of table, and a content checksum written from the document alone."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

KINDS = r"""
CREATE TABLE plain(id INTEGER PRIMARY KEY, v, r REAL, t TEXT);
INSERT INTO plain VALUES(1, 1, 1, 'a'), (2, 1.5, -0.0, ''), (3, '1', NULL, 'ü€😀'), (4, x'31', 9e999, 'nul' || char(0) || 'inside');
INSERT INTO plain VALUES(5, NULL, -9e999, NULL), (6, 9223372036854775807, 1e-320, 'x'), (7, -9223372036854775808, 0.1, 'y');
INSERT INTO plain VALUES(8, 2147483648, 1.0, x'ff00'), (9, zeroblob(300), 3, CAST(x'c328' AS TEXT)), (-5, x'', 2e15, 'low');
CREATE TABLE no_key(a, b); INSERT INTO no_key VALUES(1, 'twice'), (1, 'twice'), (NULL, NULL);
CREATE TABLE without_rowid(a TEXT, b INTEGER, c, PRIMARY KEY(b, a DESC)) WITHOUT ROWID;
INSERT INTO without_rowid VALUES('x', 2, 1.0), ('y', 1, 1), ('a', 2, '1');
CREATE TABLE "odd ""name'; --"("sel ect" TEXT PRIMARY KEY, rowid, _rowid_, oid, "");
INSERT INTO "odd ""name'; --" VALUES('k2', 1, 2, 3, 4), ('k1', 4, 3, 2, 1);
CREATE TABLE made(a INTEGER, b AS (a * 2) VIRTUAL, c AS (a + 0.5) STORED); INSERT INTO made(a) VALUES(1), (2);
CREATE TABLE strict(a INT, b TEXT, c ANY) STRICT; INSERT INTO strict VALUES(1, 'b', 1.0), (2, 'c', 1);
CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
INSERT INTO counted(v) VALUES('one'), ('two'); DELETE FROM counted WHERE id = 2;
CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES('the quick brown fox'), ('jumps over');
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES(1, 0, 2), (2, 5, 7);
CREATE INDEX by_v ON plain(v); CREATE INDEX part ON plain(t) WHERE r > 1;
CREATE VIEW seen AS SELECT id FROM plain; CREATE TRIGGER fires AFTER INSERT ON no_key BEGIN SELECT 1; END;
PRAGMA user_version = 7; PRAGMA application_id = 99;
"""


class Writer:
    """A process that writes: SQLite's locks of this process would be lost whenever it closes the file."""

    def __init__(self, path: pathlib.Path) -> None:
        program = (
            "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0.1)\n"
            "for line in sys.stdin:\n try: print(c.execute(line).fetchall(), flush=True)\n"
            " except sqlite3.OperationalError as error: print(error, flush=True)"
        )
        command = [sys.executable, "-c", program, str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, statement: str) -> str:
        """Execute a statement, and return its rows or what SQLite reports."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{statement}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def make(path: pathlib.Path, script: str = KINDS, *, before: str = "") -> pathlib.Path:
    """Make a database by a script; ``before`` runs first, for settings that a database takes only while it is empty."""
    with_connection(path, before + script)
    return path


def with_connection(path: pathlib.Path, script: str) -> None:
    """Run a script on a database, with a collation that other programs do not know."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_collation("OURS", lambda one, two: (one > two) - (one < two))
    connection.executescript(script)
    connection.close()


def reference_checksum(path: pathlib.Path) -> str:
    """Return the content checksum as docs/checksum.md describes it, by the plainest code that does."""
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    encoding = connection.execute("PRAGMA encoding").fetchone()[0].decode().replace("UTF-16", "utf-16-")
    schema = _typed(connection, "SELECT type, name, tbl_name, sql FROM sqlite_master", encoding)
    kept = [row for row in schema if not str(row[1]).startswith("sqlite_stat")]
    version, application = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
    )
    whole = hashlib.sha256(_row((version, application)) + b"".join(sorted(map(_row, kept))))
    roots = dict(
        connection.execute("SELECT CAST(name AS BLOB), rootpage FROM sqlite_master WHERE type = 'table'").fetchall()
    )
    names = sorted(row[1] for row in kept if row[0] == "table" and roots[str(row[1]).encode(encoding)])
    for name in names:
        whole.update(_row((name, _table(connection, name, encoding))))
    connection.close()
    return "contimg1:sha256:" + whole.hexdigest()


def _table(connection: sqlite3.Connection, name: str, encoding: str) -> str:
    info = connection.execute(f"PRAGMA table_xinfo({_quoted(name)})").fetchall()
    columns = ", ".join(_quoted(row[1].decode()) for row in info if row[6] != 2)
    rows = _typed(connection, f"SELECT {columns} FROM {_quoted(name)} NOT INDEXED", encoding)
    chunks = [rows[start : start + 4096] for start in range(0, len(rows), 4096)]
    digests = b"".join(hashlib.sha256(b"".join(map(_row, chunk))).digest() for chunk in chunks)
    return "contimg1:sha256:" + hashlib.sha256(struct.pack(">Q", len(rows)) + digests).hexdigest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _typed(connection: sqlite3.Connection, select: str, encoding: str) -> list[tuple[Any, ...]]:
    """Read rows with each text as its own bytes, decoded where that can be done without loss."""
    width = len(connection.execute(select).description)
    names = [f"c{number}" for number in range(width)]
    values = ", ".join(
        f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END" for name in names
    )
    rows = connection.execute(f"WITH t({', '.join(names)}) AS ({select}) SELECT {values} FROM t")
    return [tuple(_value(kind, value, encoding) for kind, value in zip(row[::2], row[1::2])) for row in rows]


def _value(kind: bytes, value: Any, encoding: str) -> Any:
    if kind != b"text":
        return value
    try:
        return value.decode(encoding)
    except UnicodeDecodeError:
        return (value,)


def _row(row: tuple[Any, ...]) -> bytes:
    return b"(" + struct.pack("<I", len(row)) + b"".join(map(_encoded, row))


def _encoded(value: Any) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, float):
        return b"g" + struct.pack("<d", value)
    if isinstance(value, (str, bytes)):
        kind, data = (b"u", value.encode()) if isinstance(value, str) else (b"s", value)
        return kind + struct.pack("<I", len(data)) + data
    if isinstance(value, tuple):
        return _row(value)
    return _integer(value)


def _integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"i" + struct.pack("<i", value)
    digits = list(_digits(abs(value)))
    count = len(digits) if value > 0 else -len(digits)
    return b"l" + struct.pack("<i", count) + struct.pack(f"<{len(digits)}H", *digits)


def _digits(value: int) -> Iterator[int]:
    while value:
        yield value % 32768
        value //= 32768
