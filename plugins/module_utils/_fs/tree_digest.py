# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One hash of every name and status of a tree."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import IDENTITY, Entry, parent_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["TreeDigest", "tree_digest"]


class TreeDigest:
    """A hash of every name and status of a tree, to the ctime: two equal ones mean that nothing has moved in between.

    Access times do not count, and neither do link counts and the size of a directory. Directories may come in any order.
    """

    def __init__(self, root: Entry) -> None:
        self._parts = {b"": _hash_of([root])}

    def add(self, directory: bytes, entries: Iterable[Entry]) -> None:
        """Add what stands in a directory, sorted."""
        self._parts[directory + b"/"] = _hash_of(entries)

    def hexdigest(self) -> str:
        """Return the hash of all that was added."""
        return hashlib.sha256(b"".join(part for _directory, part in sorted(self._parts.items()))).hexdigest()


def _hash_of(entries: Iterable[Entry]) -> bytes:
    parts = (
        entry.path
        + b"\0"
        + (entry.facts[:12] + entry.facts[20:IDENTITY] if entry.is_directory else entry.identity)
        + entry.target
        + b"\0"
        for entry in entries
    )
    return hashlib.sha256(b"".join(parts)).digest()


def tree_digest(entries: Mapping[bytes, Entry]) -> str:
    """Return the :class:`TreeDigest` of a whole tree."""
    digest = TreeDigest(entries[b""])
    directories: dict[bytes, list[Entry]] = {path: [] for path, entry in entries.items() if entry.is_directory}
    for path in sorted(set(entries) - {b""}):
        directories[parent_of(path)].append(entries[path])
    for directory, found in directories.items():
        digest.add(directory, found)
    return digest.hexdigest()
