# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory tree listed through directory descriptors, without what globs exclude. No link is followed below its root."""

from __future__ import annotations

import errno
import functools
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import path_expression, require_globs
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_excluded", "read_directory", "scan"]

_VANISHED = (errno.ENOENT, errno.EINVAL)  # EINVAL: a link that became a file before it was read


def read_directory(root: int, directory: bytes) -> list[Entry]:
    """Return the entries of one directory below a root, sorted. What vanishes meanwhile is left out.

    :raises ContimgError: when the directory cannot be listed.
    """
    prefix = directory + b"/" if directory else b""
    entries = []
    with error_context("list the directory", directory or b"."), open_below(root, directory, os.O_DIRECTORY) as opened:
        with os.scandir(opened) as names:
            for name in names:
                try:
                    status = name.stat(follow_symlinks=False)
                    link = os.fsencode(os.readlink(name.name, dir_fd=opened)) if name.is_symlink() else b""
                except OSError as error:
                    if error.errno in _VANISHED:
                        continue
                    raise
                path = prefix + name.name.encode("utf-8", "surrogateescape")
                entries.append(entry_of(path, status, link))
    entries.sort()
    return entries


def scan(root: int, exclude: Sequence[str] = ()) -> dict[bytes, Entry]:
    """Return every entry of a tree by its path, the root first and a directory before what is in it.

    :param exclude: globs as rsync takes them, see :func:`is_excluded`.
    :raises ContimgError: when a directory cannot be listed, or a glob is none.
    """
    patterns = tuple(exclude)
    require_globs(patterns)
    entries = {b"": entry_of(b"", os.fstat(root))}
    pending = [b""]
    while pending:
        for entry in read_directory(root, pending.pop()):
            if not is_excluded(entry, patterns):
                entries[entry.path] = entry
                if entry.is_directory:
                    pending.append(entry.path)
    return entries


def is_excluded(entry: Entry, patterns: tuple[str, ...]) -> bool:
    """Return whether a name is left out by globs as rsync takes them.

    Without ``/`` a glob matches a name at any depth, with one the end of a path, with one in front the whole path; with one
    at its end it matches directories alone. ``*`` and ``?`` stop at a ``/``, ``**`` does not.

    :raises ContimgError: for a glob that is none, see :func:`require_globs`.
    """
    if not patterns:
        return False
    if not entry.is_directory:
        patterns = _without_directories(patterns)
    return bool(patterns) and path_expression(patterns).fullmatch(b"/" + entry.path) is not None


@functools.lru_cache(maxsize=None)
def _without_directories(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(pattern for pattern in patterns if not pattern.endswith("/"))
