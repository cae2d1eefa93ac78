# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of one file: read once, hashed and written; then read back from the device.

While a block is hashed in one thread and written in another, the next one is read. Large files go past the page cache
(O_DIRECT), where the file system can: no page is copied, and what is read back is the device's answer. Small ones go through
it, which reads and writes many of them together. Where the file system can share blocks (FICLONE), nothing is written at all.
There is no ``copy_file_range``: what is proved has to be read here in any case.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["DataCopier"]

_BLOCK = 4 << 20
_ALIGNED = 4096  # what every device takes directly is a multiple of this
_LARGE = 1 << 20
_UNIT = 512  # bytes of ``st_blocks``
_FICLONE = 0x40049409


class DataCopier:
    """Copies and proves the content of files, one after the other.

    :param progress: is told how many bytes were done, after each block.
    """

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2)  # starts them when they are first used: after a fork
        self._progress = progress
        self._can_clone = True

    def __enter__(self) -> DataCopier:
        return self

    def __exit__(self, *_error: object) -> None:
        self._threads.shutdown()

    def copy(self, source: int, target: int, status: os.stat_result) -> bytes:
        """Copy the content, holes as holes, and return the SHA-256 of what was read. Raises OSError."""
        size = status.st_size
        if size >= _LARGE:
            return self._copy_large(source, target, size)
        if status.st_blocks * _UNIT >= size:
            return self._copy_small(source, target, size)
        return self._copy_blocks(source, target, size)

    def _copy_large(self, source: int, target: int, size: int) -> bytes:
        _pass_cache(source)
        if self._clone(source, target):
            return self._digest(_blocks(source, size))
        _pass_cache(target)
        return self._copy_blocks(source, target, size)

    def _copy_blocks(self, source: int, target: int, size: int) -> bytes:
        digest = self._digest(_blocks(source, size), lambda block, at: _write(target, block, at))
        os.ftruncate(target, size)  # it may end in a hole
        return digest

    def _copy_small(self, source: int, target: int, size: int) -> bytes:
        content = _read_all(source, size)
        _write(target, memoryview(content), 0)
        self._progress(len(content))
        return hashlib.sha256(content).digest()

    @staticmethod
    def read_ahead(descriptor: int, *, anew: bool = False) -> None:
        """Begin to read a small file, so that many can be read at the same time. Raises OSError.

        :param anew: from its device, whatever the page cache holds. The file must have been flushed.
        """
        if anew:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.fstat(descriptor).st_size < _LARGE:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)

    def read_back(self, target: int, size: int) -> bytes:
        """Return the SHA-256 of a file for which :meth:`read_ahead` was called ``anew``: what its device holds. Raises OSError."""
        if size < _LARGE:
            content = _read_all(target, size + 1)
            self._progress(len(content))
            return hashlib.sha256(content).digest()
        _pass_cache(target)  # where the file system cannot do this, the page cache has been told to forget the file
        return self._digest(_blocks(target, size, whole=True))

    def _clone(self, source: int, target: int) -> bool:
        """Share the blocks of a file, where both sides are on one file system that can."""
        if not self._can_clone:
            return False
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            self._can_clone = False
        return self._can_clone

    def _digest(
        self, blocks: Iterable[tuple[memoryview, int, bool]], write: Callable[[memoryview, int], None] | None = None
    ) -> bytes:
        """Hash blocks in their order, each while it is written and the next one is read."""
        digest = hashlib.sha256()
        pending: list[Future[None]] = []
        try:
            for block, position, is_data in blocks:
                for one in pending:
                    one.result()
                pending = [self._threads.submit(digest.update, block)]
                if write is not None and is_data:
                    pending.append(self._threads.submit(write, block, position))
                self._progress(len(block) if is_data else 0)
        finally:
            wait(pending)  # after an error the file is closed, and its descriptor may soon be another's
        for one in pending:
            one.result()
        return digest.digest()


def _blocks(descriptor: int, size: int, *, whole: bool = False) -> Iterator[tuple[memoryview, int, bool]]:
    """Yield the content with its position, and whether it is data or a hole. A block is valid until the next but one.

    :param whole: read holes too, and past ``size`` to the end of the block.
    """
    buffers = [memoryview(mmap.mmap(-1, _BLOCK)) for _turn in range(2)]
    position = turn = 0
    for start, end in [(0, size)] if whole else _extents(descriptor, size):
        yield from _zeros(position, start)
        position = start
        while position < end:
            wanted = _BLOCK if whole else min(_BLOCK, -(-(end - position) // _ALIGNED) * _ALIGNED)
            count = _tolerantly(os.preadv, descriptor, [buffers[turn][:wanted]], position)
            if not count:
                return  # it became shorter: the caller sees that
            count = count if whole else min(count, end - position)
            yield buffers[turn][:count], position, True
            position, turn = position + count, 1 - turn
    yield from _zeros(position, size)


def _zeros(start: int, end: int) -> Iterator[tuple[memoryview, int, bool]]:
    zeros = memoryview(bytes(min(_BLOCK, max(0, end - start))))
    for position in range(start, end, _BLOCK):
        yield zeros[: end - position], position, False


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


def _read_all(descriptor: int, size: int) -> bytes:
    """Return the first ``size`` bytes, or fewer where the file is shorter."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while size > 0:
        part = os.read(descriptor, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(target: int, content: memoryview, position: int) -> None:
    while content:
        done = _tolerantly(os.pwrite, target, content, position)
        content, position = content[done:], position + done


def _pass_cache(descriptor: int, *, asked: bool = True) -> None:
    """Let what is read or written pass by the page cache, where the file system can do that, or go through it again."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_DIRECT if asked else 0)


def _tolerantly(call: Callable[..., int], descriptor: int, *arguments: object) -> int:
    """Read or write. What a device does not take directly, an odd end say, goes through the page cache, and all that follows."""
    try:
        return call(descriptor, *arguments)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _pass_cache(descriptor, asked=False)
        return call(descriptor, *arguments)
