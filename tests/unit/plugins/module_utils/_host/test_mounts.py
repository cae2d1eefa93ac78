# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the reading of mountinfo."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import (
    Mount,
    Place,
    is_within,
    mount_of,
    parse_mounts,
    places_of,
)

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 22 0:40 /@data /data rw shared:2 master:1 - btrfs /dev/sdb rw
31 30 8:1 /srv/old /data/old\\040state rw - ext4 /dev/sda1 rw
32 22 0:41 / /run rw - tmpfs tmpfs rw
33 32 0:42 / /run rw - tmpfs tmpfs rw
"""


def test_a_table_is_read_with_its_escapes() -> None:
    mounts = parse_mounts(TABLE)
    assert mounts[2] == Mount(31, "8:1", "/srv/old", "/data/old state", "ext4", "/dev/sda1")
    assert [one.number for one in mounts] == [22, 30, 31, 32, 33]


@pytest.mark.parametrize(
    ("path", "number", "place"),
    [
        ("/stage/state", 22, Place("8:1", "/stage/state")),
        ("/data", 30, Place("0:40", "/@data")),
        ("/data/state/a", 30, Place("0:40", "/@data/state/a")),
        ("/data/old state/x", 31, Place("8:1", "/srv/old/x")),
        ("/database", 22, Place("8:1", "/database")),
        ("/run/x", 33, Place("0:42", "/x")),
    ],
)
def test_a_path_lies_on_the_last_of_the_nearest_mounts(path: str, number: int, place: Place) -> None:
    mount = mount_of(parse_mounts(TABLE), path)
    assert mount
    assert (mount.number, mount.place(path)) == (number, place)


def test_what_is_mounted_below_a_path_is_part_of_it() -> None:
    assert places_of(["/data"], parse_mounts(TABLE)) == (Place("0:40", "/@data"), Place("8:1", "/srv/old"))
    assert places_of(["/data"], []) == ()


@pytest.mark.parametrize(
    ("path", "directory", "within"),
    [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/a", "/", True), ("/", "/a", False)],
)
def test_within_is_by_whole_names(path: str, directory: str, within: bool) -> None:  # noqa: FBT001
    assert is_within(path, directory) is within
