# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small file that is edited as a whole: which file a path stands for, which paths move in it, and who else edits it meanwhile."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_link, is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import replaced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["moves_of", "require_unchanged", "safe_target"]

_UNTOUCHED = "Nothing was touched."
_MOST_LINKS = 40


def moves_of(pairs: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return old and new paths as an operator gives them, without a slash at their end.

    :raises ContimgError: when one is not absolute, or a new path would itself be moved: each run would change the file again.
    """
    moves = [(pair["from"].rstrip("/"), pair["to"].rstrip("/")) for pair in pairs]
    for old, new in moves:
        if not old.startswith("/") or not new.startswith("/"):
            raise ContimgError("'repoint' takes absolute paths other than /", hint=_UNTOUCHED)
        if old != new and replaced(new, moves) != new:
            raise ContimgError(f"'repoint' would move {printable(new)} again", hint=_UNTOUCHED)
    return moves


def require_unchanged(path: str, status: os.stat_result | None) -> None:
    """Raise ContimgError where somebody else has edited a file since it was read: that change would be lost.

    :param status: the status of what was read, ``None`` where there was no file.
    """
    if status is None:
        same = not is_there(path)
    else:
        with error_context("look at the file", path, _UNTOUCHED):
            now = os.stat(path, follow_symlinks=False)
        same = (now.st_ino, now.st_size, now.st_ctime_ns) == (status.st_ino, status.st_size, status.st_ctime_ns)
    if not same:
        raise ContimgError("was changed by somebody else meanwhile", path=path, hint=f"{_UNTOUCHED} Run it again.")


def safe_target(path: str) -> str:
    """Return the file to edit: a link's target, where no other user can redirect the link. Raises ContimgError."""
    target = path
    for _link in range(_MOST_LINKS):
        if not is_link(target):
            return target
        _require_own_directory(target, asked=path)
        with error_context("read the link", target, _UNTOUCHED):
            target = os.path.join(os.path.dirname(target), os.readlink(target))
        _require_own_directory(target, asked=path)
    raise ContimgError("is a link that leads in circles", path=path, hint=_UNTOUCHED)


def _require_own_directory(target: str, *, asked: str) -> None:
    directory = os.path.dirname(target) or "."
    with error_context("look at the directory of a link", directory, _UNTOUCHED):
        status = os.stat(directory)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        hint = f"{_UNTOUCHED} Name the file itself."
        raise ContimgError(f"is a link, and others may write to {printable(directory)}", path=asked, hint=hint)
