# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filter ``verify_findings``."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.filter.verify_findings import FilterModule, verify_findings

OLD = "/stage/state"
SEEN: dict[str, Any] = {
    "old": {"matches": True, "missing": [], "changed_files": [], "unknown": []},
    "new": {"missing_total": 0, "missing": []},
    "rows": {"fell_below": [], "unreadable": {}},
    "users": {"users": [], "complete": False},
    "open": {"holders": []},
    "links": [],
    "unread": [],
    "prove": False,
}
KNOWN = "list them in contimg_known_references."
HOLDER = {"pid": 7, "command": "api"}


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({}, None),
        ({"old": {"skipped": True}}, None),
        (
            {"old": {"matches": False, "missing": ["a"], "changed_files": ["b"], "unknown": ["c"]}},
            f"{OLD}: no longer what the manifest says: a, b, c",
        ),
        ({"new": {"missing_total": 1, "missing": ["a"]}}, "/new: missing: a"),
        ({"rows": {"fell_below": ["p.t"], "unreadable": {}}}, "Fewer rows than recorded: p.t"),
        ({"rows": {"fell_below": [], "unreadable": {"p": "is gone"}}}, "is gone"),
        (
            {"links": ["a -> b"]},
            f"These symbolic links lead into {OLD}: a -> b. Let them point into /new (ln -sfn), or {KNOWN}",
        ),
        ({"unread": ["/x: denied"]}, "Not looked through for links: /x: denied"),
        (
            {"users": {"users": ["a.service"], "complete": True}},
            f"{OLD}: still named by a.service. Repoint them (contimg_env_files, contimg_unit_files), or {KNOWN}",
        ),
        ({"prove": True}, "Not everything could be looked at: crontabs or mounts"),
        ({"open": {"holders": [HOLDER]}}, f'{OLD}: still open in {{"pid": 7, "command": "api"}}'),
    ],
)
def test_a_sentence_for_each_thing_that_is_not_as_it_was_proved(changed: dict[str, Any], finding: str | None) -> None:
    assert verify_findings({**SEEN, **changed}, OLD, "/new") == ([] if finding is None else [finding])


def test_it_is_the_function_of_this_file() -> None:
    assert FilterModule().filters() == {"verify_findings": verify_findings}
