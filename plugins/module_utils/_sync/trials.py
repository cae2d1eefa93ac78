# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file system holds, tried on files that are gone when the trial is over."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import create_name
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.inode_flags import add_flags
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import COARSEST_NS, is_far
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import folds_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy

__all__ = ["Ground", "Trials"]

_UNSUPPORTED = (
    errno.ENOTTY,
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


@dataclass(frozen=True)
class Ground:
    """Where it is tried.

    :ivar source: descriptor of the source's root.
    :ivar directory: descriptor of the destination's root, or of the directory in which that will be made.
    :ivar policy: owner and group for everything, and what may be lost.
    :ivar new_name: gives a name for a file that a run makes; ``None`` in check mode, where nothing gets a name.
    """

    source: int
    directory: int
    policy: MetadataPolicy
    new_name: Callable[[], bytes] | None = None


class Need(NamedTuple):
    """What an entry of the source needs; ``what`` says, as a noun, what it would lose, empty where that is the entry itself."""

    loss: str
    path: bytes
    what: str
    trial: Callable[[], None]


class _NotTriedError(Exception):
    """It cannot be tried without a name, and this is check mode."""


class Trials:
    """Tries what some entry needs. What a killed trial has left is removed by the next run."""

    def __init__(self, ground: Ground) -> None:
        self.ground, self.directory = ground, ground.directory
        self.made: list[bytes] = []
        self.moved_times = False

    def misses(self, trial: Callable[[], None]) -> bool:
        """Return whether a trial fails; what cannot be tried in check mode does not. Raises OSError as :meth:`holds` does."""
        try:
            return not self.holds(trial)
        except _NotTriedError:
            return False

    def holds(self, trial: Callable[[], None]) -> bool:
        """Return whether a trial succeeds. Raises OSError when it fails for another reason than what it tries."""
        try:
            trial()
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
        finally:
            for name in self.made:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self.directory)
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
            descriptor = os.open(b".", _NAMELESS, 0o600, dir_fd=self.directory)
        except OSError as error:
            if error.errno not in _HAS_NO_NAMELESS:
                raise
            descriptor = create_name(self.directory, self._name())
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def needs(self, entries: Mapping[bytes, Entry]) -> Iterator[Need]:
        """Yield what the tree needs, of each thing one entry that needs it."""
        for loss, trial, has in (
            ("symlink", self._symlink, lambda entry: entry.target),
            ("hardlink", self._hard_link, lambda entry: entry.is_file and entry.links > 1),
            ("special", self._special, lambda entry: entry.kind in _SPECIAL),
        ):
            first = next((entry.path for entry in entries.values() if has(entry)), None)
            if first is not None:
                yield Need(loss, first, "", trial)
        if os.geteuid() == 0:
            for owner, path in {entry.owner: entry.path for entry in entries.values()}.items():
                yield Need("owner", path, f"owner {owner[0]}:{owner[1]}", functools.partial(self._owner, owner))
        modes = {stat.S_IMODE(entry.status.mode): entry.path for entry in entries.values() if not entry.target}
        for mode, path in modes.items():
            yield Need("mode", path, f"mode {mode:04o}", functools.partial(self._mode, mode))
        yield from self._times(entries.values())

    def _times(self, entries: Iterable[Entry]) -> Iterator[Need]:
        """Yield the earliest and the latest time that not every file system holds, and the finest fraction of a second."""
        times = {entry.status.mtime_ns: entry.path for entry in entries}
        far = [time_ns for time_ns in times if is_far(time_ns)]
        for time_ns in {min(far), max(far)} if far else ():
            what = f"its time, {time_ns // _SECOND} seconds since 1970"
            yield Need("time", times[time_ns], what, functools.partial(self._time, time_ns - time_ns % COARSEST_NS))
        for unit, finest, what in (
            (_SECOND, 1, "the fraction of a second of its time"),
            (COARSEST_NS, _SECOND, "its time, an odd second"),
        ):
            fine = next((time_ns for time_ns in times if time_ns % unit), None)
            if fine is not None:
                yield Need("nanoseconds", times[fine], what, functools.partial(self._time, _MOMENT + finest))
                return

    def folds_case(self) -> bool:
        """Return whether names that differ in case alone are one. In check mode a name that is there already has to show it."""
        if folds_case(self.directory):
            return True
        try:
            return self.holds(self._other_case)
        except _NotTriedError:
            with os.scandir(self.directory) as names:
                return any(self._is_also(name.name) for name in itertools.islice(names, _NAMES_LOOKED_AT))

    def _other_case(self) -> None:
        name = self._name()
        os.close(create_name(self.directory, name))
        _expect(self._is_also(os.fsdecode(name)))

    def _is_also(self, name: str) -> bool:
        """Return whether a name in another case is the same file; a hard link might be."""
        if name.swapcase() == name:
            return False
        try:
            one, other = (
                os.stat(case, dir_fd=self.directory, follow_symlinks=False) for case in (name, name.swapcase())
            )
        except FileNotFoundError:
            return False
        return os.path.samestat(one, other) and (stat.S_ISDIR(one.st_mode) or one.st_nlink == 1)

    def _symlink(self) -> None:
        os.symlink(b"nowhere", self._name(), dir_fd=self.directory)

    def _hard_link(self) -> None:
        first = self._name()
        os.close(create_name(self.directory, first))
        os.link(first, self._name(), src_dir_fd=self.directory, dst_dir_fd=self.directory, follow_symlinks=False)

    def _special(self) -> None:
        os.mknod(self._name(), stat.S_IFIFO | 0o600, dir_fd=self.directory)

    def _owner(self, owner: tuple[int, int]) -> None:
        user, group, _losses = self.ground.policy
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

    def flags(self, wanted: int) -> None:
        """Try inode flags."""
        with self._file() as file:
            add_flags(file, wanted)


def _expect(held: bool) -> None:  # noqa: FBT001
    if not held:
        raise OSError(errno.ENOTSUP, "It was silently not kept")
