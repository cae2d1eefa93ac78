# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database and its sidecars, which are judged and placed as one thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import destination_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import REPLAYED_SUFFIXES, SIDECAR_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees

__all__ = ["logs_of", "loses_log", "members_of"]


def members_of(databases: Iterable[bytes], rename: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the database of each of its possible names at the destination: its own and those of its sidecars.

    :param databases: paths in the source.
    """
    goals = [destination_of(path, rename) for path in databases]
    sidecars = {path + suffix: path for path in goals for suffix in SIDECAR_SUFFIXES}
    return {**{path: path for path in goals}, **sidecars}


def logs_of(database: bytes) -> Iterator[bytes]:
    """Yield the names of the WAL and the journal of a database."""
    return (database + suffix for suffix in REPLAYED_SUFFIXES)


def loses_log(database: bytes, trees: Trees, places: Mapping[bytes, bytes]) -> bool:
    """Return whether a log at the destination is removed that SQLite takes into the database there before."""
    stale = (log for log in logs_of(database) if log not in places)
    found = (trees.target[log] for log in stale if log in trees.target)
    return any(log.is_file and log.size for log in found)
