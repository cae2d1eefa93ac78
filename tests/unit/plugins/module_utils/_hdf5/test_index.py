# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the index of a directory of HDF5 files."""

from __future__ import annotations

import importlib
import math
import os
import pathlib
import sys
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.index import index_files
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    make_hdf5,
    make_products,
    new_row,
    rows_of,
    snapshot,
)

COUNTS = ("new", "updated", "unchanged", "missing", "misnamed")


@pytest.fixture
def incoming(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "incoming"
    (directory / "day").mkdir(parents=True)
    for number in range(3):
        (directory / f"2025-10-02T00:12:00_sb{number:02d}.hdf5").write_bytes(b"x" * number)
    (directory / "day" / "2025-10-03T00:12:00_sb15.hdf5").touch()
    (directory / "notes.txt").touch()
    return directory


@pytest.fixture
def hdf5(tmp_path: pathlib.Path) -> pathlib.Path:
    return make_hdf5(tmp_path / "hdf5.sqlite3", [new_row(0)])


def indexed(hdf5: pathlib.Path, incoming: pathlib.Path, *, rescan: bool = False, check: bool = False) -> dict[str, Any]:
    return index_files(hdf5_db=str(hdf5), input_dir=str(incoming), rescan=rescan, check=check)


def counts(result: dict[str, Any]) -> tuple[int, ...]:
    return tuple(result[name] for name in COUNTS)


def test_new_changed_missing_and_unchanged_files_are_counted_as_previewed(
    tmp_path: pathlib.Path, hdf5: pathlib.Path, incoming: pathlib.Path
) -> None:
    before = snapshot(tmp_path)
    preview = indexed(hdf5, incoming, check=True)
    assert snapshot(tmp_path) == before
    first = indexed(hdf5, incoming)
    assert counts(preview) == counts(first) == (4, 0, 0, 0, 0)
    assert preview["diff"] == first["diff"]
    assert not indexed(hdf5, incoming)["changed"]
    (incoming / "2025-10-02T00:12:00_sb01.hdf5").write_bytes(b"changed")
    (incoming / "2025-10-02T00:12:00_sb02.hdf5").unlink()
    assert counts(indexed(hdf5, incoming)) == (0, 1, 2, 1, 0)
    found = {row["filename"]: row for row in rows_of(hdf5)}
    assert found["2025-10-02T00:12:00_sb02.hdf5"]["stored"] == 0
    assert found["2025-10-02T00:12:00_sb01.hdf5"]["file_size_bytes"] == 7
    assert len(found) == 5 - 1 * (new_row(0)["filename"] in {"2025-10-02T00:12:00_sb00.hdf5"})
    assert not indexed(hdf5, incoming)["changed"]
    (incoming / "2025-10-02T00:12:00_sb02.hdf5").write_bytes(b"back")
    assert counts(indexed(hdf5, incoming)) == (0, 1, 3, 0, 0)


def test_a_row_has_every_column_that_its_name_tells(hdf5: pathlib.Path, incoming: pathlib.Path) -> None:
    indexed(hdf5, incoming)
    path = str(incoming / "day" / "2025-10-03T00:12:00_sb15.hdf5")
    row = next(row for row in rows_of(hdf5) if row["path"] == path)
    assert row["modified_time"] == os.stat(path).st_mtime
    wanted = {
        "group_id": "2025-10-03T00:12:00",
        "subband_code": "sb15",
        "subband_num": 15,
        "timestamp_mjd": 60951.0 + 12 / 1440,
        "obs_date": "2025-10-03",
        "obs_time": "00:12:00",
        "stored": 1,
        "ra_deg": None,
    }
    assert {**row, **wanted} == row


@pytest.mark.parametrize(
    "name",
    ["late_sb00.hdf5", "2025-10-02T00:12:00_sbx.hdf5", "2025-13-02T00:12:00_sb00.hdf5", "x.hdf5", "test_sb00.hdf5"],
)
def test_a_name_that_says_nothing_is_reported_and_skipped(
    hdf5: pathlib.Path, incoming: pathlib.Path, name: str
) -> None:
    (incoming / name).touch()
    result = indexed(hdf5, incoming)
    assert counts(result) == (4, 0, 0, 0, 1)
    assert name in result["errors"][0]


@pytest.mark.parametrize(
    ("name", "group_id", "code", "number"),
    [
        ("2025-10-02T00:12:00_sb1.hdf5", "2025-10-02T00:12:00", "sb01", 1),
        ("2025-10-02T00:12:00_sb07_spl.hdf5", "2025-10-02T00:12:00", "sb07_spl", None),
        ("2025-10-02T00:12:00_sb07.old.hdf5", "2025-10-02T00:12:00", "sb07", 7),
        ("20251002T154135_sb02.hdf5", "20251002T154135", "sb02", 2),
        ("2025-10-02T00:12:00_sb01_sb02.hdf5", "2025-10-02T00:12:00", "sb02", 2),
    ],
)
def test_a_name_is_read_as_the_application_reads_it(
    hdf5: pathlib.Path, tmp_path: pathlib.Path, name: str, group_id: str, code: str, number: int | None
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / name).touch()
    assert indexed(hdf5, tmp_path / "one")["new"] == 1
    (row,) = [row for row in rows_of(hdf5) if row["filename"] == name]
    assert (row["group_id"], row["subband_code"], row["subband_num"]) == (group_id, code, number)
    assert row["timestamp_mjd"] > 60950


def test_a_rescan_reads_every_file_again(hdf5: pathlib.Path, incoming: pathlib.Path) -> None:
    indexed(hdf5, incoming)
    assert counts(indexed(hdf5, incoming, rescan=True)) == (0, 4, 0, 0, 0)


def test_an_empty_mount_does_not_mean_that_all_is_gone(hdf5: pathlib.Path, incoming: pathlib.Path) -> None:
    indexed(hdf5, incoming)
    for path in incoming.rglob("*.hdf5"):
        path.unlink()
    before = rows_of(hdf5)
    with pytest.raises(ContimgError, match=r"holds no HDF5 file, the index knows 4.*mounted"):
        indexed(hdf5, incoming)
    with pytest.raises(ContimgError, match="errno 2"):
        indexed(hdf5, incoming / "none")
    assert rows_of(hdf5) == before


def test_a_products_database_is_refused(tmp_path: pathlib.Path, incoming: pathlib.Path) -> None:
    with pytest.raises(ContimgError, match="Make it with hdf5_db_split first"):
        indexed(make_products(tmp_path / "p", []), incoming)


def test_without_h5py_the_coordinates_stay_and_it_is_said(
    hdf5: pathlib.Path, incoming: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)  # an import of it then raises what a missing one raises
    assert indexed(hdf5, incoming)["coordinates"] == "h5py is missing on the host: 1 files have none"
    assert {row["ra_deg"] for row in rows_of(hdf5)} == {None}


def test_a_broken_file_is_indexed_without_coordinates(hdf5: pathlib.Path, incoming: pathlib.Path) -> None:
    assert indexed(hdf5, incoming)["coordinates"] == "read from 0 of 1 files"


# The layout of a UVH5 header (pyuvdata's memo), coordinates in radians; what the correlator adds is in extra_keywords.
HEADERS: dict[str, tuple[dict[str, Any], tuple[float | None, float | None]]] = {
    "apparent coordinates": ({"phase_center_app_ra": math.pi, "phase_center_app_dec": -math.pi / 6}, (180.0, -30.0)),
    "one for each time": (
        {"phase_center_app_ra": [math.pi / 2] * 3, "phase_center_app_dec": [math.pi / 4] * 3},
        (90.0, 45.0),
    ),
    "a telescope that does not track": (
        {
            "lst_array": [0.9, 1.0, 1.1],
            "phase_center_app_dec": 1.0,
            "extra_keywords/ha_phase_center": 0.0,
            "extra_keywords/phase_center_dec": 1.0,
        },
        (math.degrees(1.0), math.degrees(1.0)),
    ),
    "east of the meridian": (
        {"lst_array": [0.1], "phase_center_app_dec": 0.5, "extra_keywords/ha_phase_center": 0.2},
        (360 - math.degrees(0.1), math.degrees(0.5)),
    ),
    "no right ascension": ({"phase_center_app_dec": 1.0}, (None, math.degrees(1.0))),
    "no coordinates": ({"Nfreqs": 48}, (None, None)),
    "no number": ({"phase_center_app_ra": "east", "phase_center_app_dec": "north"}, (None, None)),
}


def _about(value: float | None) -> Any:
    return None if value is None else pytest.approx(value)


@pytest.mark.parametrize("name", HEADERS)
def test_coordinates_are_read_from_real_files_of_the_first_subband(
    hdf5: pathlib.Path, tmp_path: pathlib.Path, name: str
) -> None:
    h5py = importlib.import_module("h5py")
    header, expected = HEADERS[name]
    for code in ("sb00", "sb01"):
        with h5py.File(tmp_path / f"2026-01-01T00:00:00_{code}.hdf5", "w") as file:
            for key, value in header.items():
                file[f"Header/{key}"] = value
    done = indexed(hdf5, tmp_path)
    assert done["coordinates"] == f"read from {int(expected[0] is not None)} of 1 files"
    rows = [row for row in rows_of(hdf5) if row["path"].startswith(str(tmp_path))]
    found = {row["subband_num"]: (row["ra_deg"], row["dec_deg"]) for row in rows}
    assert found == {0: tuple(map(_about, expected)), 1: (None, None)}
