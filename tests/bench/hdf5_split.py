# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The split beside what an operator would type: ``sqlite3 products ".dump hdf5_file_index" | sqlite3 hdf5``.

The split makes eight indexes instead of four, derives, proves every row and removes the table; the other does none of it.
``split``: into a new database. ``merge``: into one that holds all the rows already. ``report``: what the module adds, the
content checksums of both databases. ``index``: what ``hdf5_index`` takes for 100,000 new files, with nothing beside it.
Run it with the Python of the tests, from anywhere.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = 100_000
sys.path[:0] = [str(ROOT / ".build" / "collections")]

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5 import split as hdf5_split
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.index import index_files
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.plan import SplitOptions
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.tests.support.hosts import sample_state


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a piece of work takes, with what it wrote on the device before and after."""
    os.sync()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


class Bench:
    """The databases of one run."""

    def __init__(self, directory: pathlib.Path, rows: int) -> None:
        self.origin, self.products = directory / "origin.sqlite3", directory / "products.sqlite3"
        self.hdf5, self.full = directory / "hdf5.sqlite3", directory / "full.sqlite3"
        self.loaded = directory / "loaded.sqlite3"
        self.incoming = str(directory / "incoming")
        os.mkdir(self.incoming)
        for number in range(FILES):
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(2_000_000_000 + number // 16 * 300))
            pathlib.Path(self.incoming, f"{moment}_sb{number % 16:02}.hdf5").touch()
        sample_state._make_products(self.origin, rows=rows, state=directory)

    def reset(self, *, full: bool) -> None:
        """Put products back as it was; with ``full`` the HDF5 database has all rows already."""
        for path in (self.hdf5, self.loaded):
            path.unlink(missing_ok=True)
        shutil.copyfile(self.origin, self.products)
        if full:
            shutil.copyfile(self.full, self.hdf5)

    def load(self) -> None:
        """Do what an operator would type."""
        dump = subprocess.Popen(["sqlite3", str(self.products), ".dump hdf5_file_index"], stdout=subprocess.PIPE)
        subprocess.run(["sqlite3", str(self.loaded)], stdin=dump.stdout, check=True)
        assert dump.wait() == 0

    def split(self) -> None:
        """Split as the module does, up to its report."""
        options = SplitOptions(
            products=str(self.products),
            hdf5=str(self.hdf5),
            keep_source=False,
            on_conflict="fail",
            backup_dir=None,
            vacuum=False,
        )
        hdf5_split.carry_out(options, check=False)

    def measure(self) -> dict[str, float]:
        """Measure each piece of work once."""
        found = {}
        self.reset(full=False)
        found["dump and load"] = timed(self.load)
        self.reset(full=False)
        found["split"] = timed(self.split)
        found["report"] = timed(lambda: [content_checksum(str(path)) for path in (self.products, self.hdf5)])
        if not self.full.exists():
            shutil.copyfile(self.hdf5, self.full)
        self.reset(full=True)
        found["merge"] = timed(self.split)
        found["index"] = timed(
            lambda: index_files(hdf5_db=str(self.hdf5), input_dir=self.incoming, rescan=False, check=False)
        )
        return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--dir", default=tempfile.gettempdir(), help="where the databases are made (1 GB a million rows)"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.dir) as directory:
        bench = Bench(pathlib.Path(directory), given.rows)
        runs = [bench.measure() for _run in range(given.runs)]
    print(
        f"{given.rows} rows, {given.runs} runs, {os.cpu_count()} cores, {platform.machine()}, SQLite {sqlite3.sqlite_version}"
    )
    print(f"{'':<14} {'median s':>9} {'least':>7} {'most':>7} {'ratio':>6}")
    for name in runs[0]:
        seconds = [run[name] for run in runs]
        ratio = statistics.median(run[name] / run["dump and load"] for run in runs)
        print(f"{name:<14} {statistics.median(seconds):>9.2f} {min(seconds):>7.2f} {max(seconds):>7.2f} {ratio:>6.2f}")


if __name__ == "__main__":
    main()
