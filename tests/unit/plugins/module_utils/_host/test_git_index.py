# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the look into git's index, on a checkout that git made."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host.git_index import tracking_checkout

if TYPE_CHECKING:
    import pathlib


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A checkout that tracks ``ops/contimg.env``, besides files that are not tracked."""
    root = tmp_path / "checkout"
    (root / "ops").mkdir(parents=True)
    for name in ("ops/contimg.env", "contimg.env", "ops/other.env"):
        (root / name).write_bytes(b"A=1\n")
    for command in (["init", "-q"], ["add", "ops/contimg.env"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    return root


@pytest.mark.parametrize(
    ("name", "tracked"), [("ops/contimg.env", True), ("contimg.env", False), ("ops/other.env", False), ("none", False)]
)
def test_a_file_is_tracked_by_its_whole_name(checkout: pathlib.Path, name: str, *, tracked: bool) -> None:
    assert tracking_checkout(str(checkout / name)) == (str(checkout) if tracked else "")


def test_the_extended_flags_of_version_3_are_known(checkout: pathlib.Path) -> None:
    subprocess.run(["git", "-C", str(checkout), "add", "--intent-to-add", "ops/other.env"], check=True)
    assert (checkout / ".git" / "index").read_bytes()[4:8] == b"\0\0\0\3"
    assert tracking_checkout(str(checkout / "ops" / "other.env")) == str(checkout)


def test_a_link_is_asked_for_its_target(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to(checkout / "ops" / "contimg.env")
    assert tracking_checkout(str(tmp_path / "link")) == str(checkout)


def test_without_a_checkout_nothing_is_tracked(tmp_path: pathlib.Path) -> None:
    assert tracking_checkout(str(tmp_path / "contimg.env")) == ""
