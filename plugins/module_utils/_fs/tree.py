# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory tree as it stands, read through directory descriptors; no link is ever followed below its root."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import operator
import os
import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import (
    name_expression,
    path_expression,
    require_globs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "IDENTITY",
    "Entry",
    "Status",
    "TreeDigest",
    "create_name",
    "create_special",
    "entry_at",
    "entry_of",
    "folder_of",
    "is_directory",
    "is_excluded",
    "is_file",
    "is_link",
    "is_there",
    "kind_of",
    "matching",
    "name_of",
    "nearest_existing",
    "open_below",
    "open_name",
    "open_root",
    "parent_of",
    "read_folder",
    "require_folder",
    "scan",
    "status_of",
    "target_exists",
    "tree_digest",
]

#: How many leading bytes of an entry's facts say what the entry is. A link count may change with another name, blocks
#: with a delayed allocation, and a device number with a reboot; those follow.
IDENTITY = 52

_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_VANISHED = (errno.ENOENT, errno.EINVAL)  # EINVAL: a link that became a file before it was read
# Nanoseconds since 1970 in 96 bits: 64 bits end in 2262, and file systems keep any number of seconds that has 64 bits.
_FACTS = struct.Struct("<IIIQ12s12sQIQQQ")
_TIME = 12  # bytes
_NAMES = ("mode", "uid", "gid", "size", "mtime_ns", "ctime_ns", "ino", "nlink", "dev", "blocks", "rdev")
_fields = operator.attrgetter(*(f"st_{name}" for name in _NAMES))
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ON_THE_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC  # a folder may be entered that cannot be listed


class Status(NamedTuple):
    """What ``lstat`` says of a name, times in nanoseconds."""

    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    links: int
    device: int
    blocks: int
    rdev: int


class Entry(NamedTuple):
    """A name in a tree. A tree may have hundreds of thousands, so its status is kept packed.

    :ivar path: relative to the root, empty for the root itself.
    :ivar facts: its packed :class:`Status`.
    :ivar target: what a symbolic link points to.
    """

    path: bytes
    facts: bytes
    target: bytes = b""

    @property
    def status(self) -> Status:
        """What ``lstat`` said."""
        mode, uid, gid, size, mtime, ctime, *rest = _FACTS.unpack(self.facts)
        times = (int.from_bytes(packed, "little", signed=True) for packed in (mtime, ctime))
        return Status(mode, uid, gid, size, *times, *rest)

    @property
    def size(self) -> int:
        """Bytes; of all names of a tree, so it does without the whole status."""
        return int.from_bytes(self.facts[12:20], "little")

    @property
    def links(self) -> int:
        """How many names it has; likewise."""
        return int.from_bytes(self.facts[IDENTITY : IDENTITY + 4], "little")

    @property
    def owner(self) -> tuple[int, int]:
        """The numeric owner and group; likewise."""
        return (int.from_bytes(self.facts[4:8], "little"), int.from_bytes(self.facts[8:12], "little"))

    @property
    def kind(self) -> int:
        """The file type bits of the mode."""
        return (self.facts[1] & 0xF0) << 8  # as S_IFMT, of the packed mode

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file."""
        return self.kind == stat.S_IFREG

    @property
    def is_folder(self) -> bool:
        """Whether this is a directory."""
        return self.kind == stat.S_IFDIR

    @property
    def identity(self) -> bytes:
        """What tells this state of this file from any other: mode, owner, size, times and inode."""
        return self.facts[:IDENTITY]

    @property
    def shown(self) -> tuple[bytes, bytes]:
        """Mode, owner and group, and mtime, for comparisons; likewise."""
        return self.facts[:12], self.facts[20:32]

    @property
    def file_key(self) -> bytes:
        """The same for all names of one file, for comparisons; likewise."""
        return self.facts[44:IDENTITY] + self.facts[IDENTITY + 4 : IDENTITY + 12]

    def same_state(self, other: Entry) -> bool:
        """Tell whether size, mtime, ctime and inode number are the same."""
        return self.facts[12:IDENTITY] == other.facts[12:IDENTITY]

    @property
    def inode(self) -> tuple[int, int]:
        """What tells one file from another, whatever its names."""
        status = self.status
        return (status.device, status.inode)


def entry_of(path: bytes, status: os.stat_result, target: bytes = b"") -> Entry:
    """Return the entry for a status that the system gave."""
    mode, uid, gid, size, mtime, ctime, *rest = _fields(status)
    times = (mtime.to_bytes(_TIME, "little", signed=True), ctime.to_bytes(_TIME, "little", signed=True))
    return Entry(path, _FACTS.pack(mode, uid, gid, size, *times, *rest), target)


def parent_of(path: bytes) -> bytes:
    """Return the folder that a path stands in, empty for the root."""
    return path.rpartition(b"/")[0]


def name_of(path: bytes) -> bytes:
    """Return the last name of a path."""
    return path.rpartition(b"/")[2]


@contextlib.contextmanager
def open_root(path: str) -> Iterator[int]:
    """Hold the descriptor of a tree's root. Raises ContimgError when it is not a directory.

    Links in the path are resolved once, before; a component that is swapped for a link meanwhile is not followed.
    """
    with error_context("open the directory", path):
        *folders, name = os.fsencode(os.path.realpath(path)).split(b"/")
        descriptor = os.open("/", _ON_THE_WAY)
        for folder in folders:
            descriptor = _descend(descriptor, folder or b".", _ON_THE_WAY)
        descriptor = _descend(descriptor, name or b".")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _descend(folder: int, name: bytes, flags: int = _FOLDER) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def folder_of(root: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """Hold the descriptor of the folder that a name stands in, walked to without following a link."""
    *folders, name = path.split(b"/")
    current = os.dup(root)
    for folder in folders:
        current = _descend(current, folder)
    try:
        yield current, name
    finally:
        os.close(current)


def entry_at(root: int, path: bytes) -> Entry:
    """Return what stands at a path below a root; of a link not where it points to. Raises OSError."""
    with folder_of(root, path) as (folder, name):
        return entry_of(path, os.stat(name or b".", dir_fd=folder, follow_symlinks=False))


def open_name(folder: int, name: bytes, flags: int = os.O_RDONLY) -> int:
    """Open a name in a folder: never through a link, never waiting for a FIFO, and without a trace where that is allowed.

    :returns: a descriptor that the caller closes.
    """
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(name or b".", flags | os.O_NOATIME, dir_fd=folder)
    except PermissionError:  # only its owner and root may leave the access time alone
        return os.open(name or b".", flags, dir_fd=folder)


def create_name(folder: int, name: bytes | str) -> int:
    """Make a file in a folder that nobody else may open yet, and whose name nobody has taken; see :func:`open_name`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=folder)


