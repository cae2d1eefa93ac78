# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the order in which units are stopped and started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.order import in_order, starting_groups

if TYPE_CHECKING:
    pass


def test_units_are_put_in_the_order_that_they_ask_for() -> None:
    after = {"c": ["b"], "b": ["a"], "x": ["y"], "y": ["x"]}
    assert in_order(["c", "x", "b", "y", "a"], after) == ["a", "b", "c", "y", "x"]
    assert in_order([], after) == []


def test_sockets_listen_before_their_service_runs_and_timers_come_last() -> None:
    names = ["a.timer", "b.path", "a.service", "m.mount", "a.socket", "c.service"]
    assert starting_groups(names, {"a.service": ["c.service", "a.socket"]}) == [
        ["a.socket"],
        ["c.service", "a.service", "m.mount"],
        ["a.timer", "b.path"],
    ]
