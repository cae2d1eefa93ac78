# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a path or a pattern of the shell stands for. What cannot be looked at is an error, unlike with ``os.path`` and ``glob``."""

from __future__ import annotations

import errno
import glob
import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import name_expression

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "is_directory",
    "is_file",
    "is_link",
    "is_there",
    "kind_of",
    "matching",
    "nearest_existing",
    "require_directory",
    "status_of",
    "target_exists",
]

_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def status_of(path: str) -> os.stat_result | None:
    """Return the status of what a name leads to: of a link itself where that leads nowhere, ``None`` where nothing is.

    A name that is too long for the file system stands nowhere.

    :raises ContimgError: when that cannot be found out; unlike ``os.path``, which then says that nothing is there.
    """
    with error_context("look at it", path):
        for look in (os.stat, os.lstat):
            try:
                return look(path)
            except OSError as error:
                if error.errno not in _NOWHERE:
                    raise
    return None


def kind_of(path: str) -> int:
    """Return the file type of what a name leads to, 0 where nothing is; see :func:`status_of`."""
    status = status_of(path)
    return 0 if status is None else stat.S_IFMT(status.st_mode)


def is_there(path: str) -> bool:
    """Return whether anything has this name, be it a link that leads nowhere.

    :raises ContimgError: when that cannot be found out, as of all these; ``os.path`` then says that nothing is there.
    """
    return _kind(os.lstat, path) != 0


def nearest_existing(path: str) -> str:
    """Return an absolute path, or where nothing has that name the nearest name above it. Raises ContimgError."""
    while not is_there(path):
        path = os.path.dirname(path)
    return path


def is_link(path: str) -> bool:
    """Return whether a name is a symbolic link. Raises ContimgError."""
    return _kind(os.lstat, path) == stat.S_IFLNK


def target_exists(path: str) -> bool:
    """Return whether a name leads to anything. Raises ContimgError."""
    return _kind(os.stat, path) != 0


def is_directory(path: str) -> bool:
    """Return whether a name leads to a directory. Raises ContimgError."""
    return _kind(os.stat, path) == stat.S_IFDIR


def is_file(path: str) -> bool:
    """Return whether a name leads to a regular file. Raises ContimgError."""
    return _kind(os.stat, path) == stat.S_IFREG


def _kind(look: Callable[[str], os.stat_result], path: str) -> int:
    """Return the file type that is seen, 0 where nothing is or links lead in circles."""
    with error_context("look at it", path):
        try:
            return stat.S_IFMT(look(path).st_mode)
        except OSError as error:
            if error.errno not in (*_NOWHERE, errno.ELOOP):
                raise
    return 0


def matching(pattern: str) -> list[str]:
    """Return the paths that a pattern of the shell stands for, as :func:`glob.glob` does.

    :raises ContimgError: where a directory cannot be listed: what would match there is not known.
    """
    directory, name = os.path.split(pattern)
    directories = matching(directory) if glob.has_magic(directory) else [directory]
    if not glob.has_magic(name):
        return [path for path in (os.path.join(one, name) for one in directories) if is_there(path)]
    return [
        os.path.join(one, found)
        for one in directories
        for found in _names_in(one or ".")
        if _matches(found, name) and (name.startswith(".") or not found.startswith("."))
    ]


def _matches(found: str, name: str) -> bool:
    try:
        return name_expression((name,)).fullmatch(os.fsencode(found)) is not None
    except ContimgError:  # what is not a glob is a name, as in the shell
        return found == name


def _names_in(directory: str) -> list[str]:
    with error_context("list the directory", directory):
        try:
            return sorted(os.listdir(directory))
        except OSError as error:
            if error.errno not in (*_NOWHERE, errno.ELOOP):
                raise
    return []


def require_directory(path: str, role: str) -> None:
    """Check that a directory exists. Raises ContimgError which calls it by its role, for example ``source``."""
    kind = kind_of(path)
    if not kind:
        raise ContimgError(
            f"the {role} does not exist", path=path, hint="Nothing was touched. Name an existing directory."
        )
    if kind != stat.S_IFDIR:
        raise ContimgError(f"the {role} is not a directory", path=path, hint="Nothing was touched. Name a directory.")
