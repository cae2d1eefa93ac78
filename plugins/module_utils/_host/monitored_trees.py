# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which path below given directories an event of fanotify(7) is about, whatever mount or link it came through."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._host.fanotify import (
    handle_of,
    mark,
    path_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import is_within, mount_of, mounts_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import OF_A_DEVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._host.fanotify import Event
    from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import Mount

__all__ = ["MonitoredTrees"]

_MOST_PLACES = 1 << 14
_MOST_LINKED = 100_000
_MOST_NAMED = 10
_GONE = (errno.ESTALE, errno.ENOENT)


@dataclass(frozen=True)
class _Tree:
    """A directory, or a file, on one mount.

    :ivar anchor: the mount point, by which handles are opened. What is below the path is opened as little as can be.
    :ivar fsid: its file system, as ``os.statvfs`` numbers it.
    """

    path: bytes
    anchor: str
    fsid: int

    @property
    def below(self) -> bytes:
        """What the paths below it begin with."""
        return self.path.rstrip(b"/") + b"/"


class MonitoredTrees:
    """Directories whose file systems report to a group, and what of the reports is about them.

    :ivar unmarked: paths whose file systems cannot report, with the reason.
    :ivar reasons: why not every write below the paths is reported.
    :ivar are_links_known: whether all files with several names have been looked for.
    """

    def __init__(self, group: int | None, paths: Sequence[str]) -> None:
        self.unmarked: dict[str, str] = {}
        self.reasons: list[str] = []
        self._group = group
        self._paths = [os.path.realpath(path) for path in paths]
        self._trees: list[_Tree] = []
        self._mounts: set[tuple[int, str]] = set()
        self._places: dict[tuple[int, bytes], bytes | None] = {}
        self._linked: dict[bytes, bytes] = {}
        self.are_links_known = False
        self._early: set[bytes] = set()
        self._add(self._points())

    @property
    def is_marked(self) -> bool:
        """Whether any file system reports."""
        return bool(self._trees)

    def look_at_mounts(self) -> None:
        """Include what has been mounted below the paths since the last look; what was written there before is unknown."""
        new = {point: mount for point, mount in self._points().items() if (mount.number, point) not in self._mounts}
        self.reasons += [f"{printable(point)} was mounted while it was monitored" for point in new]
        self._add(new)

    def _points(self) -> dict[str, Mount]:
        """Return the paths, and what is mounted below them, each with the mount that it lies on."""
        mounts = mounts_of()
        found = {path: mount for path in self._paths if (mount := mount_of(mounts, path))}
        found.update({one.point: one for one in mounts if any(is_within(one.point, path) for path in self._paths)})
        return found

    def _add(self, points: dict[str, Mount]) -> None:
        for point, mount in points.items():
            self._mounts.add((mount.number, point))
            try:
                self._mark(point, mount)
            except OSError as error:
                self.unmarked[point] = f"its file system ({mount.kind}) reports no writes: {error.strerror or error}"
                continue
            if mount.kind not in OF_A_DEVICE:
                why = f"is on {mount.kind}: what is written there other than through this file system is not reported"
                self.reasons.append(f"{printable(point)} {why}")

    def _mark(self, path: str, mount: Mount) -> None:
        """Have a file system report, if its handles can be resolved. Raises OSError."""
        if self._group is None:
            raise OSError(errno.ENOSYS, "fanotify cannot be used here")
        if path_of(mount.point, handle_of(mount.point)) != os.fsencode(mount.point):
            raise OSError(errno.EOPNOTSUPP, "its file handles cannot be resolved")
        mark(self._group, mount.point)
        self._trees.append(_Tree(os.fsencode(path), mount.point, os.statvfs(mount.point).f_fsid))

    def find_links(self, stopped: Callable[[], bool]) -> None:
        """Look for files that have several names, which may be written to by one outside.

        :param stopped: whether to end before everything has been looked at.
        """
        for file in (file for path in self._paths for file in _linked_below(os.fsencode(path))):
            if stopped() or len(self._linked) >= _MOST_LINKED:
                return
            with contextlib.suppress(OSError):  # it is gone, or its file system has no handles, which is reported
                self._linked[handle_of(file)] = file
        self.are_links_known = True

    def missed(self) -> list[str]:
        """Return which files were written by a name elsewhere before that was known for one of theirs, as reasons."""
        files = sorted(self._linked[file] for file in self._early if file in self._linked)
        why = "was written by another name before all names of files were known"
        reasons = [f"{printable(file)} {why}" for file in files[:_MOST_NAMED]]
        if self._linked and len(self._early) >= _MOST_LINKED:
            reasons.append("more files were written before all names of files were known than can be kept")
        return reasons

    def path_of(self, event: Event) -> bytes | None:
        """Return the path below the trees that an event is about, ``None`` for what is elsewhere or gone."""
        if event.moves_directory:
            self._places.clear()
        if not event.directory:
            return self._within(self._resolved(event.fsid, event.file)) if event.file else None
        place = self._place(event.fsid, event.directory)
        if place is not None and event.name not in (b"", b"."):
            place = os.path.join(place, event.name)
        return self._within(place) or self._linked_as(event.file)

    def _linked_as(self, file: bytes) -> bytes | None:
        """Return the name below the trees of a file that has been written by another one."""
        are_known, found = self.are_links_known, self._linked.get(file)
        if found is None and not are_known and len(self._early) < _MOST_LINKED:
            self._early.add(file)
        return found

    def _place(self, fsid: int, handle: bytes) -> bytes | None:
        """Return the path of a directory. It is asked for once, until a directory is moved."""
        key = (fsid, handle)
        if key not in self._places:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[key] = self._resolved(fsid, handle)
        return self._places[key]

    def _resolved(self, fsid: int, handle: bytes) -> bytes | None:
        """Return the path of what a handle stands for, that below a tree where one mount shows it there."""
        # A file system with subvolumes may report the number of another one of them.
        trees = [tree for tree in self._trees if tree.fsid == fsid] or self._trees
        found = None
        for anchor in dict.fromkeys(tree.anchor for tree in trees):
            try:
                path = path_of(anchor, handle)
            except OSError as error:
                self._unresolved(error)
                continue
            if self._within(path):
                return path
            found = found or path
        return found

    def _unresolved(self, error: OSError) -> None:
        reason = f"a file handle could not be resolved: {error.strerror} [errno {error.errno}]"
        if error.errno not in _GONE and reason not in self.reasons:
            self.reasons.append(reason)

    def _within(self, path: bytes | None) -> bytes | None:
        """Return a path if it is below a tree."""
        if path is None:
            return None
        return path if any(path == tree.path or path.startswith(tree.below) for tree in self._trees) else None


def _linked_below(path: bytes) -> Iterator[bytes]:
    """Yield the files below a directory, or the file itself, that have more than one name."""
    pending = [path]
    with contextlib.suppress(OSError):
        if _has_names(os.lstat(path)):
            yield path
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif _has_names(entry.stat(follow_symlinks=False)):
                        yield entry.path


def _has_names(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink > 1
