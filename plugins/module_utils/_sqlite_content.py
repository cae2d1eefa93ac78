# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content checksum of an SQLite database; docs/checksum.md describes it for anybody to implement."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import Text, open_readonly, read_header

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = ["content_checksum", "describe", "describe_all", "quoted", "row_key", "select_rows", "table_names"]

ALGORITHM = "contimg1:sha256:"
_ROWS_AT_ONCE = 2000
_MODULUS = 1 << 256
_INTEGRITY = {"quick": "PRAGMA quick_check(20)", "full": "PRAGMA integrity_check(20)"}


def quoted(name: str) -> str:
    """Return an SQL identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def table_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of all tables with rows of their own, sorted: virtual tables count through their shadow tables.

    SQLite's statistics (``sqlite_stat*``) are no content: ``ANALYZE`` makes them.
    """
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name NOT GLOB 'sqlite_stat*'"
    )
    return sorted(str(name, "utf-8", "surrogateescape") for (name,) in rows)


def select_rows(connection: sqlite3.Connection, table: str) -> sqlite3.Cursor:
    """Return a cursor over the rows of a table, with all stored columns in the order of their definition."""
    return connection.execute(f"SELECT * FROM {quoted(table)} NOT INDEXED")  # noqa: S608


def row_key(row: Iterable[object]) -> bytes:
    """Return the canonical bytes of a row: for each value its type, its length and its bytes."""
    return b"".join(map(_encoded, row))


def _encoded(value: object) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, int):
        return b"I%d;" % value
    if isinstance(value, float):
        return b"F%b" % struct.pack(">d", value)
    assert isinstance(value, bytes)
    kind = b"T" if isinstance(value, Text) else b"B"
    return b"%b%d:%b" % (kind, len(value), value)


def _row_hashes(rows: sqlite3.Cursor) -> Iterator[bytes]:
    sha256 = hashlib.sha256
    while True:
        batch = rows.fetchmany(_ROWS_AT_ONCE)
        if not batch:
            return
        for row in batch:
            yield sha256(row_key(row)).digest()


def _table_content(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    """Return ``rows`` and ``checksum`` of a table; the order of its rows does not matter (VACUUM may change it)."""
    count = total = 0
    for digest in _row_hashes(select_rows(connection, table)):
        count += 1
        total += int.from_bytes(digest, "big")
    summed = (total % _MODULUS).to_bytes(32, "big")
    return {"rows": count, "checksum": ALGORITHM + hashlib.sha256(b"%d;" % count + summed).hexdigest()}


def _schema_key(connection: sqlite3.Connection) -> bytes:
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT GLOB 'sqlite_stat*'")
    settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")]
    return row_key(settings) + b"".join(sorted(row_key(row) for row in rows))


def _content(connection: sqlite3.Connection) -> tuple[str, dict[str, dict[str, Any]]]:
    tables = {name: _table_content(connection, name) for name in table_names(connection)}
    whole = hashlib.sha256(_schema_key(connection))
    for name, content in tables.items():
        whole.update(row_key([Text(name.encode("utf-8", "surrogateescape")), Text(content["checksum"].encode())]))
    return ALGORITHM + whole.hexdigest(), tables


def content_checksum(path: str) -> str:
    """Return the checksum of schema and rows, ``contimg1:sha256:`` and 64 hexadecimal digits.

    It is the same after VACUUM, REINDEX, ANALYZE, a checkpoint, a change of page size or journal mode and a copy.

    :raises ContimgError: when the database cannot be read to its end.
    """
    with open_readonly(path) as connection:
        return _content(connection)[0]


def describe(path: str, *, integrity: str = "none", tables: bool = False) -> dict[str, Any]:
    """Return what ``sqlite_checksum`` reports of a database.

    :param integrity: ``none``, or SQLite's own ``quick`` or ``full`` check first.
    :param tables: whether each table's rows and checksum are reported.
    :raises ContimgError: when it is no database, is damaged, or cannot be read.
    """
    with open_readonly(path) as connection:
        findings = _integrity(connection, integrity)
        if findings not in ([], ["ok"]):
            raise ContimgError(
                f"is damaged: {'; '.join(findings[:3])}",
                path=path,
                hint="It was not changed. Restore it from a backup.",
                integrity=findings,
            )
        checksum, contents = _content(connection)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    header = read_header(path)
    return {
        "path": display(path),
        "checksum": checksum,
        "file_checksum": _file_checksum(path),
        "journal_mode": header.journal_mode if header else "",
        "page_size": header.page_size if header else 0,
        "page_count": pages,
        "wal_bytes": _size(path + "-wal"),
        "integrity": findings[0] if findings else "not checked",
        "tables": contents if tables else {},
    }


def _integrity(connection: sqlite3.Connection, kind: str) -> list[str]:
    if kind == "none":
        return []
    return [str(found, "utf-8", "replace") for (found,) in connection.execute(_INTEGRITY[kind])]


def _size(path: str) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(path).st_size
    return 0


def _file_checksum(path: str) -> str:
    digest = hashlib.sha256()
    with failing("read the file", path), open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def describe_all(paths: list[str], *, integrity: str, tables: bool, workers: int) -> list[dict[str, Any]]:
    """Describe several databases, ``workers`` at a time, in the order given."""
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        return list(pool.map(lambda path: describe(path, integrity=integrity, tables=tables), paths))
