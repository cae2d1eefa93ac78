# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading every file of trees, fast: through directory descriptors, never through a link, a few system calls a file."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import name_expression
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    _Listed = tuple[str, bool, bool]

__all__ = ["File", "Trees", "text_of"]

_VERSION_CONTROL = frozenset((".git", ".hg", ".svn"))
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOATIME", 0)
_BUFFER = 1 << 20
_LARGEST = 64 << 20
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class File:
    """A file that may hold what is looked for.

    :ivar root: the tree, or the file itself, as the operator named it.
    :ivar below: its path below the root, empty where the root is the file.
    """

    root: str
    below: str
    content: bytes

    @property
    def path(self) -> str:
        """The whole path."""
        return os.path.join(self.root, self.below) if self.below else self.root

    @property
    def name(self) -> str:
        """The last part of the path."""
        return os.path.basename(self.path)


def _listed(directory: int) -> list[_Listed]:
    """Return the names in a directory, sorted, and whether each is a directory or a regular file. Raises OSError."""
    with os.scandir(directory) as entries:
        return sorted(
            (one.name, one.is_dir(follow_symlinks=False), one.is_file(follow_symlinks=False)) for one in entries
        )


@dataclass
class Trees:
    """Trees and files to look through. Version control and links are left out.

    :ivar roots: directories or files; one inside another counts once.
    :ivar exclude: globs as rsync takes them: without ``/`` they match a name at any depth, with one the path below a root.
    :ivar wanted: tells from the first bytes of a file, given with their count, whether all of it is to be read.
    :ivar share: which of how many equal shares of the files to read. Every share walks through all directories.
    :ivar number: the place of the last file that was yielded among the files of all shares.
    :ivar files: how many files were looked at.
    :ivar unread: files and directories that could not be read, each with the reason.
    :ivar missing: roots that do not exist.
    """

    roots: Sequence[str]
    exclude: Sequence[str]
    wanted: Callable[[str, bytearray, int], bool]
    share: tuple[int, int] = (0, 1)
    number: int = 0
    files: int = 0
    unread: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = [pattern.rstrip("/") for pattern in self.exclude if "/" not in pattern.rstrip("/")]
        paths = [pattern.strip("/") for pattern in self.exclude if "/" in pattern.rstrip("/")]
        self._left_out = name_expression(tuple(names)), name_expression(tuple(paths))
        self._buffer = bytearray(_BUFFER)

    def read(self) -> Iterator[File]:
        """Yield every text file that is wanted, in the order of its path.

        :raises ContimgError: when a root is neither a directory nor a file, or cannot be opened.
        """
        for root in _outermost(self.roots):
            kind = kind_of(root)
            if not kind:
                self.missing.append(root)
            elif kind == stat.S_IFDIR:
                with error_context("read it", root), open_directory(root) as directory:
                    yield from self._directory(directory, _listed(directory), root, "")
            else:
                with error_context("read it", root):
                    yield from self._single(root)

    def _is_ours(self) -> bool:
        self.number += 1
        share, shares = self.share
        return self.number % shares == share

    def _single(self, path: str) -> Iterator[File]:
        if not self._is_ours():
            return
        directory = os.open(os.path.dirname(os.path.realpath(path)), _DIRECTORY)
        try:
            content = self._content(directory, os.path.basename(os.path.realpath(path)), path)
        finally:
            os.close(directory)
        if content is not None:
            yield File(path, "", content)

    def _directory(self, directory: int, entries: Sequence[_Listed], root: str, path: str) -> Iterator[File]:
        for name, is_directory, is_file in entries:
            below = f"{path}/{name}" if path else name
            if self._excluded(name, below):
                continue
            if is_directory:
                yield from self._subdirectory(directory, name, root, below)
            elif is_file and self._is_ours():
                content = self._content(directory, name, f"{root}/{below}")
                if content is not None:
                    yield File(root, below, content)

    def _subdirectory(self, directory: int, name: str, root: str, below: str) -> Iterator[File]:
        try:
            descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        except OSError as error:
            self._not_read(f"{root}/{below}", error.strerror)
            return
        try:
            entries = _listed(descriptor)
        except OSError as error:
            self._not_read(f"{root}/{below}", error.strerror)
            entries = []
        try:
            yield from self._directory(descriptor, entries, root, below)
        finally:
            os.close(descriptor)

    def _excluded(self, name: str, below: str) -> bool:
        names, paths = self._left_out
        return (
            name in _VERSION_CONTROL
            or names.fullmatch(os.fsencode(name)) is not None
            or paths.fullmatch(os.fsencode(below)) is not None
        )

    def _content(self, directory: int, name: str, path: str) -> bytes | None:
        """Return the bytes of a file that is wanted and is text. A short read is the end of a regular file."""
        try:
            descriptor = _opened(name, directory)
        except OSError as error:
            self._not_read(path, error.strerror)
            return None
        try:
            count = os.readv(descriptor, [self._buffer])
            self.files += 1
            large = count == _BUFFER
            if not large and not self.wanted(name, self._buffer, count):
                return None
            start = bytes(self._buffer[:count])
            return None if _is_binary(start) else self._rest(descriptor, start, path) if large else start
        except OSError as error:
            self._not_read(path, error.strerror)
            return None
        finally:
            os.close(descriptor)

    def _rest(self, descriptor: int, start: bytes, path: str) -> bytes | None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            self._not_read(path, f"larger than {_LARGEST >> 20} MiB")
            return None
        chunks = [start]
        while chunks[-1]:
            chunks.append(os.read(descriptor, _BUFFER))
        content = b"".join(chunks)
        return None if _is_binary(content) else content

    def _not_read(self, path: str, why: str | None) -> None:
        self.unread.append(f"{printable(path)}: {why}")


def _opened(name: str, directory: int) -> int:
    """Open a file without changing its access time where that is allowed: only its owner and root may ask for it."""
    try:
        return os.open(name, _FILE, dir_fd=directory)
    except PermissionError:
        return os.open(name, _FILE & ~getattr(os, "O_NOATIME", 0), dir_fd=directory)


def _outermost(roots: Sequence[str]) -> list[str]:
    """Return the roots without those that are, or lie in, another one."""
    kept: dict[str, str] = {}
    for root in sorted(roots, key=lambda one: (len(os.path.realpath(one)), one)):
        real = os.path.realpath(root)
        if not any(real == other or real.startswith(other.rstrip("/") + "/") for other in kept):
            kept[real] = root.rstrip("/") or "/"
    return sorted(kept.values())


def _is_binary(content: bytes) -> bool:
    return b"\0" in content and not content.startswith(_UTF_16)


def text_of(content: bytes) -> str:
    """Return a file as text: UTF-16 by its mark, otherwise UTF-8, and bytes that are none survive as surrogates."""
    if content.startswith(_UTF_16):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8", "surrogateescape")
