# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a copy removes at its destination. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import ancestors
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECAR_SUFFIXES
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees

__all__ = ["EXTRA", "extras", "left_over", "stale_sidecars"]

#: The reason for what is removed last: another name of its file may be made before.
EXTRA = "not in the source"


def left_over(left: Iterable[bytes]) -> list[Action]:
    """Remove what killed runs have left."""
    return [Action("remove", path, "left by an interrupted copy") for path in sorted(left, reverse=True)]


def stale_sidecars(
    sidecars: Mapping[bytes, bytes], target: Mapping[bytes, Entry], *, stays: Container[bytes], kept: Container[bytes]
) -> list[Action]:
    """Remove each log or journal that does not belong to the copied database: it would corrupt it, be it for a moment.

    :param sidecars: the database of each possible name of a sidecar.
    :param stays: sidecars that belong to what is at the destination.
    :param kept: databases that a decision leaves as they are.
    :returns: the steps; one for a directory cannot be done.
    """
    return [
        Action("remove", path, "does not belong to the copied database", database=database)
        for path, database in sorted(sidecars.items())
        if path not in stays and path in target and database not in kept
    ]


def extras(trees: Trees, places: Mapping[bytes, bytes], sidecars: Iterable[bytes]) -> list[Action]:
    """Remove what the source has not. A database that it never had stays, with its sidecars, whatever the operator asked for."""
    foreign = {path for path in trees.foreign if path not in trees.ledger}
    spared = {path + suffix for path in foreign for suffix in (b"", *SIDECAR_SUFFIXES)} | trees.holding
    renamed = {path for path, source in places.items() if path != source}
    spared |= {directory for path in spared | renamed for directory in ancestors(path)} | set(sidecars)
    found = trees.target.keys() - trees.source.keys() - places.keys() - spared
    return [Action("remove", path, EXTRA) for path in sorted(found, key=_order, reverse=True)]


def _order(path: bytes) -> tuple[bytes, bool, bytes]:
    """Sort a database above its logs: without them it would be an older one, and a log without it holds nothing."""
    stem = next((path[: -len(suffix)] for suffix in SIDECAR_SUFFIXES if path.endswith(suffix)), path)
    return stem, stem == path, path
