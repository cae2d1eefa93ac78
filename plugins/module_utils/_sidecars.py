# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that SQLite keeps beside a database: its WAL, the index of the WAL, its rollback journal."""

from __future__ import annotations

import os

__all__ = ["JOURNAL", "REPLAYED_SUFFIXES", "SIDECARS", "SIDECAR_SUFFIXES", "stem_of"]

JOURNAL = "-journal"
#: What is appended to the name of a database, https://sqlite.org/tempfiles.html.
SIDECARS = ("-wal", "-shm", JOURNAL)
SIDECAR_SUFFIXES = tuple(os.fsencode(suffix) for suffix in SIDECARS)
#: Those that SQLite takes into the database when it opens it. The index of the WAL holds nothing of its own.
REPLAYED_SUFFIXES = (b"-wal", os.fsencode(JOURNAL))


def stem_of(name: bytes) -> bytes:
    """Return the name of the database that a name would belong to if it were a sidecar, empty where it ends like none."""
    return next((name[: -len(suffix)] for suffix in SIDECAR_SUFFIXES if name.endswith(suffix)), b"")
