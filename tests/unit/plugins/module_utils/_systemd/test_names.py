# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what names and patterns of units stand for; the integration targets ask a real systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.names import (
    installed_templates,
    is_pattern,
    resolved_units,
    templates_of,
    units_of,
    with_instance,
)

if TYPE_CHECKING:
    import pathlib

LISTED = """\
wk@1.service loaded active running One
wk@10.service loaded inactive dead Ten
wk@.service static -
"""


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a.service", False),
        ("a@b\\x2dc.service", False),
        ("wk@*.service", True),
        ("a?.timer", True),
        ("[ab].path", True),
    ],
)
def test_a_name_with_a_wildcard_is_a_pattern(name: str, is_one: bool) -> None:  # noqa: FBT001
    assert is_pattern(name) is is_one


def test_a_pattern_stands_for_what_systemd_lists_and_what_is_remembered(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{LISTED}END\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    resolved = resolved_units(["b.service", "wk@*.service"], remembered=["wk@7.service", "other.service"])
    assert resolved == {"b.service": ["b.service"], "wk@*.service": ["wk@1.service", "wk@10.service", "wk@7.service"]}
    assert units_of({**resolved, "wk@1.service": ["wk@1.service"]}) == ["b.service", *resolved["wk@*.service"]]
    assert templates_of(resolved) == ["wk@.service"]
    assert installed_templates() == ["wk@.service"]
    assert with_instance("wk@.service", "7") == "wk@7.service"


def test_systemd_is_not_asked_for_a_plain_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert resolved_units(["wk@1.service", "wk@.service"]) == {"wk@1.service": ["wk@1.service"], "wk@.service": []}
    assert templates_of({"wk@1.service": ["wk@1.service"]}) == []
