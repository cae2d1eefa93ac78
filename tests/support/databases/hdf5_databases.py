# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small products and HDF5 databases for the tests of the split: every variant of the index that hosts have."""

from __future__ import annotations

import pathlib
import sqlite3
from typing import Any, Dict, Iterable, Mapping, Sequence

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.plan import SplitOptions
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import SCHEMA

__all__ = [
    "OLD_COLUMNS",
    "dump",
    "file_row",
    "insert_rows",
    "make_hdf5",
    "make_products",
    "new_row",
    "options_for",
    "rows_of",
    "snapshot",
]

Row = Dict[str, Any]

#: The index as the oldest products databases declare it, without ``stored``.
OLD_COLUMNS = {
    "path": "TEXT PRIMARY KEY",
    "filename": "TEXT NOT NULL",
    "group_id": "TEXT NOT NULL",
    "subband_code": "TEXT NOT NULL",
    "timestamp_iso": "TEXT",
    "timestamp_mjd": "REAL",
    "file_size_bytes": "INTEGER",
    "modified_time": "REAL",
    "indexed_at": "REAL NOT NULL",
}
_LOCATIONS = (
    "CREATE TABLE storage_locations (id INTEGER PRIMARY KEY AUTOINCREMENT, location_type TEXT NOT NULL, base_path TEXT NOT NULL,"
    " description TEXT, registered_at REAL NOT NULL, status TEXT DEFAULT 'active', notes TEXT, UNIQUE(location_type, base_path))"
)


def file_row(number: int, **changed: object) -> Row:
    """Return a row of the index for one file; 16 consecutive numbers are a group."""
    group = f"2025-10-{2 + number // 4608:02d}T{number // 192 % 24:02d}:{number // 16 % 12 * 5:02d}:00"
    code = f"sb{number % 16:02d}"
    name = f"{group}_{code}.hdf5"
    row: Row = {
        "path": f"/data/incoming/{name}",
        "filename": name,
        "group_id": group,
        "subband_code": code,
        "timestamp_iso": group,
        "timestamp_mjd": 60950.0 + number / 1000,
        "file_size_bytes": 100 + number,
        "modified_time": 1e9 + number,
        "indexed_at": 1e9 + number,
    }
    return {**row, **changed}


def new_row(number: int, **changed: object) -> Row:
    """Return the row of the HDF5 database for one file, as a split derives it."""
    row = file_row(number)
    date, _mark, clock = row["group_id"].partition("T")
    return {**row, "subband_num": number % 16, "obs_date": date, "obs_time": clock, **changed}


def make_products(
    path: pathlib.Path,
    rows: Iterable[Mapping[str, object]],
    *,
    columns: Mapping[str, str] | None = None,
    further: str = "",
    journal_mode: str = "WAL",
) -> pathlib.Path:
    """Make a products database with rows in its index, two HDF5 locations and a table of its own; ``further`` is SQL."""
    columns = columns or {**OLD_COLUMNS, "stored": "INTEGER DEFAULT 1"}
    connection = sqlite3.connect(str(path))
    connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    defined = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    connection.execute(f"CREATE TABLE hdf5_file_index ({defined}, UNIQUE(path))")
    connection.execute("CREATE INDEX idx_hdf5_group_id ON hdf5_file_index(group_id)")
    connection.execute(_LOCATIONS)
    connection.execute("CREATE TABLE ms_index (path TEXT PRIMARY KEY, status TEXT)")
    connection.execute("INSERT INTO ms_index VALUES ('/stage/ms/one.ms', 'done')")
    connection.executemany(
        "INSERT INTO storage_locations (location_type, base_path, description, registered_at, status) VALUES (?, ?, ?, ?, ?)",
        [
            ("hdf5_incoming", "/data/old", "Before", 1.0, "active"),
            ("hdf5_incoming", "/data/incoming", "Now", 2.0, "active"),
            ("hdf5_incoming", "/data/next", "Not yet", 3.0, "inactive"),
            ("hdf5_staging", "/stage/hdf5", None, 1.0, "active"),
            ("ms_files", "/stage/ms", "Sets", 1.0, "active"),
        ],
    )
    insert_rows(connection, rows)
    connection.executescript(further)
    connection.commit()
    connection.close()
    return path


def make_hdf5(path: pathlib.Path, rows: Iterable[Mapping[str, object]]) -> pathlib.Path:
    """Make an HDF5 database as the application does, with rows in its index."""
    connection = sqlite3.connect(str(path))
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in SCHEMA.values():
        connection.execute(statement)
    insert_rows(connection, rows)
    connection.commit()
    connection.close()
    return path


def insert_rows(connection: sqlite3.Connection, rows: Iterable[Mapping[str, object]]) -> None:
    """Insert rows into the index, each with the columns that it names."""
    for row in rows:
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" for _name in row)
        connection.execute(f"INSERT INTO hdf5_file_index ({names}) VALUES ({marks})", list(row.values()))


def options_for(products: pathlib.Path, hdf5: pathlib.Path, **changed: Any) -> SplitOptions:
    """Return the options of a split, with the module's defaults."""
    values = {"keep_source": False, "on_conflict": "fail", "backup_dir": None, "vacuum": False, **changed}
    return SplitOptions(products=str(products), hdf5=str(hdf5), **values)


def rows_of(path: pathlib.Path, table: str = "hdf5_file_index") -> list[Row]:
    """Return the rows of a table, sorted by their first column; none where there is no such table."""
    connection = sqlite3.connect(str(path))
    connection.row_factory = sqlite3.Row
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            return []
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")]
    finally:
        connection.close()


def snapshot(directory: str | pathlib.Path) -> dict[str, object]:
    """Return everything below a directory that a reader must not change: names, bytes, modes, times of change and owners."""
    found: dict[str, object] = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (content, status.st_mode, status.st_mtime_ns, status.st_ctime_ns, status.st_uid)
    return found


def dump(path: pathlib.Path) -> Sequence[str]:
    """Return a database as SQL: its schema and all its rows."""
    connection = sqlite3.connect(str(path))
    try:
        return list(connection.iterdump())
    finally:
        connection.close()
