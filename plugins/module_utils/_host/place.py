# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two directories of a host that are the same for every run, whatever the variables of a play are.

One lasts until a reboot, as a hold does; the other survives it. Root has them where only root can create names. Any other
user has directories of their own in the shared places for temporary files, which are used only if they belong to that user.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lasting_place", "open_place", "volatile_place"]

#: Of root, and how that of any other user begins; who owns what is there is checked.
_VOLATILE = ("/run/dsa110-contimg", "/tmp/dsa110-contimg")  # noqa: S108
_LASTING = ("/var/lib/dsa110-contimg", "/var/tmp/dsa110-contimg")  # noqa: S108
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def volatile_place() -> str:
    """Return the path of the directory that a reboot empties."""
    return _of_this_user(_VOLATILE)


def lasting_place() -> str:
    """Return the path of the directory that survives a reboot."""
    return _of_this_user(_LASTING)


def _of_this_user(places: tuple[str, str]) -> str:
    user = os.geteuid()
    return f"{places[1]}-{user}" if user else places[0]


@contextlib.contextmanager
def open_place(path: str, *, make: bool) -> Iterator[int | None]:
    """Hold a descriptor of one of the two directories, ``None`` where it does not exist.

    :param make: whether it is made, for its owner only.
    :raises ContimgError: when it cannot be made or opened, or when another user could have put something there.
    """
    with error_context("open the directory of this host's runs", path, "Nothing was touched."):
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        try:
            descriptor = os.open(path, _DIRECTORY)
        except FileNotFoundError:
            descriptor = None
    if descriptor is None:
        yield None
        return
    try:
        _require_own(path, os.fstat(descriptor))
        yield descriptor
    finally:
        os.close(descriptor)


def _require_own(path: str, status: os.stat_result) -> None:
    shared = stat.S_IMODE(status.st_mode) & 0o022
    if status.st_uid == os.geteuid() and not shared:
        return
    what = "is writable by others" if shared else f"belongs to user {status.st_uid}"
    hint = "Nothing was touched. Find out who has made it, remove it, and run again."
    raise ContimgError(f"{what}, so what it holds cannot be trusted", path=path, hint=hint)
