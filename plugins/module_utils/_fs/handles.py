# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directory descriptors: a tree is entered and its names are opened without following a link below its root."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry

__all__ = [
    "create_name",
    "create_special",
    "directory_of",
    "entry_at",
    "open_below",
    "open_name",
    "open_root",
    "open_untraced",
]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ON_THE_WAY = (
    os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
)  # a directory may be entered that cannot be listed


@contextlib.contextmanager
def open_root(path: str) -> Iterator[int]:
    """Hold the descriptor of a tree's root. Raises ContimgError when it is not a directory.

    Links in the path are resolved once, before; a component that is swapped for a link meanwhile is not followed.
    """
    with error_context("open the directory", path):
        *directories, name = os.fsencode(os.path.realpath(path)).split(b"/")
        descriptor = os.open("/", _ON_THE_WAY)
        for directory in directories:
            descriptor = _descend(descriptor, directory or b".", _ON_THE_WAY)
        descriptor = _descend(descriptor, name or b".")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _descend(directory: int, name: bytes, flags: int = _DIRECTORY) -> int:
    try:
        return os.open(name, flags, dir_fd=directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def directory_of(root: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """Hold the descriptor of the directory that a name stands in, walked to without following a link."""
    *directories, name = path.split(b"/")
    current = os.dup(root)
    for directory in directories:
        current = _descend(current, directory)
    try:
        yield current, name
    finally:
        os.close(current)


def entry_at(root: int, path: bytes) -> Entry:
    """Return what stands at a path below a root; of a link not where it points to. Raises OSError."""
    with directory_of(root, path) as (directory, name):
        return entry_of(path, os.stat(name or b".", dir_fd=directory, follow_symlinks=False))


def open_name(directory: int, name: bytes, flags: int = os.O_RDONLY) -> int:
    """Open a name in a directory: never through a link, never waiting for a FIFO, and without a trace where that is allowed.

    :returns: a descriptor that the caller closes.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    return open_untraced(name or b".", flags, directory=directory)


def open_untraced(name: bytes | str, flags: int, *, directory: int | None = None) -> int:
    """Open a file so that what is read of it leaves its access time alone, where that is allowed. Raises OSError.

    :returns: a descriptor that the caller closes.
    """
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=directory)
    except PermissionError:  # only its owner and root may
        return os.open(name, flags, dir_fd=directory)


def create_name(directory: int, name: bytes | str) -> int:
    """Make a file in a directory that no other user may open yet, and whose name is not taken; see :func:`open_name`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=directory)


def create_special(directory: int, name: bytes, entry: Entry) -> None:
    """Make a symbolic link, FIFO, socket or device in a directory, like an entry. Raises OSError."""
    if entry.target:
        os.symlink(entry.target, name, dir_fd=directory)
    else:
        os.mknod(name, entry.kind | 0o600, entry.status.rdev, dir_fd=directory)


@contextlib.contextmanager
def open_below(root: int, path: bytes, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a file or directory below a root, as :func:`open_name` does."""
    with directory_of(root, path) as (directory, name):
        descriptor = open_name(directory, name, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
