# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand for a dashboard in a container: count its visits in a database of its own, and tell the numbers that were committed."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time

signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(0))
visits = sqlite3.connect(os.environ["DASHBOARD_DB"], isolation_level=None)
visits.execute("PRAGMA journal_mode=WAL")
visits.execute("CREATE TABLE IF NOT EXISTS visits(number INTEGER PRIMARY KEY, at REAL NOT NULL)")
while True:
    number = visits.execute("INSERT INTO visits(at) VALUES(?) RETURNING number", (time.time(),)).fetchone()[0]
    print(number, flush=True)
    time.sleep(0.2)
