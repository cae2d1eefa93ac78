# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary files in directories of others, which a later run knows as what a killed run of this collection has left.

A name that looks like one of ours is none without evidence. There are two kinds of evidence:

- A copy of a tree notes a random number in its ledger before it makes the first file; its names carry that number.
- Any other name ends in a hash of its random part, keyed with the host's id: no program makes it by accident, and no other
  host. The run that made it holds a lock on the file; without that lock the run is dead.

Who makes such a name on purpose, in a directory of his own, can lose what has this name there, and nothing else: only regular
files are removed, by their names in the directory that is held. No link is followed. A directory is removed only where no other
user can have put it there: in one that is this user's, and that no other may write to.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import hmac
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import create_name, open_name
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECAR_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "name_for",
    "new_run",
    "proven_name",
    "proves_itself",
    "remove_left",
    "run_of",
    "sidecars_of",
    "temporary_directory",
    "temporary_file",
]

_PREFIX = ".contimg-"
_NAME = re.compile(rb"\.contimg-([0-9a-f]{16})-([0-9a-f]{16})(?:-wal|-shm|-journal)?")
_STEM_BYTES = 42  # of a name, without what SQLite appends to it
_KIND = b"temporary"
_MACHINE = "/etc/machine-id"
_CANNOT_LOCK = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_ATTEMPTS = 20
#: What a name that is only looked at may turn out to be: gone, a link, of another user, leased.
_NOT_OURS = (errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EAGAIN, errno.ENXIO, errno.EISDIR)


def new_run() -> bytes:
    """Return the number of a run, which no other run has. It is to be noted before :func:`name_for` is called."""
    return secrets.token_hex(8).encode()


def name_for(run: bytes) -> bytes:
    """Return a temporary name of a run. It has at most 50 bytes, with what SQLite appends to it."""
    return b"%s%s-%s" % (_PREFIX.encode(), run, secrets.token_hex(8).encode())


def run_of(name: bytes) -> bytes:
    """Return the run whose temporary name this would be, empty where it does not have the form of one."""
    match = _NAME.fullmatch(name)
    return match.group(1) if match else b""


@contextlib.contextmanager
def temporary_file(directory: int) -> Iterator[tuple[bytes, int]]:
    """Make a file that only this user may open, and remove what killed runs have left beside it.

    After an error it is removed, with what SQLite has made beside it. Else the caller has renamed it.

    :param directory: descriptor of the directory.
    :yields: its name there and its descriptor, open for reading and writing, which holds a lock.
    :raises OSError: when it cannot be made.
    """
    remove_left(directory)
    name, descriptor = _made(directory, create_name)
    try:
        yield name, descriptor
    except BaseException:
        _remove(directory, name, errors=(OSError,))  # what stays is left for the next run: the first error counts
        raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary_directory(parent: int) -> Iterator[tuple[bytes, int]]:
    """Make a directory that only this user may open. After an error it is removed with its files, else the caller has renamed it.

    What killed runs have left is not looked for, see :func:`remove_left`.

    :param parent: descriptor of the directory that it is made in.
    :yields: its name there and its descriptor, which holds a lock.
    :raises OSError: when it cannot be made.
    """
    name, descriptor = _made(parent, _create_directory)
    try:
        yield name, descriptor
    except BaseException:
        with contextlib.suppress(OSError):  # as above
            _remove_directory(parent, name, descriptor)
        raise
    finally:
        os.close(descriptor)


def _create_directory(parent: int, name: bytes) -> int:
    os.mkdir(name, 0o700, dir_fd=parent)
    return open_name(parent, name, os.O_DIRECTORY)


def _made(directory: int, create: Callable[[int, bytes], int]) -> tuple[bytes, int]:
    for _attempt in range(_ATTEMPTS):
        name = proven_name(_KIND)
        descriptor = create(directory, name)
        try:
            _lock(descriptor, fcntl.LOCK_EX)  # waits for a run that has taken it for one of a dead run, and removes it
            if _is_same(directory, name, descriptor):
                return name, descriptor
        except BaseException:
            _remove(directory, name, errors=(OSError,))
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(errno.EBUSY, "Another program removes every temporary file at once")


