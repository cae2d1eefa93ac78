# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deciding whether an old state may go: what of it the manifest knows, and what became of that at the new place.

Nothing is written here.
"""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._manifest import hash_file, moved
from ansible_collections.dsa110.contimg.plugins.module_utils._open_files import find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._separate import SharedFiles
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import Entry, Status, entry_of, open_root, scan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["OldFile", "RetirePlan", "plan_retire", "require_unused", "still_the_same"]

_NAMED = 20  # paths that an error lists
_LOGS = (b"-wal", b"-journal")
_NOTHING = "Nothing was removed."


@dataclass(frozen=True)
class OldFile:
    """A file of the old tree that is what the manifest says.

    :ivar path: below the old tree.
    :ivar status: as it was when it was read; only while it is that still, the file may go.
    """

    path: bytes
    sha256: str
    status: Status


@dataclass(frozen=True)
class RetirePlan:
    """What goes and what stays of an old tree; paths are relative to it.

    :ivar files: what goes.
    :ivar folders: the folders, the deepest first. One goes if it is empty by then.
    :ivar unknown: what the manifest does not know, and therefore stays.
    :ivar gone: what the manifest knows, and an interrupted run has removed already.
    :ivar changed_since: files that have other content at the new place since the move.
    """

    files: tuple[OldFile, ...]
    folders: tuple[bytes, ...]
    unknown: tuple[bytes, ...]
    gone: tuple[bytes, ...]
    changed_since: int

    @property
    def size(self) -> int:
        """Bytes that go."""
        return sum(file.status.size for file in self.files)


def plan_retire(
    src: str,
    dest: str,
    manifest: Mapping[bytes, str],
    *,
    rename: Mapping[bytes, bytes],
    accept: Sequence[str],
    moved_at: float,
    resumed: bool,
) -> RetirePlan:
    """Read both trees and decide what of the old one goes.

    :param manifest: digests by path below ``dest``.
    :param rename: paths that are called otherwise below ``dest``.
    :param accept: globs of paths below ``dest`` that need not be there, or may differ unchanged since the move.
    :param moved_at: seconds since the epoch; what was modified at ``dest`` later, the services have changed.
    :param resumed: whether an earlier run has begun to remove, so that files may be gone.
    :raises ContimgError: naming every file that is not what the manifest says, or not at the new place.
    """
    with open_root(src) as old, open_root(dest) as new:
        entries, there = scan(old), scan(new)
        names = {moved(path, rename): path for path, entry in entries.items() if entry.is_file}
        shared = SharedFiles()
        for name in manifest.keys() & names.keys():
            shared.add(entries[names[name]], there.get(name))
        shared.require_none(src, dest, state=_NOTHING)
        with failing("read the old state", src, _NOTHING):
            digests = {name: hash_file(old, names[name]) for name in manifest if name in names}
        changed_since, lost = _compare(new, there, manifest, accept, moved_at)
    gone = tuple(name for name in manifest if name not in names)
    wrong = [names[name] for name in digests if digests[name] != manifest[name]]
    _refuse(src, "no longer what the manifest says", wrong + ([] if resumed else list(gone)))
    _refuse(dest, "neither there as it was copied nor changed since by the services", lost)
    files = tuple(OldFile(names[name], digests[name], entries[names[name]].status) for name in digests)
    folders = [path for path, entry in entries.items() if entry.is_folder]
    unknown = [path for path, entry in entries.items() if not entry.is_folder and moved(path, rename) not in digests]
    return RetirePlan(
        files, tuple(sorted(folders, key=_depth, reverse=True)), tuple(sorted(unknown)), gone, changed_since
    )


def _depth(path: bytes) -> int:
    return path.count(b"/") + bool(path)


def _compare(
    new: int, there: Mapping[bytes, Entry], manifest: Mapping[bytes, str], accept: Sequence[str], moved_at: float
) -> tuple[int, list[bytes]]:
    """Return how many files the services have changed since the move, and those that are not there as they should be."""
    changed, lost = 0, []
    for name, digest in manifest.items():
        entry = there.get(name)
        if _is_excused(name, there, accept):
            continue
        if entry is None or not entry.is_file:
            lost.append(name)
        elif entry.status.mtime_ns / 1e9 > moved_at:
            changed += 1
        elif hash_file(new, name) != digest:
            lost.append(name)
    return changed, lost


def _is_excused(name: bytes, there: Mapping[bytes, Entry], accept: Sequence[str]) -> bool:
    """Tell whether a file may be missing: the operator says so, or it is the log of a database that its services have closed."""
    if any(fnmatch.fnmatchcase(os.fsdecode(name), glob) for glob in accept):
        return True
    return name not in there and any(name.endswith(suffix) and name[: -len(suffix)] in there for suffix in _LOGS)


def _refuse(path: str, why: str, names: Sequence[bytes]) -> None:
    if names:
        shown = ", ".join(display(name) for name in sorted(names)[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise ContimgError(
            f"{why}: {shown}{more}", path=path, hint=f"{_NOTHING} Find out why, or accept them by name, and run again.",
            files=[display(name) for name in sorted(names)[:_NAMED]], files_total=len(names),
        )  # fmt: skip


def require_unused(src: str, *, prove: bool) -> None:
    """Check that no process has anything of the old state open, or works in it.

    :param prove: whether it is an error that not every process can be looked at.
    :raises ContimgError: naming the processes.
    """
    found = find_holders([src])
    users = [holder.summary() for holder in (*found.holders, *found.inside)]
    if users:
        hint = f"{_NOTHING} Stop them, or let them use the new state, and run again."
        raise ContimgError(f"is still used by {'; '.join(users[:_NAMED])}", path=src, hint=hint)
    if prove and not found.complete:
        hint = f"{_NOTHING} Run as root, or accept the missing proof."
        raise ContimgError(
            "not every process's open files can be read, so nobody can tell whether it is used", path=src, hint=hint
        )


def still_the_same(folder: int, name: bytes, file: OldFile) -> bool:
    """Tell whether a file is what was read, to the ctime. Raises OSError when it is gone.

    The ctime of a file of several names changes as the first of them goes.
    """
    now, before = entry_of(name, os.stat(name, dir_fd=folder, follow_symlinks=False)), file.status
    same = (now.status.inode, now.status.size, now.status.mtime_ns) == (before.inode, before.size, before.mtime_ns)
    return now.is_file and same and (before.links > 1 or now.status.ctime_ns == before.ctime_ns)
