# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill a program at any of its system calls: list the points from a first trace, then die at one of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["CALLS", "environment", "kill_at", "kill_points", "numbered_calls"]

#: System calls that change a file system or make it durable, and those that read what they act on.
CALLS = (
    "openat,open,creat,pwrite64,write,pread64,read,ftruncate,fsync,fdatasync,rename,renameat,unlink,unlinkat,"
    "fchown,fchmod,fchmodat,chown,mkdir,rmdir,flock,fcntl,close,utimensat,linkat,link"
)
_CALL = re.compile(r"^(\d+ +)?([a-z0-9_]+)\((.*)")


def kill_points(command: Sequence[str], log: pathlib.Path, *, after: str) -> list[tuple[str, int]]:
    """Run a command to its end and return each of its calls, as name and ordinal, from the first that names ``after``.

    An interpreter's own start is the same for every program: ``after`` is a path that only the work itself names. strace
    counts in each thread of its own, so a point is the n-th call of whichever thread comes to it first.
    """
    subprocess.run(_traced(log, ["-e", f"trace={CALLS}"], command), check=True, env=environment())
    points: dict[tuple[str, int], None] = {}
    begun = False
    for name, ordinal, arguments in numbered_calls(log.read_text(errors="replace").splitlines()):
        begun = begun or after in arguments
        if begun:
            points[name, ordinal] = None
    return list(points)


def numbered_calls(log: Iterable[str]) -> Iterator[tuple[str, int, str]]:
    """Yield name, ordinal and the rest of each call in a log of strace; each thread counts its own from its start."""
    counted: dict[tuple[str, str], int] = {}
    for line in log:
        match = _CALL.match(line)
        if match is not None:
            thread, name, rest = match.groups()
            counted[thread, name] = counted.get((thread, name), 0) + 1
            yield name, counted[thread, name], rest


def kill_at(command: Sequence[str], log: pathlib.Path, point: tuple[str, int]) -> bool:
    """Run a command that dies before one of its calls; tell whether it did."""
    name, ordinal = point
    inject = ["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={ordinal}"]
    done = subprocess.run(
        _traced(log, inject, command),
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    return done.returncode in (-9, 137)


def _traced(log: pathlib.Path, options: Sequence[str], command: Sequence[str]) -> list[str]:
    return ["strace", "-f", "-qq", "-o", str(log), *options, *command]


def environment() -> dict[str, str]:
    """One order of dictionaries and no byte-code, so that every run makes the same calls."""
    return {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
