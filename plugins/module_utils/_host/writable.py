# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this process may write somewhere, found out without writing: mount options, attributes of inodes, permissions.

Facts: ioctl_iflags(2), statvfs(3), faccessat(2). A file is replaced by another one that gets its name, so what counts is its
directory; an immutable or append-only file keeps its name, and so does one that something is mounted on.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_name
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.inode_flags import APPEND_ONLY, IMMUTABLE, flags_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there, nearest_existing
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import is_within, mounts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "directory_obstacle",
    "entry_obstacle",
    "files_obstacles",
    "flags_obstacle",
    "folds_case",
    "opened_obstacle",
    "replacing_obstacle",
    "require_replaceable",
]

_MAKE_WRITABLE = "Nothing was touched. Make it writable."
_CASEFOLD = 0x40000000


def flags_obstacle(flags: int) -> str:
    """Return, as a clause, which inode flag keeps what has it from being changed, empty where none does."""
    if flags & IMMUTABLE:
        return "is immutable (chattr +i)"
    return "is append-only (chattr +a)" if flags & APPEND_ONLY else ""


def folds_case(directory: int) -> bool:
    """Return whether an open directory is marked as one that takes names for one which differ in case alone (chattr +F)."""
    return bool(_flags_of(directory) & _CASEFOLD)


def _flags_of(descriptor: int) -> int:
    with contextlib.suppress(OSError):
        return flags_of(descriptor)
    return 0


def opened_obstacle(directory: int) -> str:
    """Return, as a clause, why nothing can be made or replaced in an open directory, empty where it can."""
    if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
        return "is on a file system that is mounted read-only"
    flagged = flags_obstacle(_flags_of(directory))
    if flagged:
        return flagged
    if os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True):
        return ""
    return f"may not be written by user {_user()}"


def entry_obstacle(directory: int, name: bytes) -> str:
    """Return, as a clause, why a name in an open directory cannot be replaced, empty where it can or where nothing is there."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return ""
        descriptor = open_name(directory, name)
    except OSError:  # what cannot be opened can still be replaced
        return ""
    try:
        return flags_obstacle(_flags_of(descriptor))
    finally:
        os.close(descriptor)


def directory_obstacle(path: str) -> str:
    """Return, as a clause, why nothing can be written below a directory, which may not exist yet; empty where it can."""
    there, what = _blocked(path)
    return f"{printable(there)} above it {what}" if what and there != path else what or _unnameable(there, path)


def replacing_obstacle(path: str, *, follow: bool = True) -> str:
    """Return, as a clause, why a file, which may not exist yet, cannot be replaced; empty where it can.

    :param follow: whether a link stands for the file that it leads to; otherwise the link itself is replaced.
    """
    parent, name = os.path.split(os.path.realpath(path) if follow else os.path.abspath(path))
    there, what = _blocked(parent)
    if what:
        return f"cannot be replaced: {printable(there)} {what}"
    what = _unnameable(there, os.path.join(parent, name))
    if what or there != parent:
        return what
    directory = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        named = os.fsencode(name)
        return (
            _directory_at(directory, named)
            or entry_obstacle(directory, named)
            or _mounted_on(os.path.join(parent, name))
        )
    finally:
        os.close(directory)


def files_obstacles(paths: Iterable[str], *, made: str | None = None) -> list[str]:
    """Return which files, which may not exist yet, cannot be written, and why, the directories in which none can be once.

    :param made: a directory that is made before, with all above it.
    """
    found = []
    for path in paths:
        directory = os.path.dirname(os.path.abspath(path))
        what = directory_obstacle(directory)
        is_made = made is not None and is_within(os.path.abspath(made), directory)
        if not what and not is_made and not is_there(directory):
            what = "does not exist"
        if what:
            found.append(f"{printable(directory)} {what}")
            continue
        what = replacing_obstacle(path, follow=False)
        found += [f"{printable(path)} {what}"] if what else []
    return list(dict.fromkeys(found))


def require_replaceable(path: str, *, made: str | None = None, hint: str = _MAKE_WRITABLE) -> None:
    """Check, without writing, that a file, which may not exist yet, can be written.

    :param made: a directory that is made before, with all above it.
    :param hint: what state the host is in when this fails, and what to do.
    :raises ContimgError: naming what is in the way.
    """
    for what in files_obstacles([path], made=made):
        raise ContimgError(f"cannot be written: {what}", path=path, hint=hint)


def _blocked(path: str) -> tuple[str, str]:
    """Return a directory or its nearest parent that exists, and why nothing can be written in it."""
    there = nearest_existing(path)
    try:
        directory = os.open(there, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return there, "is a symbolic link to nothing"
    except NotADirectoryError:
        return there, "is not a directory"
    except OSError as error:
        return there, f"cannot be opened by user {_user()}: {error.strerror} [errno {error.errno}]"
    try:
        return there, opened_obstacle(directory)
    finally:
        os.close(directory)


def _unnameable(there: str, path: str) -> str:
    """Return that a name in what a path adds to a directory that exists is longer than its file system takes."""
    longest = os.pathconf(there, "PC_NAME_MAX")
    added = os.fsencode(path)[len(os.fsencode(there)) :].split(b"/")
    return f"has a name of more than {longest} bytes" if any(len(name) > longest for name in added) else ""


def _directory_at(directory: int, name: bytes) -> str:
    """Return that a directory stands where a file is to be replaced."""
    with contextlib.suppress(FileNotFoundError):
        return "is a directory" if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode) else ""
    return ""


def _mounted_on(path: str, points: Iterable[str] | None = None) -> str:
    """Return that a file is a mount point: the system refuses to rename another one over it."""
    known = (mount.point for mount in mounts_of()) if points is None else points
    return "is a mount point, which cannot be replaced" if path in known else ""


def _user() -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return str(os.geteuid())
