# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of unit files as text."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.unit_files import (
    logs_of,
    parse_unit_files,
    specifiers_expanded,
)

UNIT = """\
# StandardOutput=append:/commented
[Service]
Environment=A=1
  Environment = B=2 \\
# a comment within
  C=3
; another
StandardOutput=append:/stage/state/logs/%N.out
StandardError=append:/old
BindPaths=/stage/state
no assignment
"""
DROP_IN = """\
[Service]
StandardError=file:/stage/state/logs/%i.err
BindPaths=
BindPaths=-/data/state
"""


def test_the_last_single_setting_wins_and_lists_add_up_till_an_empty_one() -> None:
    settings = parse_unit_files([UNIT, DROP_IN])
    assert settings["Environment"] == ["A=1", "B=2    C=3"]
    assert settings["BindPaths"] == ["-/data/state"]
    assert settings["StandardError"] == ["file:/stage/state/logs/%i.err"]
    assert "no assignment" not in settings
    assert parse_unit_files(["[Service]\nUser=a\nUser=\n"])["User"] == []


def test_the_files_that_output_goes_to_are_named() -> None:
    settings = parse_unit_files([UNIT, DROP_IN])
    assert logs_of(settings, "contimg-stream@7.service") == [
        "/stage/state/logs/7.err",
        "/stage/state/logs/contimg-stream@7.out",
    ]
    assert logs_of(parse_unit_files(["StandardOutput=journal\nStandardError=inherit"]), "a.service") == []
    assert logs_of({}, "a.service") == []


@pytest.mark.parametrize(
    ("value", "expanded"),
    [
        ("%n", "a-b@c-d\\x2de.service"),
        ("%N", "a-b@c-d\\x2de"),
        ("%p %P", "a-b a/b"),
        ("%i %I", "c-d\\x2de c/d-e"),
        ("100%%", "100%"),
        ("%t/x", "%t/x"),
    ],
)
def test_specifiers_that_name_the_unit_are_expanded(value: str, expanded: str) -> None:
    assert specifiers_expanded(value, "a-b@c-d\\x2de.service") == expanded
