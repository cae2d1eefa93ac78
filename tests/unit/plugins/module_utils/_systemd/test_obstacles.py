# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is in the way of a hold, by what systemd reports of a unit."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.obstacles import (
    OBSTACLE_PROPERTIES,
    UnitObstacle,
    refuse,
    unit_obstacles,
)

RUNS = dict(zip(OBSTACLE_PROPERTIES, ("loaded", "active", "no", "/etc/systemd/system/a.service", "no", "no")))
AGAIN = "so it could not be started again"


@pytest.mark.parametrize(
    ("facts", "gone", "whats"),
    [
        ({}, False, []),
        ({"ActiveState": "inactive", "LoadState": "not-found"}, False, ["systemd does not know this unit"]),
        ({"ActiveState": "failed", "RefuseManualStop": "yes"}, True, []),
        ({"Transient": "yes"}, True, [f"is transient, {AGAIN}"]),
        ({}, True, [f"runs, but its unit file /etc/systemd/system/a.service does not exist any more, {AGAIN}"]),
        (
            {"LoadState": "not-found", "FragmentPath": ""},
            False,
            [f"runs, but its unit file does not exist any more, {AGAIN}"],
        ),
        ({"LoadState": "masked"}, False, [f"is masked, {AGAIN}"]),
        (
            {"RefuseManualStop": "yes", "RefuseManualStart": "yes"},
            False,
            [
                "has RefuseManualStop=yes, so systemd would refuse to stop it",
                "has RefuseManualStart=yes, so systemd would refuse to start it again",
            ],
        ),
    ],
)
def test_what_could_not_be_stopped_or_started_again_is_an_obstacle(
    facts: dict[str, str], *, gone: bool, whats: list[str]
) -> None:
    found = unit_obstacles("a.service", {**RUNS, **facts}, file_is_gone=gone)
    assert [one.what for one in found] == whats
    assert all(one.unit == "a.service" and one.advice.endswith(".") for one in found)


def test_all_obstacles_are_refused_at_once_and_each_advice_is_given_once() -> None:
    refuse([], state="")
    first, second = UnitObstacle("a", "is one", "Do it."), UnitObstacle("b", "is two", "Do it.")
    assert str(first) == "a: is one. Do it."
    with pytest.raises(ContimgError, match=r"^a: is one\. Nothing was stopped\. Do it\.$"):
        refuse([first], state="Nothing was stopped.")
    with pytest.raises(ContimgError, match=r"^a: is one; b: is two\. Nothing was stopped\. Do it\.$"):
        refuse([first, second], state="Nothing was stopped.")
