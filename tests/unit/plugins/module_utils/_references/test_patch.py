# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the patch, judged by git itself."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._references.patch import patch_root, unified

if TYPE_CHECKING:
    import pathlib

NAMES = ["a.py", "b c/d e.py", "é/ü.py", 'quote".py', "back\\slash.py", "tab\t.py", "new\nline.py", "-x.py", "a/b/c.py"]
PAIRS = [
    (b"1\n2\n3\n", b"1\nX\n3\n"),
    (b"1\r\n2\r\n", b"1\r\nX\r\n"),
    (b"1\n2", b"1\nX"),
    (b"1\n2", b"0\n1\n2"),
    (b"a\x0cb\x1d\xe2\x80\xa8\xe9\rc\n", b"import os\na\x0cb\x1d\xe2\x80\xa8\xe9\rX\n"),
    (b"\n" * 30 + b"x\n" + b"\n" * 30 + b"y", b"\n" * 30 + b"X\n" + b"\n" * 30 + b"Y"),
]


def applied(root: pathlib.Path, patch: bytes) -> None:
    """Let git apply a patch."""
    done = subprocess.run(["git", "apply", "-"], cwd=root, input=patch, capture_output=True, check=False)
    assert done.returncode == 0, (done.stderr, patch)


@pytest.mark.parametrize("checkout", [True, False])
def test_git_applies_one_patch_of_all(tmp_path: pathlib.Path, *, checkout: bool) -> None:
    if checkout:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    patch = b""
    for name in NAMES:
        for number, (before, after) in enumerate(PAIRS):
            path = tmp_path / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(before)
            patch += unified(f"{number}/{name}", before, after)
    applied(tmp_path, patch)
    found = [(tmp_path / str(number) / name).read_bytes() for name in NAMES for number in range(len(PAIRS))]
    assert found == [after for _name in NAMES for _before, after in PAIRS]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.binary(max_size=3), st.binary(max_size=3)), min_size=1, max_size=12), st.booleans())
def test_git_applies_any_change(
    tmp_path: pathlib.Path,
    pairs: list[tuple[bytes, bytes]],
    ended: bool,  # noqa: FBT001
) -> None:
    clean = [(old.replace(b"\0", b""), new.replace(b"\0", b"")) for old, new in pairs]
    end = b"\n" if ended else b""
    before, after = (b"\n".join(side) + end for side in zip(*clean))
    if before != after:
        (tmp_path / "x").write_bytes(before)
        applied(tmp_path, unified("x", before, after))
        assert (tmp_path / "x").read_bytes() == after if after else not (tmp_path / "x").read_bytes()


def test_the_root_is_the_checkout_or_the_common_directory(tmp_path: pathlib.Path) -> None:
    for name in ("one/scripts", "one/src", "two"):
        (tmp_path / name).mkdir(parents=True)
    os.mkdir(tmp_path / "one/.git")
    assert patch_root([str(tmp_path / "one/scripts"), str(tmp_path / "one/src")]) == str(tmp_path / "one")
    assert patch_root([str(tmp_path / "one/scripts"), str(tmp_path / "two")]) == str(tmp_path)
