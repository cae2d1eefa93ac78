# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory tree as it stands, read through directory descriptors; no link is ever followed below its root."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "DEBRIS",
    "Entry",
    "folder_of",
    "open_below",
    "open_root",
    "require_folder",
    "require_separate",
    "scan",
    "tree_digest",
]

#: The start of every temporary name that a copy makes; what a dead run has left is known by it.
DEBRIS = b".contimg-"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Entry:
    """A name in a tree and its status, as ``lstat`` gives it.

    :ivar path: relative to the root, empty for the root itself.
    :ivar target: what a symbolic link points to.
    """

    path: bytes
    status: os.stat_result
    target: bytes = b""

    @property
    def kind(self) -> int:
        """The file type bits of the mode."""
        return stat.S_IFMT(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file."""
        return self.kind == stat.S_IFREG

    @property
    def is_folder(self) -> bool:
        """Whether this is a directory."""
        return self.kind == stat.S_IFDIR

    @property
    def inode(self) -> tuple[int, int]:
        """What tells one file from another, whatever its names."""
        return (self.status.st_dev, self.status.st_ino)


@contextlib.contextmanager
def open_root(path: str) -> Iterator[int]:
    """Hold the descriptor of a tree's root. Raises ContimgError when it is no directory."""
    with failing("open the directory", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folder_of(root: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """Hold the descriptor of the folder that a name stands in, walked to without following a link."""
    *folders, name = path.split(b"/")
    current = os.dup(root)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=current)
            os.close(current)
            current = below
        yield current, name
    finally:
        os.close(current)


@contextlib.contextmanager
def open_below(root: int, path: bytes, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a file or folder below a root, never through a link and never waiting for a FIFO."""
    with folder_of(root, path) as (folder, name):
        descriptor = os.open(name or b".", flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def scan(root: int, exclude: Sequence[str] = ()) -> dict[bytes, Entry]:
    """Return every entry of a tree by its path, the root first and a folder before what is in it.

    :param exclude: globs as rsync takes them: without ``/`` they match a name at any depth, with one the whole path.
    :raises ContimgError: when a folder cannot be listed.
    """
    entries = {b"": Entry(b"", os.fstat(root))}
    pending = [b""]
    while pending:
        folder = pending.pop()
        for entry in _list(root, folder):
            if not _excluded(entry, exclude):
                entries[entry.path] = entry
                if entry.is_folder:
                    pending.append(entry.path)
    return entries


def _list(root: int, folder: bytes) -> list[Entry]:
    with failing("list the directory", folder or b"."), open_below(
        root, folder, os.O_RDONLY | os.O_DIRECTORY
    ) as opened:
        found = []
        for text in sorted(os.listdir(opened)):
            name = os.fsencode(text)
            path = folder + b"/" + name if folder else name
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                target = os.readlink(name, dir_fd=opened) if stat.S_ISLNK(status.st_mode) else b""
                found.append(Entry(path, status, target))
        return found


def _excluded(entry: Entry, patterns: Sequence[str]) -> bool:
    path = os.fsdecode(entry.path)
    for pattern in patterns:
        if pattern.endswith("/") and not entry.is_folder:
            continue
        glob = pattern.strip("/")
        if fnmatch.fnmatchcase(path if "/" in pattern.rstrip("/") else os.path.basename(path), glob):
            return True
    return False


def tree_digest(entries: dict[bytes, Entry]) -> str:
    """Return a hash of every name and status, to the ctime: two equal ones mean that nothing has moved in between.

    Access times do not count, and neither do the link count and size of a folder.
    """
    digest = hashlib.sha256()
    for path in sorted(entries):
        entry, status = entries[path], entries[path].status
        size = 0 if entry.is_folder else status.st_size
        facts = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
        )
        digest.update(repr((path, facts, entry.target)).encode())
    return digest.hexdigest()


def require_folder(path: str, role: str) -> None:
    """Check that a directory exists. Raises ContimgError which calls it by its role, for example ``source``."""
    if not os.path.lexists(path):
        raise ContimgError(
            f"the {role} does not exist", path=path, hint="Nothing was touched. Name an existing directory."
        )
    if not os.path.isdir(path):
        raise ContimgError(f"the {role} is no directory", path=path, hint="Nothing was touched. Name a directory.")


def require_separate(src: str, dest: str) -> None:
    """Check that neither of two directories is, or lies inside, the other, by whatever name.

    :raises ContimgError: naming both; nothing has been touched then.
    """
    source, target = os.path.realpath(src), os.path.realpath(dest)
    hint = "Nothing was touched. Name two directories that have nothing to do with each other."
    if os.path.exists(dest) and os.path.samefile(src, dest):
        raise ContimgError(f"is the same directory as the source {src}", path=dest, hint=hint)
    if os.path.commonpath([source, target]) == source:
        raise ContimgError(f"lies inside the source {src}", path=dest, hint=hint)
    if os.path.commonpath([source, target]) == target:
        raise ContimgError(f"the source lies inside the destination {dest}", path=src, hint=hint)
