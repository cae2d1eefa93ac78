# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of one batch, written under temporary names, flushed and proved. They get their names elsewhere, and only then.

A batch runs in a process of its own where there are several: most of the work on small files is Python's, whose threads
do not run at the same time. The flushes of a batch share the disk's work: writing starts with each file's last byte, and
the first flush commits what the others would wait for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, entry_of, name_of, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import create_name, open_below, open_name
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import (
    copy_early_flags,
    copy_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

    Packed = tuple[int, bytes, bytes, bytes, bytes]

__all__ = ["Written", "stage", "unpacked"]

_ATTEMPTS = 3
_FLUSHES = 16  # at once: they wait for the same commit
_VANISHED = (errno.ENOENT, errno.ESTALE, errno.ELOOP)


class Written(NamedTuple):
    """A complete file under its temporary name.

    :ivar action: the step that it belongs to.
    :ivar temporary: its name now, in the directory of its final name.
    :ivar source: the source's entry when it was read.
    :ivar target: its own entry.
    :ivar sha256: the digest of what was read.
    """

    action: Action
    temporary: bytes
    source: Entry
    target: Entry
    sha256: bytes


class _Open(NamedTuple):
    """A file that is still being worked on; ``number`` is that of its step in the batch."""

    number: int
    temporary: bytes
    descriptor: int
    source: Entry
    sha256: bytes


def stage(context: CopyContext, actions: Sequence[Action]) -> list[Packed]:
    """Write every file, flush it and read it back; return what :func:`unpacked` takes.

    :raises ContimgError: naming the file. The caller removes what is left of the batch.
    """
    with _Batch(context, actions) as batch:
        batch.read_ahead()
        for number in range(len(actions)):
            batch.write(number)
        batch.flush()
        if context.verify:
            batch.prove()
        return batch.packed()


def unpacked(packed: Iterable[Packed], actions: Sequence[Action]) -> list[Written]:
    """Return what another process has prepared, sorted by the final names."""
    written = [
        Written(
            actions[number],
            temporary,
            Entry(actions[number].source, source),
            Entry(actions[number].path, target),
            sha256,
        )
        for number, temporary, source, target, sha256 in packed
    ]
    return sorted(written, key=lambda one: one.action.path)


class _Batch:
    """Holds the directories and files of a batch, and closes them at its end."""

    def __init__(self, context: CopyContext, actions: Sequence[Action]) -> None:
        self.context, self.actions = context, actions
        self.written: list[_Open] = []
        self._stack = contextlib.ExitStack()
        self._sources: dict[bytes, int] = {}
        self._targets: dict[bytes, int] = {}

    def __enter__(self) -> _Batch:
        with contextlib.ExitStack() as stack:
            for action in self.actions:
                self._hold(stack, self.context.source, action.source, self._sources)
                self._hold(stack, self.context.target, action.path, self._targets)
            self._stack = stack.pop_all()
        return self

    def _hold(self, stack: contextlib.ExitStack, root: int, path: bytes, held: dict[bytes, int]) -> None:
        directory = parent_of(path)
        if directory not in held:
            with self._tolerating(), error_context("open the directory", directory or b"."):
                held[directory] = stack.enter_context(open_below(root, directory, os.O_DIRECTORY))

    @contextlib.contextmanager
    def _tolerating(self) -> Iterator[None]:
        """Under a live copy what vanishes is left to the final pass."""
        try:
            yield
        except ContimgError as error:
            if not (self.context.live and error.details.get("errno") in _VANISHED):
                raise

    def __exit__(self, *_error: object) -> None:
        for one in self.written:
            os.close(one.descriptor)
        self._stack.close()

    def _discard(self, one: _Open) -> None:
        os.close(one.descriptor)
        os.unlink(one.temporary, dir_fd=self._targets[parent_of(self.actions[one.number].path)])

    def read_ahead(self) -> None:
        """Ask for all sources at once: the disk takes them in its own order. What cannot be read is told when it is copied."""
        for action in self.actions:
            directory = self._sources.get(parent_of(action.source))
            with contextlib.suppress(OSError):
                if directory is not None:
                    source = open_name(directory, name_of(action.source))
                    self.context.data.read_ahead(source)
                    os.close(source)

    def write(self, number: int) -> None:
        """Copy a file to a temporary name; a source that changes meanwhile is read again."""
        source = self.actions[number].source
        if parent_of(source) not in self._sources:
            return
        with self._tolerating(), error_context("copy the file", source, "The source is unchanged; run again to go on."):
            if not any(self._write_once(number) for _attempt in range(_ATTEMPTS)):
                hint = "Something still writes to it. Stop the writer and run again."
                raise ContimgError("changes while it is copied", path=source, hint=hint)

    def _write_once(self, number: int) -> bool:
        path = self.actions[number].source
        directory, name = self._sources[parent_of(path)], name_of(path)
        source = open_name(directory, name)
        try:
            before = os.fstat(source)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.ESTALE, "No regular file is there any more", path)
            one = self._fill(
                _Open(number, self.context.temporary_name(), -1, entry_of(path, before), b""), source, before
            )
            # The name is asked and not the descriptor: it must still stand for this file, too.
            if not self.context.live and not _is_still(
                one.source, os.stat(name, dir_fd=directory, follow_symlinks=False)
            ):
                self._discard(one)
                return False
            self.written.append(one)
            self.context.progress.add(0, files=1)
            return True
        finally:
            os.close(source)

    def _fill(self, one: _Open, source: int, status: os.stat_result) -> _Open:
        """No other user may open a temporary file before it has its content, owner and mode."""
        directory = self._targets[parent_of(self.actions[one.number].path)]
        target = create_name(directory, one.temporary)
        one = one._replace(descriptor=target)
        try:
            copy_early_flags(source, target, losses=self.context.policy.losses)
            sha256 = self.context.data.copy(source, target, status)
            copy_metadata(source, target, self.context.policy, status=status)
        except BaseException:
            self._discard(one)
            raise
        return one._replace(sha256=sha256)

    def flush(self) -> None:
        """Make the files durable: the first flush commits what the others wait for, and those wait together."""
        shares = [self.written[::-1][start::_FLUSHES] for start in range(min(_FLUSHES, len(self.written)))]
        with ThreadPoolExecutor(max_workers=_FLUSHES) as pool:
            for _none in pool.map(self._flush, shares):
                pass

    def _flush(self, share: Iterable[_Open]) -> None:
        for one in share:
            path = self.actions[one.number].path
            with error_context("flush the copy", path, "The source is unchanged; run again to go on."):
                os.fsync(one.descriptor)

    def prove(self) -> None:
        """Read the files back from the device."""
        for one in self.written:
            with error_context("read the copy back", self.actions[one.number].path):
                self.context.data.read_ahead(one.descriptor, anew=True)
        for one in self.written:
            path = self.actions[one.number].path
            with error_context("read the copy back", path):
                found = self.context.data.read_back(one.descriptor, one.source.size)
            if found != one.sha256:
                hint = "It has not got its name, and the source is unchanged. "
                hint += "Check the destination's device and run again."
                raise ContimgError("the copy differs from what was read from the source", path=path, hint=hint)

    def packed(self) -> list[Packed]:
        """Return what was written, in plain values."""
        return [
            (one.number, one.temporary, one.source.facts, entry_of(b"", os.fstat(one.descriptor)).facts, one.sha256)
            for one in self.written
        ]


def _is_still(entry: Entry, status: os.stat_result) -> bool:
    return entry.identity == entry_of(entry.path, status).identity
