# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the derivation: SQL for usual rows and Python for the others must tell the same."""

from __future__ import annotations

import datetime
import sqlite3
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import (
    DERIVED,
    WAS_DERIVED,
    parsed,
    reason,
    register,
    rejected,
    source,
    subband,
)

COLUMNS = ("path", "filename", "group_id", "subband_code", "timestamp_iso", "timestamp_mjd")
UTC = datetime.timezone.utc


def derived(*further: str, **changed: object) -> dict[str, Any]:
    """Return what SQL derives for one row, and its verdict, for an HDF5 database that needs further columns."""
    row = {
        "path": "/p",
        "filename": "f",
        "group_id": "2025-10-02T00:12:00",
        "subband_code": "sb03",
        "timestamp_iso": None,
        "timestamp_mjd": None,
        **changed,
    }
    connection = sqlite3.connect(":memory:")
    register(connection)
    connection.execute("ATTACH ':memory:' AS src")
    connection.execute(f"CREATE TABLE src.hdf5_file_index ({', '.join(row)})")
    connection.execute(f"INSERT INTO hdf5_file_index VALUES ({', '.join('?' for _name in row)})", list(row.values()))
    wanted = {**DERIVED, "rejected": rejected(further), "derived": WAS_DERIVED}
    values = connection.execute(f"SELECT {', '.join(wanted.values())} FROM {source(row)} AS s").fetchone()
    connection.close()
    return dict(zip(wanted, values))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ("2025-10-02T00:12:00", 60950.0 + 12 / 1440, "2025-10-02", "00:12:00")),
        ({"timestamp_mjd": 1.5}, ("2025-10-02T00:12:00", 1.5, "2025-10-02", "00:12:00")),
        (
            {"timestamp_iso": "2024-02-29T23:59:59"},
            ("2024-02-29T23:59:59", 60369.999988425923, "2024-02-29", "23:59:59"),
        ),
        ({"timestamp_iso": "2025-10-02 00:12"}, ("2025-10-02 00:12", 60950.0 + 12 / 1440, "2025-10-02", "00:12:00")),
        (
            {"timestamp_iso": "2025-10-02T00:12:00Z"},
            ("2025-10-02T00:12:00Z", 60950.0 + 12 / 1440, "2025-10-02", "00:12:00"),
        ),
        (
            {"timestamp_iso": "2025-10-02T00:12:00.5+01:00"},
            ("2025-10-02T00:12:00.5+01:00", 60949.966672453703, "2025-10-01", "23:12:00"),
        ),
        ({"group_id": "g7", "timestamp_mjd": 60950.25}, ("2025-10-02T06:00:00", 60950.25, "2025-10-02", "06:00:00")),
        ({"timestamp_iso": "2025-02-30T00:00:00", "timestamp_mjd": 1.5}, ("2025-02-30T00:00:00", 1.5, None, None)),
        ({"timestamp_iso": "soon", "timestamp_mjd": 1.5}, ("soon", 1.5, None, None)),
    ],
)
def test_times_follow_from_each_other(changed: dict[str, object], expected: tuple[str, float, str, str]) -> None:
    found = derived(**changed)
    assert found["rejected"] == 0
    assert found["derived"] == 1
    iso, mjd, date, clock = expected
    assert (found["timestamp_iso"], found["obs_date"], found["obs_time"]) == (iso, date, clock)
    assert found["timestamp_mjd"] == pytest.approx(mjd, abs=1e-9)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"path": None}, "has no path"),
        ({"filename": None}, "has no filename"),
        ({"subband_code": None}, "has no subband_code"),
        ({"group_id": "g7"}, "has no timestamp, and its group 'g7' is none"),
        ({"group_id": "g7", "timestamp_mjd": 1e300}, "has no timestamp"),
        ({"timestamp_iso": "2025-02-30T00:00:00"}, "'2025-02-30T00:00:00', which is none"),
        ({"timestamp_iso": "now"}, "'now', which is none"),
        ({"timestamp_iso": "2460950.5"}, "which is none"),
        ({"timestamp_iso": b"\xff"}, "which is none"),
    ],
)
def test_what_cannot_be_derived_is_rejected_with_its_reason(changed: dict[str, object], why: str) -> None:
    row = {"path": "/p", "filename": "f", "group_id": "2025-10-02T00:12:00", "subband_code": "sb03", **changed}
    assert derived(**changed)["rejected"] == 1
    assert why in reason(row)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"subband_code": "band"}, "in which no number stands"),
        ({"subband_code": "sb9999999999"}, "in which no number stands"),
        ({"subband_code": "sb00_spl"}, "the subband code 'sb00_spl', in which no number stands"),
        ({"subband_num": 0, "subband_code": "band"}, ""),
        ({"note": None}, "has no note"),
        ({"timestamp_iso": "soon", "timestamp_mjd": 1.5}, "has the timestamp 'soon', which is none"),
    ],
)
def test_what_only_some_deployed_schemas_need_is_rejected_for_these(changed: dict[str, object], why: str) -> None:
    further = ("subband_num", "obs_date", *(["note"] if "note" in changed else []))
    assert derived(**changed)["rejected"] == 0
    assert derived(*further, **changed)["rejected"] == bool(why)
    row = {"path": "/p", "filename": "f", "group_id": "2025-10-02T00:12:00", "subband_code": "sb03", **changed}
    assert not why or why in reason(row, further)


@pytest.mark.parametrize(
    ("code", "number"),
    [("sb00", 0), ("sb15", 15), ("sb7", 7), ("x_sb007", 7), ("sb", None), ("sb00_spl", None), ("", None)],
)
def test_a_subband_is_the_number_in_its_code(code: str, number: int | None) -> None:
    assert subband(code) == number
    assert derived(subband_code=code)["subband_num"] == number


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1000))
def test_sql_and_python_agree_on_every_whole_second(moment: datetime.datetime) -> None:
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    exact = moment.replace(microsecond=0)
    found = derived(timestamp_iso=text)
    assert parsed(text) == exact
    assert found["timestamp_mjd"] == exact.timestamp() / 86400 + 40587
    assert (found["obs_date"], found["obs_time"]) == (text[:10], text[11:])


@settings(deadline=None)
@given(st.text("0123456789-:TZ+. ", max_size=26))
def test_no_text_is_a_time_for_one_and_none_for_the_other(text: str) -> None:
    found = derived(timestamp_iso=text)
    assert (found["timestamp_mjd"] is None) == (parsed(text) is None)
