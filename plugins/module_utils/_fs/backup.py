# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verified, durable copy of what a sync is about to replace."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import ensure_private_directory, open_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of, name_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import (
    create_name,
    create_special,
    directory_of,
    open_below,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import (
    LOSSES,
    MetadataPolicy,
    copy_metadata,
    open_handle,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import remove_left, temporary_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS

__all__ = ["back_up_file", "backup_place", "clear_backups"]

_TOLERANT = MetadataPolicy(losses=frozenset(LOSSES))  # the content is what a backup must keep


def clear_backups(backup_dir: str) -> None:
    """Remove what killed runs have begun to back up into a directory, where there is one. Raises ContimgError."""
    with error_context("remove what a killed run has left", backup_dir, "Nothing was replaced."):
        with contextlib.suppress(FileNotFoundError), open_directory(backup_dir) as backups:
            remove_left(backups)


def backup_place(path: bytes, backup_dir: str | None) -> str:
    """Return where a path is backed up. Raises ContimgError when there is no such place."""
    if backup_dir is None:
        hint = "Nothing was replaced. Name a backup_dir, or decide to keep what is there."
        raise ContimgError("would be replaced without a backup", path=path, hint=hint)
    return backup_dir


def back_up_file(root: int, path: bytes, backup_dir: str | None) -> str:
    """Copy a file or link below a root, with the WAL or journal that belongs to it, into a new directory of ``backup_dir``.

    The directory gets its name when all that is in it is proved and durable.

    :returns: that directory.
    :raises ContimgError: when there is no ``backup_dir``, or the copy cannot be written or proved.
    """
    backup_dir = backup_place(path, backup_dir)
    ensure_private_directory(backup_dir)
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{time.monotonic_ns():x}"
    with error_context("back it up", path, "Nothing was replaced."), open_directory(backup_dir) as backups:
        with temporary_directory(backups) as (temporary, directory):
            if not _made_alike(root, path, directory):
                for suffix in ("", *SIDECARS):
                    _copy_proved(root, path + suffix.encode(), directory, optional=bool(suffix))
            os.fsync(directory)
            os.rename(temporary, name, src_dir_fd=backups, dst_dir_fd=backups)
            os.fsync(backups)
    return os.path.join(backup_dir, name)


def _made_alike(root: int, path: bytes, backup: int) -> bool:
    """Back up what has no content. Return whether it was such."""
    with directory_of(root, path) as (directory, name):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return False
        link = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(status.st_mode) else b""
        create_special(backup, name, entry_of(path, status, link))
        with open_handle(directory, name, status.st_mode) as there, open_handle(backup, name, status.st_mode) as new:
            copy_metadata(there, new, _TOLERANT)
    return True


def _copy_proved(root: int, path: bytes, backup: int, *, optional: bool) -> None:
    name = name_of(path)
    try:
        with open_below(root, path) as source, open(create_name(backup, name), "wb") as file:
            with os.fdopen(os.dup(source), "rb") as reader:
                shutil.copyfileobj(reader, file, 1 << 20)
            file.flush()
            copy_metadata(source, file.fileno(), _TOLERANT)
            os.fsync(file.fileno())
    except OSError as error:
        if not optional or error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
            raise
        return
    if hash_file(backup, name, from_device=True) != hash_file(root, path):
        raise ContimgError("the backup differs from the original", path=path, hint="Nothing was replaced.")
