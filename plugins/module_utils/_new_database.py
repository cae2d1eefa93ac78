# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database that is built under a name of its own and gets its place when it is whole and durable."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import failing
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import DEBRIS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["new_database"]


@contextlib.contextmanager
def new_database(place: str, *, like: str | None, state: str, mark: str = "") -> Iterator[str]:
    """Give the path of an empty file (mode 0600) beside ``place``; at the end it is flushed and stands at ``place``.

    What a killed run has left of such a file is removed: it is known by its name and by the lock that nobody holds.

    :param like: the file whose owner, group and mode it gets in the end; without one it stays private.
    :param mark: what the names of files that stand for the same thing end in, the name of ``place`` unless told.
    :param state: what state things are in if this fails, as a sentence.
    :raises ContimgError: when it cannot be made, flushed or named. Nothing stands at ``place`` then that was not there.
    """
    folder, name = os.path.split(os.path.abspath(place))
    name = mark or name
    with failing("remove what an interrupted run has left beside the database", place, state):
        _remove_debris(folder, name)
    temporary = os.path.join(folder, f"{os.fsdecode(DEBRIS)}{secrets.token_hex(4)}-{name}")
    with failing("make the database", place, state):
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
        with failing("put the database in place", place, state):
            if like is not None:
                model = os.stat(like)
                os.fchown(descriptor, model.st_uid, model.st_gid)
                os.fchmod(descriptor, model.st_mode & 0o7777)
            os.fsync(descriptor)
            os.rename(temporary, place)
            sync_directory(folder)
    finally:
        _remove(temporary)
        os.close(descriptor)


def _remove_debris(folder: str, name: str) -> None:
    mark = os.fsdecode(DEBRIS)
    for found in os.listdir(folder):
        if found.startswith(mark) and found.endswith(f"-{name}") and len(found) == len(mark) + 9 + len(name):
            with open(os.path.join(folder, found), "rb") as file, contextlib.suppress(BlockingIOError):
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(os.path.join(folder, found))


def _remove(path: str) -> None:
    """Remove a database, its sidecars first: it stands for them."""
    for suffix in (*SIDECARS, ""):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)
