# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of headers that cost more than they are worth: each costs its own coordinates and no other file's."""

from __future__ import annotations

import importlib
import math
import os
import pathlib
import resource
import signal
import time
from typing import Any, Callable

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5 import header as hdf5_header
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.header import Coordinates, read_headers
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.index import index_files
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import make_hdf5, rows_of

H5PY: Any = importlib.import_module("h5py")
GOOD = Coordinates(180.0, 90.0)


def make_file(path: pathlib.Path, **header: Any) -> str:
    with H5PY.File(path, "w") as file:
        for name, value in {"phase_center_app_ra": math.pi, "phase_center_app_dec": math.pi / 2, **header}.items():
            if callable(value):
                value(file, f"Header/{name}")
            elif value is not None:
                file[f"Header/{name}"] = value
    return str(path)


def _huge_array(file: Any, name: str) -> None:
    """Sixteen gibibytes of one value, none of them stored."""
    file.create_dataset(name, shape=(1 << 31,), dtype="f8", chunks=(1 << 17,), fillvalue=math.pi)


def _huge_value(file: Any, name: str) -> None:
    """One value of a gibibyte."""
    file.create_dataset(name, shape=(), dtype=("f8", (1 << 27,)))


def _fifo(file: Any, name: str) -> None:
    """A value that stands in a FIFO to which no process ever writes."""
    fifo = f"{file.filename}.fifo"
    os.mkfifo(fifo)
    file.create_dataset(name, shape=(1,), dtype="f8", external=[(fifo, 0, 8)])


#: With the seconds that reading it may take.
BAD: dict[str, tuple[Callable[[Any, str], None], float, str]] = {
    "one value of 1 GiB": (_huge_value, 60.0, "needs more than 256 MiB of memory"),
    "a FIFO": (_fifo, 1.0, "takes longer than 1 seconds"),
}


@pytest.mark.parametrize(("value", "seconds", "problem"), BAD.values(), ids=BAD)
def test_a_file_that_costs_too_much_costs_its_own_coordinates(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    value: Callable[[Any, str], None],
    seconds: float,
    problem: str,
) -> None:
    paths = [make_file(tmp_path / "1"), make_file(tmp_path / "2", phase_center_app_ra=value), make_file(tmp_path / "3")]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, time.monotonic()
    answers, found = iter(read_headers(H5PY, paths)), []
    for limit in (60.0, seconds, 60.0):
        monkeypatch.setattr(hdf5_header, "_SECONDS", limit)
        found.append(next(answers))
    assert next(answers, None) is None
    first, bad, last = found
    assert (first, last) == (GOOD, GOOD)
    assert (bad.ra_deg, bad.dec_deg) == (None, None)
    assert problem in bad.problem
    assert time.monotonic() - started < 10
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < 600 << 10  # KiB


def test_of_a_huge_array_only_the_value_that_counts_is_read(tmp_path: pathlib.Path) -> None:
    path = make_file(tmp_path / "1", phase_center_app_ra=_huge_array)
    assert os.path.getsize(path) < 5000
    hour_angle = {"phase_center_app_ra": None, "extra_keywords/ha_phase_center": 0.0, "lst_array": _huge_array}
    other = make_file(tmp_path / "2", **hour_angle)
    assert list(read_headers(H5PY, [path, other])) == [GOOD, GOOD]


FIRST_TIME = 2460950.5 + (12 / 60) / 24  # 2025-10-02T00:12:00 as a Julian date
INTEGRATION_SECONDS = 12.884902


def _as_the_correlator_writes(**changed: Any) -> dict[str, Any]:
    """Return a header in the form of the correlator: hour angle and declination, no right ascension, no sidereal times."""
    return {
        "phase_center_app_ra": None,
        "phase_center_app_dec": None,
        "time_array": [FIRST_TIME + number * INTEGRATION_SECONDS / 86400 for number in range(5)],
        "extra_keywords/ha_phase_center": 0.0,
        "extra_keywords/phase_center_dec": math.radians(37.24),
        "extra_keywords/phase_center_epoch": 2000,
        **changed,
    }


