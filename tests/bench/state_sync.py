# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a copy beside the runbook (``rsync -aHAX``, file counts, ``sha256sum`` of both trees, ``sync``) and ``cp -a``; ``sync``.

Run it as root with the python of the virtual environment: ``python tests/bench/state_sync.py [--scale 0.1] [--repeat 5] [DIR]``.
The directory should lie on a disk, not in memory. Both take turns; as root the caches are dropped before each copy (the comparison
of unchanged trees runs from warm ones). Each of ours starts a new interpreter, as the alternative is a new process.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import random
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
UTILS = "ansible_collections.dsa110.contimg"
DATABASES = {  # megabytes, as a state directory has them: few large ones
    "products": 900,
    "hdf5": 500,
    "cal_registry": 300,
    "master_sources": 250,
    "ingest": 150,
    "catalogs/nvss": 100,
    "catalogs/first": 50,
}
SMALL_FILES = 20_000
SMALL_BYTES = 12_500
OURS = f"""
import json, pathlib, resource, sys
from {UTILS}.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from {UTILS}.tests.support.modules.sync_options import sync_values
done = synchronize(options_from(sync_values(pathlib.Path(sys.argv[1]), **json.loads(sys.argv[2]))), check=False)
print([resource.getrusage(whose).ru_maxrss for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)], done["stats"])
"""
RUNBOOK = """
set -e; cd "$1"; rsync -aHAX src/ other/; test "$(find src -type f | wc -l)" = "$(find other -type f | wc -l)"
(cd src && find . -type f -print0 | sort -z | xargs -0 sha256sum) > src.sums
(cd other && find . -type f -print0 | sort -z | xargs -0 sha256sum) > other.sums
cmp src.sums other.sums; sync
"""


def make_state(src: pathlib.Path, scale: float) -> None:
    """Make seven databases and many small files."""
    for name, megabytes in DATABASES.items():
        path = src / f"{name}.sqlite3"
        path.parent.mkdir(parents=True, exist_ok=True)
        fill(path, int(megabytes * 256 * scale))
    make_logs(src, int(SMALL_FILES * scale), SMALL_BYTES)


def fill(path: pathlib.Path, pages: int) -> None:
    """Make a database of about so many pages of 4 KiB."""
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "PRAGMA journal_mode = off; PRAGMA synchronous = off; CREATE TABLE rows(id INTEGER PRIMARY KEY, content BLOB);"
        )
        connection.execute(
            "INSERT INTO rows(content) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " SELECT randomblob(4000) FROM n",
            (pages,),
        )
    connection.close()


def make_logs(src: pathlib.Path, count: int, size: int) -> None:
    """Make small files in directories of a hundred, of ``size`` bytes on average."""
    chance = random.Random(1)
    for number in range(count):
        directory = src / "logs" / f"{number // 100:05}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number}.log").write_bytes(chance.randbytes(chance.randrange(2 * size + 1)))


def append(src: pathlib.Path) -> None:
    """Let the services work on: rows in one database, lines in 200 logs, 25 MB in all."""
    with sqlite3.connect(src / "ingest.sqlite3") as connection:
        connection.execute(
            "INSERT INTO rows(content) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
            " SELECT randomblob(4000) FROM n"
        )
    connection.close()
    for path in sorted((src / "logs").rglob("*.log"))[:200]:
        with path.open("ab") as file:
            file.write(os.urandom(65_000))


