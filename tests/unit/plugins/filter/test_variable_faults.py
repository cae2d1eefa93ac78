# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filter ``variable_faults``."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.filter.variable_faults import FilterModule

OPTIONS: dict[str, Any] = {
    "contimg_units": {"type": "list"},
    "contimg_unit_files": {"type": "list"},
    "contimg_env_file": {"type": "str"},
    "contimg_serial": {"type": "list", "elements": "raw"},
}
OWN = "one of your own needs another prefix"


@pytest.mark.parametrize(
    ("described", "faults"),
    [
        ({"contimg_units": [], "contimg_env_file": "/a", "contimg_hosts": "all", "contimg_serial": "100%"}, []),
        (
            {"contimg_unit": ["a.service"], "contimg_envfile": ""},
            [
                "contimg_envfile: no variable of this collection has this name; the nearest is contimg_env_file; "
                + OWN,
                "contimg_unit: no variable of this collection has this name; the nearest is contimg_units; " + OWN,
            ],
        ),
        (
            {"contimg_units": "a.service,b.service", "contimg_unit_files": ""},
            [
                "contimg_unit_files: holds a text, and takes a list",
                "contimg_units: holds a text, and takes a list",
            ],
        ),
    ],
)
def test_a_name_that_is_none_and_a_text_in_place_of_a_list_are_named(
    described: dict[str, Any], faults: list[str]
) -> None:
    assert FilterModule().filters()["variable_faults"](described, OPTIONS, ["contimg_hosts"]) == faults


def test_without_any_option_no_other_name_is_proposed() -> None:
    wrong = "contimg_x: no variable of this collection has this name; " + OWN
    assert FilterModule().filters()["variable_faults"]({"contimg_x": 1}, {}) == [wrong]
