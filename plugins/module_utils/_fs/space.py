# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether file systems have room for what is about to be written, added up for each of them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Need", "Room", "existing_parent", "require_room", "room_at", "shortages"]


class Need(NamedTuple):
    """What is about to be written at one place.

    :ivar place: a directory, which may not exist yet.
    :ivar what: what it is for, a noun.
    :ivar size: bytes.
    """

    place: str
    what: str
    size: int
    inodes: int = 0


class Room(NamedTuple):
    """What a file system has left for this process.

    :ivar device: its number.
    :ivar size: bytes, ``None`` where it does not say.
    :ivar inodes: the same.
    """

    device: int
    size: int | None
    inodes: int | None


def existing_parent(path: str) -> str:
    """Return the path itself or its nearest parent that is a directory. Raises ContimgError when it cannot be looked at."""
    current = os.path.abspath(path)
    while kind_of(current) != stat.S_IFDIR:
        current = os.path.dirname(current)
    return current


def room_at(place: str) -> Room:
    """Return what is left where a directory stands, or would be made. Raises OSError or ContimgError."""
    there = existing_parent(place)
    space = os.statvfs(there)
    return Room(
        os.stat(there).st_dev,
        space.f_bavail * space.f_frsize if space.f_blocks else None,
        space.f_favail if space.f_files else None,
    )


def shortages(needs: Iterable[Need], rooms: Mapping[str, Room]) -> list[tuple[str, str]]:
    """Return, for each file system that lacks room, the first place that needs it, and a clause.

    :param rooms: by the place of each need.
    """
    by_device: dict[int, list[Need]] = {}
    for need in needs:
        by_device.setdefault(rooms[need.place].device, []).append(need)
    found = []
    for group in by_device.values():
        size, inodes = sum(need.size for need in group), sum(need.inodes for need in group)
        room = rooms[group[0].place]
        if room.size is not None and size > room.size:
            what = f"has not enough space: {size} bytes are needed ({_shown(group)}), {room.size} are free"
            found.append((group[0].place, what))
        if room.inodes is not None and inodes > room.inodes:
            what = f"has not enough inodes: {inodes} are needed, {room.inodes} are free"
            found.append((group[0].place, what))
    return found


def _shown(group: Sequence[Need]) -> str:
    """Name what needs space; places are told apart where there is more than one."""
    places = len({need.place for need in group}) > 1
    return ", ".join(
        f"{need.what}{f' in {printable(need.place)}' if places else ''}: {need.size}" for need in group if need.size
    )


def require_room(needs: Sequence[Need], *, hint: str) -> None:
    """Check that there is room. Raises ContimgError naming every file system that lacks it, with figures in bytes."""
    short = shortages(needs, {need.place: room_at(need.place) for need in needs})
    if len(short) == 1:
        raise ContimgError(short[0][1], path=short[0][0], hint=hint)
    if short:
        raise ContimgError("; ".join(f"{printable(place)}: {what}" for place, what in short), hint=hint)
