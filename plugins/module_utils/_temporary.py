# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Temporary files in directories of others, which a later run knows as what a killed run of this collection has left.

A name that looks like one of ours is none without evidence. There are two kinds of evidence:

- A copy of a tree notes a random number in its ledger before it makes the first file; its names carry that number.
- Any other name ends in a hash of its random part, keyed with the host's id: no program makes it by accident, and no other
  host. The run that made it holds a lock on the file; without that lock the run is dead.

Who makes such a name on purpose, in a directory of his own, can lose what has this name there, and nothing else: only regular
files are removed, by their names in the directory that is held. No link is followed and no directory is emptied.
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

from ansible_collections.dsa110.contimg.plugins.module_utils._tree import create_name, open_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["name_for", "new_run", "remove_left", "run_of", "temporary_file"]

_PREFIX = ".contimg-"
_NAME = re.compile(rb"\.contimg-([0-9a-f]{16})-([0-9a-f]{16})(?:-wal|-shm|-journal)?")
_SIDECARS = (b"-wal", b"-shm", b"-journal")  # what SQLite makes beside a database that is built under such a name
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
def temporary_file(folder: int) -> Iterator[tuple[bytes, int]]:
    """Make a file that only this user may open, and remove what killed runs have left beside it.

    After an error it is removed, with what SQLite has made beside it. Else the caller has renamed it.

    :param folder: descriptor of the directory.
    :yields: its name there and its descriptor, open for reading and writing, which holds a lock.
    :raises OSError: when it cannot be made.
    """
    remove_left(folder)
    name, descriptor = _made(folder)
    try:
        yield name, descriptor
    except BaseException:
        _remove(folder, name, errors=(OSError,))  # what stays is left for the next run: the first error counts
        raise
    finally:
        os.close(descriptor)


def _made(folder: int) -> tuple[bytes, int]:
    for _attempt in range(_ATTEMPTS):
        name = _own_name(secrets.token_hex(8).encode())
        descriptor = create_name(folder, name)
        try:
            _lock(descriptor, fcntl.LOCK_EX)  # waits for a run that has taken it for one of a dead run, and removes it
            if _is_same(folder, name, descriptor):
                return name, descriptor
        except BaseException:
            _remove(folder, name, errors=(OSError,))
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(errno.EBUSY, "Another program removes every temporary file at once")


def _own_name(token: bytes) -> bytes:
    proof = hmac.new(_host(), b"a temporary file of dsa110.contimg " + token, hashlib.sha256).hexdigest()[:16]
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


def _is_same(folder: int, name: bytes, descriptor: int) -> bool:
    """Return whether a name is still that of a file."""
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def remove_left(folder: int) -> None:
    """Remove what killed runs of this host have left in a directory; what a run still works at stays.

    :param folder: its descriptor.
    :raises OSError: when the directory cannot be read, or a file not be removed. One that may not be listed is left alone.
    """
    try:
        found = [os.fsencode(name) for name in os.listdir(folder) if name.startswith(_PREFIX)]
    except PermissionError:
        return
    stems = {name[:_STEM] for name in found if _is_own(name)}
    for stem in sorted(stems):
        try:
            _remove_dead(folder, stem)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise


_STEM = len(_PREFIX) + 33


def _is_own(name: bytes) -> bool:
    token = run_of(name)
    return bool(token) and hmac.compare_digest(name[:_STEM], _own_name(token))


def _remove_dead(folder: int, name: bytes) -> None:
    """Remove a file, and what SQLite has made beside it, where no run holds its lock. Raises OSError, see ``_NOT_OURS``."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):  # what SQLite has made beside it may be all that is left
            if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return
            descriptor = open_name(folder, name)
            stack.callback(os.close, descriptor)
            if not (_is_same(folder, name, descriptor) and _lock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)):
                return
        _remove(folder, name, errors=(FileNotFoundError,))


def _remove(folder: int, name: bytes, *, errors: tuple[type[OSError], ...]) -> None:
    """Remove a file, what SQLite has made beside it first: it stands for them."""
    for suffix in (*_SIDECARS, b""):
        with contextlib.suppress(*errors):
            os.unlink(name + suffix, dir_fd=folder)