def ours(base: pathlib.Path, **values: object) -> str:
    """Copy with a new interpreter; return its peak memory in KiB, that of the largest of its processes, and its counts."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".build" / "collections")}
    values = {"delete": True, **values}
    text = str(values).replace("'", '"').replace("True", "true").replace("False", "false")
    command = [sys.executable, "-c", OURS, str(base), text]
    return subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout


def shell(script: str, base: pathlib.Path) -> None:
    """Run what an operator would type."""
    subprocess.run(["bash", "-c", script, "bash", str(base)], check=True, stdout=subprocess.DEVNULL)


def clear(base: pathlib.Path, *more: str) -> None:
    """Put aside what a run has made, and free its space. Not its inodes: ext4 is slow to pick new ones after many were freed."""
    aside = pathlib.Path(tempfile.mkdtemp(dir=base, prefix="aside-"))
    for name in ("dest", "other", "dest.sha256", "dest.sha256.ledger", "src.sums", "other.sums", *more):
        if (base / name).exists():
            (base / name).rename(aside / name)
    for path in aside.rglob("*.sqlite3"):
        os.truncate(path, 0)


def cold() -> None:
    """Write everything out and, as root, forget what was read."""
    os.sync()
    if os.geteuid() == 0:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that a run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def told(work: str, one: list[float], other: list[float], most: float) -> None:
    """Print the medians, the median of the ratios of each turn, and their spread."""
    ratios = sorted(here / there for here, there in zip(one, other))
    middle, spread = statistics.median(ratios), f"{ratios[0]:.3f}-{ratios[-1]:.3f}"
    print(
        f"| {work} | {statistics.median(one):.2f} | {statistics.median(other):.2f} | {middle:.3f} | {spread} | {most} |",
        flush=True,
    )


def copies(base: pathlib.Path, scale: float, repeat: int) -> None:
    """Measure a whole copy, and the final pass after a live one, beside the runbook and ``cp``."""
    whole: list[float] = []
    final: list[float] = []
    runbook: list[float] = []
    plain: list[float] = []
    for _turn in range(repeat):
        make_state(base / "src", scale)
        for figures, run in (
            (whole, lambda: ours(base)),
            (runbook, lambda: shell(RUNBOOK, base)),
            (plain, lambda: shell('cp -a "$1/src" "$1/other" && sync', base)),
        ):
            clear(base)
            cold()
            figures.append(timed(run))
        clear(base)
        ours(base, live=True)
        append(base / "src")
        time.sleep(1)
        final.append(timed(lambda: ours(base)))
        clear(base, "src")
    size = f"{sum(DATABASES.values()) * scale / 1024 + SMALL_FILES * SMALL_BYTES * scale / 1e9:.2f} GB"
    told(
        f"copy and prove {size}, 7 databases, {int(SMALL_FILES * scale)} files, beside the runbook",
        whole,
        runbook,
        0.35,
    )
    told("the same beside cp -a and sync", whole, plain, 1.0)
    told("the final pass beside the runbook", final, runbook, 0.05)


def unchanged(base: pathlib.Path, scale: float, repeat: int) -> None:
    """Measure a pass that finds nothing to do beside ``rsync -aHAXn``; tell the peak memory and how time grows."""
    firsts, passes = [], []
    for files in (int(20_000 * scale), int(200_000 * scale)):
        make_logs(base / "src", files, 20)
        start = time.perf_counter()
        memory = ours(base)
        firsts.append(time.perf_counter() - start)
        print(
            f"  first copy of {files} files: {firsts[-1]:.1f} s; peak memory KiB and counts: {memory}",
            end="",
            flush=True,
        )
        ours(base)  # what was racy in the first is settled now
        one, other = [], []
        for _turn in range(repeat):
            memory = ours(base)
            one.append(timed(lambda: ours(base)))
            other.append(timed(lambda: shell('rsync -aHAXn "$1/src/" "$1/dest/"', base)))
        told(f"nothing changed, {files} files, beside rsync -aHAXn", one, other, 1.0)
        passes.append(statistics.median(one))
        print(f"  peak memory KiB and counts of the last pass: {memory}", end="", flush=True)
        clear(base, "src")
    grown = [figures[1] / figures[0] for figures in (firsts, passes)]
    print(f"  ten times the files: {grown[0]:.1f} times the first copy, {grown[1]:.1f} times the unchanged pass")


def main() -> None:
    """Measure all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", choices=["copies", "unchanged"])
    parser.add_argument(
        "directory", nargs="?", default=str(ROOT / ".build"), help="where the trees are made and removed"
    )
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    print(
        f"{platform.machine()}, {os.cpu_count()} processors, load {load:.1f}; Python {platform.python_version()};",
        end=" ",
    )
    print(f"median of {asked.repeat}\n")
    print("| work | s | beside it, s | ratio | spread | at most |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=asked.directory) as name:
        for measure in (copies, unchanged):
            if asked.only in (None, measure.__name__):
                measure(pathlib.Path(name), asked.scale, asked.repeat)


if __name__ == "__main__":
    main()
