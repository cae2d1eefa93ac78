# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that holds another byte than was written to it: changed in its image while the copy is stopped."""

from __future__ import annotations

import json
import mmap
import pathlib
import sys
from typing import Any

from ansible_collections.dsa110.contimg.tests.support.faults.power_loss import Disk, in_namespace
from ansible_collections.dsa110.contimg.tests.support.faults.stopped_copy import stopped_at
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import Call

__all__ = ["copy_to_flipped", "main"]

_UNNOTED = """
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Journal
Journal.begin = lambda _journal, _run: None
"""
_MARK = b"what the device changes"


def copy_to_flipped(directory: pathlib.Path, *, size: int, prelude: str) -> dict[str, Any]:
    """Copy a file of which the device changes a byte after it was flushed; return ``code``, ``said`` and ``placed``."""
    return in_namespace(__name__, {"directory": str(directory), "size": size, "prelude": prelude})


def main() -> None:
    """Do what the first argument says, and print how the copy ended as JSON."""
    wanted = json.loads(sys.argv[1])
    directory = pathlib.Path(wanted["directory"])
    disk = Disk(directory, "ext4")
    disk.mount()
    dest = disk.mount_point / "dest"
    dest.mkdir()
    (directory / "src").mkdir()
    (directory / "src" / "file").write_bytes(b"x" * wanted["size"] + _MARK)

    def flip() -> None:
        with open(disk.image, "r+b") as image, mmap.mmap(image.fileno(), 0) as content:
            position = content.find(_MARK)
            assert position >= 0, "it has not reached the device"
            content[position] ^= 1

    # Without the note of the run, the first flush is that of the file under its temporary name.
    outcome = stopped_at(directory, Call("fsync", 1), flip, prelude=_UNNOTED + wanted["prelude"], dest=str(dest))
    placed = (dest / "file").exists()
    disk.unmount()
    print(json.dumps({"code": outcome.code, "said": outcome.said, "placed": placed}))
