# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of one file: read once, hashed and written; then read back from the device.

Large files are written and read back past the page cache (O_DIRECT), and one thread hashes a block while another writes
it. Smaller ones go through the cache, are sent on their way at once, and are dropped from it before they are read back.
Where the file system can share blocks (FICLONE), nothing is written at all. There is no ``copy_file_range``: what is
proved has to be read here in any case.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["DataCopier"]

_BLOCK = 1 << 20
_LARGE = 1 << 20
_ALIGNED = 4096
_UNIT = 512  # bytes of ``st_blocks``
_FICLONE = 0x40049409


class DataCopier:
    """Copies and proves the content of files, from several threads at once.

    :param workers: how many files are copied at the same time.
    :param progress: is told how many bytes were done, after each block.
    """

    def __init__(self, workers: int, progress: Callable[[int], None]) -> None:
        self._hashers = ThreadPoolExecutor(max_workers=workers)
        self._progress = progress
        self._can_clone = True

    def __enter__(self) -> DataCopier:
        return self

    def __exit__(self, *_error: object) -> None:
        self._hashers.shutdown()

    def copy(self, source: int, target: int, status: os.stat_result) -> bytes:
        """Copy the content, holes as holes, and return the SHA-256 of what was read. Raises OSError."""
        size = status.st_size
        if self._clone(source, target, size):
            return self._digest(_blocks(source, size))
        if size < _LARGE and status.st_blocks * _UNIT >= size:
            return self._copy_small(source, target, size)
        os.ftruncate(target, size)
        with _direct(target, wanted=size >= _LARGE):
            digest = self._digest(_blocks(source, size), lambda block, at: _write(target, block, at))
        os.ftruncate(target, size)  # a last block may have been padded
        return digest

    def _copy_small(self, source: int, target: int, size: int) -> bytes:
        content = _read_all(source, size)
        _write_all(target, memoryview(content), 0)
        os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)  # starts to write it; the flush has less to wait for
        self._progress(len(content))
        return hashlib.sha256(content).digest()

    def read_back(self, target: int, size: int) -> bytes:
        """Return the SHA-256 of a flushed file, read from its device and not from the page cache. Raises OSError."""
        os.posix_fadvise(target, 0, 0, os.POSIX_FADV_DONTNEED)
        if size < _LARGE:
            return hashlib.sha256(_read_all(target, size + 1)).digest()
        try:
            with _direct(target, wanted=True):
                return self._digest(_blocks(target, size, whole=True))
        except OSError as error:
            if error.errno != errno.EINVAL:  # this file system wants another alignment
                raise
        return self._digest(_blocks(target, size, whole=True))

    def _clone(self, source: int, target: int, size: int) -> bool:
        """Share the blocks of a file, where both sides are on one file system that can."""
        if not self._can_clone or size < _LARGE:
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
        pending: Future[None] | None = None
        for block, position, is_data in blocks:
            if pending is not None:
                pending.result()
            pending = self._hashers.submit(digest.update, block)
            if write is not None and is_data:
                write(block, position)
            self._progress(len(block) if is_data else 0)
        if pending is not None:
            pending.result()
        return digest.digest()


def _blocks(descriptor: int, size: int, *, whole: bool = False) -> Iterator[tuple[memoryview, int, bool]]:
    """Yield the content with its position, and whether it is data or a hole. A block is valid until the next but one.

    :param whole: read holes too.
    """
    buffers = [memoryview(mmap.mmap(-1, _BLOCK)) for _turn in range(2)]
    position = turn = 0
    for start, end in [(0, size)] if whole else _extents(descriptor, size):
        yield from _zeros(position, start)
        position = start
        while position < end:
            count = os.preadv(descriptor, [buffers[turn][: min(_BLOCK, _aligned(end - position))]], position)
            if not count:
                return  # it became shorter: the caller sees that
            count = min(count, end - position)
            yield buffers[turn][:count], position, True
            position, turn = position + count, 1 - turn
    yield from _zeros(position, size)


def _aligned(count: int) -> int:
    return -(-count // _ALIGNED) * _ALIGNED


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


def _write(target: int, block: memoryview, position: int) -> None:
    """Write a block. Past the cache only whole units can be written: the last one is padded, and cut off later."""
    done = 0
    if _is_direct(target):
        padded = _aligned(len(block))
        if position % _ALIGNED == 0:
            done = _write_direct(target, block, padded, position)
        if done < len(block):
            _set_direct(target, on=False)
    _write_all(target, block[done:], position + done)


def _write_direct(target: int, block: memoryview, padded: int, position: int) -> int:
    content = block
    if padded > len(block):
        content = memoryview(mmap.mmap(-1, padded))
        content[: len(block)] = block
    try:
        return min(os.pwrite(target, content, position), len(block))
    except OSError as error:
        if error.errno == errno.EINVAL:  # this file system wants another alignment
            return 0
        raise


def _write_all(target: int, content: memoryview, position: int) -> None:
    while content:
        done = os.pwrite(target, content, position)
        content, position = content[done:], position + done


@contextlib.contextmanager
def _direct(descriptor: int, *, wanted: bool) -> Iterator[None]:
    """Read and write a file past the page cache meanwhile, where the file system can."""
    if wanted:
        _set_direct(descriptor, on=True)
    try:
        yield
    finally:
        _set_direct(descriptor, on=False)


def _set_direct(descriptor: int, *, on: bool) -> None:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)


def _is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)
