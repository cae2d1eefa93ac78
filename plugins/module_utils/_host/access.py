# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another user of this host may do with a database, asked as that user: directories on the way, groups and ACLs count."""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["lost_access", "shut_out"]


def lost_access(users: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return what users may do with the first database of a pair and not with the second: ``user``, ``path``, ``lost``.

    Who is no root can only ask for itself. A user that does not exist yet (``DynamicUser=``) is left out.

    :param pairs: paths, those where the second exists count.
    """
    found = []
    for user in users:
        with contextlib.suppress(KeyError, PermissionError), _acting_as(pwd.getpwnam(user)):
            for before, after in pairs:
                lost = [right for right in _rights(before) if right not in _rights(after)]
                if lost:
                    found.append({"user": user, "path": after, "lost": lost})
    return found


def shut_out(users: Sequence[str], path: str) -> list[str]:
    """Return the users who may not enter a directory. Asked as that user, so of others than oneself by root only."""
    found = []
    for user in users:
        with contextlib.suppress(KeyError, PermissionError), _acting_as(pwd.getpwnam(user)):
            found += [] if os.access(path, os.X_OK, effective_ids=True) else [user]
    return found


@contextlib.contextmanager
def _acting_as(user: pwd.struct_passwd) -> Iterator[None]:
    """Let this process be another user for the file system; the capabilities of root rest meanwhile."""
    groups, group, owner = os.getgroups(), os.getegid(), os.geteuid()
    if owner == user.pw_uid:
        yield
        return
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    try:
        os.setegid(user.pw_gid)
        os.seteuid(user.pw_uid)
        yield
    finally:
        os.seteuid(owner)
        os.setegid(group)
        os.setgroups(groups)


def _rights(path: str) -> list[str]:
    """Return what a process may do with a database: read it, write it, and make the files beside it that writing takes."""
    asked = (
        ("read", path, os.R_OK),
        ("write", path, os.W_OK),
        ("make files beside", os.path.dirname(path), os.W_OK | os.X_OK),
    )
    return [right for right, where, mode in asked if os.access(where, mode, effective_ids=True)]
