# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process has made which: by the kernel's process events (``linux/cn_proc.h``), so that it is known of ended ones, too."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Forks", "keep_latest"]

_Value = TypeVar("_Value")

_NETLINK_CONNECTOR, _CN_IDX_PROC, _CN_VAL_PROC = 11, 1, 1
_NLMSG_DONE, _LISTEN, _FORK = 3, 1, 1
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_CONNECTOR = struct.Struct("=IIIIHH")  # struct cn_msg
_EVENT = struct.Struct("=IIQ")  # the head of struct proc_event
_PIDS = struct.Struct("=iiii")  # thread and process of the parent, then of the child
_READ_BYTES = 1 << 14
_QUEUE_BYTES = 1 << 22
_MOST_READS = 1 << 14
_MOST = 1 << 16


class Forks:
    """Parents of the processes that have begun since this was made.

    Without the capability, or in a container with a network of its own, none is known.
    """

    def __init__(self) -> None:
        self._parents: dict[int, tuple[int, float]] = {}
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):
            self._socket = _listening()

    @property
    def are_known(self) -> bool:
        """Whether the kernel reports them."""
        return self._socket is not None

    @property
    def descriptors(self) -> set[int]:
        """What must stay open."""
        return set() if self._socket is None else {self._socket.fileno()}

    def take(self) -> list[int]:
        """Take in what was reported, and return the numbers of the new processes."""
        new = []
        for message in self._messages():
            what, _processor, moment = _EVENT.unpack_from(message)
            if what != _FORK:
                continue
            _thread, parent, _child, child = _PIDS.unpack_from(message, _EVENT.size)
            if parent != child:  # else it is a thread
                keep_latest(self._parents, child, (parent, moment / 1e9), most=_MOST)
                new.append(child)
        return new

    def parent(self, pid: int) -> int:
        """Return the process that has made one, 0 where that is unknown."""
        return self._parents.get(pid, (0, 0.0))[0]

    def begun(self, pid: int) -> float:
        """Return when the latest process of a number has begun, as ``time.monotonic`` has it, 0 where that is unknown."""
        return self._parents.get(pid, (0, 0.0))[1]

    def close(self) -> None:
        """Have nothing reported any more."""
        if self._socket is not None:
            self._socket.close()

    def _messages(self) -> Iterator[bytes]:
        for _read in range(_MOST_READS if self._socket is not None else 0):
            try:
                content = self._socket.recv(_READ_BYTES) if self._socket else b""
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._parents.clear()  # some were lost, and a number may belong to another process since
                continue
            message = content[_HEADER.size + _CONNECTOR.size :]
            if len(message) >= _EVENT.size + _PIDS.size:
                yield message


def keep_latest(kept: dict[int, _Value], pid: int, value: _Value, *, most: int) -> None:
    """Note something of a process, as the latest; of more than ``most`` processes the earliest is forgotten."""
    kept.pop(pid, None)
    kept[pid] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def _listening() -> socket.socket:
    """Return a socket to which the kernel reports. Raises OSError."""
    family = getattr(socket, "AF_NETLINK", 16)
    listener = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR)
    try:
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), _QUEUE_BYTES)
        listener.bind((0, _CN_IDX_PROC))
        asked = struct.pack("=I", _LISTEN)
        message = _CONNECTOR.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(asked), 0) + asked
        listener.send(_HEADER.pack(_HEADER.size + len(message), _NLMSG_DONE, 0, 0, os.getpid()) + message)
    except OSError:
        listener.close()
        raise
    return listener
