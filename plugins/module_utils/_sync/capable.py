# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file system can hold what a tree needs: tried there, since the name of a file system says little.

Owners, modes, times and attributes are tried on a file without a name (``O_TMPFILE``), in check mode too: it is seen nowhere, moves
no time of a directory, and is gone when it is closed. Links and special files have names, and are tried by a run alone; so is
everything on a file system that has no such files (FAT, network file systems).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import stat
import struct
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import (
    COARSEST_NS,
    extended_attributes,
    is_far,
    open_handle,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import create_name, folder_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import folds_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy
    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import Entry

__all__ = ["Ground", "require_capable"]

_UNSUPPORTED = (
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EXDEV,
)
_NAMELESS = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
_HAS_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)
_NAMES_LOOKED_AT = 10
_SECOND = 10**9
_MOMENT = _SECOND * _SECOND  # in 2001, which any file system holds
_SPECIAL = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
_ACL = "system.posix_acl_access"
# Version 2, then tag, permissions and id of: the owner, user 1, the group, the mask, others (see acl(5)).
_AN_ACL = struct.pack("<I" + 5 * "HHI", 2, 1, 6, 0, 2, 4, 1, 4, 4, 0, 16, 4, 0, 32, 0, 0)
#: What the names of attributes begin with, one to try with its value, what its loss is called, and whether only root has such.
_ATTRIBUTES = (
    ("user.", "user.contimg", b"1", "xattr", False),
    ("trusted.", "trusted.contimg", b"1", "xattr", True),
    ("security.", "security.contimg", b"1", "xattr", True),
    ("btrfs.", "btrfs.compression", b"zlib", "xattr", False),
    ("system.", _ACL, _AN_ACL, "acl", False),
)


@dataclass(frozen=True)
class Ground:
    """Where it is tried.

    :ivar source: descriptor of the source's root.
    :ivar folder: descriptor of the destination's root, or of the directory in which that will be made.
    :ivar wishes: owner and group for everything, and what may be lost.
    :ivar new_name: gives a name for a file that a run makes; ``None`` in check mode, where nothing gets a name.
    """

    source: int
    folder: int
    wishes: MetadataPolicy
    new_name: Callable[[], bytes] | None = None


class _Need(NamedTuple):
    """What an entry of the source needs; ``what`` says, as a noun, what it would lose, empty where that is the entry itself."""

    loss: str
    path: bytes
    what: str
    trial: Callable[[], None]


