# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that units write meanwhile: to the journal, and to the files that they append to. Each is read once."""

from __future__ import annotations

import contextlib
import os
import re
from typing import IO, TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import Container, log_of
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import SMALL, open_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import journal_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["ContainerTail", "FileTail", "JournalTail", "compiled", "matching"]

_MOST = 50  # lines that are reported
_SHOWN = 300  # characters of a line


class JournalTail:
    """The messages of a unit from a moment on, in seconds since the epoch."""

    def __init__(self, unit: str, since: float) -> None:
        self.source = unit
        self._start = f"--since=@{since:.6f}"

    def lines(self) -> list[str]:
        """Return what has come since the last call. Raises ContimgError when the journal cannot be read."""
        lines, self._start = journal_from(self.source, self._start)
        return lines


class ContainerTail:
    """What a container has written from a moment on, in seconds since the epoch; one that was created again is another one.

    :param there: tells which container has the name now.
    """

    def __init__(self, name: str, since: float, there: Callable[[], Container | None]) -> None:
        self.source = f"container {name}"
        self._since, self._there = since, there
        self._id, self._read = "", 0

    def lines(self) -> list[str]:
        """Return what has come since the last call."""
        container = self._there()
        if container is None:
            return []
        lines = log_of(container, self._since)
        first = self._read if container.id == self._id else 0
        self._id, self._read = container.id, len(lines)
        return lines[first:]


class FileTail:
    """The lines of a log file from an offset on, also when it is rotated or cut meanwhile.

    Its directory may be a service's own. So a name that is a link, a FIFO or a device is not read: it would lead elsewhere, or
    never end.

    :param offset: in bytes; ``None`` is the present end. A file that does not exist yet is read from its start.
    :ivar unread: why it is not read, as a sentence; empty where it is.
    """

    def __init__(self, path: str, offset: int | None) -> None:
        self.source, self.unread = path, ""
        self._inode = self._offset = 0
        with self._opened() as file:
            if file is not None:
                status = os.fstat(file.fileno())
                self._inode, self._offset = status.st_ino, status.st_size if offset is None else offset

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes] | None]:
        """Open the file, ``None`` where there is none that is read."""
        with contextlib.ExitStack() as stack:
            file = None
            with error_context("read the log", self.source), contextlib.suppress(FileNotFoundError):
                try:
                    file = stack.enter_context(os.fdopen(open_regular(self.source), "rb"))
                    self.unread = ""
                except ContimgError as error:
                    self.unread = f"{error.path}: {error.what}; it is not watched."
            yield file

    def lines(self) -> list[str]:
        """Return what has come since the last call, 64 MiB at most; a line without its end is read again with the rest of it.

        :raises ContimgError: when the file cannot be read.
        """
        with error_context("read the log", self.source), self._opened() as file:
            if file is None:
                return []
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._inode, self._offset = status.st_ino, 0
            file.seek(self._offset)
            content = file.read(SMALL)
        self._offset += content.rfind(b"\n") + 1 or len(content) // SMALL * SMALL
        return [printable(line) for line in content.splitlines()]


def compiled(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Return one expression for all patterns, ``None`` for none. Raises ContimgError on a pattern that is none."""
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            hint = "Correct it and run again."
            raise ContimgError(f"'{pattern}' is not a regular expression: {error}", hint=hint) from error
    try:
        return re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
    except re.error as error:  # flags for the whole expression, and names of groups, cannot be told apart then
        raise ContimgError(
            f"{', '.join(patterns)} cannot be looked for at once: {error}", hint="Correct them."
        ) from error


def matching(
    tails: Sequence[ContainerTail | FileTail | JournalTail], pattern: re.Pattern[str] | None
) -> list[Mapping[str, str]]:
    """Return the new lines that match, each with ``source`` and ``line``, secrets masked. Raises ContimgError."""
    found = ({"source": tail.source, "line": redacted(line)[:_SHOWN]} for tail in tails for line in _new(tail, pattern))
    return [match for _number, match in zip(range(_MOST), found)]


def _new(tail: ContainerTail | FileTail | JournalTail, pattern: re.Pattern[str] | None) -> Iterator[str]:
    return (line for line in tail.lines() if pattern and pattern.search(line))
