# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked before a retirement touches anything: where it writes, and what it removes."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import name_of, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import (
    entry_obstacle,
    files_obstacles,
    opened_obstacle,
    require_replaceable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["require_archivable", "require_removable", "require_writable_notes"]

_NAMED = 5
_NOTHING = "Nothing was removed."


def require_archivable(archive: str) -> None:
    """Check that an archive, which does not exist yet, can be written. Raises ContimgError naming what is in the way."""
    hint = f"{_NOTHING} Make its directory, or name another place (contimg_retire_archive)."
    require_replaceable(archive, hint=hint)


def require_writable_notes(run_dir: str, notes: Sequence[str]) -> None:
    """Check that the files of a run directory, which may not exist yet, can be written. Raises ContimgError."""
    for what in files_obstacles(notes, made=run_dir):
        raise ContimgError(f"cannot be written: {what}", path=run_dir, hint=f"{_NOTHING} Make it writable.")


def require_removable(src: str, paths: Iterable[bytes]) -> None:
    """Check that files and directories of the old state can be removed, without removing one.

    :param paths: below the old state; the empty one is that directory itself.
    :raises ContimgError: naming up to five places where that cannot be done.
    """
    by_directory: dict[bytes, list[bytes]] = {}
    root_too = False
    for path in paths:
        root_too |= not path
        if path:
            by_directory.setdefault(parent_of(path), []).append(path)
    with error_context("look whether it can be removed", src, _NOTHING):
        with open_root(src) as root:
            blocked = dict(_blocked(root, by_directory))
        found = [f"{printable(path or b'.')} {blocked[path]}" for path in islice(blocked, _NAMED)]
        if root_too and not os.path.ismount(src):  # a mount point stays
            found += _root_blocked(os.path.realpath(src))
    if found:
        hint = f"{_NOTHING} Make it writable, and run again."
        raise ContimgError(f"cannot be removed: {'; '.join(found)}", path=src, hint=hint)


def _blocked(root: int, by_directory: Mapping[bytes, Sequence[bytes]]) -> Iterator[tuple[bytes, str]]:
    """Yield the directories in which no name can be removed, and the names elsewhere that cannot be, each with a clause."""
    for directory, paths in sorted(by_directory.items()):
        with open_below(root, directory, os.O_DIRECTORY) as opened:
            what = opened_obstacle(opened)
            if what:
                yield directory, what
                continue
            obstacles = ((path, entry_obstacle(opened, name_of(path))) for path in paths)
            yield from (pair for pair in obstacles if pair[1])


def _root_blocked(src: str) -> list[str]:
    parent = os.path.dirname(src)
    with open_directory(parent) as opened:
        what = opened_obstacle(opened)
    return [f"{printable(parent)} {what}"] if what else []