def require_capable(ground: Ground, entries: Mapping[bytes, Entry], dest: str) -> None:
    """Check that the destination can hold what a tree needs, by trying it there. Names that it needs for that are removed again.

    :param entries: what needs to be held, by path in the source.
    :raises ContimgError: naming what would be lost and is not allowed to be, and of each one entry that has it.
    """
    trials = _Trials(ground)
    with error_context("try the file system", dest, "Nothing was copied."):
        before = os.fstat(ground.folder)
        lost = _lost(trials, entries)
        lost.update(_lost_attributes(trials, entries))
        alike = _alike(entries) if trials.folds_case() else []
        if trials.moved_times:
            with contextlib.suppress(PermissionError):  # another user's folder keeps the new time
                os.utime(ground.folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    if alike:
        hint = "Nothing was copied. Rename or exclude one of them, or choose another destination."
        what = "takes names for one that differ in upper and lower case alone, and the source has such: "
        raise ContimgError(what + " and ".join(map(printable, alike)), path=dest, hint=hint)
    if lost:
        hint = (
            f"Nothing was copied. Accept the loss with allow_loss: [{', '.join(lost)}], or choose another destination."
        )
        named = ", ".join(f"{loss} ({what})" for loss, what in lost.items())
        raise ContimgError(f"cannot hold what the source has: {named}", path=dest, hint=hint, lost=list(lost))


def _lost(trials: _Trials, entries: Mapping[bytes, Entry]) -> dict[str, str]:
    lost: dict[str, str] = {}
    for need in trials.needs(entries):
        if need.loss not in (*lost, *trials.ground.wishes.losses) and trials.misses(need.trial):
            lost[need.loss] = _named(need.path, need.what)
    return lost


def _lost_attributes(trials: _Trials, entries: Mapping[bytes, Entry]) -> dict[str, str]:
    """Return which attributes cannot be held. The tree is asked for them only where that is so."""
    lost: dict[str, str] = {}
    source, losses = trials.ground.source, trials.ground.wishes.losses
    for prefix, name, value, loss, of_root in _ATTRIBUTES:
        if loss in losses or loss in lost or (of_root and os.geteuid() != 0) or not _knows(source, name):
            continue
        if trials.misses(functools.partial(trials.attribute, name, value)):
            found = _with_attribute(source, entries, prefix)
            if found is not None:
                lost[loss] = _named(*found)
    return lost


def _alike(entries: Iterable[bytes]) -> list[bytes]:
    """Return the first two names that a file system which folds case takes for one."""
    seen: dict[str, bytes] = {}
    for path in entries:
        other = seen.setdefault(unicodedata.normalize("NFD", os.fsdecode(path).casefold()), path)
        if other != path:
            return sorted([other, path])
    return []


def _named(path: bytes, what: str) -> str:
    return f"{printable(path or b'.')}{': ' if what else ''}{printable(what)}"


def _knows(source: int, name: str) -> bool:
    """Return whether the file system of the source has such attributes at all: where it has none, none can be lost."""
    try:
        os.getxattr(source, name)
    except OSError as error:
        return error.errno != errno.ENOTSUP
    return True


class _NotTriedError(Exception):
    """It cannot be tried without a name, and this is check mode."""


class _Trials:
    """Tries what some entry needs. What a killed trial has left is removed by the next run."""

    def __init__(self, ground: Ground) -> None:
        self.ground, self.folder = ground, ground.folder
        self.made: list[bytes] = []
        self.moved_times = False

    def misses(self, trial: Callable[[], None]) -> bool:
        """Tell whether a trial fails; what cannot be tried in check mode does not. Raises OSError as :meth:`holds` does."""
        try:
            return not self.holds(trial)
        except _NotTriedError:
            return False

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
        if self.ground.new_name is None:
            raise _NotTriedError
        self.moved_times = True
        self.made.append(self.ground.new_name())
        return self.made[-1]

    @contextlib.contextmanager
    def _file(self) -> Iterator[int]:
        try:
            descriptor = os.open(b".", _NAMELESS, 0o600, dir_fd=self.folder)
        except OSError as error:
            if error.errno not in _HAS_NO_NAMELESS:
                raise
            descriptor = create_name(self.folder, self._name())
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def needs(self, entries: Mapping[bytes, Entry]) -> Iterator[_Need]:
        """Yield what the tree needs, of each thing one entry that needs it."""
        for loss, trial, has in (
            ("symlink", self._symlink, lambda entry: entry.target),
            ("hardlink", self._hard_link, lambda entry: entry.is_file and entry.links > 1),
            ("special", self._special, lambda entry: entry.kind in _SPECIAL),
        ):
            first = next((entry.path for entry in entries.values() if has(entry)), None)
            if first is not None:
                yield _Need(loss, first, "", trial)
        if os.geteuid() == 0:
            for owner, path in {entry.owner: entry.path for entry in entries.values()}.items():
                yield _Need("owner", path, f"owner {owner[0]}:{owner[1]}", functools.partial(self._owner, owner))
        modes = {stat.S_IMODE(entry.status.mode): entry.path for entry in entries.values() if not entry.target}
        for mode, path in modes.items():
            yield _Need("mode", path, f"mode {mode:04o}", functools.partial(self._mode, mode))
        yield from self._times(entries.values())

    def _times(self, entries: Iterable[Entry]) -> Iterator[_Need]:
        """Yield the earliest and the latest time that not every file system holds, and the finest fraction of a second."""
        times = {entry.status.mtime_ns: entry.path for entry in entries}
        far = [time_ns for time_ns in times if is_far(time_ns)]
        for time_ns in {min(far), max(far)} if far else ():
            what = f"its time, {time_ns // _SECOND} seconds since 1970"
            yield _Need("time", times[time_ns], what, functools.partial(self._time, time_ns - time_ns % COARSEST_NS))
        for unit, finest, what in (
            (_SECOND, 1, "the fraction of a second of its time"),
            (COARSEST_NS, _SECOND, "its time, an odd second"),
        ):
            fine = next((time_ns for time_ns in times if time_ns % unit), None)
            if fine is not None:
                yield _Need("nanoseconds", times[fine], what, functools.partial(self._time, _MOMENT + finest))
                return

    def folds_case(self) -> bool:
        """Return whether names that differ in case alone are one. In check mode a name that is there already has to show it."""
        if folds_case(self.folder):
            return True
        try:
            return self.holds(self._other_case)
        except _NotTriedError:
            with os.scandir(self.folder) as names:
                return any(self._is_also(name.name) for name in itertools.islice(names, _NAMES_LOOKED_AT))

    def _other_case(self) -> None:
        name = self._name()
        os.close(create_name(self.folder, name))
        _expect(self._is_also(os.fsdecode(name)))

    def _is_also(self, name: str) -> bool:
        """Return whether a name in another case is the same file; a hard link might be."""
        if name.swapcase() == name:
            return False
        try:
            one, other = (os.stat(case, dir_fd=self.folder, follow_symlinks=False) for case in (name, name.swapcase()))
        except FileNotFoundError:
            return False
        return os.path.samestat(one, other) and (stat.S_ISDIR(one.st_mode) or one.st_nlink == 1)

    def _symlink(self) -> None:
        os.symlink(b"nowhere", self._name(), dir_fd=self.folder)

    def _hard_link(self) -> None:
        first = self._name()
        os.close(create_name(self.folder, first))
        os.link(first, self._name(), src_dir_fd=self.folder, dst_dir_fd=self.folder, follow_symlinks=False)

    def _special(self) -> None:
        os.mknod(self._name(), stat.S_IFIFO | 0o600, dir_fd=self.folder)

    def _owner(self, owner: tuple[int, int]) -> None:
        user, group, _losses = self.ground.wishes
        uid, gid = (owner[0] if user < 0 else user, owner[1] if group < 0 else group)
        with self._file() as file:
            os.chown(file, uid, gid)
            _expect((os.fstat(file).st_uid, os.fstat(file).st_gid) == (uid, gid))

    def _mode(self, mode: int) -> None:
        with self._file() as file:
            os.chmod(file, mode)
            _expect(stat.S_IMODE(os.fstat(file).st_mode) == mode)

    def _time(self, time_ns: int) -> None:
        with self._file() as file:
            os.utime(file, ns=(_MOMENT, time_ns))
            _expect(os.fstat(file).st_mtime_ns == time_ns)

    def attribute(self, name: str, value: bytes) -> None:
        """Try an extended attribute."""
        with self._file() as file:
            os.setxattr(file, name, value)


def _expect(held: bool) -> None:  # noqa: FBT001
    if not held:
        raise OSError(errno.ENOTSUP, "It was silently not kept")


def _with_attribute(source: int, entries: Mapping[bytes, Entry], prefix: str) -> tuple[bytes, str] | None:
    """Return the first entry with such an attribute, and its name. Every one is opened: only where they cannot be held."""
    for path, entry in entries.items():
        with error_context("read the attributes", path), folder_of(source, path) as (folder, name):
            with open_handle(folder, name, entry.kind) as handle:
                for attribute in extended_attributes(handle):
                    if attribute.startswith(prefix):
                        return path, attribute
    return None
