# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a row of the products database becomes a row of the HDF5 database, as SQL over whole tables.

The number of a subband stands in its code, the time of a group is its id (docs/database-schemas.md). Names in the usual
form are derived by SQL alone; SQLite calls Python only for the others, so that the rule is the same and few rows pay.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import COLUMNS, INDEX, REQUIRED
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

__all__ = [
    "DERIVED",
    "FILLED",
    "NEEDED",
    "ONCE",
    "ROW",
    "VALUES",
    "WAS_DERIVED",
    "decided",
    "mjd_of",
    "parsed",
    "reason",
    "register",
    "rejected",
    "source",
    "source_row",
    "subband",
]

_SUBBAND = re.compile(r"sb([0-9]{1,9})\Z")
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6})[0-9]*)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?\Z"
)
_BASIC_MOMENT = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})\Z")
_UNIX_EPOCH_MJD = 40587
_DAY_SECONDS = 86400
_UTC = datetime.timezone.utc


def parsed(text: str) -> datetime.datetime | None:
    """Return the moment that an ISO 8601 text names, in UTC, which it is where it names no offset; ``None`` for no time.

    Not ``fromisoformat``: what that accepts differs between the versions of Python.
    """
    match = _MOMENT.match(_BASIC_MOMENT.sub(r"\1-\2-\3T\4:\5:\6", text))
    if match is None:
        return None
    *numbers, second, fraction, zone = match.groups()
    year, month, day, hour, minute = map(int, numbers)
    micro = int((fraction or "0").ljust(6, "0"))
    try:
        moment = datetime.datetime(year, month, day, hour, minute, int(second or 0), micro, tzinfo=_UTC)
        return moment - _offset(zone)
    except (ValueError, OverflowError):
        return None


def _offset(zone: str | None) -> datetime.timedelta:
    if zone in (None, "Z"):
        return datetime.timedelta(0)
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    return datetime.timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)


def mjd_of(moment: datetime.datetime) -> float:
    """Return the modified Julian date of a moment."""
    return moment.timestamp() / _DAY_SECONDS + _UNIX_EPOCH_MJD


def subband(code: str) -> int | None:
    """Return the number in a subband's code (``sb00`` is 0), ``None`` where there is none."""
    match = _SUBBAND.search(code)
    return None if match is None else int(match.group(1))


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _subband_function(code: object) -> int | None:
    return None if code is None else subband(_text(code))


def _iso_function(group: object, mjd: object) -> str | None:
    """Return the time of a row that names none: its group, where that is a time, or its modified Julian date."""
    if group is not None and parsed(_text(group)) is not None:
        return _text(group)
    if not isinstance(mjd, (int, float)):
        return None
    try:
        seconds = datetime.timedelta(seconds=round((mjd - _UNIX_EPOCH_MJD) * _DAY_SECONDS))
        return (datetime.datetime(1970, 1, 1, tzinfo=_UTC) + seconds).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError):
        return None


def _time_function(iso: object, form: str) -> str | float | None:
    moment = None if iso is None else parsed(_text(iso))
    if moment is None:
        return None
    return mjd_of(moment) if form == "mjd" else moment.strftime(form)


