# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work spread over forked processes, for what Python's threads cannot do at the same time.

Not ``multiprocessing``: it needs semaphores, thus a ``/dev/shm``, and threads in the process that forks.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import marshal
import os
import selectors
import signal
import struct
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

__all__ = ["available_processors", "forked"]

_INDEX = struct.Struct("<I")
_FRAME = struct.Struct("<II")  # index and length of an answer
_MOST_BLOCKS = 512  # their numbers fit into the smallest pipe before anybody reads it
_READ_BYTES = 1 << 16
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 20


def available_processors(most: int = 4) -> int:
    """Return how many processors this process may use, at most ``most``."""
    return min(most, len(os.sched_getaffinity(0)))


def forked(work: Callable[[int], Any], count: int, workers: int) -> Generator[tuple[int, Any], None, None]:
    """Call ``work(0)`` to ``work(count - 1)`` in forked processes; yield each index with its answer as they arrive.

    A process takes the next piece of work when it has done one. With one worker all is done in this process, in order.

    :param work: returns what ``marshal`` can carry. It must not use what is not made for use after a fork.
    :raises ContimgError: the first that ``work`` raised, or when a process ended without its answers.
    :raises OSError: when a pipe or a process cannot be made or fails. No process is left then.
    """
    workers = min(workers, count)
    if workers <= 1:
        for index in range(count):
            yield index, work(index)
        return
    blocks = min(count, _MOST_BLOCKS)
    held: set[int] = set()
    children: dict[int, int] = {}
    try:
        queue, give = _pipe(held)
        for block in range(blocks):
            os.write(give, _INDEX.pack(block))
        _close(give, held)
        for _worker in range(workers):
            _start(work, queue, held, children, count=count, blocks=blocks)
        yield from _gathered(list(children), count)
    finally:
        for descriptor in held:
            with contextlib.suppress(OSError):  # it is closed all the same, and the processes must still end
                os.close(descriptor)
        for child in children.values():
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


def _pipe(held: set[int]) -> tuple[int, int]:
    pair = os.pipe()
    held.update(pair)
    return pair


def _close(descriptor: int, held: set[int]) -> None:
    held.discard(descriptor)
    os.close(descriptor)


def _start(
    work: Callable[[int], Any], queue: int, held: set[int], children: dict[int, int], *, count: int, blocks: int
) -> None:
    """Fork a process that works off the queue; add it to the others, by the pipe of its answers. Raises OSError."""
    answers, give = _pipe(held)
    with contextlib.suppress(OSError):  # then it waits sooner for its answers to be taken
        fcntl.fcntl(give, _F_SETPIPE_SZ, _PIPE_BYTES)
    child = os.fork()
    if child:
        children[answers] = child
        _close(give, held)
        return
    status = 1
    gc.disable()  # it soon ends, and what it makes has no cycles
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # sent when its answers are no longer wanted
        for block in iter(lambda: os.read(queue, _INDEX.size), b""):
            (number,) = _INDEX.unpack(block)
            for index in range(number * count // blocks, (number + 1) * count // blocks):
                _send(give, index, _answer(work, index))
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's may run twice: no exit handler, no buffer


def _answer(work: Callable[[int], Any], index: int) -> tuple[bool, Any]:
    try:
        return True, work(index)
    except ContimgError as error:
        return False, (error.what, error.path, error.hint, error.details)
    except OSError as error:
        what = f"could not do its part of the work: {error.strerror or error} [errno {error.errno}]"
        return False, (what, error.filename, "", {"errno": error.errno})


def _send(pipe: int, index: int, answer: tuple[bool, Any]) -> None:
    data = marshal.dumps(answer)
    rest = memoryview(_FRAME.pack(index, len(data)) + data)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _gathered(pipes: list[int], count: int) -> Iterator[tuple[int, Any]]:
    """Yield the answers from all pipes until each has ended."""
    buffers = {pipe: bytearray() for pipe in pipes}
    missing = count
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _events in selector.select():
                data = os.read(key.fd, _READ_BYTES)
                if not data:
                    selector.unregister(key.fd)
                buffers[key.fd] += data
                for index, (worked, value) in _frames(buffers[key.fd]):
                    if not worked:
                        what, path, hint, details = value
                        raise ContimgError(what, path=path, hint=hint, **details)
                    missing -= 1
                    yield index, value
    if missing:
        raise ContimgError("a process that did a part of the work ended too early", hint="Is memory short? Run again.")


def _frames(buffer: bytearray) -> Iterator[tuple[int, tuple[bool, Any]]]:
    """Take the complete answers out of a buffer."""
    while len(buffer) >= _FRAME.size:
        index, length = _FRAME.unpack_from(buffer)
        if len(buffer) < _FRAME.size + length:
            return
        answer = marshal.loads(bytes(buffer[_FRAME.size : _FRAME.size + length]))  # noqa: S302 (our own child wrote it)
        del buffer[: _FRAME.size + length]
        yield index, answer
