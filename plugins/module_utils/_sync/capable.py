# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a file system can hold what a tree needs: tried there, since the name of a file system says little.

Owners, modes, times, attributes and flags are tried on a file without a name (``O_TMPFILE``), in check mode too: it is seen
nowhere, moves no time of a directory, and is gone when it is closed. Links and special files have names, and are tried by a run
alone; so is everything on a file system that has no such files (FAT, network file systems).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import struct
import unicodedata
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import directory_of, open_below
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.inode_flags import (
    CARRIED,
    UNCARRIED,
    flags_of,
    letters_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import extended_attributes, open_handle
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.trials import Ground, Trials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry

__all__ = ["require_capable"]

_LEFT_TO_THE_COPY = (errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
_IN_NO_COPY = ", which no copy has"
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


def require_capable(ground: Ground, entries: Mapping[bytes, Entry], dest: str) -> None:
    """Check that the destination can hold what a tree needs, by trying it there. Names that it needs for that are removed again.

    :param entries: what needs to be held, by path in the source.
    :raises ContimgError: naming what would be lost and is not allowed to be, and of each one entry that has it.
    """
    trials = Trials(ground)
    with error_context("try the file system", dest, "Nothing was copied."):
        before = os.fstat(ground.directory)
        lost = _lost(trials, entries)
        lost.update(_lost_attributes(trials, entries))
        lost.update(_lost_flags(trials, entries))
        alike = _alike(entries) if trials.folds_case() else []
        if trials.moved_times:
            with contextlib.suppress(PermissionError):  # another user's directory keeps the new time
                os.utime(ground.directory, ns=(before.st_atime_ns, before.st_mtime_ns))
    if alike:
        hint = "Nothing was copied. Rename or exclude one of them, or choose another destination."
        what = "takes names for one that differ in upper and lower case alone, and the source has such: "
        raise ContimgError(what + " and ".join(map(printable, alike)), path=dest, hint=hint)
    if lost:
        way = "choose another destination"
        if list(lost) == ["flags"] and lost["flags"].endswith(_IN_NO_COPY):
            way = "clear it with chattr"
        hint = f"Nothing was copied. Accept the loss with allow_loss: [{', '.join(lost)}], or {way}."
        named = ", ".join(f"{loss} ({what})" for loss, what in lost.items())
        raise ContimgError(f"cannot hold what the source has: {named}", path=dest, hint=hint, lost=list(lost))


def _lost(trials: Trials, entries: Mapping[bytes, Entry]) -> dict[str, str]:
    lost: dict[str, str] = {}
    for need in trials.needs(entries):
        if need.loss not in (*lost, *trials.ground.policy.losses) and trials.misses(need.trial):
            lost[need.loss] = _named(need.path, need.what)
    return lost


def _lost_attributes(trials: Trials, entries: Mapping[bytes, Entry]) -> dict[str, str]:
    """Return which attributes cannot be held. The tree is asked for them only where that is so."""
    lost: dict[str, str] = {}
    source, losses = trials.ground.source, trials.ground.policy.losses
    for prefix, name, value, loss, of_root in _ATTRIBUTES:
        if loss in losses or loss in lost or (of_root and os.geteuid() != 0) or not _knows(source, name):
            continue
        if trials.misses(functools.partial(trials.attribute, name, value)):
            found = _with_attribute(source, entries, prefix)
            if found is not None:
                lost[loss] = _named(*found)
    return lost


def _lost_flags(trials: Trials, entries: Mapping[bytes, Entry]) -> dict[str, str]:
    """Return the first entry with inode flags that its copy would not have. Every file and directory is opened for that."""
    if "flags" in trials.ground.policy.losses:
        return {}
    held: dict[int, bool] = {0: True}
    for path, entry in entries.items():
        flags = _flags_at(trials.ground.source, entry)
        if flags & UNCARRIED:
            return {"flags": _named(path, f"chattr +{letters_of(flags & UNCARRIED)}{_IN_NO_COPY}")}
        wanted = flags & CARRIED
        if wanted not in held:
            held[wanted] = not trials.misses(functools.partial(trials.flags, wanted))
        if not held[wanted]:
            return {"flags": _named(path, f"chattr +{letters_of(wanted)}")}
    return {}


def _flags_at(source: int, entry: Entry) -> int:
    """Return the inode flags of an entry. What vanished or may not be read is left to the copy, which names it."""
    if not (entry.is_file or entry.is_directory):
        return 0
    with error_context("read the inode flags", entry.path):
        try:
            with open_below(source, entry.path) as descriptor:
                return flags_of(descriptor)
        except OSError as error:
            if error.errno not in _LEFT_TO_THE_COPY:
                raise
    return 0


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


def _with_attribute(source: int, entries: Mapping[bytes, Entry], prefix: str) -> tuple[bytes, str] | None:
    """Return the first entry with such an attribute, and its name. Every one is opened: only where they cannot be held."""
    for path, entry in entries.items():
        with error_context("read the attributes", path), directory_of(source, path) as (directory, name):
            with open_handle(directory, name, entry.kind) as handle:
                for attribute in extended_attributes(handle):
                    if attribute.startswith(prefix):
                        return path, attribute
    return None
