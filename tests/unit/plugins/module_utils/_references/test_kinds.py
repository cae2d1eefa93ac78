# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the kinds of uses."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._references.kinds import KINDS, language_of, line_kind

LANGUAGES = {
    "a.py": "python",
    "a.sh": "shell",
    ".bashrc": "shell",
    "contimg-stream.service": "unit",
    "contimg.env": "env",
    ".env": "env",
    ".env.production": "env",
    "docker-compose.yml": "yaml",
    "package.json": "json",
    "notebook.ipynb": "json",
    "README.md": "doc",
    "README": "doc",
    "paths.txt": "text",
    "crontab": "text",
    "settings.conf": "text",
}


@pytest.mark.parametrize(("name", "language"), LANGUAGES.items())
def test_a_name_tells_the_language(name: str, language: str) -> None:
    assert language_of(name, "") == language
    assert language in KINDS


@pytest.mark.parametrize(
    ("name", "start", "language"),
    [
        ("run", "#!/usr/bin/env python3.11\n", "python"),
        ("run", "#!/opt/casa6/bin/python -u\n", "python"),
        ("run", "#!/bin/bash -e\n", "shell"),
        ("run", "#!/usr/bin/env -S bash\n", "shell"),
        ("run", "#!/usr/bin/perl\n", "text"),
        ("60-state.conf", "# x\n[Service]\nA=1\n", "unit"),
    ],
)
def test_the_first_line_tells_where_the_name_does_not(name: str, start: str, language: str) -> None:
    assert language_of(name, start) == language


@pytest.mark.parametrize(
    ("language", "line", "kind"),
    [
        ("shell", "  # cp @", "comment"),
        ("shell", "cp @ # here", "shell"),
        ("shell", "cp x # @", "comment"),
        ("shell", "echo '# @'", "shell"),
        ("shell", "echo a#@", "shell"),
        ("unit", "; @", "comment"),
        ("unit", "ExecStart=/bin/x # @", "unit"),
        ("env", "#A=@", "comment"),
        ("env", "A=x # @", "env"),
        ("yaml", "a: '@' # x", "yaml"),
        ("yaml", "a: x # @", "comment"),
        ("json", '"#": "@"', "json"),
        ("doc", "# @", "doc"),
        ("text", "// @", "comment"),
        ("text", "-- @", "comment"),
        ("text", "--volume=@:/x", "text"),
        ("text", "  --state @", "text"),
        ("text", "//@", "text"),
        ("shell", "#!@/bin/python", "shell"),
        ("python", "#!@/bin/python", "python"),
        ("python", "x = 1 # @", "comment"),
    ],
)
def test_a_line_tells_the_kind(language: str, line: str, kind: str) -> None:
    assert line_kind(language, line, line.index("@")) == kind
