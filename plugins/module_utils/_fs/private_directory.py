# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory for the private copy of one database, and the removal of those that killed runs have left.

Its maker holds a lock of the directory itself (``flock``), which ends with the last of its processes, however that ends.
So what is not locked is not in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import stat
import tempfile
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import remove_left

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PRIVATE_NAME", "private_directory", "private_place", "remove_abandoned"]

#: What the database is called in its private directory; its sidecars are named after it.
PRIVATE_NAME = "database"

_PREFIX = "contimg-copy-"
_NAMES = {PRIVATE_NAME + suffix for suffix in ("", "-wal", "-shm", "-journal")}
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def private_place() -> str:
    """Return where private directories are made: ``$TMPDIR`` or ``/var/tmp``."""
    return os.environ.get("TMPDIR") or "/var/tmp"  # noqa: S108 (mkdtemp makes a private directory)


@contextlib.contextmanager
def private_directory(*, state: str) -> Iterator[str]:
    """Give the path of a new directory (mode 0700) that is removed at the end.

    :param state: what state things are in if it cannot be made, as a sentence.
    :raises ContimgError: when it cannot be made.
    """
    place = private_place()
    remove_abandoned_once(place)
    hint = f"{state} Set TMPDIR to a directory that can be written, with room for a copy of the database."
    with error_context("make a directory for a private copy", place, hint):
        path, held = _made(place)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def _made(place: str) -> tuple[str, int]:
    """Make and lock a directory. One that another run took for abandoned, before it was locked, is made again."""
    while True:
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
        descriptor = -1
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, _OPEN)
            if _locked(descriptor) is not False and os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                return path, descriptor
        if descriptor >= 0:
            os.close(descriptor)


def _locked(descriptor: int) -> bool | None:
    """Lock a directory; return whether that could be done, ``None`` where the file system has no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove_abandoned(place: str) -> None:
    """Remove the private directories in ``place`` that a killed run of this user has left.

    Only what has their name, mode and owner, holds nothing but a database, and is not locked. Whatever prevents it
    is no error: the next run tries again.
    """
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            if name.startswith(_PREFIX):
                with contextlib.suppress(OSError):
                    _remove_if_abandoned(os.path.join(place, name))


#: The same, for each place once in the life of a process.
remove_abandoned_once = functools.lru_cache(maxsize=None)(remove_abandoned)


def _remove_if_abandoned(path: str) -> None:
    descriptor = os.open(path, _OPEN)
    try:
        status = os.fstat(descriptor)
        ours = status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == 0o700
        if not ours or not _locked(descriptor):
            return
        remove_left(descriptor)  # of a database that was made there
        if _NAMES.issuperset(os.listdir(descriptor)):
            for name in os.listdir(descriptor):
                os.unlink(name, dir_fd=descriptor)
            os.rmdir(path)
    finally:
        os.close(descriptor)
