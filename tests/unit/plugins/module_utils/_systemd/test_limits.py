# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of how long units may take to stop and to start."""

from __future__ import annotations

import math

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.limits import (
    LIMIT_PROPERTIES,
    Limits,
    limits_of,
    longest_chain,
    start_limit,
    stop_limit,
)


@pytest.mark.parametrize(
    ("shown", "limits"),
    [
        ({"Type": "simple", "TimeoutStopUSec": "1min 30s", "TimeoutStartUSec": "1min 30s"}, Limits(90, 0)),
        ({"Type": "notify", "TimeoutStopUSec": "2s", "TimeoutStartUSec": "5min"}, Limits(2, 300)),
        (
            {"Type": "oneshot", "TimeoutStopUSec": "infinity", "TimeoutStartUSec": "infinity"},
            Limits(math.inf, math.inf),
        ),
        (
            {"Type": "exec", "TimeoutStopUSec": "0", "TimeoutStartUSec": "10s", "ExecStartPre": "{ path=/bin/true }"},
            Limits(0, 10),
        ),
        (
            {"Type": "simple", "TimeoutStopUSec": "10s", "ExecStop": "{ a }\n{ b }", "ExecStopPost": "{ c }"},
            Limits(40, 0),
        ),
        ({"TimeoutUSec": "1min"}, Limits(60, 60)),
        ({"After": "b.service c.socket"}, Limits(0, 0, ("b.service", "c.socket"))),
    ],
)
def test_limits_are_read(shown: dict[str, str], limits: Limits) -> None:
    assert limits_of({**dict.fromkeys(LIMIT_PROPERTIES, ""), **shown}) == limits


@pytest.mark.parametrize(
    ("after", "chain"),
    [
        ({}, ["c"]),
        ({"b": ["a"]}, ["a", "b"]),
        ({"b": ["a"], "c": ["a"]}, ["a", "c"]),
        ({"a": ["b"], "b": ["c"]}, ["c", "b", "a"]),
        ({"a": ["unknown"], "c": ["c"]}, ["c"]),
        ({"a": ["b"], "b": ["a"]}, ["b", "a"]),
    ],
)
def test_the_chain_that_takes_longest_is_found(after: dict[str, list[str]], chain: list[str]) -> None:
    assert longest_chain(["a", "b", "c"], {"a": 10, "b": 20, "c": 25}, after) == chain
    assert longest_chain([], {}, after) == []


def test_groups_are_stopped_and_started_one_after_the_other() -> None:
    limits = {
        "a.socket": Limits(5, 5),
        "a.service": Limits(90, math.inf, ("a.socket",)),
        "b.service": Limits(60, 7),
        "c.service": Limits(60, 8, ("b.service",)),
        "a.timer": Limits(0, 0),
    }
    assert stop_limit([["a.socket", "a.timer"], ["a.service"]], limits) == (95, ["a.socket", "a.service"])
    assert stop_limit([["a.timer"], ["a.service", "b.service", "c.service"]], limits) == (
        120,
        ["b.service", "c.service"],
    )
    assert start_limit(list(limits), limits) == (20, ["a.socket", "b.service", "c.service"])
