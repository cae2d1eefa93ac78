# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print names, contents and metadata of everything below the named directories, a line of JSON a path; follow no link.

With --settled, leave out what the services of this host write while they run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import stat
import sys

WRITTEN_BY_SERVICES = {
    "ingest.sqlite3",
    "ingest.sqlite3-wal",
    "ingest.sqlite3-shm",
    "products.sqlite3-shm",
    "contimg-stream.out",
}


def describe(path: bytes) -> list[object]:
    """Return type and mode, owners, links, size, time, extended attributes and content of a path; no access time."""
    found = os.lstat(path)
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False).hex() for name in os.listxattr(path, follow_symlinks=False)
    }
    content = ""
    if stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(pathlib.Path(os.fsdecode(path)).read_bytes()).hexdigest()
    elif stat.S_ISLNK(found.st_mode):
        content = os.fsdecode(os.readlink(path))
    size = found.st_size if not stat.S_ISDIR(found.st_mode) else 0
    metadata = [stat.filemode(found.st_mode), found.st_uid, found.st_gid, found.st_nlink, size, found.st_mtime_ns]
    return [*metadata, attributes, content]


def snapshot(root: str, *, settled: bool) -> None:
    """Print what stands at and below a directory, in the order of names; nothing where there is none."""
    paths = [os.fsencode(root)] if os.path.lexists(root) else []
    for directory, directories, files in os.walk(os.fsencode(root)):
        paths += [os.path.join(directory, name) for name in [*directories, *files]]
    for path in sorted(paths):
        if not (settled and os.fsdecode(os.path.basename(path)) in WRITTEN_BY_SERVICES):
            sys.stdout.write(json.dumps([os.fsdecode(path), *describe(path)]) + "\n")


def main() -> None:
    """Print the snapshot of the directories on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settled", action="store_true")
    parser.add_argument("roots", nargs="+")
    given = parser.parse_args()
    for root in given.roots:
        snapshot(root, settled=given.settled)


if __name__ == "__main__":
    main()
