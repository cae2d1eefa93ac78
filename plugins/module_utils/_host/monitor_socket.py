# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket of a write monitor: where it listens, and what is asked there."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["READ", "SOCKET", "STOP", "TAKE", "ask", "listening", "settle"]

#: Its name in the directory of the monitor.
SOCKET = "write-monitor.socket"
#: The requests: for the findings, for the findings at the end, and to take in what is reported, which has an empty answer.
READ, STOP, TAKE = b"read", b"stop", b"take"

_SETTLE_SECONDS = 10.0


@contextlib.contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    """Make the socket, for this user only, and yield it. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of a killed process: this one has the lock
    mask = os.umask(0o177)
    try:
        with _socket() as listener:
            with _short(path) as name:
                listener.bind(name)
            listener.listen()
            yield listener
    finally:
        os.umask(mask)


def ask(path: str, request: bytes, seconds: float) -> bytes | None:
    """Return what a running monitor answers, ``None`` where none runs, or ends before it has answered.

    :param seconds: how long each part of the answer may take.
    :raises socket.timeout: when it takes longer.
    :raises ContimgError: when the socket cannot be reached.
    """
    with error_context("ask the write monitor", path), _socket() as client:
        client.settimeout(seconds)
        try:
            with _short(path) as name:
                client.connect(name)
            client.sendall(request)
            content = b"".join(iter(lambda: client.recv(1 << 16), b""))
        except (FileNotFoundError, NotADirectoryError, ConnectionError):
            return None  # it has ended, or ends now
        except socket.timeout:
            content = None
    if content is None:
        raise socket.timeout
    return content if content.endswith(b"\n") else None


def settle(directory: str) -> None:
    """Have a monitor take in all that was written until now, so that none of it seems to be later. Without one nothing happens.

    :param directory: where the files of the monitor are.
    """
    with contextlib.suppress(ContimgError, socket.timeout):
        ask(os.path.join(directory, SOCKET), TAKE, _SETTLE_SECONDS)


def _socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """Yield another name for a path: that of a socket has at most 107 bytes."""
    directory, name = os.path.split(path)
    with open_directory(directory) as descriptor:
        yield f"/proc/self/fd/{descriptor}/{name}"
