# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what file systems have room for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import (
    Need,
    Room,
    existing_parent,
    require_room,
    room_at,
    shortages,
)

if TYPE_CHECKING:
    import pathlib

ONE, OTHER = Room(1, 100, 10), Room(2, 50, None)


@pytest.mark.parametrize(
    ("needs", "rooms", "says"),
    [
        ([], {}, []),
        ([Need("/a", "x", 100, 10)], {"/a": ONE}, []),
        (
            [Need("/a", "x", 101)],
            {"/a": ONE},
            [("/a", "has not enough space: 101 bytes are needed (x: 101), 100 are free")],
        ),
        (
            [Need("/a", "x", 60), Need("/b", "y", 41), Need("/c", "z", 50)],
            {"/a": ONE, "/b": ONE, "/c": OTHER},
            [("/a", "has not enough space: 101 bytes are needed (x in /a: 60, y in /b: 41), 100 are free")],
        ),
        (
            [Need("/a", "x", 1, 6), Need("/b", "y", 0, 5), Need("/c", "z", 51)],
            {"/a": ONE, "/b": ONE, "/c": OTHER},
            [
                ("/a", "has not enough inodes: 11 are needed, 10 are free"),
                ("/c", "has not enough space: 51 bytes are needed (z: 51), 50 are free"),
            ],
        ),
        ([Need("/a", "x", 10**9, 10**9)], {"/a": Room(1, None, None)}, []),
    ],
)
def test_needs_are_added_up_for_each_file_system(
    needs: list[Need], rooms: dict[str, Room], says: list[tuple[str, str]]
) -> None:
    assert shortages(needs, rooms) == says


def test_the_room_is_that_of_the_nearest_directory_that_exists(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "x" / "y")
    assert existing_parent(place) == str(tmp_path)
    room = room_at(place)
    assert room.device == os.stat(tmp_path).st_dev
    assert room.size is not None
    require_room([Need(place, "x", 1)], hint="")
    with pytest.raises(ContimgError, match=f"{place}: has not enough space: .* free. Make room."):
        require_room([Need(place, "x", 1 << 60)], hint="Make room.")
