# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SQLite writes as root, written with the rights of the user to whom the database belongs.

A journal is judged before a database is opened for writing, but who owns the directory may exchange it just then, or add the
name of a super-journal while a transaction is about to be rolled back. SQLite then removes nothing that this user could
not remove himself.

The user of the file system (``setfsuid``) is one of each thread, so another thread of the process keeps root's rights.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.private_directory import private_place
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["Owner", "acting_for", "owner_of"]

_WRITE_AND_ENTER = 0o300
_ANYBODY = 0o003


class Owner(NamedTuple):
    """A user and a group, by number."""

    user: int
    group: int


def owner_of(path: str) -> Owner | None:
    """Return the owner of a database whom root may stand in for: one that could do all of SQLite's work on it himself.

    :param path: the database, no symbolic link.
    :returns: ``None`` where this process is not root's, or the database, its sidecars or its directory are root's or not his.
    """
    if os.geteuid() != 0 or _libc() is None:
        return None
    try:
        status, directory = os.stat(path), os.stat(os.path.dirname(path))
        users = {os.lstat(path + suffix).st_uid for suffix in ("", *SIDECARS) if is_there(path + suffix)}
        sorts = os.stat(private_place())  # where SQLite makes its temporary files
    except OSError:
        return None
    able = directory.st_mode & _WRITE_AND_ENTER == _WRITE_AND_ENTER and sorts.st_mode & _ANYBODY == _ANYBODY
    owner = Owner(status.st_uid, status.st_gid)
    if owner.user == 0 or users | {directory.st_uid} != {owner.user} or not able:
        return None
    return owner if _can_open(owner, path) else None


def _can_open(owner: Owner, path: str) -> bool:
    with acting_for(owner):
        for name, flags in ((path, os.O_RDWR), (private_place(), os.O_RDONLY | os.O_DIRECTORY)):
            try:
                descriptor = os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:
                return False
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            os.close(descriptor)
            if flags & os.O_RDWR and not regular:
                return False
    return True


@contextlib.contextmanager
def acting_for(owner: Owner | None) -> Iterator[None]:
    """Let this thread be a user for the file system, without root's capabilities there; ``None`` for no change."""
    if owner is None:
        yield
        return
    libc = _libc()
    libc.setfsgid(owner.group)
    libc.setfsuid(owner.user)
    try:
        yield
    finally:
        libc.setfsuid(os.geteuid())
        libc.setfsgid(os.getegid())


@functools.lru_cache(maxsize=None)
def _libc() -> Any:
    """Return the library of the two calls, ``None`` for a Python that was built without ``ctypes``: SQLite then works as root."""
    try:
        import ctypes  # noqa: PLC0415  # most processes write nothing as root
    except ImportError:
        return None
    return ctypes.CDLL(None)