HEADERS: dict[str, tuple[dict[str, Any], float | None, float | None]] = {
    "of the correlator": ({}, 255.80, 37.24),
    "with an hour angle": ({"extra_keywords/ha_phase_center": math.radians(15)}, 240.80, 37.24),
    "with a longitude": ({"longitude": -117.283405115}, 256.80, 37.24),
    "with a right ascension": ({"extra_keywords/phase_center_ra": math.radians(10.0)}, 10.0, 37.24),
    "with one that is not a number": ({"extra_keywords/phase_center_ra": math.nan}, 255.80, 37.24),
    "without times": ({"time_array": None}, None, 37.24),
    "with sidereal times only": ({"time_array": None, "lst_array": [1.0, math.radians(20), 2.0]}, 20.0, 37.24),
    "without an hour angle": ({"extra_keywords/ha_phase_center": None}, None, 37.24),
    "with an hour angle that is text": ({"extra_keywords/ha_phase_center": "east"}, None, 37.24),
    "without declination": ({"extra_keywords/phase_center_dec": None}, 255.80, None),
    "with a scalar of times": ({"time_array": FIRST_TIME + 2 * INTEGRATION_SECONDS / 86400}, 255.80, 37.24),
    "with times in two dimensions": (
        {"time_array": [[FIRST_TIME] * 2, [FIRST_TIME + 4 * INTEGRATION_SECONDS / 86400] * 2]},
        255.80,
        37.24,
    ),
    "with times that are text": ({"time_array": [b"noon"], "lst_array": [math.radians(20)]}, 20.0, 37.24),
    "with times that are not numbers": ({"time_array": [math.nan]}, None, 37.24),
    "with times far from any date": ({"time_array": [1e300]}, None, 37.24),
    "with infinite times": ({"time_array": [1.7e308, 1.7e308]}, None, 37.24),
    "with no times": ({"time_array": [], "lst_array": [[], []]}, None, 37.24),
    "with times that are a group": ({"time_array": lambda file, name: file.create_group(name)}, None, 37.24),
    "with times that cannot be used": ({"time_array": "noon", "phase_center_app_ra": 1.0}, math.degrees(1.0), 37.24),
    "with a scalar of sidereal times": ({"time_array": None, "lst_array": math.radians(20)}, 20.0, 37.24),
    "with sidereal times in two dimensions": (
        {"time_array": None, "lst_array": [[1.0, 1.0], [math.radians(20), 2.0]]},
        20.0,
        37.24,
    ),
    "with a declination that is a group": (
        {"extra_keywords/phase_center_dec": lambda file, name: file.create_group(name), "phase_center_app_dec": 0.5},
        255.80,
        math.degrees(0.5),
    ),
    "with a right ascension beyond numbers": ({"extra_keywords/phase_center_ra": 1.7e308}, None, 37.24),
    "of a simulation": ({"extra_keywords/ha_phase_center": None, "phase_center_app_ra": 1.0}, math.degrees(1.0), 37.24),
}


@pytest.mark.parametrize(("header", "ra_deg", "dec_deg"), HEADERS.values(), ids=HEADERS)
def test_coordinates_are_those_of_the_application(
    tmp_path: pathlib.Path, header: dict[str, Any], ra_deg: float | None, dec_deg: float | None
) -> None:
    (found,) = read_headers(H5PY, [make_file(tmp_path / "1", **_as_the_correlator_writes(**header))])
    assert (found.ra_deg, found.dec_deg, found.problem) == (
        None if ra_deg is None else pytest.approx(ra_deg, abs=0.01),
        None if dec_deg is None else pytest.approx(dec_deg, abs=0.01),
        "",
    )


class Crashing:
    """A library that dies of a file of one name, as HDF5 does on some that are damaged."""

    @staticmethod
    def File(path: str, mode: str) -> Any:  # noqa: N802
        if path.endswith("crash"):
            os.kill(os.getpid(), signal.SIGKILL)
        return H5PY.File(path, mode)


def test_a_library_that_crashes_costs_one_file(tmp_path: pathlib.Path) -> None:
    paths = [make_file(tmp_path / name) for name in ("crash", "2", "3.crash", "4.crash", "5")]
    found = list(read_headers(Crashing, paths))
    ended = Coordinates(None, None, "ends the process that reads it")
    assert found == [ended, GOOD, ended, ended, GOOD]


def test_the_scan_takes_every_file_and_names_the_one_that_could_not_be_read(tmp_path: pathlib.Path) -> None:
    hdf5, incoming = make_hdf5(tmp_path / "hdf5.sqlite3", []), tmp_path / "incoming"
    incoming.mkdir()
    make_file(incoming / "2026-01-01T00:00:00_sb00.hdf5")
    bomb = make_file(incoming / "2026-01-02T00:00:00_sb00.hdf5", phase_center_app_ra=_huge_value)
    (incoming / "2026-01-03T00:00:00_sb00.hdf5").write_bytes(b"still being written")
    make_file(incoming / "2026-01-04T00:00:00_sb00.hdf5")
    result = index_files(hdf5_db=str(hdf5), input_dir=str(incoming), rescan=False, check=False)
    assert (result["new"], result["coordinates"]) == (4, "read from 2 of 4 files")
    memory, broken = result["errors"]
    assert memory == f"{bomb}: needs more than 256 MiB of memory to read; indexed without coordinates"
    assert "2026-01-03T00:00:00_sb00.hdf5: cannot be read: " in broken
    assert [row["ra_deg"] for row in rows_of(hdf5)] == [180.0, None, None, 180.0]
