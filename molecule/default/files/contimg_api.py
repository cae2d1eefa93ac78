# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand for the pipeline's API: keep products open, and answer http://127.0.0.1:8010/health with its number of measurement sets.

Like the application of the day it makes an empty hdf5_file_index where there is none.
"""

from __future__ import annotations

import http.server
import json
import os
import sqlite3

TABLE = "CREATE TABLE IF NOT EXISTS hdf5_file_index (path TEXT PRIMARY KEY, filename TEXT NOT NULL)"

products = sqlite3.connect(os.environ["PIPELINE_PRODUCTS_DB"], timeout=10)


class Health(http.server.BaseHTTPRequestHandler):
    """Ask the database at each request."""

    def do_GET(self) -> None:
        """Answer with the number of measurement sets, or with 503 and SQLite's words."""
        try:
            status, answer = 200, {"measurement_sets": products.execute("SELECT count(*) FROM ms_index").fetchone()[0]}
        except sqlite3.Error as error:
            status, answer = 503, {"error": str(error)}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


if __name__ == "__main__":
    products.execute("PRAGMA journal_mode=WAL")
    products.execute(TABLE)
    http.server.HTTPServer(("127.0.0.1", 8010), Health).serve_forever()
