# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of which variable stands for a path."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._references.variables import Target, Variable, Variables

VARIABLES = Variables(
    [Variable("/old", "DIR", "/new"), Variable("/old/db/p", "P", "/new/p"), Variable("/old/cat", "CAT", "/new/cat")],
    "/old/",
)


@pytest.mark.parametrize(
    ("path", "name", "becomes"),
    [
        ("/old", "DIR", "/new"),
        ("/old/", "DIR", "/new/"),
        ("/old/x/y", "DIR", "/new/x/y"),
        ("/old/db/p", "P", "/new/p"),
        ("/old/db/p/x", "P", "/new/p/x"),
        ("/old/db/px", "DIR", "/new/db/px"),
        ("/old/cat", "CAT", "/new/cat"),
    ],
)
def test_the_longest_match_decides(path: str, name: str, becomes: str) -> None:
    target = VARIABLES.target(path)
    assert isinstance(target, Target)
    assert (target.variable.name, target.path) == (name, becomes)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/older", "no variable stands for it"),
        ("/old/../x", "the path is not normal"),
        ("/old//x", "the path is not normal"),
        ("/old/db", "/old/db/p, which lies in it, is renamed (P)"),
        ("/old/db/", "/old/db/p, which lies in it, is renamed (P)"),
    ],
)
def test_a_path_without_a_target_says_why(path: str, reason: str) -> None:
    assert VARIABLES.target(path) == reason


@pytest.mark.parametrize(
    "variable",
    [
        Variable("/old", "1X", "/new"),
        Variable("/old", "X", "new"),
        Variable("/old/", "X", "/new"),
        Variable("/old", "X", '/ne"w'),
        Variable("/other", "X", "/new"),
        Variable("/old", "X", "/old/new"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused(variable: Variable) -> None:
    with pytest.raises(ContimgError):
        Variables([variable], "/old")
