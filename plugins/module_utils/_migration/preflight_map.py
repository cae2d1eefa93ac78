# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What in the map of the databases would stop a move later."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import require_globs
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import entry_at, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import is_excluded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

__all__ = ["excluded_databases", "map_obstacles"]


def map_obstacles(databases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what stands in the map more than once: a name, a place at the destination, a name of the environment."""
    kinds = {
        "name": [one["name"] for one in databases],
        "place at the destination": [one["dest"] for one in databases],
        "name of the environment": [name for one in databases for name in one.get("environment") or []],
    }
    return [
        f"contimg_databases: the {kind} {printable(str(value))} is given {count} times. Give it once."
        for kind, values in kinds.items()
        for value, count in Counter(values).items()
        if count > 1
    ]


def excluded_databases(src: str, databases: Sequence[Mapping[str, Any]], exclude: Sequence[str]) -> list[str]:
    """Return which databases of the map exist in the source and are excluded from the copy.

    :raises ContimgError: when the source cannot be opened.
    """
    if not (exclude and is_directory(src)):
        return []
    patterns = tuple(exclude)
    try:
        require_globs(patterns)
    except ContimgError as error:
        return [f"contimg_exclude: {error.path} {error.what}. Correct it: the copy refuses it, too."]
    with open_root(src) as root:
        return [
            f"contimg_exclude: leaves out {printable(place)}, the database {one['name']} of contimg_databases. Copy it, or take it "
            "out of the map."
            for one in databases
            for place in one["src"]
            if any(_is_left_out(root, path, patterns) for path in _with_parents(os.fsencode(place)))
        ]


def _with_parents(path: bytes) -> Iterator[bytes]:
    names = path.split(b"/")
    return (b"/".join(names[: count + 1]) for count in range(len(names)))


def _is_left_out(root: int, path: bytes, patterns: tuple[str, ...]) -> bool:
    with contextlib.suppress(OSError):  # what does not exist is not left out
        return is_excluded(entry_at(root, path), patterns)
    return False
