# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database that is built under a name of its own and gets its place when it is whole and durable."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import sidecars_of, temporary_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["new_database"]


@contextlib.contextmanager
def new_database(
    place: str, *, like: str | None, state: str, fill: Callable[[int], None] | None = None
) -> Iterator[str]:
    """Give the path of an empty file (mode 0600) beside ``place``; at the end it is flushed and stands at ``place``.

    What a killed run has left of such a file is removed, see ``_fs/temporary.py``.

    :param like: the file whose owner and group it has, and whose mode it gets in the end; without one it stays private.
    :param state: what state things are in if this fails, as a sentence.
    :param fill: writes what the file begins with, by its descriptor: another user may own the directory.
    :raises ContimgError: when it cannot be made, flushed or named. Nothing stands at ``place`` then that was not there.
    """
    directory_path, name = os.path.split(os.path.abspath(place))
    with error_context("make the database", place, state), open_directory(directory_path) as directory, temporary_file(
        directory
    ) as (
        temporary,
        descriptor,
    ):
        model = None if like is None else os.stat(like)
        if model is not None:  # so SQLite works on it with the rights of that user
            os.fchown(descriptor, model.st_uid, model.st_gid)
        if fill is not None:
            fill(descriptor)
        path = os.path.join(directory_path, os.fsdecode(temporary))
        try:
            yield path
        except ContimgError as error:
            if error.path is None or not error.path.startswith(printable(path)):
                raise
            raise ContimgError(error.what, path=place, hint=error.hint, **error.details) from error
        if sidecars_of(directory, temporary):  # a rename would separate the database from its journal
            raise OSError(errno.EIO, "SQLite could not remove its journal")
        if model is not None:
            os.fchmod(descriptor, model.st_mode & 0o7777)
        os.fsync(descriptor)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
