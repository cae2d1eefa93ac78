# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies to a file system that has too little room, or too few inodes, and then gets more."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

from ansible_collections.dsa110.contimg.tests.support.faults import sync_faults as faults
from ansible_collections.dsa110.contimg.tests.support.faults.power_loss import in_namespace
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import run_traced

__all__ = ["copy_to_full", "main"]

#: The copy believes that there is room; it is used up only after it has asked.
_BELIEVES = """
import os
_statvfs = os.statvfs
class _Room:
    f_bavail = f_blocks = f_favail = f_files = 10**9
    def __init__(self, path): self.f_frsize = _statvfs(path).f_frsize
os.statvfs = _Room
"""
_ENOUGH = "remount,size=64m,nr_inodes=9999"
_CAUSES = ("errno", "space", "inodes", "SQLite reports")


def copy_to_full(
    directory: pathlib.Path, *, limits: list[str], asks: bool, prelude: str = "", **values: Any
) -> dict[str, Any]:
    """Return the exit codes of copies to ever larger file systems, and what was found wrong.

    :param limits: options of a tmpfs.
    :param asks: whether the copy learns beforehand how much room there is.
    :param values: parameters of the copy.
    """
    preludes = prelude + ("" if asks else _BELIEVES)
    return in_namespace(
        __name__, {"directory": str(directory), "limits": limits, "prelude": preludes, "values": values}
    )


def main() -> None:
    """Do what the first argument says, and print what was found as JSON."""
    wanted = json.loads(sys.argv[1])
    directory = pathlib.Path(wanted["directory"])
    (directory / "mnt").mkdir()
    codes, found = [], []
    for limit in wanted["limits"]:
        code, wrong = _tried(directory, limit, wanted["prelude"], wanted["values"])
        codes.append(code)
        found += [f"{limit}: {wrong}"] if wrong else []
    print(json.dumps({"codes": codes, "found": found}))


def _tried(directory: pathlib.Path, limit: str, prelude: str, values: dict[str, Any]) -> tuple[int, str]:
    base, mount_point = directory / "base", directory / "mnt"
    dest = mount_point / "dest"
    where: dict[str, Any] = {"dest": str(dest), **values}
    faults.first_version(base)
    faults.second_version(base)
    before = faults.digest_of(base / "src")
    subprocess.run(["mount", "-t", "tmpfs", "-o", limit, "tmpfs", str(mount_point)], check=True)
    try:
        said = run_traced(base, "execve", prelude=prelude, **where)
        wrong = [
            (said.code not in (0, 1), f"ended with {said.code}: {said.said}"),
            (said.code == 1 and not any(cause in said.said for cause in _CAUSES), f"names no cause: {said.said}"),
            (said.code == 0 and bool(faults.found_differences(base, dest)), "claims success, and the copy differs"),
            (faults.digest_of(base / "src") != before, "has changed the source"),
        ]
        subprocess.run(["mount", "-o", _ENOUGH, str(mount_point)], check=True)
        faults.copy(base, **where)
        wrong += [
            (bool(faults.found_differences(base, dest)), f"the next run leaves {faults.found_differences(base, dest)}"),
            (bool(faults.copy(base, **where)["changed"]), "the third run changes something"),
        ]
    finally:
        subprocess.run(["umount", str(mount_point)], check=True)
    return said.code, "; ".join(words for is_so, words in wrong if is_so)
