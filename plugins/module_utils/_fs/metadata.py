# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata of a copied entry, set through descriptors before the entry gets its name."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING, NamedTuple, Union

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_name
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.inode_flags import (
    CARRIED,
    NO_COPY_ON_WRITE,
    UNCARRIED,
    add_flags,
    each_of,
    flags_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry

__all__ = [
    "COARSEST_NS",
    "LOSSES",
    "Handle",
    "MetadataPolicy",
    "copy_early_flags",
    "copy_extended_attributes",
    "copy_metadata",
    "extended_attributes",
    "group_id",
    "is_far",
    "lacks_early_flags",
    "lacks_flags",
    "matches_policy",
    "open_handle",
    "user_id",
]

#: A descriptor of a file or directory; for anything else the path in /proc of a descriptor that only stands for it.
Handle = Union[int, str]
#: What a destination may be unable to hold, and what an operator may allow it to lose.
LOSSES = ("acl", "flags", "hardlink", "mode", "nanoseconds", "owner", "special", "symlink", "time", "xattr")

_UNSUPPORTED = (
    errno.ENOTSUP,
    errno.ENOTTY,
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ERANGE,
    errno.E2BIG,
)
_FAR_FROM, _FAR_UNTIL = 315_619_200 * 10**9, 2**31 * 10**9  # 1980-01-02, as FAT has local times, and 2038
COARSEST_NS = 2_000_000_000  # the coarsest time that a file system keeps
_LABEL = "security.selinux"  # the system's own, where the source has none


class MetadataPolicy(NamedTuple):
    """What the operator wants of a copy's metadata.

    :ivar owner: numeric owner for everything, -1 keeps the source's.
    :ivar group: numeric group for everything, -1 keeps the source's.
    :ivar losses: what may be lost where the destination cannot hold it.
    """

    owner: int = -1
    group: int = -1
    losses: frozenset[str] = frozenset()


def is_far(time_ns: int) -> bool:
    """Return whether a time is one that not every file system holds. One that does not holds the nearest that it can."""
    return not _FAR_FROM <= time_ns < _FAR_UNTIL


def matches_policy(source: Entry, target: Entry, policy: MetadataPolicy) -> bool:
    """Return whether owner, mode and mtime of a name at the destination are those that a copy sets. Asked for every name."""
    if source.shown == target.shown and policy.owner < 0 and policy.group < 0:
        return True
    wanted, found, losses = source.status, target.status, policy.losses
    owner = wanted.uid if policy.owner < 0 else policy.owner
    group = wanted.gid if policy.group < 0 else policy.group
    coarse = COARSEST_NS if "nanoseconds" in losses else 1
    return (
        ("owner" in losses or (owner, group) == (found.uid, found.gid))
        and ("mode" in losses or stat.S_IMODE(wanted.mode) == stat.S_IMODE(found.mode))
        and (abs(wanted.mtime_ns - found.mtime_ns) < coarse or ("time" in losses and is_far(wanted.mtime_ns)))
    )


@contextlib.contextmanager
def open_handle(directory: int, name: bytes, mode: int) -> Iterator[Handle]:
    """Hold a name of a directory by a descriptor, following no link and opening no device.

    :param mode: the file type that is expected.
    :raises OSError: ``ESTALE`` when something else is there.
    """
    plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = open_name(directory, name) if plain else os.open(name, flags, dir_fd=directory)
    try:
        if stat.S_IFMT(os.fstat(descriptor).st_mode) != stat.S_IFMT(mode):
            raise OSError(errno.ESTALE, "Something else is there now", name)
        yield descriptor if plain else f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def copy_metadata(
    source: Handle, target: Handle, policy: MetadataPolicy, *, status: os.stat_result | None = None
) -> None:
    """Make owner, mode, times, extended attributes and flags of one handle those of another, in the order that keeps them all.

    :param status: of the source, where it was asked for before.
    :raises OSError: when the target cannot hold what may not be lost.
    """
    _set_metadata(target, status or os.stat(source), policy)
    copy_extended_attributes(source, target, losses=policy.losses)
    _copy_late_flags(source, target, policy.losses)


def _set_metadata(target: Handle, status: os.stat_result, policy: MetadataPolicy) -> None:
    """Set owner, mode and times of a name: the owner first, since a change of owner clears setuid bits."""
    with _tolerating("owner", policy.losses):
        owner = status.st_uid if policy.owner < 0 else policy.owner
        os.chown(target, owner, status.st_gid if policy.group < 0 else policy.group)
    if not stat.S_ISLNK(status.st_mode):
        with _tolerating("mode", policy.losses):
            os.chmod(target, stat.S_IMODE(status.st_mode))
    with _tolerating("nanoseconds", policy.losses):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextlib.contextmanager
def _tolerating(loss: str, losses: frozenset[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if loss not in losses or error.errno not in _UNSUPPORTED:
            raise


def copy_extended_attributes(source: Handle, target: Handle, *, losses: frozenset[str]) -> None:
    """Make the extended attributes (ACLs and capabilities are such) of one handle those of another.

    To be done after a change of owner, which clears capabilities.

    :param losses: ``xattr`` and ``acl`` where the operator accepts that the file system cannot hold them.
    """
    wanted = extended_attributes(source)
    present = _listed(target)
    for name in present:
        if name not in wanted and name != _LABEL:
            os.removexattr(target, name)
    for name, value in wanted.items():
        with _tolerating("acl" if name.startswith("system.") else "xattr", losses):
            os.setxattr(target, name, value)


def extended_attributes(handle: Handle) -> dict[str, bytes]:
    """Return the extended attributes of a handle; its ACLs and capabilities are such. Raises OSError."""
    return {name: os.getxattr(handle, name) for name in _listed(handle)}


def lacks_flags(source: Handle, target: Handle, losses: frozenset[str]) -> bool:
    """Return whether a name at the destination lacks an inode flag of the source that is not accepted as lost. Raises OSError.

    Those that no copy has count: who asks then finds that they cannot be held.
    """
    if "flags" in losses or not (isinstance(source, int) and isinstance(target, int)):
        return False
    wanted = flags_of(source)
    return bool(wanted & UNCARRIED or _late(target, wanted) & ~flags_of(target))


def lacks_early_flags(source: int, target: int, losses: frozenset[str]) -> bool:
    """Return whether a file lacks a flag that it gets while it is empty alone: it has to be copied anew. Raises OSError."""
    return "flags" not in losses and bool(flags_of(source) & ~flags_of(target) & NO_COPY_ON_WRITE)


def copy_early_flags(source: int, target: int, *, losses: frozenset[str]) -> None:
    """Give a new file the inode flags that it can get while it is empty alone. Raises OSError as :func:`copy_metadata` does."""
    wanted = flags_of(source) & NO_COPY_ON_WRITE
    if wanted:
        copy_extended_attributes(source, target, losses=losses)  # compression that it inherited is in the way
        _add_flags(target, wanted, losses)


def _copy_late_flags(source: Handle, target: Handle, losses: frozenset[str]) -> None:
    if isinstance(source, int) and isinstance(target, int):
        _add_flags(target, _late(target, flags_of(source)), losses)


def _late(target: int, flags: int) -> int:
    """Return the flags that a copy can still get now."""
    wanted = flags & CARRIED
    if wanted & NO_COPY_ON_WRITE and stat.S_ISREG(os.fstat(target).st_mode):
        return wanted & ~NO_COPY_ON_WRITE
    return wanted


def _add_flags(target: int, wanted: int, losses: frozenset[str]) -> None:
    for flags in each_of(wanted) if "flags" in losses else [wanted]:
        with _tolerating("flags", losses):
            add_flags(target, flags)


def _listed(handle: Handle) -> list[str]:
    try:
        return os.listxattr(handle)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


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
