# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidereal time, to some hundredths of a second of time, with the standard library only.

Facts: J. Meeus, Astronomical Algorithms, 2nd edition, chapters 12 and 22. UTC is taken for UT1, which is at most 0.9 s away
(0.004 degrees).
"""

from __future__ import annotations

import math

__all__ = ["apparent_sidereal_time"]

_J2000 = 2451545.0
_CENTURY_DAYS = 36525.0


def apparent_sidereal_time(julian_date: float, longitude: float) -> float:
    """Return the local apparent sidereal time in degrees, from 0 up to 360.

    :param julian_date: the moment, in UTC.
    :param longitude: degrees east of Greenwich.
    """
    days = julian_date - _J2000
    centuries = days / _CENTURY_DAYS
    mean = 280.46061837 + 360.98564736629 * days + 0.000387933 * centuries**2 - centuries**3 / 38710000
    return (mean + _equation_of_the_equinoxes(centuries) + longitude) % 360


def _equation_of_the_equinoxes(centuries: float) -> float:
    """Return what nutation adds to sidereal time, in degrees."""
    node = math.radians(125.04452 - 1934.136261 * centuries)
    sun = math.radians(280.4665 + 36000.7698 * centuries)
    moon = math.radians(218.3165 + 481267.8813 * centuries)
    seconds_of_arc = (
        -17.20 * math.sin(node) - 1.32 * math.sin(2 * sun) - 0.23 * math.sin(2 * moon) + 0.21 * math.sin(2 * node)
    )
    obliquity = math.radians(23.4392911 - 0.0130042 * centuries)
    return seconds_of_arc / 3600 * math.cos(obliquity)
