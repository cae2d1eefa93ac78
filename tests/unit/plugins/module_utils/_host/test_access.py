# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what another user may do, as the kernel answers it."""

from __future__ import annotations

import getpass
import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host.access import lost_access, shut_out


@pytest.fixture(name="sides")
def _sides() -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """Make two directories that anybody can reach, each with a database that anybody may write."""
    with tempfile.TemporaryDirectory() as name:
        base = pathlib.Path(name)
        base.chmod(0o755)
        for side in ("old", "new"):
            (base / side).mkdir()
            (base / side).chmod(0o777)
            (base / side / "a.sqlite3").touch()
            (base / side / "a.sqlite3").chmod(0o666)
        yield base / "old", base / "new"


@pytest.mark.parametrize(
    ("where", "mode", "lost"),
    [
        ("a.sqlite3", 0o666, []),
        ("a.sqlite3", 0o644, ["write"]),
        ("a.sqlite3", 0o600, ["read", "write"]),
        (".", 0o755, ["make files beside"]),
        (".", 0o700, ["read", "write", "make files beside"]),
    ],
)
def test_what_a_user_could_do_before_is_told(
    sides: tuple[pathlib.Path, pathlib.Path], where: str, mode: int, lost: list[str]
) -> None:
    old, new = (side / "a.sqlite3" for side in sides)
    (sides[1] / where).chmod(mode)
    may_ask = os.geteuid() == 0
    expected = [{"user": "nobody", "path": str(new), "lost": lost}] if lost and may_ask else []
    standing = (os.geteuid(), os.getegid(), os.getgroups())
    assert lost_access(["nobody", "no-such-user"], [(str(old), str(new))]) == expected
    assert (os.geteuid(), os.getegid(), os.getgroups()) == standing


def test_what_a_user_could_not_do_before_is_not_lost(sides: tuple[pathlib.Path, pathlib.Path]) -> None:
    for side in sides:
        (side / "a.sqlite3").chmod(0o644)
    assert lost_access(["nobody"], [(str(sides[0] / "a.sqlite3"), str(sides[1] / "a.sqlite3"))]) == []


def test_one_can_always_ask_for_oneself(sides: tuple[pathlib.Path, pathlib.Path]) -> None:
    old, new = (str(side / "a.sqlite3") for side in sides)
    assert lost_access([getpass.getuser()], [(old, new), (old, new + "-gone")])[-1]["path"] == new + "-gone"


def test_who_may_not_enter_a_directory_is_named(sides: tuple[pathlib.Path, pathlib.Path]) -> None:
    users = ["nobody", "no-such-user", getpass.getuser()]
    assert shut_out(users, str(sides[0])) == []
    sides[0].chmod(0o700)
    assert shut_out(users, str(sides[0])) == (["nobody"] if os.geteuid() == 0 else [])