def register(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that the expressions of this module call."""
    connection.create_function("contimg_subband", 1, _subband_function, deterministic=True)
    connection.create_function("contimg_iso", 2, _iso_function, deterministic=True)
    connection.create_function("contimg_time", 2, _time_function, deterministic=True)


def _dated(text: str) -> str:
    """Return the SQL that tells whether a text is a time in the usual form, of a day that exists.

    SQLite reads the digits between these marks. Made to count, it turns 30 February into 2 March, which is not the same.
    """
    return f"({text} GLOB '????-??-??T??:??:??' AND date({text}, '+0 days') = substr({text}, 1, 10))"


_ISO = (
    f"COALESCE(s.timestamp_iso, CASE WHEN {_dated('s.group_id')} THEN s.group_id"
    " ELSE contimg_iso(CAST(s.group_id AS BLOB), s.timestamp_mjd) END)"
)
_NUMBERED = "s.subband_code GLOB 'sb[0-9][0-9]'"
_USUAL_MJD = f"CAST(strftime('%s', {_ISO}) AS INTEGER) / {_DAY_SECONDS}.0 + {_UNIX_EPOCH_MJD}"


def _from_time(name: str, usual: str, form: str) -> str:
    other = f"contimg_time(CAST({_ISO} AS BLOB), '{form}')"
    return f"COALESCE(s.{name}, CASE WHEN {_dated(_ISO)} THEN {usual} ELSE {other} END)"


#: SQL of the columns that follow from others, for a row ``s`` of :func:`source`. What is there stays.
DERIVED = {
    "subband_num": (
        f"COALESCE(s.subband_num, CASE WHEN {_NUMBERED} THEN CAST(substr(s.subband_code, 3) AS INTEGER)"
        " ELSE contimg_subband(CAST(s.subband_code AS BLOB)) END)"
    ),
    "timestamp_iso": _ISO,
    "timestamp_mjd": _from_time("timestamp_mjd", _USUAL_MJD, "mjd"),
    "obs_date": _from_time("obs_date", f"substr({_ISO}, 1, 10)", "%Y-%m-%d"),
    "obs_time": _from_time("obs_time", f"substr({_ISO}, 12, 8)", "%H:%M:%S"),
}
#: SQL of every column of the schema, for a row ``s`` of :func:`source`.
VALUES = {name: DERIVED.get(name, f"s.{quoted(name)}") for name in COLUMNS}


def decided(condition: str) -> str:
    """Return the SQL of a condition as 1 or 0, of which SQLite evaluates no more terms than it needs: bare, it takes all."""
    return f"CASE WHEN {condition} THEN 1 ELSE 0 END"


#: The columns that are derived for every row of a new HDF5 database, if they can be.
NEEDED = ("subband_num", "timestamp_iso", "timestamp_mjd")
#: The columns that have a value in every row of the HDF5 database.
FILLED = (*REQUIRED, "timestamp_iso", "timestamp_mjd")


def rejected(further: Iterable[str] = ()) -> str:
    """Return the SQL that tells whether a row cannot satisfy the schema.

    :param further: columns that the HDF5 database declares NOT NULL besides those of ``FILLED``, as some deployed ones do.
    """
    usual = {"subband_num": f"NOT ({_NUMBERED} OR {DERIVED['subband_num']} IS NOT NULL)"}
    others = [usual.get(name, f"{VALUES.get(name, f's.{quoted(name)}')} IS NULL") for name in further]
    return decided(" OR ".join([*(f"{VALUES[name]} IS NULL" for name in FILLED), *others]))


#: SQL that tells whether anything of a row was derived.
WAS_DERIVED = decided(" OR ".join(f"(s.{name} IS NULL AND {sql} IS NOT NULL)" for name, sql in DERIVED.items()))

#: What keeps SQLite from merging a subquery into the query around it, which would evaluate its columns at each use.
ONCE = "LIMIT -1 OFFSET 0"
#: The column of :func:`source` that has the number of a row in its table, where the table numbers its rows.
ROW = "contimg_row"


def _lacking(columns: Iterable[str]) -> list[str]:
    have = {name.lower() for name in columns}
    return [f"{1 if name == 'stored' else 'NULL'} AS {name}" for name in COLUMNS if name not in have]


def source_row(columns: Iterable[str]) -> str:
    """Return the SQL of the one row of the index that a statement evaluates, as a table like that of :func:`source`."""
    own = [f"{INDEX}.{quoted(name)} AS {quoted(name)}" for name in columns]
    return f"(SELECT {', '.join([*own, *_lacking(columns)])})"


def source(columns: Iterable[str], *, numbered: bool = False) -> str:
    """Return the SQL of all rows of the index in ``src``, as a table with all columns of the schema and its own others.

    :param columns: the columns that the table has. One it lacks is NULL; ``stored`` is then 1.
    :param numbered: whether the rows have their number too, as ``ROW``.
    """
    number = [f"_rowid_ AS {ROW}"] if numbered else []
    return f"(SELECT {', '.join(['*', *_lacking(columns), *number])} FROM src.{INDEX} NOT INDEXED)"  # noqa: S608


def reason(row: dict[str, object], further: Collection[str] = ()) -> str:
    """Return why a row cannot satisfy the schema.

    :param row: its columns as they are in products, absent ones ``None``.
    :param further: see :func:`rejected`.
    """
    wanted = (*REQUIRED, *(name for name in further if name not in DERIVED))
    missing = [name for name in wanted if row.get(name) is None]
    if missing:
        return f"has no {missing[0]}"
    code = row["subband_code"]
    if "subband_num" in further and row.get("subband_num") is None and _subband_function(code) is None:
        return f"has the subband code '{_text(code)}', in which no number stands"
    if row.get("timestamp_iso") is None:
        return f"has no timestamp, and its group '{_text(row['group_id'])}' is none"
    return f"has the timestamp '{_text(row['timestamp_iso'])}', which is none"
