# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inode flags are read and added as chattr does it: on real files."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.inode_flags import (
    CARRIED,
    UNCARRIED,
    add_flags,
    flags_of,
    letters_of,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_flags_are_named_as_lsattr_does(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    subprocess.run(["chattr", "+AdS", str(file)], check=True)
    with file.open() as opened:
        assert letters_of(flags_of(opened.fileno())) == "SdA"


def test_flags_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    subprocess.run(["chattr", "+A", str(tmp_path)], check=True)
    (tmp_path / "file").touch()  # which inherits it
    with (tmp_path / "file").open() as opened:
        add_flags(opened.fileno(), 0x40)
        add_flags(opened.fileno(), 0x40)
        assert letters_of(flags_of(opened.fileno())) == "dA"


def test_what_has_no_flags_has_none_and_gets_none() -> None:
    with open("/proc/self/status", encoding="ascii") as opened:
        assert flags_of(opened.fileno()) == 0
        with pytest.raises(OSError, match=os.strerror(25)):
            add_flags(opened.fileno(), 0x40)


def test_flags_that_cannot_be_read_are_not_taken_for_none() -> None:
    with pytest.raises(OSError, match=os.strerror(9)):
        flags_of(99999)


def test_no_flag_is_both_carried_and_not() -> None:
    assert not CARRIED & UNCARRIED
    assert letters_of(CARRIED | UNCARRIED) == "SiadAjDCx"