def create_special(folder: int, name: bytes, entry: Entry) -> None:
    """Make a symbolic link, FIFO, socket or device in a folder, like an entry. Raises OSError."""
    if entry.target:
        os.symlink(entry.target, name, dir_fd=folder)
    else:
        os.mknod(name, entry.kind | 0o600, entry.status.rdev, dir_fd=folder)


@contextlib.contextmanager
def open_below(root: int, path: bytes, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a file or folder below a root, as :func:`open_name` does."""
    with folder_of(root, path) as (folder, name):
        descriptor = open_name(folder, name, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_folder(root: int, folder: bytes) -> list[Entry]:
    """Return the entries of one folder below a root, sorted. What vanishes meanwhile is left out.

    :raises ContimgError: when the folder cannot be listed.
    """
    prefix = folder + b"/" if folder else b""
    entries = []
    with error_context("list the directory", folder or b"."), open_below(root, folder, os.O_DIRECTORY) as opened:
        with os.scandir(opened) as names:
            for name in names:
                try:
                    status = name.stat(follow_symlinks=False)
                    link = os.fsencode(os.readlink(name.name, dir_fd=opened)) if name.is_symlink() else b""
                except OSError as error:
                    if error.errno in _VANISHED:
                        continue
                    raise
                path = prefix + name.name.encode("utf-8", "surrogateescape")
                entries.append(entry_of(path, status, link))
    entries.sort()
    return entries


def scan(root: int, exclude: Sequence[str] = ()) -> dict[bytes, Entry]:
    """Return every entry of a tree by its path, the root first and a folder before what is in it.

    :param exclude: globs as rsync takes them, see :func:`is_excluded`.
    :raises ContimgError: when a folder cannot be listed, or a glob is none.
    """
    patterns = tuple(exclude)
    require_globs(patterns)
    entries = {b"": entry_of(b"", os.fstat(root))}
    pending = [b""]
    while pending:
        for entry in read_folder(root, pending.pop()):
            if not is_excluded(entry, patterns):
                entries[entry.path] = entry
                if entry.is_folder:
                    pending.append(entry.path)
    return entries


def is_excluded(entry: Entry, patterns: tuple[str, ...]) -> bool:
    """Tell whether a name is left out by globs as rsync takes them.

    Without ``/`` a glob matches a name at any depth, with one the end of a path, with one in front the whole path; with one
    at its end it matches directories alone. ``*`` and ``?`` stop at a ``/``, ``**`` does not.

    :raises ContimgError: for a glob that is none, see :func:`require_globs`.
    """
    if not patterns:
        return False
    if not entry.is_folder:
        patterns = _without_folders(patterns)
    return bool(patterns) and path_expression(patterns).fullmatch(b"/" + entry.path) is not None


@functools.lru_cache(maxsize=None)
def _without_folders(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(pattern for pattern in patterns if not pattern.endswith("/"))


class TreeDigest:
    """A hash of every name and status of a tree, to the ctime: two equal ones mean that nothing has moved in between.

    Access times do not count, and neither do link counts and the size of a folder. Folders may come in any order.
    """

    def __init__(self, root: Entry) -> None:
        self._parts = {b"": _hash_of([root])}

    def add(self, folder: bytes, entries: Iterable[Entry]) -> None:
        """Add what stands in a folder, sorted."""
        self._parts[folder + b"/"] = _hash_of(entries)

    def hexdigest(self) -> str:
        """Return the hash of all that was added."""
        return hashlib.sha256(b"".join(part for _folder, part in sorted(self._parts.items()))).hexdigest()


def _hash_of(entries: Iterable[Entry]) -> bytes:
    parts = (
        entry.path
        + b"\0"
        + (entry.facts[:12] + entry.facts[20:IDENTITY] if entry.is_folder else entry.identity)
        + entry.target
        + b"\0"
        for entry in entries
    )
    return hashlib.sha256(b"".join(parts)).digest()


def tree_digest(entries: Mapping[bytes, Entry]) -> str:
    """Return the :class:`TreeDigest` of a whole tree."""
    digest = TreeDigest(entries[b""])
    folders: dict[bytes, list[Entry]] = {path: [] for path, entry in entries.items() if entry.is_folder}
    for path in sorted(set(entries) - {b""}):
        folders[parent_of(path)].append(entries[path])
    for folder, found in folders.items():
        digest.add(folder, found)
    return digest.hexdigest()


def status_of(path: str) -> os.stat_result | None:
    """Return the status of what a name leads to: of a link itself where that leads nowhere, ``None`` where nothing stands.

    A name that is too long for the file system stands nowhere.

    :raises ContimgError: when that cannot be found out; unlike ``os.path``, which then says that nothing is there.
    """
    with error_context("look at it", path):
        for look in (os.stat, os.lstat):
            try:
                return look(path)
            except OSError as error:
                if error.errno not in _NOWHERE:
                    raise
    return None


def kind_of(path: str) -> int:
    """Return the file type of what a name leads to, 0 where nothing stands; see :func:`status_of`."""
    status = status_of(path)
    return 0 if status is None else stat.S_IFMT(status.st_mode)


def is_there(path: str) -> bool:
    """Return whether anything has this name, be it a link that leads nowhere.

    :raises ContimgError: when that cannot be found out, as of all these; ``os.path`` then says that nothing is there.
    """
    return _kind(os.lstat, path) != 0


def nearest_existing(path: str) -> str:
    """Return an absolute path, or where nothing has that name the nearest name above it. Raises ContimgError."""
    while not is_there(path):
        path = os.path.dirname(path)
    return path


def is_link(path: str) -> bool:
    """Return whether a name is a symbolic link. Raises ContimgError."""
    return _kind(os.lstat, path) == stat.S_IFLNK


def target_exists(path: str) -> bool:
    """Return whether a name leads to anything. Raises ContimgError."""
    return _kind(os.stat, path) != 0


def is_directory(path: str) -> bool:
    """Return whether a name leads to a directory. Raises ContimgError."""
    return _kind(os.stat, path) == stat.S_IFDIR


def is_file(path: str) -> bool:
    """Return whether a name leads to a regular file. Raises ContimgError."""
    return _kind(os.stat, path) == stat.S_IFREG


def _kind(look: Callable[[str], os.stat_result], path: str) -> int:
    """Return the file type that is seen, 0 where nothing stands or links lead in circles."""
    with error_context("look at it", path):
        try:
            return stat.S_IFMT(look(path).st_mode)
        except OSError as error:
            if error.errno not in (*_NOWHERE, errno.ELOOP):
                raise
    return 0


def matching(pattern: str) -> list[str]:
    """Return the paths that a pattern of the shell stands for, as :func:`glob.glob` does.

    :raises ContimgError: where a directory cannot be listed: what would match there is not known.
    """
    folder, name = os.path.split(pattern)
    folders = matching(folder) if glob.has_magic(folder) else [folder]
    if not glob.has_magic(name):
        return [path for path in (os.path.join(one, name) for one in folders) if is_there(path)]
    return [
        os.path.join(one, found)
        for one in folders
        for found in _names_in(one or ".")
        if _matches(found, name) and (name.startswith(".") or not found.startswith("."))
    ]


def _matches(found: str, name: str) -> bool:
    try:
        return name_expression((name,)).fullmatch(os.fsencode(found)) is not None
    except ContimgError:  # what is not a glob is a name, as in the shell
        return found == name


def _names_in(folder: str) -> list[str]:
    with error_context("list the directory", folder):
        try:
            return sorted(os.listdir(folder))
        except OSError as error:
            if error.errno not in (*_NOWHERE, errno.ELOOP):
                raise
    return []


def require_folder(path: str, role: str) -> None:
    """Check that a directory exists. Raises ContimgError which calls it by its role, for example ``source``."""
    kind = kind_of(path)
    if not kind:
        raise ContimgError(
            f"the {role} does not exist", path=path, hint="Nothing was touched. Name an existing directory."
        )
    if kind != stat.S_IFDIR:
        raise ContimgError(f"the {role} is not a directory", path=path, hint="Nothing was touched. Name a directory.")
