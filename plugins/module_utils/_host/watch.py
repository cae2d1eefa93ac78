# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens in a tree meanwhile, for writers that hold no file open between two writes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import Holders, find_holders

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TreeWatch", "tree_changes", "tree_moment", "watch_trees"]

_PAUSE_SECONDS = 0.5
_WATCH_SECONDS = 5.0
_MOST_CHANGES = 1000


def tree_moment(paths: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return what tells whether a file has changed, for every name below the given paths, and for a path that is a file."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        _remember(found, path)
        for directory, directories, files in os.walk(path):
            for name in (*directories, *files):
                _remember(found, os.path.join(directory, name))
    return found


def _remember(found: dict[str, tuple[int, ...]], path: str) -> None:
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        found[os.path.normpath(path)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def tree_changes(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> list[dict[str, str]]:
    """Return what happened between two moments: ``path`` and ``what`` (``appeared``, ``vanished`` or ``changed``)."""
    kinds = {(False, True): "appeared", (True, False): "vanished", (True, True): "changed"}
    return [
        {"path": printable(path), "what": kinds[(path in before, path in after)]}
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def watch_trees(
    paths: Sequence[str], *, seconds: float, writers_only: bool = False
) -> tuple[Holders, list[dict[str, str]]]:
    """Return who had files of the trees open, seen again and again for some time, and what changed meanwhile.

    With ``seconds=0`` it looks once, and nothing is compared. A holder that was seen writing at any time is kept as such.
    """
    if not seconds:
        return find_holders(paths, writers_only=writers_only), []
    before = tree_moment(paths)
    end = time.monotonic() + seconds
    seen = find_holders(paths, writers_only=writers_only)
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return seen, tree_changes(before, tree_moment(paths))
        started = time.monotonic()
        time.sleep(min(left, _PAUSE_SECONDS))
        seen = _together(seen, find_holders(paths, writers_only=writers_only))
        # On a host where a look is dear, it takes at most half of the time.
        time.sleep(max(0.0, min(end - time.monotonic(), time.monotonic() - started - _PAUSE_SECONDS)))


def _together(first: Holders, second: Holders) -> Holders:
    """Return both findings as one; of two of the same process the one that writes, else the later."""
    holders = {one.pid: one for one in first.holders}
    for one in second.holders:
        known = holders.get(one.pid)
        if known is None or known.command != one.command or known.mode != "write" or one.mode == "write":
            holders[one.pid] = one
    return Holders(tuple(holders.values()), first.complete and second.complete, second.inside)


class TreeWatch(threading.Thread):
    """Compare trees again and again, and look who has their files open for writing, in a thread.

    :ivar changes: what happened, see :func:`tree_changes`, at most 1000 of them.
    :ivar holders: the latest finding of each process that can write.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.changes: list[dict[str, str]] = []
        self.holders = Holders((), complete=True)
        self._paths = paths
        self._before = tree_moment(paths)
        self._wanted, self._looked, self._ended = threading.Event(), threading.Event(), False

    def run(self) -> None:
        """Look, until the end."""
        while not self._ended:
            started = time.monotonic()
            self.holders = _together(self.holders, find_holders(self._paths, writers_only=True))
            after = tree_moment(self._paths)
            new = [one for one in tree_changes(self._before, after) if one not in self.changes]
            self.changes = [*self.changes, *new][:_MOST_CHANGES]
            self._before = after
            self._looked.set()
            # It takes at most half of the time where looking is slow.
            self._wanted.wait(max(_WATCH_SECONDS, time.monotonic() - started))

    def look(self) -> None:
        """Look once more, and return when that is done."""
        for _look in range(2):  # the first one may have begun before
            self._looked.clear()
            self._wanted.set()
            while self.is_alive() and not self._looked.wait(_PAUSE_SECONDS):
                pass
        self._wanted.clear()

    def end(self) -> None:
        """Look once more, and end."""
        self.look()
        self._ended = True
        self._wanted.set()
        self.join()
