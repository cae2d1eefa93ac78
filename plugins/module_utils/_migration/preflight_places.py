# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a move may write where it has to, and whether there is room for its backups and private copies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_file
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import Need, room_at, shortages
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import is_within
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import (
    directory_obstacle,
    replacing_obstacle,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["DatabaseSizes", "Place", "needs_of", "place_obstacles", "reserve_of", "sizes_of", "space_obstacles"]

_MARGIN = 16 << 20  # bytes of the run directory for record, holds, environment files, a patch and unit files


class Place(NamedTuple):
    """Where a move writes.

    :ivar variable: the operator's name for it.
    :ivar replaced: whether it is a file that is replaced, not a directory that is written into.
    :ivar apart: whether it must not lie in the source; of the destination itself the map of the databases judges that.
    """

    variable: str
    path: str
    replaced: bool = False
    apart: bool = True


class DatabaseSizes(NamedTuple):
    """What a database of the map takes, in bytes; 0 where it does not exist.

    :ivar source: the main file in the source.
    :ivar dest: the main file and its sidecars at the destination.
    :ivar private: what a private copy of either takes at most, its log twice: once as it is, once in the main file.
    """

    name: str
    source: int
    dest: int
    private: int


def place_obstacles(places: Iterable[Place], src: str) -> list[str]:
    """Return what is wrong with where a move writes: not writable, in the source, which is never changed, or a file named twice."""
    root = os.path.realpath(src)
    listed = list(places)
    found = _named_twice([place for place in listed if place.replaced])
    for place in listed:
        shown = f"{place.variable}: {printable(place.path)}"
        if place.apart and is_within(os.path.realpath(place.path), root):
            found.append(f"{shown} lies in contimg_state_src, which a move never changes. Name another place.")
            continue
        what = replacing_obstacle(place.path) if place.replaced else directory_obstacle(place.path)
        found += [f"{shown} {what}."] if what else []
    return found


def _named_twice(files: Iterable[Place]) -> list[str]:
    """Return which files are to be edited twice: the second preview would be made of a file that the first edit changes."""
    by_file: dict[str, list[Place]] = {}
    for file in files:
        by_file.setdefault(os.path.realpath(file.path), []).append(file)
    return [
        f"{', '.join(dict.fromkeys(file.variable for file in named))}: {printable(path)} is named {len(named)} times. Name it once."
        for path, named in by_file.items()
        if len(named) > 1
    ]


def sizes_of(src: str, dest: str, databases: Iterable[Mapping[str, object]]) -> list[DatabaseSizes]:
    """Return what the databases of the map take. Of several places below the source the largest one counts."""
    found = []
    for one in databases:
        places = one["src"] if isinstance(one["src"], list) else []
        sources = [_members(os.path.join(src, str(place))) for place in places] or [{}]
        there = _members(os.path.join(dest, str(one["dest"])))
        largest = max(sources, key=lambda members: members.get("", 0))
        private = max(_private(largest), _private(there))
        found.append(DatabaseSizes(str(one["name"]), largest.get("", 0), sum(there.values()), private))
    return found


def _members(path: str) -> dict[str, int]:
    return {suffix: os.path.getsize(path + suffix) for suffix in ("", *SIDECARS) if is_file(path + suffix)}


def _private(members: Mapping[str, int]) -> int:
    return members.get("", 0) + 2 * members.get("-wal", 0) + members.get("-journal", 0)


def needs_of(
    sizes: Sequence[DatabaseSizes], taken: Sequence[str], *, run_dir: str, dest: str, private: str, vacuum: bool
) -> list[Need]:
    """Return what a move needs besides the copy itself. What a table takes is not known, so that it is at most its database.

    :param taken: the names of databases of which the source is taken where the destination has another one.
    :param private: where private copies are made: of two databases at a time, beside what SQLite sorts there.
    :param vacuum: whether the space is given back that the split leaves.
    """
    by_name = {one.name: one for one in sizes}
    splits = {"products", "hdf5"} <= set(by_name)
    products = max(by_name["products"].source, by_name["products"].dest) if splits else 0
    copies = sum(sorted(one.private for one in sizes)[-2:])
    backups = products + sum(one.dest for one in sizes if one.name in taken)
    return [
        Need(run_dir, "backups and records", backups + _MARGIN),
        Need(dest, "the HDF5 database", products * (3 if vacuum else 1)),
        Need(private, "private copies of databases", copies + products),
    ]


def reserve_of(needs: Iterable[Need]) -> dict[str, int]:
    """Return the bytes that are needed, by place."""
    reserve: dict[str, int] = {}
    for need in needs:
        reserve[need.place] = reserve.get(need.place, 0) + need.size
    return reserve


def space_obstacles(needs: Sequence[Need], variables: Mapping[str, str]) -> list[str]:
    """Return which file systems lack room.

    :param variables: by place, the operator's name for it.
    :raises ContimgError: when a place cannot be looked at.
    """
    short = shortages(needs, {need.place: room_at(need.place) for need in needs})
    return [
        f"{variables[place]}: {printable(place)} {what}. Make room, or name another place with that variable."
        for place, what in short
    ]
