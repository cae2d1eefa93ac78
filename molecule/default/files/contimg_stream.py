# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand for the pipeline's stream: commit numbered rows, and log each number outside the state directory once it is committed.

So each logged number must be in the database wherever it goes, exactly once. Like the real one it makes its table where there
is none, and would look healthy on an empty database.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time

COMMITTED = "/var/log/contimg-stream.committed"
TABLE = """CREATE TABLE IF NOT EXISTS arrivals (id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL,
    arrived_at REAL NOT NULL)"""


def main() -> None:
    """Write until killed."""
    path = os.environ["CONTIMG_QUEUE_DB"]
    queue = sqlite3.connect(path, timeout=10, isolation_level=None)
    queue.execute("PRAGMA journal_mode=WAL")
    queue.execute("PRAGMA synchronous=FULL")
    queue.execute(TABLE)
    number = queue.execute("SELECT coalesce(max(number), 0) FROM arrivals").fetchone()[0]
    sys.stdout.write(f"writing to {path}\n")
    with open(COMMITTED, "a", encoding="ascii") as committed:
        while True:
            number += 1
            queue.execute("BEGIN IMMEDIATE")
            queue.execute("INSERT INTO arrivals (number, arrived_at) VALUES (?, ?)", (number, time.time()))
            time.sleep(0.1)
            queue.execute("COMMIT")
            committed.write(f"{number}\n")
            committed.flush()
            os.fsync(committed.fileno())
            sys.stdout.write(f"arrival {number}\n")
            sys.stdout.flush()
            time.sleep(0.05)


if __name__ == "__main__":
    main()
