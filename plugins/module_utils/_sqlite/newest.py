# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest moment that any row of a database names: what an operator asks first of two copies that differ.

The deployed schemas write moments as seconds since the epoch, ISO 8601 texts and (modified) Julian dates, under many names.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import open_readonly
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import (
    quoted,
    stand_in_for_collations,
    table_names,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = ["newest_row"]

_NAMES_TIME = re.compile(
    r"(?:_at|_time|_date|_day|_mjd|_jd|_iso|_utc|_update|_seen|_run|_check|_attempt|_modified|_accessed|_started|_finished)$"
    r"|^(?:timestamp|date|datetime|time|mjd|epoch|created|updated|modified|started|finished)(?:_|$)|timestamp",
    re.IGNORECASE,
)
# What lies ahead says nothing about when a row was written.
_NAMES_FUTURE = re.compile(r"valid|expir|until|next|deadline|schedul|planned|transit", re.IGNORECASE)
# From 2000 to 2100, by the form in which a number may name a moment: a factor and an offset give seconds since the epoch.
_FORMS = {
    "seconds": (946684800.0, 4102444800.0, 1.0, 0.0),
    "milliseconds": (946684800e3, 4102444800e3, 1e-3, 0.0),
    "modified Julian date": (51544.0, 88069.0, 86400.0, -40587 * 86400.0),
    "Julian date": (2451544.5, 2488069.5, 86400.0, -2440587.5 * 86400.0),
}
_ISO = "[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*"
_UTC = datetime.timezone.utc
_PARTS = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d*)?)?\s*(Z|[+-]\d\d:?\d\d)?)?")


def newest_row(path: str) -> str:
    """Return the newest moment of a database, in UTC, with its table and column; empty where no row names one.

    :raises ContimgError: when the database cannot be read.
    """
    with open_readonly(path) as connection:
        moments = [
            (seconds, f"{table}.{column}")
            for table in table_names(connection)
            for column in _time_columns(connection, table)
            for seconds in _moments(connection, table, column)
        ]
    if not moments:
        return ""
    seconds, where = max(moments)
    moment = datetime.datetime.fromtimestamp(int(seconds), _UTC)
    return f"{moment.strftime('%Y-%m-%dT%H:%M:%SZ')} ({where})"


def _time_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    names = [printable(row[1]) for row in connection.execute(f"PRAGMA main.table_info({quoted(table)})")]
    return [name for name in names if _NAMES_TIME.search(name) and not _NAMES_FUTURE.search(name)]


def _moments(connection: sqlite3.Connection, table: str, column: str) -> Iterator[float]:
    """Yield the latest moment of a column in each of the forms that it has, as seconds since the epoch."""
    stand_in_for_collations(connection, table)
    name = f"{quoted(column)} COLLATE BINARY"  # its own may be one that only its program knows
    number = f"typeof({name}) IN ('integer', 'real')"
    latest = ", ".join(
        f"max(CASE WHEN {number} AND {name} >= {low!r} AND {name} < {high!r} THEN {name} END)"
        for low, high, _factor, _offset in _FORMS.values()
    )
    text = f"max(CASE WHEN typeof({name}) = 'text' AND {name} GLOB '{_ISO}' THEN replace({name}, 'T', ' ') END)"
    *numbers, iso = connection.execute(f"SELECT {latest}, {text} FROM main.{quoted(table)}").fetchone()  # noqa: S608
    for value, (_low, _high, factor, offset) in zip(numbers, _FORMS.values()):
        if value is not None:
            yield float(value) * factor + offset
    seconds = _seconds(printable(iso)) if iso is not None else None
    if seconds is not None:
        yield seconds


def _seconds(iso: str) -> float | None:
    found = _PARTS.match(iso)
    if found is None:
        return None
    *parts, zone = found.groups()
    try:
        moment = datetime.datetime(*(int(part or 0) for part in parts), tzinfo=_UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    return moment.timestamp() - _offset(zone)


def _offset(zone: str | None) -> int:
    if zone in (None, "Z"):
        return 0
    return (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60) * (-1 if zone[0] == "-" else 1)
