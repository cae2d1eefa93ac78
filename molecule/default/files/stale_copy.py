# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy a database with its write-ahead log while it is in use, as rsync would, and let its user go on: the copy gets stale."""

from __future__ import annotations

import pathlib
import shutil
import sqlite3
import sys

source, target = sys.argv[1:]
pathlib.Path(target).parent.mkdir(parents=True, exist_ok=True)
queue = sqlite3.connect(source)
queue.execute("PRAGMA journal_mode=WAL")
queue.execute(
    "INSERT INTO ingest_queue (group_id, state, received_at, last_update) VALUES ('stale', 'completed', 1, 2)"
)
queue.commit()
for suffix in ("", "-wal"):
    shutil.copy(source + suffix, target + suffix)
queue.execute(
    "INSERT INTO ingest_queue (group_id, state, received_at, last_update) VALUES ('since', 'completed', 3, 4)"
)
queue.commit()
queue.close()
