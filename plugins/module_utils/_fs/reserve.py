# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room in the run directory for the few small files that a way back must write, also when the disk is full by then."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    ensure_private_directory,
    replace_file,
    sync_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["keep_reserve", "replace_with_reserve", "with_reserve"]

_NAME = "reserve"
_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


def keep_reserve(directory: str) -> None:
    """Make the reserve of a run directory, unless it is there. Raises ContimgError when there is no room for it."""
    ensure_private_directory(directory)
    path = os.path.join(directory, _NAME)
    if is_there(path):
        return
    try:
        replace_file(path, os.urandom(_BYTES), mode=0o600)  # random: a file system may compress it
    except ContimgError as error:
        hint = f"It is the room that a way back needs. Nothing was touched. Free {_BYTES} bytes there and run again."
        raise ContimgError(error.what, path=path, hint=hint, **error.details) from error


def with_reserve(directory: str, write: Callable[[], None]) -> None:
    """Write something; where there is no room, free the reserve of a run directory and write again.

    :raises ContimgError: as ``write`` does, when it fails even then or for another reason.
    """
    try:
        write()
    except ContimgError as error:
        if error.details.get("errno") not in _FULL or not _freed(directory):
            raise
        write()


def replace_with_reserve(path: str, content: bytes) -> None:
    """Write a file of the run directory, which is made, for its owner only; where there is no room, use the reserve.

    :raises ContimgError: when it cannot be written even then; what was there before is unchanged.
    """
    directory = os.path.dirname(path)
    ensure_private_directory(directory)
    with_reserve(directory, lambda: replace_file(path, content, mode=0o600))


def _freed(directory: str) -> bool:
    """Free the reserve; return whether there was one."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(directory, _NAME))
        sync_directory(directory)
        return True
    return False
