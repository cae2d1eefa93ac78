# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure checksum, relation and paths in rows beside ``sqlite3`` and ``sqldiff``, and a call on databases that are remembered.

Run it with the python of the virtual environment: ``python tests/bench/sqlite_checksum.py [--scale 0.1] [--repeat 5] [DIRECTORY]``.
The alternatives take turns in the same run, so that the load of the machine meets all alike. Every file is read once before,
from a warm cache; each of ours starts a new interpreter, as the alternative is a new process.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parents[2]
UTILS = "ansible_collections.dsa110.contimg.plugins.module_utils"
HDF5 = """
CREATE TABLE hdf5_file_index(path TEXT PRIMARY KEY, filename TEXT NOT NULL, group_id TEXT NOT NULL, subband_code TEXT NOT NULL,
  timestamp_iso TEXT, timestamp_mjd REAL, file_size_bytes INTEGER, modified_time REAL, indexed_at REAL NOT NULL,
  stored INTEGER DEFAULT 1, UNIQUE(path));
CREATE INDEX idx_hdf5_group_id ON hdf5_file_index(group_id);
CREATE INDEX idx_hdf5_timestamp_mjd ON hdf5_file_index(timestamp_mjd);
CREATE INDEX idx_hdf5_group_subband ON hdf5_file_index(group_id, subband_code);
CREATE INDEX idx_hdf5_stored ON hdf5_file_index(stored);
"""
IMAGES = """
CREATE TABLE images(id INTEGER PRIMARY KEY, path TEXT, kind TEXT, note TEXT, flux REAL, noise REAL, n INTEGER, made REAL,
  thumb BLOB);
"""


def fill_hdf5(path: pathlib.Path, rows: int) -> None:
    """Make the index of input files, as it is deployed."""
    chance = random.Random(1)
    with sqlite3.connect(path) as connection:
        connection.executescript(f"PRAGMA journal_mode = off; PRAGMA synchronous = off; {HDF5}")
        connection.executemany(
            "INSERT INTO hdf5_file_index VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
            (hdf5_row(i, chance) for i in range(rows)),
        )
    connection.close()


def hdf5_row(index: int, chance: random.Random) -> tuple[object, ...]:
    """Return a row of the index of input files."""
    group, subband = divmod(index, 16)
    moment = 1735689600 + 309 * group
    name = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    file, code = f"{name}_sb{subband:02}.hdf5", f"sb{subband:02}"
    mjd, size = moment / 86400 + 40587, chance.randrange(10**6, 10**9)
    return (
        f"/data/incoming/{file}",
        file,
        name,
        code,
        name,
        mjd,
        size,
        moment + chance.random(),
        moment + chance.random(),
    )


def fill_images(path: pathlib.Path, rows: int) -> None:
    """Make a table of wider rows, without indexes."""
    chance = random.Random(2)
    with sqlite3.connect(path) as connection:
        connection.executescript(f"PRAGMA journal_mode = off; PRAGMA synchronous = off; {IMAGES}")
        connection.executemany(
            "INSERT INTO images VALUES(?, ?, 'image', ?, ?, ?, ?, ?, ?)",
            (image_row(i, chance) for i in range(rows)),
        )
    connection.close()


def image_row(index: int, chance: random.Random) -> tuple[object, ...]:
    """Return a row of the wider table."""
    note, thumb = "n" * chance.randrange(60, 140), chance.randbytes(80)
    path = f"/data/images/{index:08}/image.fits"
    return (index, path, note, chance.random(), chance.random(), index * 7, index + 0.5, thumb)


def edited_copy(path: pathlib.Path, table: str, change: str, rows: int) -> pathlib.Path:
    """Copy a database and change a hundred rows."""
    copy = path.with_name(f"{path.stem}-edited.db")
    shutil.copy(path, copy)
    with sqlite3.connect(copy) as connection:
        connection.execute(f"UPDATE {table} SET {change} WHERE rowid % {max(1, rows // 100)} = 7")
    connection.close()
    return copy


