# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.filter.fleet_summary import fleet_summary

BACK = {"phase": "rolled_back", "next": "move it again", "failed": True}
START = "dsa110.contimg.migrate, when the cause of the failures is corrected"
LOST = "read the last message of each; dsa110.contimg.migrate goes on where the host stands"


@pytest.mark.parametrize(
    ("outcome", "in_play", "lines"),
    [
        ({"phase": "done", "next": "verify", "downtime": 5.5}, True,
         ["moved (1): one (its services were down for 5.5 s)", "verify"]),
        ({"phase": "done", "next": "verify", "downtime": ""}, True, ["moved (1): one", "verify"]),
        ({"phase": "done", "next": "verify", "failed": True}, False, ["failed (1): one (failed)", "verify"]),
        ({"phase": "", "next": "preview"}, True, ["untouched (1): one", "preview"]),
        ({"phase": "", "next": "preview", "failed": True}, False, ["untouched (1): one (failed)", "preview"]),
        ({**BACK, "downtime": 2.0, "reason": 'Failed at "Split"'}, False,
         ['rolled back (1): one (its services were down for 2.0 s, Failed at "Split")', "move it again"]),
        ({**BACK, "down": ["a.service is inactive (dead)"]}, False,
         ["failed (1): one (DOWN: a.service is inactive (dead), failed)", "move it again"]),
        ({"phase": "started", "next": "go on", "failed": True}, False, ["failed (1): one (failed)", "go on"]),
        ({"phase": "presynced", "next": "go on"}, True, ["unfinished (1): one", "go on"]),
        ({"phase": "unknown", "next": "", "failed": True}, False, ["failed (1): one (failed)", LOST]),
        ({"waiting": True}, True, ["waiting (1): one", START]),
        ({}, True, ["waiting (1): one", START]),
        ({}, False, ["failed or unreachable (1): one", LOST]),
    ],
)  # fmt: skip
def test_what_became_of_a_host(outcome: dict[str, Any], in_play: bool, lines: list[str]) -> None:  # noqa: FBT001
    assert fleet_summary({"one": outcome}, ["one"] if in_play else []) == [lines[0], f"  next: {lines[1]}"]


def test_every_host_is_named_once_with_those_of_its_kind() -> None:
    moved = {"phase": "done", "next": "verify"}
    hosts: dict[str, dict[str, Any]] = {"a": {}, "b": BACK, "c": moved, "d": {}, "e": moved}
    assert fleet_summary(hosts, ["a", "c", "e"]) == [
        "moved (2): c, e",
        "  next: verify",
        "rolled back (1): b (failed)",
        "  next: move it again",
        "waiting (1): a",
        f"  next: {START}",
        "failed or unreachable (1): d",
        f"  next: {LOST}",
    ]
