# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that use a file of a tree in one way or another."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

__all__ = ["PRELUDE", "make_file", "running"]

#: What each of them begins with. Python's own mmap keeps a descriptor.
PRELUDE = """
import ctypes, os, sys, time
path = sys.argv[1]

def told():
    print("ready", flush=True)

def mapped(mode, protection, flags):
    mmap = ctypes.CDLL(None).mmap
    mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    with open(path, mode) as file:
        mmap(None, 4096, protection, flags, file.fileno(), 0)
"""


@contextlib.contextmanager
def running(action: str, path: pathlib.Path, *prefix: str) -> Iterator[int]:
    """Run Python that has done something to a file, till the end of the block; yield the process."""
    code = f"{PRELUDE}\n{action}\ntold()\ntime.sleep(60)\n"
    process = subprocess.Popen([*prefix, sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def make_file(directory: pathlib.Path) -> pathlib.Path:
    """Make a database's stand-in in a tree, two directories below the root of the tree, and return its path."""
    path = directory / "state" / "logs" / "a file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 8192)
    return path