def ours(module: str, call: str, *, processors: int) -> Callable[[], None]:
    """Return what calls a util in a new interpreter, on some processors."""
    allowed = sorted(os.sched_getaffinity(0))[:processors]
    imports = f"from {UTILS}.{module} import *\nfrom {UTILS}._sqlite.readonly import snapshot"
    program = f"import os; os.sched_setaffinity(0, {allowed})\n{imports}\n{call}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".build" / "collections")}

    def run() -> None:
        subprocess.run([sys.executable, "-c", program], check=True, env=environment, stdout=subprocess.DEVNULL)

    return run


def theirs(*commands: list[str]) -> Callable[[], None]:
    """Return what runs commands one after the other."""

    def run() -> None:
        for command in commands:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return run


def measured(
    work: str,
    one: Callable[[], None],
    other: Callable[[], None],
    *,
    most: float,
    repeat: int,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Let both take turns; print a line with the medians, the ratio of each turn's times and its spread.

    On a machine that others load too, the ratio of the processors' time says more than that of the clock's.

    :param before: what is done before each turn, and not measured.
    """
    turns = []
    for _turn in range(repeat):
        before()
        turns.append((*timed(one), *timed(other)))
    ratios = sorted(turn[0] / turn[2] for turn in turns)
    clock, used, other_clock, other_used = (statistics.median(column) for column in zip(*turns))
    figures = f"{clock:.2f} | {other_clock:.2f} | {clock / other_clock:.2f} | {ratios[0]:.2f}-{ratios[-1]:.2f} | {most}"
    print(f"| {work} | {figures} | {used:.2f} | {other_used:.2f} | {used / other_used:.2f} |", flush=True)


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds by the clock and those of the processors that a run takes."""
    before, start = os.times(), time.perf_counter()
    run()
    clock, after = time.perf_counter() - start, os.times()
    return clock, sum(after[2:4]) - sum(before[2:4])


def warmed(*paths: pathlib.Path) -> None:
    """Read files once."""
    for path in paths:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def sha3(*paths: pathlib.Path) -> Callable[[], None]:
    """Return what runs the checksum of SQLite's own shell on files, in turn."""
    return theirs(*(["sqlite3", str(path), ".sha3sum"] for path in paths))


def checksums(directory: pathlib.Path, scale: float, repeat: int) -> None:
    """Measure the checksum of one database, on one and on two processors."""
    rows = int(1_500_000 * scale)
    for name, fill in (("deployed index", fill_hdf5), ("wide rows", fill_images)):
        path = directory / "one.db"
        fill(path, rows)
        warmed(path)
        size = f"{name}, {rows} rows, {path.stat().st_size / 1e6:.0f} MB"
        for processors, most in ((2, 0.6), (1, 1.2)):
            call = f"content_checksum({str(path)!r}, workers={processors})"
            one = ours("_sqlite.checksum", call, processors=processors)
            measured(f"checksum, {size}, {processors} cores", one, sha3(path), most=most, repeat=repeat)
        path.unlink()


def relations(directory: pathlib.Path, scale: float, repeat: int) -> None:
    """Measure the relation of two databases that differ in a hundred rows."""
    rows = int(1_000_000 * scale)
    for fill, table, change in ((fill_hdf5, "hdf5_file_index", "stored = 0"), (fill_images, "images", "n = n + 1")):
        path = directory / "here.db"
        fill(path, rows)
        other = edited_copy(path, table, change, rows)
        warmed(path, other)
        one = ours("_sqlite.relation", f"assert relate({str(path)!r}, {str(other)!r}).kind == 'diverged'", processors=2)
        work = f"relation, 2 x {rows} rows of {table}, 100 differ"
        measured(work, one, theirs(["sqldiff", str(path), str(other)]), most=1.0, repeat=repeat)
        path.unlink()
        other.unlink()


def seven(directory: pathlib.Path, scale: float, repeat: int) -> None:
    """Measure content checksum and quick check of seven databases; the module adds a SHA-256 of each file."""
    parts = (
        (fill_hdf5, 1.0),
        (fill_images, 1.0),
        (fill_images, 1.3),
        (fill_hdf5, 0.7),
        (fill_images, 0.8),
        (fill_hdf5, 0.3),
        (fill_images, 1.5),
    )
    paths = []
    for number, (fill, part) in enumerate(parts):
        paths.append(directory / f"{number}.db")
        fill(paths[-1], int(1_000_000 * part * scale))
    warmed(*paths)
    size = sum(path.stat().st_size for path in paths) / 1e9
    names = [str(path) for path in paths]
    call = f"for path in {names!r}:\n  with snapshot(path) as state: content_of(state, integrity='quick', workers=2)"
    one = ours("_sqlite.checksum", call, processors=2)
    measured(f"checksum and quick check of 7 files, {size:.2f} GB, 2 cores", one, sha3(*paths), most=0.6, repeat=repeat)


def again(directory: pathlib.Path, scale: float, repeat: int) -> None:
    """Measure a second call on seven databases of 100 MB, of which one has changed, beside the first."""
    first, cache = directory / "0.db", directory / "proofs.json"
    fill_images(first, int(368_000 * scale))
    names = [str(shutil.copy(first, directory / f"again{number}.db")) for number in range(7)]
    call = (
        f"from {UTILS}._sqlite.checksum import describe\n"
        f"with remembering(%r, write=True, warn=exit) as proofs:\n  for path in {names!r}:\n"
        "    describe(path, integrity='quick', tables=True, workers=2, proofs=proofs)\n"
        "assert len(proofs.used) == %d"
    )
    nothing, known = (
        ours("_sqlite.remembered", call % (str(place), count), processors=2)
        for place, count in ((directory / "absent" / "proofs.json", 0), (cache, 6))
    )
    prime = ours("_sqlite.remembered", (call % (str(cache), 0)).replace("== 0", ">= 0"), processors=2)

    def change_one() -> None:
        prime()
        with sqlite3.connect(names[3]) as connection:
            connection.execute("UPDATE images SET n = n + 1 WHERE id % 1000 = 7")
        connection.close()
        time.sleep(0.1)  # what has just changed is not remembered

    time.sleep(0.1)
    size = f"7 x {first.stat().st_size / 1e6:.0f} MB"
    measured(f"second call, one of {size} changed", known, nothing, most=0.2, repeat=repeat, before=change_one)


def paths(directory: pathlib.Path, scale: float, repeat: int) -> None:
    """Measure the count of the paths in rows beside a dump: no row has one, under one rule and under nine; one in each row."""
    rows, path = int(500_000 * scale), directory / "paths.db"
    fill_hdf5(path, rows)
    warmed(path)
    pairs = {
        "no row, 1 rule": [("/stage/dsa110-contimg/state", "/new")],
        "no row, 9 rules": [(f"/stage/place{number}/state", f"/new{number}") for number in range(9)],
        "each row, 1 rule": [("/data/incoming", "/new")],
    }
    for what, moves in pairs.items():
        one = ours("_sqlite.paths", f"paths_in({str(path)!r}, Moves({moves!r}))", processors=2)
        dump = theirs(["sqlite3", str(path), ".dump"])
        measured(f"paths in rows, {what}, {path.stat().st_size / 1e6:.0f} MB", one, dump, most=1.5, repeat=repeat)


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of rows")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("directory", nargs="?", help="where the databases are made; they are removed again")
    asked = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; Python {platform.python_version()},"
    )
    print(f"SQLite {sqlite3.sqlite_version}; median of {asked.repeat}\n")
    print("| work | s | beside it, s | ratio | spread | at most | CPU s | beside it, CPU s | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=asked.directory) as name:
        for measure in (checksums, relations, seven, again, paths):
            measure(pathlib.Path(name), asked.scale, asked.repeat)


if __name__ == "__main__":
    main()
