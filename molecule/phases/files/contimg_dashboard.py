# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a row that exists nowhere else to the products database of the destination, and keep it open."""

from __future__ import annotations

import signal
import sqlite3

products = sqlite3.connect("/data/dsa110-contimg/state/products.sqlite3", timeout=10)
products.execute("PRAGMA journal_mode=WAL")
products.execute("INSERT INTO ms_index (path, processed_at) VALUES ('/stage/dsa110-contimg/ms/newer.ms', 1795600000)")
products.commit()
signal.pause()
