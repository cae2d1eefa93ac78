# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of the HDF5 database as deployed, and how a row of the products database becomes a row of it.

Facts: docs/database-schemas.md. The number of a subband stands in its code; the time of a group is its id.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["COLUMNS", "INDEX", "LOCATIONS", "LOCATIONS_TABLE", "SCHEMA", "TABLE", "UnfitError", "derive", "mjd_of"]

INDEX = "hdf5_file_index"
LOCATIONS = "storage_locations"

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
_DEFINED = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
TABLE = f"CREATE TABLE {INDEX} ({_DEFINED}, UNIQUE(path))"
LOCATIONS_TABLE = (
    f"CREATE TABLE {LOCATIONS} (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL,"
    " path TEXT NOT NULL, description TEXT)"
)
_INDEXES = {
    "idx_hdf5_group_id": "group_id",
    "idx_hdf5_timestamp_mjd": "timestamp_mjd",
    "idx_hdf5_group_subband": "group_id, subband_code",
    "idx_hdf5_stored": "stored",
    "idx_hdf5_ra_dec": "ra_deg, dec_deg",
    "idx_hdf5_obs_date": "obs_date",
    "idx_hdf5_subband_num": "subband_num",
    "idx_hdf5_group_subband_num": "group_id, subband_num",
}
#: What the database consists of, by name.
SCHEMA = {
    INDEX: TABLE,
    LOCATIONS: LOCATIONS_TABLE,
    **{name: f"CREATE INDEX {name} ON {INDEX}({columns})" for name, columns in _INDEXES.items()},
}

_REQUIRED = ("path", "filename", "group_id", "subband_code")
_SUBBAND = re.compile(r"sb(\d+)\Z")
_UNIX_EPOCH_MJD = 40587
_DAY_SECONDS = 86400
_UTC = datetime.timezone.utc


class UnfitError(ValueError):
    """A row that cannot satisfy the schema; its text says why."""


def derive(names: Sequence[str], values: Sequence[object]) -> tuple[dict[str, Any], bool]:
    """Return a row with the columns that follow from others filled in, and whether any was. What is there stays.

    :raises UnfitError: when a column that must not be empty is, and nothing tells its value.
    """
    row: dict[str, Any] = {name: _plain(name, value) for name, value in zip(names, values)}
    missing = [name for name in _REQUIRED if row.get(name) is None]
    if missing:
        raise UnfitError(f"has no {missing[0]}")
    before = dict(row)
    _fill(row, "subband_num", _subband_number)
    _fill(row, "timestamp_iso", _iso_time)
    _fill(row, "timestamp_mjd", lambda found: mjd_of(found["timestamp_iso"]))
    _fill(row, "obs_date", lambda found: _moment(found["timestamp_iso"], "%Y-%m-%d"))
    _fill(row, "obs_time", lambda found: _moment(found["timestamp_iso"], "%H:%M:%S"))
    if "stored" not in row:
        row["stored"] = 1
    return row, any(row[name] != before.get(name) for name in row if name != "stored")


def _plain(name: str, value: object) -> object:
    if not isinstance(value, Text):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise UnfitError(f"holds text that is not UTF-8 in {name}") from error


def _fill(row: dict[str, Any], name: str, rule: Any) -> None:
    if row.get(name) is None:
        row[name] = rule(row)


def _subband_number(row: dict[str, Any]) -> int:
    match = _SUBBAND.search(row["subband_code"])
    if match is None:
        raise UnfitError(f"has the subband code '{row['subband_code']}', in which no number stands")
    return int(match.group(1))


def _iso_time(row: dict[str, Any]) -> str:
    if _parsed(row["group_id"]) is not None:
        return str(row["group_id"])
    if row.get("timestamp_mjd") is not None:
        seconds = (float(row["timestamp_mjd"]) - _UNIX_EPOCH_MJD) * _DAY_SECONDS
        moment = datetime.datetime(1970, 1, 1, tzinfo=_UTC) + datetime.timedelta(seconds=round(seconds))
        return moment.strftime("%Y-%m-%dT%H:%M:%S")
    raise UnfitError(f"has no timestamp, and its group '{row['group_id']}' is none")


def _parsed(text: str) -> datetime.datetime | None:
    """Return a moment in UTC. Python 3.8 knows no ``Z``."""
    try:
        moment = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        return None
    return moment.astimezone(_UTC) if moment.tzinfo else moment.replace(tzinfo=_UTC)


def _moment(text: str, form: str) -> str | None:
    moment = _parsed(text)
    return None if moment is None else moment.strftime(form)


def mjd_of(text: str) -> float:
    """Return the modified Julian date of an ISO 8601 time (UTC). Raises UnfitError when it is none."""
    moment = _parsed(text)
    if moment is None:
        raise UnfitError(f"has the timestamp '{text}', which is none")
    return moment.timestamp() / _DAY_SECONDS + _UNIX_EPOCH_MJD
