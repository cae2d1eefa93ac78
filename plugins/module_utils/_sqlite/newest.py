# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest moment that any row of a database names: what an operator asks first of two copies that differ.

The deployed schemas write moments as seconds since the epoch, ISO 8601 texts and (modified) Julian dates, under many names.
A column declared TEXT holds its numbers as text.
"""

from __future__ import annotations

import datetime
import math
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import encoding_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import snapshot
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING, Facts
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import (
    quoted,
    stand_in_for_collations,
    table_names,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Proofs

__all__ = ["newest_row"]

_NAMES_TIME = re.compile(
    r"(?:_at|_time|_date|_day|_mjd|_jd|_iso|_utc|_update|_seen|_run|_check|_attempt|_modified|_accessed|_started|_finished)$"
    r"|^(?:timestamp|date|datetime|time|mjd|epoch|created|updated|modified|started|finished)(?:_|$)|timestamp",
    re.IGNORECASE,
)
# What lies ahead says nothing about when a row was written.
_NAMES_FUTURE = re.compile(r"valid(?!at)|expir|until|next|deadline|schedul|planned|transit", re.IGNORECASE)
# From 2000 to 2100, by the form in which a number may name a moment: a factor and an offset give seconds since the epoch.
_FORMS = (
    (946684800.0, 4102444800.0, 1.0, 0.0),  # seconds
    (946684800e3, 4102444800e3, 1e-3, 0.0),  # milliseconds
    (51544.0, 88069.0, 86400.0, -40587 * 86400.0),  # a modified Julian date
    (2451544.5, 2488069.5, 86400.0, -2440587.5 * 86400.0),  # a Julian date
)
_ROUNDING = 1e-3  # seconds: a Julian date as a number may be off by 40 microseconds
_TOGETHER = 100  # columns in one statement
_ISO = "[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*"
_BASIC_ISO = "[12][0-9][0-9][0-9][01][0-9][0-3][0-9]T[0-2][0-9]*"
_LONGEST = 64  # characters of a text that names a moment
_PARSED = "contimg_moment"
_UTC = datetime.timezone.utc
_PARTS = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,]\d*)?)?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)


def newest_row(path: str, *, proofs: Proofs = NOTHING) -> str:
    """Return the newest moment of a database, in UTC, with its table and column; empty where no row names one.

    :param proofs: what is known of the database; what it does not know is read and noted.
    :raises ContimgError: when the database cannot be read.
    """
    known = proofs.recall(path)
    if known is not None and known.facts.newest is not None:
        return known.facts.newest
    with proofs.taking(path) as note, snapshot(path) as state, state.connected() as connection:
        newest = _newest_of(connection)
        note(state.real, Facts(newest=newest))
    return newest


def _newest_of(connection: sqlite3.Connection) -> str:
    encoding = encoding_of(connection)
    connection.create_function(_PARSED, 1, lambda value: _seconds(value.decode(encoding, "replace")))
    moments = [moment for table in table_names(connection) for moment in _moments(connection, table)]
    if not moments:
        return ""
    seconds, where = max(moments)
    moment = datetime.datetime.fromtimestamp(math.floor(seconds + _ROUNDING), _UTC)
    return f"{moment.strftime('%Y-%m-%dT%H:%M:%SZ')} ({where})"


def _time_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    names = [printable(row[1]) for row in connection.execute(f"PRAGMA main.table_info({quoted(table)})")]
    return [name for name in names if _NAMES_TIME.search(name) and not _NAMES_FUTURE.search(name)]


def _moments(connection: sqlite3.Connection, table: str) -> Iterator[tuple[float, str]]:
    """Yield the newest moment of each column, as seconds since the epoch, with the table and column."""
    stand_in_for_collations(connection, table)
    columns = _time_columns(connection, table)
    for start in range(0, len(columns), _TOGETHER):
        together = columns[start : start + _TOGETHER]
        for column, seconds in zip(together, _newest(connection, table, together)):
            if seconds is not None:
                yield float(seconds), f"{table}.{column}"


def _newest(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> Sequence[float | None]:
    newest = ", ".join(f"max({_moment(quoted(column))})" for column in columns)
    found: Sequence[float | None] = connection.execute(
        f"SELECT {newest} FROM main.{quoted(table)} NOT INDEXED"  # noqa: S608
    ).fetchone()
    return found


def _moment(column: str) -> str:
    """Return an SQL expression: the moment that a value names, as seconds since the epoch; NULL where it names none.

    SQLite reads most texts itself, at ten times the speed. Texts are not compared: they may have different offsets.
    """
    value = f"{column} COLLATE BINARY"  # its own may be one that only its program knows
    parsed = f"{_PARSED}(CAST(substr({value}, 1, {_LONGEST}) AS BLOB))"
    return (
        f"CASE typeof({value}) WHEN 'text' THEN CASE"
        f" WHEN {value} GLOB '{_ISO}' THEN coalesce(CAST(strftime('%s', {value}) AS INTEGER), {parsed})"
        f" WHEN {value} GLOB '{_BASIC_ISO}' THEN {parsed}"
        f" WHEN {value} GLOB '[0-9]*' AND {value} NOT GLOB '*[^0-9.]*' AND {value} NOT GLOB '*.*.*'"
        f" THEN {_of_number(f'CAST({value} AS REAL)')} END"
        f" WHEN 'blob' THEN NULL ELSE {_of_number(value)} END"
    )


def _of_number(number: str) -> str:
    cases = (
        f"WHEN {number} >= {low!r} AND {number} < {high!r} THEN {number} * {factor!r} + {offset!r}"
        for low, high, factor, offset in _FORMS
    )
    return f"CASE {' '.join(cases)} END"


def _seconds(iso: str) -> float | None:
    """Return the seconds since the epoch of an ISO 8601 text; a leap second is the next one, 24:00 the next day's 00:00."""
    found = _PARTS.match(iso)
    if found is None:
        return None
    year, _hyphen, month, day, *time, zone = found.groups()
    hours, minutes, seconds = (int(part or 0) for part in time)
    if minutes > 59 or seconds > 60 or (hours, minutes, seconds) > (24, 0, 0):
        return None
    try:
        midnight = datetime.datetime(int(year), int(month), int(day), tzinfo=_UTC)
    except ValueError:
        return None
    return midnight.timestamp() + hours * 3600 + minutes * 60 + seconds - _offset(zone)


def _offset(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
