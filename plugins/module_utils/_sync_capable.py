# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file system can hold what a tree needs: tried there, since the name of a file system says little."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import extended_attributes, open_handle
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import create_name, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync_batch import Context
    from ansible_collections.dsa110.contimg.plugins.module_utils._tree import Entry

__all__ = ["LOSSES", "require_capable"]

LOSSES = ("acl", "hardlink", "mode", "nanoseconds", "owner", "special", "symlink", "xattr")

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


def require_capable(context: Context, entries: Mapping[bytes, Entry], dest: str) -> None:
    """Check that the destination can hold what a tree needs, by trying it there under names that are removed again.

    :param entries: what needs to be held, by path in the source.
    :raises ContimgError: naming what would be lost and is not allowed to be.
    """
    trials = _Trials(context, entries)
    with failing("try the file system", dest, "Nothing was copied."):
        before = os.fstat(context.target)
        failed = [name for name, trial in trials.wanted().items() if not trials.holds(trial)]
        with contextlib.suppress(PermissionError):  # another user's folder keeps the new time
            os.utime(context.target, ns=(before.st_atime_ns, before.st_mtime_ns))
    lost = [
        name
        for name in failed
        if name not in context.wishes.losses
        and (name not in _ATTRIBUTES or _has_attributes(context.source, entries, _ATTRIBUTES[name]))
    ]
    if lost:
        hint = "Nothing was copied. Name what may be lost in allow_loss, or choose another destination."
        raise ContimgError(f"cannot hold what the source has: {', '.join(lost)}", path=dest, hint=hint, lost=lost)


class _Trials:
    """Tries what some entry needs, in the destination's root. What a killed trial has left is removed by the next run."""

    def __init__(self, context: Context, entries: Mapping[bytes, Entry]) -> None:
        self.context, self.folder, self.entries = context, context.target, entries.values()
        self.made: list[bytes] = []

    def holds(self, trial: Callable[[], None]) -> bool:
        """Tell whether a trial succeeds. Raises OSError when it fails for another reason than what it tries."""
        try:
            trial()
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
        finally:
            for name in self.made:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self.folder)
            self.made.clear()
        return True

    def _name(self) -> bytes:
        self.made.append(self.context.temporary_name())
        return self.made[-1]

    @contextlib.contextmanager
    def _file(self) -> Iterator[int]:
        with open(create_name(self.folder, self._name()), "wb") as file:
            yield file.fileno()

    def wanted(self) -> dict[str, Callable[[], None]]:
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

    def _symlink(self) -> None:
        os.symlink(b"nowhere", self._name(), dir_fd=self.folder)

    def _hard_link(self) -> None:
        with self._file():
            os.link(self.made[0], self._name(), src_dir_fd=self.folder, dst_dir_fd=self.folder, follow_symlinks=False)

    def _special(self) -> None:
        os.mknod(self._name(), stat.S_IFIFO | 0o600, dir_fd=self.folder)

    def _owner(self) -> None:
        user, group, _losses = self.context.wishes
        with self._file() as file:
            for uid, gid in {entry.owner for entry in self.entries}:
                owner = (uid if user < 0 else user, gid if group < 0 else group)
                os.chown(file, *owner)
                _expect((os.fstat(file).st_uid, os.fstat(file).st_gid) == owner)

    def _mode(self) -> None:
        with self._file() as file:
            for mode in (0o4751, 0o640):
                os.chmod(file, mode)
                _expect(stat.S_IMODE(os.fstat(file).st_mode) == mode)

    def _time(self) -> None:
        with self._file() as file:
            os.utime(file, ns=(_SECOND + 1, _SECOND + 1))
            _expect(os.fstat(file).st_mtime_ns == _SECOND + 1)

    def _attribute(self) -> None:
        with self._file() as file:
            os.setxattr(file, "user.contimg", b"1")

    def _acl(self) -> None:
        with self._file() as file:
            os.setxattr(file, _ACL, _AN_ACL)


#: What an attribute's name starts with whose loss is called so.
_ATTRIBUTES = {"xattr": ("user.", "trusted.", "security."), "acl": ("system.",)}


def _expect(held: bool) -> None:  # noqa: FBT001
    if not held:
        raise OSError(errno.ENOTSUP, "It was silently not kept")


def _has_attributes(source: int, entries: Mapping[bytes, Entry], prefixes: tuple[str, ...]) -> bool:
    """Tell whether any entry has such an attribute. Every one is opened: this is asked only of what cannot hold them."""
    for path, entry in entries.items():
        with failing("read the attributes", path), folder_of(source, path) as (folder, name):
            with open_handle(folder, name, entry.kind) as handle:
                if any(attribute.startswith(prefixes) for attribute in extended_attributes(handle)):
                    return True
    return False
