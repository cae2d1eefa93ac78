# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of a path beside ``rg -n`` (ripgrep), on a tree of 100,000 files, in interleaved runs.

Run it with ``.venv/bin/python tests/bench/path_references.py [--files N] [--runs N]``. It needs ``rg`` (Debian: ripgrep), makes
its tree in a temporary directory, checks that both find the same lines, and prints medians, spread and ratio.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".build" / "collections"))

from ansible_collections.dsa110.contimg.plugins.module_utils._references.inventory import take_inventory
from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Needle
from ansible_collections.dsa110.contimg.plugins.module_utils._references.variables import Variables

OLD = "/stage/dsa110-contimg/state"
ENDS = [".py"] * 5 + [".sh", ".md", ".yml", ".json", ".ts"]
# What lines of a pipeline look like; every tenth file names data that is not state, which costs the inventory a closer look.
LINES = [
    "import numpy as np",
    "def calibrate(path, refant=103): return path",
    "rows = [one for one in query(db) if one['state'] == 'done']",
    "value = np.median(values, axis=0)",
    "log.info('wrote %s in %.1f s', path, seconds)",
    "",
    "# the window is five minutes, and groups may come late",
    "config.setdefault('weighting', {'robust': 0.5, 'cell': '3arcsec'})",
]
DATA = "MS_DIR = '/stage/dsa110-contimg/ms'"


def make_tree(root: pathlib.Path, files: int) -> int:
    """Make files of some kilobytes, half of them Python; one in 100 names the path. Return the bytes."""
    chance = random.Random(110)
    total = 0
    for number in range(files):
        directory = root / f"p{number % 40:02}" / f"q{number // 40 % 50:02}"
        directory.mkdir(parents=True, exist_ok=True)
        lines = chance.choices(LINES, k=1 + int(chance.lognormvariate(4.0, 1.0)))
        if number % 10 == 0:
            lines.append(DATA)
        if number % 100 == 0:
            lines.append(f'STATE = "{OLD}/x{number}"')
        total += (directory / f"f{number}{chance.choice(ENDS)}").write_text("\n".join(lines) + "\n")
    return total


def by_us(root: pathlib.Path) -> int:
    """Return the number of uses that the inventory finds."""
    needle = Needle(OLD)
    return len(take_inventory([str(root)], exclude=[], needle=needle, variables=Variables([], OLD)).references)


def by_rg(root: pathlib.Path) -> int:
    """Return the number of lines that ripgrep finds, hidden and ignored files included as in the inventory."""
    command = ["rg", "-n", "--no-ignore", "--hidden", "--fixed-strings", "--glob", "!.git", OLD, str(root)]
    return len(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines())


def main() -> None:
    """Make the tree, run both in turn, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="contimg-bench-"))
    try:
        size = make_tree(root, options.files)
        contestants = {"path_references": by_us, "rg -n": by_rg}
        assert len({found(root) for found in contestants.values()}) == 1, (
            "both must find the same"
        )  # also warms the cache
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _run in range(options.runs):
            for name, found in contestants.items():
                start = time.perf_counter()
                found(root)
                times[name].append(time.perf_counter() - start)
    finally:
        shutil.rmtree(root)
    version = subprocess.run(["rg", "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[0]
    machine = f"Python {platform.python_version()}, {version}, {os.cpu_count()} cores"
    print(f"{options.files} files, {size / 1e6:.0f} MB, warm cache; {machine}")
    for name, measured in times.items():
        print(
            f"{name:16} median {statistics.median(measured):.2f} s of {options.runs}, {min(measured):.2f} to {max(measured):.2f} s"
        )
    print(f"ratio {statistics.median(times['path_references']) / statistics.median(times['rg -n']):.2f}")


if __name__ == "__main__":
    main()
