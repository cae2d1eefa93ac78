# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Globs mean what they mean to rsync and to fnmatch(3), which are the judges; a bracket that cannot be meant is refused."""

from __future__ import annotations

import ctypes
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import name_expression, require_globs
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import scan

if TYPE_CHECKING:
    from pathlib import Path

CHARACTERS = [chr(code) for code in range(1, 127) if chr(code) not in "/.d"]
NAMES = [*CHARACTERS, "a1.log", "ab.log", "a-", "[a]", "d/y", "d/1", "x1y", "x\ny", ".h"]
CLASSES = ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"]
GLOBS = [
    *(f"[[:{name}:]]" for name in CLASSES),
    *(f"[![:{name}:]]" for name in CLASSES),
    "a[[:digit:]].log",
    "[[:digit:]b]*",
    "[a[:digit:]x-z]",
    "[]]",
    "[]-a]",
    "[!]]",
    "[^]a]*",
    "[\\]]",
    "[\\!a]",
    "[a\\-c]",
    "[a-c]",
    "[-a]",
    "[a-]",
    "[!-]",
    "[a-c-e]",
    "[[]",
    "[[a]",
    "[a[]*",
    "\\[a\\]",
    "x[/]y",
    "x[!a]y",
    "x?y",
    "x*y",
    "[.]h",
    "*[[:space:]]*",
    "a*",
]


@pytest.fixture(name="tree", scope="module")
def _tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in NAMES:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("glob", GLOBS)
def test_a_glob_excludes_what_it_excludes_from_a_copy_by_rsync(tree: Path, tmp_path: Path, glob: str) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["rsync", "-r", f"--exclude={glob}", f"{tree}/", str(copy)], check=True)
    wanted = {str(path.relative_to(copy)) for path in copy.rglob("*")}
    with open_root(str(tree)) as root:
        assert {os.fsdecode(path) for path in scan(root, [glob]) if path} == wanted


@pytest.mark.parametrize("glob", [*GLOBS, "*/[[:digit:]]", "*y"])
def test_a_glob_of_names_is_one_of_the_c_library(glob: str) -> None:
    fnmatch = ctypes.CDLL(None).fnmatch
    expression = name_expression((glob,))
    for name in NAMES:
        wanted = fnmatch(os.fsencode(glob), os.fsencode(name), 0) == 0
        assert (expression.fullmatch(os.fsencode(name)) is not None) == wanted, name


@pytest.mark.parametrize(
    ("glob", "why"),
    [
        ("[z-a]", "the range z-a is empty"),
        ("[!z-a]", "the range z-a is empty"),
        ("a[b-a]c", "the range b-a is empty"),
        ("[[:nope:]]", "there is no class [:nope:]"),
        ("[[:Digit:]]", "there is no class [:Digit:]"),
        ("[[.a.]]", "'[.' in a bracket is not supported"),
        ("[[=a=]]", "'[=' in a bracket is not supported"),
        ("[a-[:digit:]]", "'a-[:' in a bracket is not supported"),
        ("[[:digit:]", "'[:' in a bracket is not supported"),
        ("[", "it has a '[' that no ']' closes"),
        ("[a", "it has a '[' that no ']' closes"),
        ("[]", "it has a '[' that no ']' closes"),
        ("[!]", "it has a '[' that no ']' closes"),
    ],
)
def test_a_bracket_that_cannot_be_meant_is_refused(glob: str, why: str) -> None:
    with pytest.raises(ContimgError) as caught:
        require_globs(["*", glob])
    hint = "Nothing was touched. Correct the glob; '\\[' is the character itself."
    assert caught.value.message == f"{glob}: is not a glob: {why}. {hint}"
