# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two directory trees that must have nothing in common: no directory, no mount, no file.

Where they share something, a copy is compared with its own original and the comparison succeeds; a write to the copy
changes the original, and the removal of the original removes the copy.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import existing_parent
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import is_excluded
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import (
    Mount,
    Place,
    is_within,
    mount_at,
    mount_number,
    mounts_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry

__all__ = ["OF_A_DEVICE", "SharedFiles", "may_be_shown", "require_separate", "require_unmounted"]

_NAMED = 10  # paths that an error lists
_UNTOUCHED = "Nothing was touched."
#: File systems whose files are on a device of their own. Any other may show files of another one: an overlay, a network, FUSE.
OF_A_DEVICE = {
    "bcachefs",
    "btrfs",
    "exfat",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "jfs",
    "ramfs",
    "reiserfs",
    "tmpfs",
    "vfat",
    "xfs",
    "zfs",
}


def require_separate(src: str, dest: str, *, state: str = _UNTOUCHED) -> None:
    """Check that neither of two directories is, or lies inside, the other, by whatever name and through whatever mount.

    :param state: what state the host is in when this fails, as a sentence.
    :raises ContimgError: naming both.
    """
    source, target = os.path.realpath(src), os.path.realpath(dest)
    hint = f"{state} Name two directories that have nothing to do with each other."
    if kind_of(dest) not in (0, stat.S_IFLNK):
        with error_context("look at it", dest):
            if os.path.samefile(src, dest):
                raise ContimgError(f"is the same directory as the source {src}", path=dest, hint=hint)
    if is_within(target, source):
        raise ContimgError(f"lies inside the source {src}", path=dest, hint=hint)
    if is_within(source, target):
        raise ContimgError(f"the source lies inside the destination {dest}", path=src, hint=hint)
    mounts = _mounts()
    here, there = _place(source, mounts), _place(target, mounts)
    if here is not None and there is not None and _overlap(here, there):
        what = f"shows the same directories as the source {src} through a mount: {_spot(there)} and {_spot(here)}"
        raise ContimgError(what, path=dest, hint=f"{hint} findmnt lists what is mounted where.")


def require_unmounted(src: str, dest: str, *, exclude: Sequence[str] = (), state: str = _UNTOUCHED) -> None:
    """Check that nothing is mounted below either of two directories, except where it is excluded.

    Either directory may be a mount point itself. A mount that shows a part of the other one is refused even where it is
    excluded.

    :param exclude: globs as rsync takes them, see :func:`is_excluded`.
    :param state: what state the host is in when this fails, as a sentence.
    :raises ContimgError: naming the mount.
    """
    mounts = _mounts()
    for root, other in ((src, dest), (dest, src)):
        place = _place(os.path.realpath(other), mounts)
        for mount in _below(os.path.realpath(root), mounts):
            _judge(mount, os.path.realpath(root), other, place=place, exclude=tuple(exclude), state=state)


def _judge(mount: Mount, root: str, other: str, *, place: Place | None, exclude: tuple[str, ...], state: str) -> None:
    shown = mount.place(mount.point)
    if place is not None and _overlap(shown, place):
        hint = f"{state} Unmount it (umount {mount.point}): a file there is the original and its copy at once."
        raise ContimgError(f"is a mount that shows a part of {other} ({_spot(shown)})", path=mount.point, hint=hint)
    pattern = f"/{os.path.relpath(mount.point, root)}{'/' if os.path.isdir(mount.point) else ''}"
    if not _is_left_out(root, mount.point, exclude):
        hint = (
            f"{state} Unmount it; or exclude it (contimg_exclude: ['{pattern}']) and mount the same at its place in the"
            " other directory: an excluded mount is neither copied nor verified nor removed."
        )
        raise ContimgError(f"is a mount below {root} ({mount.kind}, {_spot(shown)})", path=mount.point, hint=hint)


def may_be_shown(src: str, dest: str) -> bool:
    """Return whether one of two directories is on a file system that may show the other's files as its own. Raises ContimgError."""
    mounts = _mounts()
    found = [_mount_at(os.path.realpath(path), mounts) for path in (src, dest)]
    return any(mount is None or mount.kind not in OF_A_DEVICE for mount in found)


def _mounts() -> list[Mount]:
    with error_context("read the mounts", "/proc/self/mountinfo"):
        return mounts_of()


def _place(path: str, mounts: Sequence[Mount]) -> Place | None:
    """Return where a path lies, or will lie when it is made."""
    mount = _mount_at(path, mounts)
    return None if mount is None else mount.place(path)


def _mount_at(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount that a path lies on, or will lie on when it is made."""
    there = existing_parent(path)
    with error_context("look at its mount", there):
        return mount_at(mounts, there)


def _below(root: str, mounts: Sequence[Mount]) -> Iterator[Mount]:
    """Yield the mounts below a directory, except those that a later mount hides."""
    for mount in mounts:
        if mount.point != root and is_within(mount.point, root):
            try:
                visible = mount_number(mount.point) == mount.number
            except (FileNotFoundError, NotADirectoryError):
                visible = False
            except OSError:  # this user may not look at it: it counts
                visible = True
            if visible:
                yield mount


def _overlap(one: Place, other: Place) -> bool:
    same = one.device == other.device
    return same and (is_within(one.path, other.path) or is_within(other.path, one.path))


def _spot(place: Place) -> str:
    return f"{place.path} of device {place.device}"


def _is_left_out(root: str, point: str, exclude: tuple[str, ...]) -> bool:
    """Return whether a path below a directory, or a directory on the way to it, is excluded."""
    names, path = os.path.relpath(point, root).split("/"), ""
    for name in names:
        path = os.path.join(path, name)
        with error_context("look at it", os.path.join(root, path)):
            status = os.lstat(os.path.join(root, path))
        if is_excluded(entry_of(os.fsencode(path), status), exclude):
            return True
    return False


class SharedFiles:
    """The files that two trees have in common, whatever they are called there.

    Entries of both trees are added one by one. Remembered are only those that have several names.

    :param shown: whether files count as well that have, on another device, the same inode number, size, mtime and ctime to the
        nanosecond: no copy has, but a file that another file system shows. See :func:`may_be_shown`.
    """

    def __init__(self, *, shown: bool = False) -> None:
        self._shown = shown
        self._found: list[tuple[Entry, Entry]] = []
        self._here: dict[bytes, Entry] = {}
        self._there: dict[bytes, Entry] = {}

    def add(self, here: Entry | None, there: Entry | None) -> None:
        """Add what stands at one path of both trees, ``None`` where nothing does."""
        if here is not None and there is not None and self._is_one(here, there):
            self._found.append((here, there))
            return
        for entry, known in ((here, self._here), (there, self._there)):
            if entry is not None and entry.links > 1 and not entry.is_directory:
                known[entry.file_key] = entry

    def _is_one(self, here: Entry, there: Entry) -> bool:
        return here.file_key == there.file_key or (self._shown and here.is_file and here.same_state(there))

    def require_none(self, src: str, dest: str, *, state: str = _UNTOUCHED) -> None:
        """Check that there is no such file. Raises ContimgError which names the first ones."""
        both = self._here.keys() & self._there.keys()
        found = sorted([*self._found, *((self._here[key], self._there[key]) for key in both)])
        if not found:
            return
        names = ", ".join(
            f"{printable(there.path or b'.')} (there {printable(here.path or b'.')})" for here, there in found[:_NAMED]
        )
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        if all(there.links > 1 and not there.is_directory for _here, there in found):
            hint = f"{state} They are hard links. Remove these names below {dest}: those of {src} stay."
        else:
            hint = f"{state} Find what shows {src} there (findmnt), and unmount it. Remove nothing there before."
        raise ContimgError(f"has files in common with {src}: {names}{more}", path=dest, hint=hint)
