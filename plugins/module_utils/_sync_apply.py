# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a plan, done so that a crash at any point leaves each file wholly old or wholly new.

Files are written beside their place in batches: all temp files of a batch are flushed before the first is renamed, and
the folders of a batch are flushed before the next begins. The source is opened for reading only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._manifest import hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import (
    copy_extended_attributes,
    set_link_metadata,
    set_metadata,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_ledger import Known, known
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import DEBRIS, Entry, folder_of, open_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync_plan import Action

__all__ = ["Copier", "Written"]

_CHUNK = 1 << 20
_BATCH_FILES = 256
_BATCH_BYTES = 256 << 20
_ATTEMPTS = 3
_VANISHED = (errno.ENOENT, errno.ESTALE)


@dataclass(frozen=True)
class Written:
    """A file under its temporary name: its digest, and the source's status when it was read."""

    action: Action
    temporary: bytes
    sha256: str
    source: os.stat_result


@dataclass
class Copier:
    """Does the steps of a plan.

    :ivar source: descriptor of the source's root.
    :ivar target: descriptor of the destination's root.
    :ivar entries: the source's entries by path.
    :ivar live: whether the source may change or vanish under the copy.
    :ivar owner: numeric owner, -1 keeps the source's.
    :ivar group: numeric group, -1 keeps the source's.
    :ivar losses: metadata that may be lost.
    :ivar workers: threads.
    :ivar started_ns: when this pass began to look at the source.
    :ivar progress: is told how many bytes were written, after each block.
    """

    source: int
    target: int
    entries: Mapping[bytes, Entry]
    live: bool
    owner: int
    group: int
    losses: frozenset[str]
    workers: int
    started_ns: int
    progress: Callable[[int], None]
    placed: dict[bytes, Known] = field(default_factory=dict)

    def apply(self, actions: Sequence[Action], back_up: Callable[[bytes], None]) -> None:
        """Do all steps in their order. ``back_up`` keeps a verified copy of what a step replaces.

        :raises ContimgError: naming the path; what was not reached is as it was.
        """
        for action in actions:
            if action.backup:
                back_up(action.path)
        single = {"remove": self._remove, "folder": self._folder, "link": self._link, "special": self._special}
        for action in actions:
            if action.kind in single and action.kind in ("remove", "folder") and action.reason != "not in the source":
                self._do(single[action.kind], action)
        for batch in _batches([action for action in actions if action.kind == "copy"], self.entries):
            self._copy(batch)
        for action in actions:
            if action.kind in ("link", "special") or action.reason == "not in the source":
                self._do(single[action.kind], action)
        for action in actions:
            if action.kind == "metadata":
                self._do(self._metadata, action)

    def _do(self, step: Callable[[Action], None], action: Action) -> None:
        hint = "The source is unchanged. Mend the cause and run again: the copy goes on where it stopped."
        with failing(f"{action.kind} at the destination", action.path, hint):
            try:
                step(action)
            except OSError as error:
                if not (self.live and error.errno in _VANISHED):
                    raise

    def _remove(self, action: Action) -> None:
        with folder_of(self.target, action.path) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                with _tolerating(errno.ENOTEMPTY):
                    os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def _folder(self, action: Action) -> None:
        if not action.path:
            return
        with folder_of(self.target, action.path) as (folder, name):
            os.mkdir(name, 0o700, dir_fd=folder)
            os.fsync(folder)

    def _link(self, action: Action) -> None:
        with folder_of(self.target, action.first) as (first_folder, first):
            with folder_of(self.target, action.path) as (folder, name):
                temporary = _temporary()
                os.link(first, temporary, src_dir_fd=first_folder, dst_dir_fd=folder, follow_symlinks=False)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
        if action.first in self.placed:
            self.placed[action.path] = self.placed[action.first]

    def _special(self, action: Action) -> None:
        entry, temporary = self.entries[action.source], _temporary()
        with folder_of(self.target, action.path) as (folder, name):
            if entry.kind == stat.S_IFLNK:
                os.symlink(entry.target, temporary, dir_fd=folder)
            else:
                os.mknod(temporary, entry.kind | 0o600, entry.status.st_rdev, dir_fd=folder)
            set_link_metadata(folder, temporary, entry, owner=self.owner, group=self.group, losses=self.losses)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def _metadata(self, action: Action) -> None:
        entry = self.entries[action.source]
        with open_below(self.source, action.source) as source, open_below(self.target, action.path) as target:
            set_metadata(target, entry, owner=self.owner, group=self.group, losses=self.losses)
            copy_extended_attributes(source, target, losses=self.losses)  # a chown clears capabilities
            os.fsync(target)

    def _copy(self, batch: Sequence[Action]) -> None:
        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            written = [one for one in pool.map(self._write, batch) if one is not None]
        folders = {one.action.path.rpartition(b"/")[0] for one in written}
        for one in written:
            self._do(lambda _action, one=one: self._place(one), one.action)  # type: ignore[misc]
        for path in sorted(folders):
            with failing("flush the folder", path or b"."), open_below(self.target, path) as folder:
                os.fsync(folder)

    def _write(self, action: Action) -> Written | None:
        """Copy a file to a temporary name and flush it; a source that changes meanwhile is read again."""
        for _attempt in range(_ATTEMPTS):
            with failing("copy the file", action.source, "The source is unchanged; run again to go on."):
                try:
                    written = self._write_once(action)
                except OSError as error:
                    if self.live and error.errno in _VANISHED:
                        return None
                    raise
            if written is not None:
                return written
        hint = "Something still writes to it. Stop the writer and run again."
        raise ContimgError("changes while it is copied", path=action.source, hint=hint)

    def _write_once(self, action: Action) -> Written | None:
        temporary = _temporary()
        with open_below(self.source, action.source) as source, folder_of(self.target, action.path) as (folder, _name):
            before = os.fstat(source)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                sha256 = self._stream(source, target, before.st_size)
                after = os.fstat(source)
                entry = Entry(action.source, before)
                set_metadata(target, entry, owner=self.owner, group=self.group, losses=self.losses)
                copy_extended_attributes(source, target, losses=self.losses)  # a chown clears capabilities
                os.fsync(target)
            except BaseException:
                os.unlink(temporary, dir_fd=folder)
                raise
            finally:
                os.close(target)
            if not self.live and (before.st_mtime_ns, before.st_ctime_ns, before.st_size) != (
                after.st_mtime_ns,
                after.st_ctime_ns,
                after.st_size,
            ):
                os.unlink(temporary, dir_fd=folder)
                return None
        return Written(action, temporary, sha256, before)

    def _stream(self, source: int, target: int, size: int) -> str:
        """Copy the data, keep holes as holes, and return the SHA-256 of the whole content."""
        digest, position = hashlib.sha256(), 0
        for start, end in _extents(source, size):
            _hash_zeros(digest.update, start - position)
            os.lseek(source, start, os.SEEK_SET)
            os.lseek(target, start, os.SEEK_SET)
            position = start
            while position < end:
                block = os.read(source, min(_CHUNK, end - position))
                if not block:
                    break
                digest.update(block)
                _write_all(target, block)
                position += len(block)
                self.progress(len(block))
        _hash_zeros(digest.update, size - position)
        os.ftruncate(target, size)
        return digest.hexdigest()

    def _place(self, one: Written) -> None:
        with folder_of(self.target, one.action.path) as (folder, name):
            os.rename(one.temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            target = os.stat(name, dir_fd=folder, follow_symlinks=False)
        self.placed[one.action.path] = known(one.source, target, one.sha256, verified=False, started_ns=self.started_ns)

    def verify(self, unproved: Mapping[bytes, Known]) -> dict[bytes, Known]:
        """Read files of the destination back from the device and compare them with what was read from the source.

        :raises ContimgError: naming every file that differs.
        """

        def proved(path: bytes) -> tuple[bytes, bool]:
            with failing("read the copy back", path):
                return path, hash_file(self.target, path, from_device=True) == unproved[path].sha256

        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            results = list(pool.map(proved, sorted(unproved)))
        bad = [display(path) for path, good in results if not good]
        if bad:
            hint = "The source is unchanged. Check the destination's device and run again."
            raise ContimgError(
                f"{len(bad)} copies differ from what was read from the source",
                path=bad[0],
                hint=hint,
                differing=bad[:100],
            )
        return {path: unproved[path].as_verified() for path in unproved}


@contextlib.contextmanager
def _tolerating(*numbers: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


def _temporary() -> bytes:
    return DEBRIS + secrets.token_hex(8).encode()


def _batches(actions: Sequence[Action], entries: Mapping[bytes, Entry]) -> Iterator[list[Action]]:
    """Split into batches of a bounded number of files and bytes; a database stands before its sidecars by its name."""
    batch: list[Action] = []
    total = 0
    for action in actions:
        batch.append(action)
        total += entries[action.source].status.st_size
        if len(batch) >= _BATCH_FILES or total >= _BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each stretch of data."""
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        if start >= size:
            return
        yield start, end
        position = end


def _hash_zeros(update: Callable[[bytes], None], count: int) -> None:
    zeros = bytes(min(count, _CHUNK)) if count > 0 else b""
    while count > 0:
        update(zeros[:count])
        count -= len(zeros)


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]
