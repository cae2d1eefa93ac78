# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of one batch: written under temporary names, flushed and proved together, and only then given their names.

What stands at the destination is replaced by what is already proved. The flushes of a batch share the disk's work: the
first one commits what the others wait for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import (
    Wishes,
    copy_extended_attributes,
    set_metadata,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_ledger import (
    DATABASE,
    PLACED,
    RACY,
    VERIFIED,
    Known,
    is_racy,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import (
    DEBRIS,
    IDENTITY,
    Entry,
    entry_of,
    open_below,
    open_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync_data import DataCopier
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync_ledger import Ledger
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync_steps import Action

__all__ = ["Batch", "Context", "Written", "temporary_name"]

_Item = TypeVar("_Item")
_ATTEMPTS = 3
_FLUSHES = 8  # at once: they wait for the same commit
_VANISHED = (errno.ENOENT, errno.ESTALE, errno.ELOOP)


@dataclass(frozen=True)
class Context:
    """What all steps of a pass share.

    :ivar source: descriptor of the source's root.
    :ivar target: descriptor of the destination's root.
    :ivar ledger: where each file is noted before and after it gets its name.
    :ivar data: copies and proves content.
    :ivar wishes: owner, group and losses.
    :ivar live: whether the source may change or vanish under the copy.
    :ivar verify: whether files are read back.
    :ivar workers: threads.
    :ivar started_ns: when this pass began to look at the source.
    :ivar databases: which files of the source are databases.
    """

    source: int
    target: int
    ledger: Ledger
    data: DataCopier
    wishes: Wishes
    live: bool
    verify: bool
    workers: int
    started_ns: int
    databases: set[bytes]


class Written(NamedTuple):
    """A complete file under its temporary name, still open.

    :ivar source: the source's entry when it was read.
    """

    action: Action
    temporary: bytes
    descriptor: int
    source: Entry
    sha256: bytes


def temporary_name() -> bytes:
    """Return a name that nobody guesses, and that the next run knows as debris."""
    return DEBRIS + secrets.token_hex(8).encode()


@dataclass
class Batch:
    """Some files on their way; used as a context manager that closes and, after a failure, removes what it holds."""

    context: Context
    actions: Sequence[Action]
    written: list[Written] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _sources: dict[bytes, int] = field(default_factory=dict)
    _targets: dict[bytes, int] = field(default_factory=dict)

    def __enter__(self) -> Batch:
        with contextlib.ExitStack() as stack:
            for action in self.actions:
                self._hold(stack, self.context.source, action.source, self._sources)
                self._hold(stack, self.context.target, action.path, self._targets)
            self._stack = stack.pop_all()
        return self

    def _hold(self, stack: contextlib.ExitStack, root: int, path: bytes, held: dict[bytes, int]) -> None:
        folder = _parent(path)
        if folder not in held:
            with self._tolerating(), failing("open the folder", folder or b"."):
                held[folder] = stack.enter_context(open_below(root, folder, os.O_DIRECTORY))

    @contextlib.contextmanager
    def _tolerating(self) -> Iterator[None]:
        """Under a live copy what vanishes is left to the final pass."""
        try:
            yield
        except ContimgError as error:
            if not (self.context.live and error.details.get("errno") in _VANISHED):
                raise

    def __exit__(self, *error: object) -> None:
        for one in self.written:
            os.close(one.descriptor)
            if error[0] is not None:
                with contextlib.suppress(OSError):
                    os.unlink(one.temporary, dir_fd=self.folder(one.action.path))
        self._stack.close()

    def folder(self, path: bytes) -> int:
        """Return the held descriptor of the folder at the destination that a path stands in."""
        return self._targets[_parent(path)]

    def prepare(self) -> None:
        """Write every file, flush it and read it back. Raises ContimgError naming the file; none has its name then."""
        workers = self.context.workers
        _each(workers, self._write, self.actions)
        _each(1 if workers == 1 else _FLUSHES, self._flush, self.written)
        if self.context.verify:
            _each(workers, self._prove, self.written)
        self.written.sort(key=lambda one: one.action.path)

    def _write(self, action: Action) -> None:
        """Copy a file to a temporary name; a source that changes meanwhile is read again."""
        if _parent(action.source) not in self._sources:
            return
        with self._tolerating(), failing(
            "copy the file", action.source, "The source is unchanged; run again to go on."
        ):
            if not any(self._write_once(action) for _attempt in range(_ATTEMPTS)):
                hint = "Something still writes to it. Stop the writer and run again."
                raise ContimgError("changes while it is copied", path=action.source, hint=hint)

    def _write_once(self, action: Action) -> bool:
        sources, name = self._sources[_parent(action.source)], _name(action.source)
        source = open_name(sources, name)
        try:
            before = os.fstat(source)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.ESTALE, "No regular file stands there any more", action.source)
            entry = entry_of(action.source, before)
            one = self._fill(action, source, before, entry)
            if not self.context.live and not (
                _is_still(entry, os.fstat(source))
                and _is_still(entry, os.stat(name, dir_fd=sources, follow_symlinks=False))
            ):
                self._discard(one)
                return False
            self.written.append(one)
            return True
        finally:
            os.close(source)

    def _fill(self, action: Action, source: int, status: os.stat_result, entry: Entry) -> Written:
        """Nobody else may open a temporary file before it has its content, owner and mode."""
        temporary, folder = temporary_name(), self.folder(action.path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(temporary, flags, 0o600, dir_fd=folder)
        one = Written(action, temporary, target, entry, b"")
        try:
            sha256 = self.context.data.copy(source, target, status)
            set_metadata(target, status, self.context.wishes)
            copy_extended_attributes(source, target, losses=self.context.wishes.losses)
        except BaseException:
            self._discard(one)
            raise
        return one._replace(sha256=sha256)

    def _discard(self, one: Written) -> None:
        os.close(one.descriptor)
        os.unlink(one.temporary, dir_fd=self.folder(one.action.path))

    def _flush(self, one: Written) -> None:
        with failing("flush the copy", one.action.path, "The source is unchanged; run again to go on."):
            os.fsync(one.descriptor)

    def _prove(self, one: Written) -> None:
        with failing("read the copy back", one.action.path):
            found = self.context.data.read_back(one.descriptor, one.source.status.size)
        if found != one.sha256:
            hint = "It has not got its name, and the source is unchanged. Check the destination's device and run again."
            raise ContimgError("the copy differs from what was read from the source", path=one.action.path, hint=hint)

    def publish(self) -> None:
        """Give every file its name, durably, and note it before and after."""
        self.note_intent(self.written)
        for one in self.written:
            with failing("rename the copy", one.action.path, "The source is unchanged; run again to go on."):
                folder = self.folder(one.action.path)
                os.rename(one.temporary, _name(one.action.path), src_dir_fd=folder, dst_dir_fd=folder)
        self.flush_folders()
        self.note_done()

    def flush_folders(self) -> None:
        """Make the names durable."""
        for path, folder in self._targets.items():
            with failing("flush the folder", path or b"."):
                os.fsync(folder)

    def note_intent(self, written: Iterable[Written]) -> None:
        """Note what is about to get its name, so that a run after a crash knows it as its own."""
        self.context.ledger.append({one.action.path: self._known(one, 0) for one in written})

    def note_done(self) -> None:
        """Note what has its name now. What another process has put in its place meanwhile is not noted."""
        self.context.ledger.append({one.action.path: self._known(one, PLACED) for one in self.written})

    def _known(self, one: Written, placed: int) -> Known:
        target = entry_of(one.action.path, os.fstat(one.descriptor)).identity
        return Known(one.source.identity, target, one.sha256, placed | self._flags(one))

    def _flags(self, one: Written) -> int:
        racy = RACY if is_racy(one.source, self.context.started_ns) else 0
        database = DATABASE if one.action.source in self.context.databases else 0
        return (VERIFIED if self.context.verify else 0) | racy | database


def _each(workers: int, step: Callable[[_Item], None], items: Sequence[_Item]) -> None:
    """Do a step for all items, in as many threads; one worker does them in their order."""
    if min(workers, len(items)) <= 1:
        for item in items:
            step(item)
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        list(pool.map(step, items))


def _is_still(entry: Entry, status: os.stat_result) -> bool:
    return entry.facts[:IDENTITY] == entry_of(entry.path, status).identity


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]
