# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The destination of a copy, held by one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import (
    is_link,
    is_there,
    kind_of,
    nearest_existing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["made_target", "open_target"]

# Seconds; so long the processes of a run that was killed may hold the lock, also on a busy machine.
_PATIENCE, _PAUSE = 10.0, 0.1


@contextlib.contextmanager
def open_target(dest: str, *, check: bool) -> Iterator[int | None]:
    """Hold the descriptor of the destination's root, ``None`` where there is none.

    :param check: whether nothing will be written; otherwise its lock is held, too.
    :raises ContimgError: when it is not a directory and cannot become one, or another copy to it is running.
    """
    kind = kind_of(dest)
    if not kind:
        _require_directory_above(dest)
        yield None
        return
    if kind != stat.S_IFDIR:
        raise ContimgError("is not a directory", path=dest, hint="Nothing was touched.")
    with open_root(dest) as target:
        if not check:
            _lock(target, dest)
        yield target


def _require_directory_above(dest: str) -> None:
    above = nearest_existing(os.path.abspath(dest))
    if kind_of(above) != stat.S_IFDIR:
        what = "is a symbolic link to nothing" if is_link(above) else "is not a directory"
        hint = "Nothing was touched. Name another destination."
        raise ContimgError(f"cannot be made: {printable(above)} {what}", path=dest, hint=hint)


def _lock(target: int, dest: str) -> None:
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > patience:
                hint = "Nothing was touched. Wait for it."
                raise ContimgError("another copy to this destination is running", path=dest, hint=hint) from error
        time.sleep(_PAUSE)


@contextlib.contextmanager
def made_target(dest: str) -> Iterator[int]:
    """Make the destination, and whatever is missing above it, durably; hold its descriptor and its lock.

    :raises ContimgError: naming what could not be made.
    """
    missing = [os.path.abspath(dest)]
    while not is_there(os.path.dirname(missing[-1])):
        missing.append(os.path.dirname(missing[-1]))
    for path in reversed(missing):
        with error_context("make the destination", path):
            os.mkdir(path, 0o700 if path == missing[0] else 0o777)
            sync_directory(os.path.dirname(path))
    with open_root(dest) as target:
        _lock(target, dest)
        yield target
