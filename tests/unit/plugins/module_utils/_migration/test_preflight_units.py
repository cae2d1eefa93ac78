# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is judged of the units of a host; the integration target asks real ones."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._migration.preflight_units import (
    Judged,
    State,
    askable,
    judge_containers,
    judge_expected,
    judge_health,
    judge_limits,
    judge_names,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services.health import Answer
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.limits import Limits

STATES = {
    "up.service": State("up.service", "active (running)", watched=True),
    "off.service": State("off.service", "inactive (dead)", watched=False),
    "bad.service": State("bad.service", "activating (auto-restart)", watched=False),
    "a.timer": State("a.timer", "active (waiting)", watched=True),
}
URL = "http://127.0.0.1:8010/health"


@pytest.mark.parametrize(
    ("name", "url", "answer", "obstacle", "finding", "status"),
    [
        ("up.service", URL, Answer(200, ""), "", "", 0),
        ("up.service", URL, Answer(503, "HTTP Error 503: x"), "", '"HTTP Error 503: x" before the move; the same', 503),
        ("up.service", URL, Answer(0, "refused"), f"runs, yet {URL} does not answer before the move (refused)", "", 0),
        ("up.service", "127.0.0.1", None, "the value for up.service is not a URL that begins", "", 0),
        ("up.service", "http://me:planted@h/", None, "holds a user or a password", "", 0),
        ("other.service", URL, None, "other.service is none of contimg_units (up.service, off", "", 0),
        ("off.service", URL, None, "", "off.service is inactive (dead) now, so its URL is not asked", 0),
        ("bad.service", URL, None, "", "bad.service is activating (auto-restart) now", 0),
    ],
)
def test_a_health_url_is_judged(
    name: str, url: str, answer: Answer | None, obstacle: str, finding: str, status: int
) -> None:
    urls: dict[str, object] = {name: url}
    assert bool(askable(urls, STATES)) == (answer is not None)
    judged, statuses = judge_health(urls, STATES, {name: answer} if answer else {})
    assert [obstacle in one for one in judged.obstacles] == ([True] if obstacle else [])
    assert [finding in one for one in judged.findings] == ([True] if finding else [])
    assert statuses == ({name: status} if status else {})
    assert "planted" not in str(judged)


@pytest.mark.parametrize(
    ("expected", "obstacles"),
    [
        ({"up.service": ["products", "hdf5"]}, []),
        ({"up.service": []}, []),
        (
            {"up.service": ["product"]},
            ["'product' (up.service) is not a database of contimg_databases, only hdf5, ing"],
        ),
        ({"up.service": "products"}, ["the value for up.service is not a list"]),
        ({"up.service": 3}, ["is not a list", "'3' (up.service) is not a database"]),
        ({"other.service": ["products"]}, ["other.service is none of contimg_units"]),
        ({"a.timer": ["products"]}, ["a.timer is not a service"]),
        ({"up.service": ["ingest"]}, ["the database ingest (up.service) exists on neither side"]),
        ({"x.service": ["y"], "z.service": []}, ["x.service is none", "'y' (x.service) is no", "z.service is none"]),
    ],
)
def test_what_is_expected_to_be_open_is_judged(expected: dict[str, Any], obstacles: list[str]) -> None:
    judged = judge_expected(expected, STATES, mapped=["products", "hdf5", "ingest"], present=["products", "hdf5"])
    assert [words in one for words, one in zip(obstacles, judged.obstacles)] == [True] * len(obstacles)
    assert len(judged.obstacles) == len(obstacles)
    assert judged.findings == []


def test_that_a_unit_does_not_run_is_a_finding() -> None:
    judged = judge_expected({"off.service": ["products"]}, STATES, mapped=["products"], present=["products"])
    assert judged == Judged([], ["contimg_expect_open: off.service is inactive (dead) now"])
    none = judge_expected({"a.service": []}, {}, mapped=[], present=[])
    assert none.obstacles == ["contimg_expect_open: a.service is none of contimg_units (which is empty)."]


def test_a_unit_has_one_name_and_its_file_may_be_newer() -> None:
    judged = judge_names(
        {
            "api": State("api.service", "active (running)", watched=True),
            "up.service": State("up.service", "active (running)", watched=True, stale=True),
            "held.service": State("", "inactive (dead)", watched=False),
        }
    )
    assert judged.obstacles == ["contimg_units: api is called api.service by systemd. List it by that name."]
    assert [one[: len("contimg_units: the unit file of up.service")] for one in judged.findings] == [
        "contimg_units: the unit file of up.service"
    ]


@pytest.mark.parametrize(
    ("timeout", "obstacles", "findings"),
    [
        (121, [], []),
        (
            120,
            ["120 s do not exceed the 120 s that a.service and then b.service may take to stop (TimeoutStopSec, for"],
            [],
        ),
        (45, ["may take to stop", "that a.service may take to start again (TimeoutStartSec)"], []),
    ],
)
def test_a_time_that_limits_exceed_is_an_obstacle(timeout: float, obstacles: list[str], findings: list[str]) -> None:
    limits = {"a.service": Limits(60, 50), "b.service": Limits(60, 0, ("a.service",)), "a.socket": Limits(0, 0)}
    judged = judge_limits(timeout, [["a.socket"], ["a.service", "b.service"]], limits)
    assert [words in one for words, one in zip(obstacles, judged.obstacles)] == [True] * len(obstacles)
    assert len(judged.obstacles) == len(obstacles)
    assert judged.findings == findings


def test_a_container_has_the_time_that_it_asks_for() -> None:
    asked = {"a": 0, "b": 120, "c": 121}
    (found,) = judge_containers(120, asked).obstacles
    assert "120 s are less than the 121 s that container c asks for" in found


def test_what_never_gives_up_is_named() -> None:
    judged = judge_limits(300, [[], ["a.service"]], {"a.service": Limits(math.inf, math.inf)})
    assert len(judged.obstacles) == 1
    assert "a.service has TimeoutStopSec=infinity" in judged.obstacles[0]
    assert len(judged.findings) == 1
    assert "a.service has TimeoutStartSec=infinity" in judged.findings[0]
    assert judge_limits(1, [[], []], {}) == Judged()
