# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real read-only mount for a program, in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib

__all__ = ["run_read_only"]

_MOUNT = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


def run_read_only(folder: pathlib.Path, program: str, *arguments: object) -> str:
    """Return what a Python program prints that sees a folder mounted read-only."""
    root = next(path for path in sys.path if path.endswith(".build/collections"))
    command = ["unshare", "-rm", "sh", "-c", _MOUNT, "sh", str(folder), sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [*command, *map(str, arguments)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()
