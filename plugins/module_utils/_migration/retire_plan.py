# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deciding whether an old state may go: what of it the manifest knows, and what became of that at the new place.

Nothing is written here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, Status, entry_of, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import (
    destination_of,
    hash_file,
    read_manifest,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import is_excluded, scan
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import mount_number
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import SharedFiles, may_be_shown
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_proof import Proof, Sides
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import stem_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["OldFile", "RetireOptions", "RetirePlan", "plan_retire", "require_unused", "still_the_same"]

_NAMED = 20  # paths that an error lists
_NOTHING = "Nothing was removed."
_CHANGED_OLD = f"{_NOTHING} Find out what has written there since the move: it may be the only place that holds it."
_LOST_NEW = f"{_NOTHING} Find out why, or accept them by name (contimg_retire_accept), and run again."


@dataclass(frozen=True)
class RetireOptions:
    """The parameters of ``state_retire``; see its documentation.

    :ivar baseline: rows by table of databases below ``dest``, by path as it is shown.
    """

    src: str
    dest: str
    manifest: str
    rename: Mapping[bytes, bytes]
    moved_at: float
    state: str
    archive: str
    compression: str
    accept: tuple[str, ...]
    exclude: tuple[str, ...]
    baseline: Mapping[str, Mapping[str, int]]
    run_dir: str
    require_proof: bool
    run_id: str


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

    :ivar files: what goes, a database before its sidecars.
    :ivar emptied: the directories that hold nothing that stays, the deepest first; the last may be the tree's root.
    :ivar directories: all of them, for the archive.
    :ivar unknown: what the manifest does not know, and therefore stays.
    :ivar gone: SHA-256 by path of what the manifest knows, and an interrupted run has removed already.
    :ivar changed_since: how many files have other content at the new place since the move.
    """

    files: tuple[OldFile, ...]
    emptied: tuple[bytes, ...]
    directories: tuple[bytes, ...]
    unknown: tuple[bytes, ...]
    gone: Mapping[bytes, str]
    changed_since: int

    @property
    def size(self) -> int:
        """Bytes that go."""
        return sum(file.status.size for file in self.files)

    @property
    def digests(self) -> dict[bytes, str]:
        """SHA-256 by path of everything that an archive has to hold."""
        return {**self.gone, **{file.path: file.sha256 for file in self.files}}


def plan_retire(options: RetireOptions, *, resumed: bool) -> RetirePlan:
    """Read both trees and decide what of the old one goes.

    :param resumed: whether an earlier run has begun to remove, so that files may be gone.
    :raises ContimgError: naming every file that is not what the manifest says, or not at the new place.
    """
    manifest = read_manifest(options.manifest)
    with open_root(options.src) as old, open_root(options.dest) as new:
        entries, there = scan(old), scan(new)
        names = {destination_of(path, options.rename): entry for path, entry in entries.items() if entry.is_file}
        here = {name: names[name] for name in manifest if name in names}
        _require_unshared(options, here, there)
        with error_context("read the old state", options.src, _NOTHING):
            digests = {name: hash_file(old, entry.path) for name, entry in here.items()}
        gone = _gone(manifest, here, options.rename)
        wrong = {here[name].path: "has changed" for name in here if digests[name] != manifest[name]}
        missing = {} if resumed else dict.fromkeys(gone, "is missing")
        _refuse(options.src, "no longer what the manifest says", {**wrong, **missing}, hint=_CHANGED_OLD)
        proof = Proof(
            Sides(old, new, here, there),
            manifest,
            Ledger.read(options.manifest + ".ledger"),
            moved_at=options.moved_at,
            accept=options.accept,
            baseline=options.baseline,
        )
    _refuse(
        options.dest, "neither there as it was copied nor changed since by the services", proof.lost, hint=_LOST_NEW
    )
    files = [OldFile(entry.path, digests[name], entry.status) for name, entry in here.items()]
    known = {file.path for file in files}
    unknown = sorted(path for path, entry in entries.items() if not entry.is_directory and path not in known)
    return RetirePlan(
        tuple(sorted(files, key=lambda file: bool(stem_of(file.path)))),
        _emptied(options, entries, unknown),
        tuple(path for path, entry in entries.items() if entry.is_directory),
        tuple(unknown),
        gone,
        proof.changed,
    )


def _require_unshared(options: RetireOptions, here: Mapping[bytes, Entry], there: Mapping[bytes, Entry]) -> None:
    shared = SharedFiles(shown=may_be_shown(options.src, options.dest))
    for name, entry in here.items():
        shared.add(entry, there.get(name))
    shared.require_none(options.src, options.dest, state=_NOTHING)


def _gone(
    manifest: Mapping[bytes, str], here: Mapping[bytes, Entry], rename: Mapping[bytes, bytes]
) -> dict[bytes, str]:
    """Return what the manifest knows and the old tree has not, by its path there."""
    former = {new: old for old, new in rename.items()}
    return {destination_of(name, former): digest for name, digest in manifest.items() if name not in here}


def _emptied(options: RetireOptions, entries: Mapping[bytes, Entry], unknown: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the directories that are empty once the files are gone: but for mount points, and what was never copied."""
    staying = {b""} if _is_mount_point(options.src) else set()
    kept = {path for path, entry in entries.items() if entry.is_directory and is_excluded(entry, options.exclude)}
    for path in (*unknown, *kept):
        above = path if path in kept else parent_of(path)
        while above not in staying:
            staying.add(above)
            above = parent_of(above)
    directories = [path for path, entry in entries.items() if entry.is_directory and path not in staying]
    return tuple(sorted(directories, key=lambda path: path.count(b"/") + bool(path), reverse=True))


def _is_mount_point(path: str) -> bool:
    """Return whether a directory is one, also of a file system that the directory above it lies on, too."""
    real = os.path.realpath(path)
    with error_context("look at its mount", path, _NOTHING):
        return mount_number(real) != mount_number(os.path.dirname(real))


def _refuse(path: str, why: str, found: Mapping[bytes, str], *, hint: str) -> None:
    """Raise where anything was found: names with the reason of each."""
    if not found:
        return
    named = [f"{printable(name)} ({reason})" for name, reason in sorted(found.items())]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    shown = named[:_NAMED]
    raise ContimgError(f"{why}: {', '.join(shown)}{more}", path=path, hint=hint, files=shown, files_total=len(named))


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
            "not every process's open files can be read, so it is unknown whether it is used", path=src, hint=hint
        )


def still_the_same(directory: int, name: bytes, file: OldFile) -> bool:
    """Return whether a file is what was read, to the ctime. Raises OSError when it is gone.

    The ctime of a file of several names changes as the first of them goes.
    """
    now, before = entry_of(name, os.stat(name, dir_fd=directory, follow_symlinks=False)), file.status
    same = (now.status.inode, now.status.size, now.status.mtime_ns) == (before.inode, before.size, before.mtime_ns)
    return now.is_file and same and (before.links > 1 or now.status.ctime_ns == before.ctime_ns)
