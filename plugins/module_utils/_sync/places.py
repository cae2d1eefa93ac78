# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each name of a source goes below the destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import ancestors, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import destination_of, is_shared_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees

__all__ = ["places_of"]


def places_of(trees: Trees, rename: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the path in the source of each path at the destination.

    :param rename: where single files go, by path in the source.
    :raises ContimgError: when two files of the source go to the same path, or one cannot be made where it goes.
    """
    places: dict[bytes, bytes] = {}
    for path in trees.source:
        if is_shared_memory(path, trees.databases):
            continue  # it is made anew from the WAL
        goes = destination_of(path, rename)
        if goes in places:
            hint = "Nothing was touched. Exclude one of them, or rename it to another path."
            names = " and ".join(sorted(map(printable, (path, places[goes]))))
            raise ContimgError(f"two files of the source go here, {names}", path=goes, hint=hint)
        places[goes] = path
    for goes, path in [pair for pair in places.items() if pair[0] != pair[1]]:
        if trees.source[path].is_directory:
            hint = f"Nothing was touched. Rename the files in it, not {printable(path)}."
            raise ContimgError("is in rename, and is a directory: only single files are renamed", path=path, hint=hint)
        _add_parents(places, trees, goes, path)
    return places


def _add_parents(places: dict[bytes, bytes], trees: Trees, goes: bytes, path: bytes) -> None:
    """A file may be renamed into a directory that the source lacks: that one becomes, and stays, as the file's own directory."""
    for directory in ancestors(goes):
        there = trees.target.get(directory)
        ours = there is None or (there.is_directory and directory in trees.ledger)
        if directory not in places and ours:
            places[directory] = parent_of(path)
        above = trees.source[places[directory]] if directory in places else there
        if above is not None and not above.is_directory:
            hint = (
                f"Nothing was touched. Rename {printable(path)} to another path, or move {printable(directory)} away."
            )
            raise ContimgError(f"cannot be made: {printable(directory)} is not a directory", path=goes, hint=hint)
