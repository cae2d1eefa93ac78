# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of the HDF5 database as deployed. Facts: docs/database-schemas.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "COLUMNS",
    "INDEX",
    "INDEXES",
    "LOCATIONS",
    "PRODUCTS_COLUMNS",
    "PRODUCTS_INDEXES",
    "REQUIRED",
    "SCHEMA",
    "products_table_with",
    "table_with",
]

INDEX = "hdf5_file_index"
LOCATIONS = "storage_locations"

#: Columns of the index with their declarations, in their order.
COLUMNS = {
    "path": "TEXT PRIMARY KEY",
    "filename": "TEXT NOT NULL",
    "group_id": "TEXT NOT NULL",
    "subband_code": "TEXT NOT NULL",
    "subband_num": "INTEGER",
    "timestamp_iso": "TEXT NOT NULL",
    "timestamp_mjd": "REAL NOT NULL",
    "file_size_bytes": "INTEGER",
    "modified_time": "REAL",
    "indexed_at": "REAL",
    "stored": "INTEGER DEFAULT 1",
    "ra_deg": "REAL",
    "dec_deg": "REAL",
    "obs_date": "TEXT",
    "obs_time": "TEXT",
}
#: Columns of the index in a products database with their declarations, in their order.
PRODUCTS_COLUMNS = {
    "path": "TEXT PRIMARY KEY",
    "filename": "TEXT NOT NULL",
    "group_id": "TEXT NOT NULL",
    "subband_code": "TEXT NOT NULL",
    "timestamp_iso": "TEXT",
    "timestamp_mjd": "REAL",
    "file_size_bytes": "INTEGER",
    "modified_time": "REAL",
    "indexed_at": "REAL NOT NULL",
    "stored": "INTEGER DEFAULT 1",
}
#: Columns that every table of the index has, also the oldest, and that nothing can be derived for.
REQUIRED = ("path", "filename", "group_id", "subband_code")

_INDEXED = {
    "idx_hdf5_group_id": "group_id",
    "idx_hdf5_timestamp_mjd": "timestamp_mjd",
    "idx_hdf5_group_subband": "group_id, subband_code",
    "idx_hdf5_stored": "stored",
    "idx_hdf5_ra_dec": "ra_deg, dec_deg",
    "idx_hdf5_obs_date": "obs_date",
    "idx_hdf5_subband_num": "subband_num",
    "idx_hdf5_group_subband_num": "group_id, subband_num",
}


def table_with(further: Mapping[str, str]) -> str:
    """Return the statement that makes the index, with further columns: name to type."""
    return _table(COLUMNS, further)


def products_table_with(further: Mapping[str, str]) -> str:
    """Return the statement that makes the index in a products database, with further columns: name to type."""
    return _table(PRODUCTS_COLUMNS, further)


def _table(columns: Mapping[str, str], further: Mapping[str, str]) -> str:
    known = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    others = "".join(f", {quoted(name)} {kind}" for name, kind in further.items())
    return f"CREATE TABLE {INDEX} ({known}{others}, UNIQUE(path))"


#: Statements that make the indexes, by name.
INDEXES = {name: f"CREATE INDEX {name} ON {INDEX}({columns})" for name, columns in _INDEXED.items()}
#: The indexes that a products database has, by name.
PRODUCTS_INDEXES = {
    name: INDEXES[name]
    for name in ("idx_hdf5_group_id", "idx_hdf5_timestamp_mjd", "idx_hdf5_group_subband", "idx_hdf5_stored")
}
#: Statements that make the database, by what they make, in their order.
SCHEMA = {
    INDEX: table_with({}),
    LOCATIONS: (
        f"CREATE TABLE {LOCATIONS} (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL,"
        " path TEXT NOT NULL, description TEXT)"
    ),
    **INDEXES,
}