def proven_name(kind: bytes) -> bytes:
    """Return a name that :func:`proves_itself`. What has one of another kind than ours here is never removed here."""
    return _proven(kind, secrets.token_hex(8).encode())


def proves_itself(name: bytes, kind: bytes) -> bool:
    """Return whether this collection has made a name of a kind, on this host."""
    token = run_of(name)
    return bool(token) and hmac.compare_digest(name, _proven(kind, token))


def _proven(kind: bytes, token: bytes) -> bytes:
    proof = hmac.new(_host(), b"%s of dsa110.contimg %s" % (kind, token), hashlib.sha256).hexdigest()[:16]
    return b"%s%s-%s" % (_PREFIX.encode(), token, proof.encode())


@functools.lru_cache(maxsize=None)
def _host() -> bytes:
    """Return what tells this host from others. A container without an id of its own has none."""
    try:
        with open(_MACHINE, "rb") as file:
            return file.read(64)
    except FileNotFoundError:
        return b""


def _lock(descriptor: int, kind: int) -> bool:
    """Lock a file; return whether its file system can. Raises BlockingIOError with ``LOCK_NB`` when another process has it."""
    try:
        fcntl.flock(descriptor, kind)
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
        return False
    return True


def _is_same(directory: int, name: bytes, descriptor: int) -> bool:
    """Return whether a name is still that of a file."""
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def remove_left(directory: int) -> None:
    """Remove what killed runs of this host have left in a directory; what a run still works at stays.

    :param directory: its descriptor.
    :raises OSError: when the directory cannot be read, or a file not be removed. One that may not be listed is left alone.
    """
    try:
        found = [os.fsencode(name) for name in os.listdir(directory) if name.startswith(_PREFIX)]
    except PermissionError:
        return
    stems = {name[:_STEM_BYTES] for name in found if run_of(name) and proves_itself(name[:_STEM_BYTES], _KIND)}
    for stem in sorted(stems):
        try:
            _remove_dead(directory, stem)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise


def _remove_dead(directory: int, name: bytes) -> None:
    """Remove what has a name, and what SQLite has made beside it, where no run holds its lock.

    :raises OSError: see ``_NOT_OURS``.
    """
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        _remove(directory, name, errors=(FileNotFoundError,))  # what SQLite has made beside it may be all that is left
        return
    if not (stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and _is_private(directory))):
        return
    descriptor = open_name(directory, name)
    try:
        if _is_same(directory, name, descriptor) and _lock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB):
            if stat.S_ISDIR(mode):
                _remove_directory(directory, name, descriptor)
            else:
                _remove(directory, name, errors=(FileNotFoundError,))
    finally:
        os.close(descriptor)


def _is_private(directory: int) -> bool:
    """Return whether no other user can have put anything into a directory."""
    status = os.fstat(directory)
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def sidecars_of(directory: int, name: bytes) -> list[bytes]:
    """Return the names of what SQLite has made, and has not removed, beside a file of a directory. Raises OSError."""
    present = {os.fsencode(one) for one in os.listdir(directory)}
    return [name + suffix for suffix in SIDECAR_SUFFIXES if name + suffix in present]


def _remove_directory(parent: int, name: bytes, descriptor: int) -> None:
    """Remove a directory with the files that are in it."""
    for file in os.listdir(descriptor):
        os.unlink(file, dir_fd=descriptor)
    os.rmdir(name, dir_fd=parent)


def _remove(directory: int, name: bytes, *, errors: tuple[type[OSError], ...]) -> None:
    """Remove a file, what SQLite has made beside it first: it stands for them."""
    for suffix in (*SIDECAR_SUFFIXES, b""):
        with contextlib.suppress(*errors):
            os.unlink(name + suffix, dir_fd=directory)
