# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that goes on when the one that has started it, and the session of that, have ended."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["detached"]

_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE)


def detached(work: Callable[[], object], *, keep: Collection[int], name: str) -> None:
    """Call ``work`` in a new process, a child of the first process of all, with no terminal and in a session of its own.

    :param keep: the descriptors that it needs; all others are closed there, so that nobody waits for their end and no lock is kept.
    :param name: what ``ps`` shows, at most 15 bytes.
    :raises OSError: when no process can be made.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if not os.fork():
            _become(keep, name)
            work()
    finally:
        os._exit(0)  # nothing of the process that was forked may run here


def _become(keep: Collection[int], name: str) -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    os.chdir("/")
    os.umask(0o077)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in keep:
            with contextlib.suppress(OSError):  # that of the listing itself is closed
                os.close(descriptor)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="utf-8") as file:
        file.write(name)
