# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ``_hdf5/sidereal`` against published values."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.sidereal import apparent_sidereal_time


@pytest.mark.parametrize(
    ("julian_date", "longitude", "degrees"),
    [
        (2446895.5, 0.0, 197.692230),  # Meeus, example 12.a: 13h 10m 46.1351s at 1987-04-10T00:00:00
        (
            2446896.30625,
            0.0,
            128.737873 - 0.000965,
        ),  # example 12.b, mean; the equation of the equinoxes is that of 12.a
        (2446895.5, -118.0, 79.692230),
        (2446895.5, 170.0, 7.692230),
    ],
)
def test_sidereal_time_is_the_published_one(julian_date: float, longitude: float, degrees: float) -> None:
    assert apparent_sidereal_time(julian_date, longitude) == pytest.approx(degrees, abs=2e-4)


def test_it_gains_four_minutes_a_day() -> None:
    first, second = (apparent_sidereal_time(2460950.5 + day, 0.0) for day in (0, 1))
    assert (second - first) % 360 == pytest.approx(0.98565, abs=1e-3)
