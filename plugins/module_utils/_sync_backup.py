# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verified, durable copy of what a sync is about to replace."""

from __future__ import annotations

import os
import shutil
import stat
import time

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import ensure_private_directory, sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._manifest import hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import (
    Wishes,
    copy_metadata,
    open_handle,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_capable import LOSSES
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import (
    create_special,
    entry_of,
    folder_of,
    open_below,
    open_root,
)

__all__ = ["back_up_file"]

_TOLERANT = Wishes(losses=frozenset(LOSSES))  # the content is what a backup must keep


def back_up_file(root: int, path: bytes, backup_dir: str | None) -> str:
    """Copy a file or link below a root, with the log or journal that belongs to it, into a new folder of ``backup_dir``.

    :returns: that folder.
    :raises ContimgError: when there is no ``backup_dir``, or the copy cannot be written or proved.
    """
    if backup_dir is None:
        hint = "Nothing was replaced. Name a backup_dir, or decide to keep what stands there."
        raise ContimgError("would be replaced without a backup", path=path, hint=hint)
    folder = os.path.join(backup_dir, f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{time.monotonic_ns():x}")
    ensure_private_directory(folder)
    if not _made_alike(root, path, folder):
        for suffix in ("", *SIDECARS):
            _copy_proved(root, path + suffix.encode(), folder, optional=bool(suffix))
    with failing("flush the backup", folder):
        sync_directory(folder)
    return folder


def _made_alike(root: int, path: bytes, backup: str) -> bool:
    """Back up what has no content. Tell whether it was such."""
    with failing("back it up", path, "Nothing was replaced."):
        with folder_of(root, path) as (folder, name), open_root(backup) as backups:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                return False
            link = os.readlink(name, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else b""
            create_special(backups, name, entry_of(path, status, link))
            with open_handle(folder, name, status.st_mode) as there, open_handle(backups, name, status.st_mode) as new:
                copy_metadata(there, new, _TOLERANT)
    return True


def _copy_proved(root: int, path: bytes, folder: str, *, optional: bool) -> None:
    target = os.path.join(os.fsencode(folder), os.path.basename(path))
    with failing("back up the file", path, "Nothing was replaced."):
        try:
            with open_below(root, path) as source, open(target, "xb") as file:
                with os.fdopen(os.dup(source), "rb") as reader:
                    shutil.copyfileobj(reader, file, 1 << 20)
                file.flush()
                copy_metadata(source, file.fileno(), _TOLERANT)
                os.fsync(file.fileno())
        except FileNotFoundError:
            if not optional:
                raise
            return
        with open_root(folder) as backups:
            proved = hash_file(backups, os.path.basename(path), from_device=True) == hash_file(root, path)
    if not proved:
        raise ContimgError("the backup differs from the original", path=target, hint="Nothing was replaced.")
