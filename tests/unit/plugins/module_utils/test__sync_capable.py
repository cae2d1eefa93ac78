# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A destination that cannot hold the tree's metadata is refused before anything is copied: on real ones."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.mounts import run_on_old_ext4, run_on_ramfs
from ansible_collections.dsa110.contimg.tests.support.sync_options import sync_values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = """
import json, os, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import options_from, synchronize
values = json.loads(sys.argv[1])
def copied(**more):
    try:
        changed = [synchronize(options_from({**values, **more}), check=False)["changed"] for _run in range(2)]
        return {"changed": changed, "there": sorted(os.listdir(values["dest"]))}
    except ContimgError as error:
        return {**error.result(), "there": os.listdir(values["dest"])}
print(json.dumps([copied(), copied(allow_loss=sys.argv[2].split())]))
"""


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    src = tmp_path / "src"
    src.mkdir()
    (src / "file").write_bytes(b"content")
    os.utime(src / "file", ns=(0, 0))
    os.utime(src, ns=(0, 0))
    (tmp_path / "old").mkdir()
    return tmp_path


def copied(base: Path, run: Callable[..., str], allowed: str) -> tuple[dict[str, object], dict[str, object]]:
    """Copy to a file system: first with no loss allowed, then with some."""
    values = sync_values(base, dest=str(base / "old" / "dest"))
    strict, tolerant = json.loads(run(base / "old", RUN, json.dumps(values), allowed))
    return strict, tolerant


@pytest.mark.parametrize("run", [run_on_old_ext4, run_on_ramfs])
def test_what_the_tree_does_not_need_is_not_asked_for(base: Path, run: Callable[..., str]) -> None:
    strict, _again = copied(base, run, "")
    assert strict == {"changed": [True, False], "there": ["file"]}


def test_fractions_of_seconds_are_refused_or_given_up(base: Path) -> None:
    os.utime(base / "src" / "file", ns=(0, 1_500_000_000))
    strict, tolerant = copied(base, run_on_old_ext4, "nanoseconds")
    assert strict["msg"] == (
        f"{base}/old/dest: cannot hold what the source has: nanoseconds. Nothing was copied. "
        "Name what may be lost in allow_loss, or choose another destination."
    )
    assert strict["lost"] == ["nanoseconds"]
    assert strict["there"] == []
    assert tolerant == {"changed": [True, False], "there": ["file"]}


def test_attributes_and_acls_are_refused_or_given_up(base: Path) -> None:
    os.setxattr(base / "src" / "file", "user.note", b"1")
    subprocess.run(["setfacl", "-m", "u:1:r", str(base / "src")], check=True)
    strict, tolerant = copied(base, run_on_ramfs, "xattr acl")
    assert strict["lost"] == ["xattr", "acl"]
    assert tolerant == {"changed": [True, False], "there": ["file"]}
