# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata of a copied entry, set through descriptors before the entry gets its name."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    from ansible_collections.dsa110.contimg.plugins.module_utils._tree import Entry

__all__ = [
    "copy_extended_attributes",
    "extended_attributes",
    "group_id",
    "set_link_metadata",
    "set_metadata",
    "user_id",
]

_UNSUPPORTED = (errno.ENOTSUP, errno.EPERM, errno.EACCES)


def copy_extended_attributes(source: int, target: int, *, losses: frozenset[str]) -> None:
    """Make the extended attributes (ACLs and capabilities are such) of one descriptor those of another.

    :param losses: ``xattr`` and ``acl`` where the operator accepts that the file system cannot hold them.
    """
    wanted = extended_attributes(source)
    for name in set(_listed(target)) - set(wanted):
        os.removexattr(target, name)
    for name, value in wanted.items():
        try:
            os.setxattr(target, name, value)
        except OSError as error:
            loss = "acl" if name.startswith("system.posix_acl") else "xattr"
            if error.errno not in _UNSUPPORTED or loss not in losses:
                raise


def extended_attributes(descriptor: int) -> dict[str, bytes]:
    """Return the extended attributes of an open file or folder; its ACLs and capabilities are such. Raises OSError."""
    return {name: os.getxattr(descriptor, name) for name in _listed(descriptor)}


def _listed(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def set_metadata(descriptor: int, entry: Entry, *, owner: int, group: int, losses: frozenset[str]) -> None:
    """Set owner, mode and times of an open file or folder: the owner first, since chown clears setuid bits."""
    status = entry.status
    if "owner" not in losses:
        os.fchown(descriptor, status.st_uid if owner < 0 else owner, status.st_gid if group < 0 else group)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))


def set_link_metadata(
    folder: int, name: bytes, entry: Entry, *, owner: int, group: int, losses: frozenset[str]
) -> None:
    """Set owner and times of a symbolic link, FIFO, socket or device by its name, following no link."""
    status = entry.status
    if "owner" not in losses:
        uid, gid = status.st_uid if owner < 0 else owner, status.st_gid if group < 0 else group
        os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(descriptor)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=folder, follow_symlinks=False)


def user_id(name: str | None) -> int:
    """Return the id of a user given by name or number, -1 for none. Raises ContimgError when there is no such user."""
    if name is None or name.isdigit():
        return int(name or -1)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise ContimgError(f"there is no user '{name}' on this host", hint="Nothing was touched.") from error


def group_id(name: str | None) -> int:
    """Return the id of a group given by name or number, -1 for none. Raises ContimgError when there is no such group."""
    if name is None or name.isdigit():
        return int(name or -1)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ContimgError(f"there is no group '{name}' on this host", hint="Nothing was touched.") from error
