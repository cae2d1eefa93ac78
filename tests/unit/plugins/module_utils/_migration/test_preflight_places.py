# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of where a move writes, and what room it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import Need
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.preflight_places import (
    DatabaseSizes,
    Place,
    needs_of,
    place_obstacles,
    reserve_of,
    sizes_of,
    space_obstacles,
)

if TYPE_CHECKING:
    import pathlib

MARGIN = 16 << 20
PRODUCTS = DatabaseSizes("products", 100, 70, 120)
HDF5 = DatabaseSizes("hdf5", 40, 30, 40)
OTHER = DatabaseSizes("other", 10, 5, 60)


def test_what_lies_in_the_source_or_cannot_be_written_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "src")
    places = [
        Place("contimg_run_dir", f"{tmp_path}/run"),
        Place("contimg_run_dir", f"{tmp_path}/link/run"),
        Place("contimg_env_file", f"{tmp_path}/src", replaced=True),
        Place("contimg_state_dest", f"{tmp_path}/src/new", apart=False),
        Place("contimg_env_files", f"{tmp_path}/file/x.env", replaced=True),
        Place("contimg_run_dir", f"{tmp_path}/file"),
    ]
    assert place_obstacles(places, f"{tmp_path}/src") == [
        f"contimg_run_dir: {tmp_path}/link/run lies in contimg_state_src, which a move never changes. Name another place.",
        f"contimg_env_file: {tmp_path}/src lies in contimg_state_src, which a move never changes. Name another place.",
        f"contimg_env_files: {tmp_path}/file/x.env cannot be replaced: {tmp_path}/file is not a directory.",
        f"contimg_run_dir: {tmp_path}/file is not a directory.",
    ]


def test_a_file_that_would_be_edited_twice_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("a")
    places = [
        Place("contimg_run_dir", f"{tmp_path}"),
        Place("contimg_env_files", f"{tmp_path}/a", replaced=True),
        Place("contimg_unit_files", f"{tmp_path}/link", replaced=True),
        Place("contimg_unit_files", f"{tmp_path}/a", replaced=True),
        Place("contimg_unit_files", f"{tmp_path}/b", replaced=True),
    ]
    assert place_obstacles(places, f"{tmp_path}/src") == [
        f"contimg_env_files, contimg_unit_files: {tmp_path}/a is named 3 times. Name it once."
    ]


def test_databases_are_measured_where_they_stand(tmp_path: pathlib.Path) -> None:
    (tmp_path / "src" / "db").mkdir(parents=True)
    (tmp_path / "dest").mkdir()
    for name, size in {
        "src/db/a": 1000,
        "src/db/a-wal": 300,
        "src/db/a-shm": 50,
        "dest/a": 700,
        "dest/a-journal": 90,
    }.items():
        (tmp_path / name).write_bytes(bytes(size))
    databases = [{"name": "a", "src": ["a", "db/a"], "dest": "a"}, {"name": "b", "src": ["b"], "dest": "b"}]
    assert sizes_of(str(tmp_path / "src"), str(tmp_path / "dest"), databases) == [
        DatabaseSizes("a", 1000, 790, 1600),
        DatabaseSizes("b", 0, 0, 0),
    ]


@pytest.mark.parametrize(
    ("sizes", "taken", "vacuum", "needs"),
    [
        ([], [], False, (MARGIN, 0, 0)),
        ([OTHER], [], False, (MARGIN, 0, 60)),
        ([OTHER], ["other"], False, (MARGIN + 5, 0, 60)),
        ([PRODUCTS, HDF5, OTHER], [], False, (MARGIN + 100, 100, 120 + 60 + 100)),
        ([PRODUCTS, HDF5, OTHER], ["products"], True, (MARGIN + 170, 300, 120 + 60 + 100)),
    ],
)
def test_backups_the_split_and_private_copies_are_counted(
    sizes: list[DatabaseSizes],
    taken: list[str],
    vacuum: bool,  # noqa: FBT001
    needs: tuple[int, int, int],
) -> None:
    found = needs_of(sizes, taken, run_dir="/run", dest="/dest", private="/tmp", vacuum=vacuum)
    assert tuple(need.size for need in found) == needs
    assert [need.place for need in found] == ["/run", "/dest", "/tmp"]


def test_needs_of_one_place_are_added_up_and_a_shortage_has_the_name_of_its_variable(tmp_path: pathlib.Path) -> None:
    place = str(tmp_path)
    needs = [Need(place, "x", 1 << 60), Need(place, "y", 1)]
    assert reserve_of(needs) == {place: (1 << 60) + 1}
    (found,) = space_obstacles(needs, {place: "contimg_tmp_dir"})
    assert found.startswith(f"contimg_tmp_dir: {place} has not enough space: {(1 << 60) + 1} bytes are needed (x: ")
    assert space_obstacles([Need(place, "x", 1)], {place: "contimg_tmp_dir"}) == []
