# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file system can hold what a tree needs: tried in a folder of its own, since a name of a file system says little."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import struct
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import extended_attributes, open_handle
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_checks import existing_parent
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import DEBRIS, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import Wishes
    from ansible_collections.dsa110.contimg.plugins.module_utils._tree import Entry

__all__ = ["LOSSES", "require_capable"]

LOSSES = ("acl", "hardlink", "mode", "nanoseconds", "owner", "special", "symlink", "xattr")

_UNTOUCHED = "Nothing was touched."
_UNSUPPORTED = (
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EXDEV,
)
_SECOND = 10**9
_SPECIAL = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
_ACL = "system.posix_acl_access"
# Version 2, then tag, permissions and id of: the owner, user 1, the group, the mask, others (see acl(5)).
_AN_ACL = struct.pack("<I" + 5 * "HHI", 2, 1, 6, 0, 2, 4, 1, 4, 4, 0, 16, 4, 0, 32, 0, 0)


def require_capable(dest: str, source: int, entries: Mapping[bytes, Entry], wishes: Wishes) -> None:
    """Check that the destination can hold what a tree needs, by trying it in a folder there that is removed again.

    :param source: descriptor of the source's root.
    :raises ContimgError: naming what would be lost and is not allowed to be.
    """
    trials = _Trials(entries, wishes)
    failed = [name for name in _try(existing_parent(dest), trials.wanted()) if name not in wishes.losses]
    lost = [name for name in failed if name not in _ATTRIBUTES or _has_attributes(source, entries, _ATTRIBUTES[name])]
    if lost:
        hint = f"{_UNTOUCHED} Name what may be lost in allow_loss, or choose another destination."
        raise ContimgError(f"cannot hold what the source has: {', '.join(lost)}", path=dest, hint=hint, lost=lost)


class _Trials:
    """Tries what some entry needs; each trial gets an empty folder and raises OSError."""

    def __init__(self, entries: Mapping[bytes, Entry], wishes: Wishes) -> None:
        self.entries, self.wishes = entries.values(), wishes

    def wanted(self) -> dict[str, Callable[[str], None]]:
        """Return the trials by the loss that their failure means."""
        entries = self.entries
        return {
            name: trial
            for name, trial, needed in (
                ("symlink", self._symlink, any(entry.target for entry in entries)),
                ("hardlink", self._hard_link, any(entry.is_file and entry.links > 1 for entry in entries)),
                ("special", self._special, any(entry.kind in _SPECIAL for entry in entries)),
                ("owner", self._owner, os.geteuid() == 0),
                ("mode", self._mode, True),
                ("nanoseconds", self._time, any(entry.status.mtime_ns % _SECOND for entry in entries)),
                ("xattr", self._attribute, True),
                ("acl", self._acl, True),
            )
            if needed
        }

    def _symlink(self, folder: str) -> None:
        os.symlink("nowhere", os.path.join(folder, "link"))

    def _hard_link(self, folder: str) -> None:
        os.link(_new(folder), os.path.join(folder, "second"))

    def _special(self, folder: str) -> None:
        os.mkfifo(os.path.join(folder, "fifo"))

    def _owner(self, folder: str) -> None:
        path = _new(folder)
        for user, group in {(entry.status.uid, entry.status.gid) for entry in self.entries}:
            owner = (user if self.wishes.owner < 0 else self.wishes.owner, self._group(group))
            os.chown(path, *owner)
            _expect((os.stat(path).st_uid, os.stat(path).st_gid) == owner)

    def _group(self, group: int) -> int:
        return group if self.wishes.group < 0 else self.wishes.group

    def _mode(self, folder: str) -> None:
        path = _new(folder)
        for mode in (0o4751, 0o640):
            os.chmod(path, mode)
            _expect(stat.S_IMODE(os.stat(path).st_mode) == mode)

    def _time(self, folder: str) -> None:
        path = _new(folder)
        os.utime(path, ns=(_SECOND + 1, _SECOND + 1))
        _expect(os.stat(path).st_mtime_ns == _SECOND + 1)

    def _attribute(self, folder: str) -> None:
        os.setxattr(_new(folder), "user.contimg", b"1")

    def _acl(self, folder: str) -> None:
        os.setxattr(_new(folder), _ACL, _AN_ACL)


#: What an attribute's name starts with whose loss is called so.
_ATTRIBUTES = {"xattr": ("user.", "trusted.", "security."), "acl": ("system.",)}


def _expect(held: bool) -> None:  # noqa: FBT001
    if not held:
        raise OSError(errno.ENOTSUP, "It was silently not kept")


def _new(folder: str) -> str:
    path = os.path.join(folder, "file")
    with open(path, "xb"):
        return path


def _has_attributes(source: int, entries: Mapping[bytes, Entry], prefixes: tuple[str, ...]) -> bool:
    """Tell whether any entry has such an attribute. Every one is opened: this is asked only of what cannot hold them."""
    for path, entry in entries.items():
        with failing("read the attributes", path), folder_of(source, path) as (folder, name):
            with open_handle(folder, name, entry.kind) as handle:
                if any(attribute.startswith(prefixes) for attribute in extended_attributes(handle)):
                    return True
    return False


def _try(parent: str, trials: Mapping[str, Callable[[str], None]]) -> list[str]:
    """Return which trials failed."""
    top = os.path.join(parent, os.fsdecode(DEBRIS) + secrets.token_hex(8))
    with failing("try the file system", parent, _UNTOUCHED):
        before = os.stat(parent)
        os.mkdir(top, 0o700)
        try:
            return [name for name, trial in trials.items() if not _holds(os.path.join(top, name), trial)]
        finally:
            os.rmdir(top)
            with contextlib.suppress(PermissionError):  # another user's folder keeps the new time
                os.utime(parent, ns=(before.st_atime_ns, before.st_mtime_ns))


def _holds(folder: str, trial: Callable[[str], None]) -> bool:
    os.mkdir(folder, 0o700)
    try:
        trial(folder)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    finally:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    return True
