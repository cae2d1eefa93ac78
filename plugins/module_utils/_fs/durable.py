# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files written so that they are wholly old or wholly new, also after a power loss; and read as mere data."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import time
from typing import TYPE_CHECKING, TypeVar

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_untraced
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import copy_extended_attributes
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import remove_left, temporary_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = [
    "LARGE",
    "SMALL",
    "back_up",
    "clear_left",
    "decoding",
    "ensure_private_directory",
    "expected",
    "open_directory",
    "open_regular",
    "read_json",
    "read_optional",
    "read_regular",
    "read_with_status",
    "replace_file",
    "sync_directory",
    "with_ending",
]

#: How many bytes a file may have that is read as a whole: a record, a hold file, an environment file, a patch.
SMALL = 64 << 20
#: The same for a file with a line for each file of a tree: a ledger, a manifest.
LARGE = 2 << 30

_NAME_BYTES = 255

_Value = TypeVar("_Value")


def open_regular(
    path: str,
    *,
    follow: bool = False,
    flags: int = os.O_RDONLY,
    hint: str = "Nothing was read. Name a regular file.",
) -> int:
    """Open a regular file, for reading unless ``flags`` ask for more. A FIFO is not waited for, nor is a device ever read.

    What is read leaves the access time alone, see :func:`open_untraced`.

    :param follow: whether the last name of the path may be a symbolic link. A file of ours never is one.
    :returns: a descriptor that the caller closes.
    :raises OSError: when it cannot be opened, ``FileNotFoundError`` where nothing is.
    :raises ContimgError: when anything but a regular file is there.
    """
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = open_untraced(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ContimgError("is a symbolic link, which is not followed", path=path, hint=hint) from error
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, a device without a driver
            raise ContimgError("is not a regular file", path=path, hint=hint) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ContimgError("is not a regular file", path=path, hint=hint)
    return descriptor


def read_regular(path: str, doing: str, *, limit: int = SMALL, follow: bool = False, hint: str = "") -> bytes:
    """Return the content of a regular file; see :func:`open_regular`.

    :param doing: the action in the infinitive, for example ``read the record``.
    :param limit: how many bytes it may have at most.
    :raises ContimgError: when nothing, or no regular file, stands there, and when it cannot be read or is larger.
    """
    return read_with_status(path, doing, limit=limit, follow=follow, hint=hint)[0]


def read_with_status(
    path: str, doing: str, *, limit: int = SMALL, follow: bool = False, hint: str = ""
) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file and the status of what was read; see :func:`read_regular`."""
    with error_context(doing, path, hint), os.fdopen(open_regular(path, follow=follow, hint=hint), "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size > limit:
            raise ContimgError(f"has {status.st_size} bytes, and at most {limit} are read", path=path, hint=hint)
        return file.read(status.st_size), status


def read_optional(path: str, doing: str, *, limit: int = SMALL, hint: str = "") -> bytes | None:
    """Return the content of a regular file, ``None`` where nothing is; see :func:`read_regular`.

    Unlike ``os.path.exists`` it does not take what cannot be looked at for nothing.
    """
    try:
        return read_regular(path, doing, limit=limit, hint=hint)
    except ContimgError as error:
        if error.details.get("errno") == errno.ENOENT:
            return None
        raise


@contextlib.contextmanager
def decoding(path: str, wrong: str, hint: str = "") -> Iterator[None]:
    """Turn whatever the decoding of a file's content raises into a ContimgError.

    :param wrong: what is wrong with the file then, for example ``is not the record of a move``.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ContimgError(wrong, path=path, hint=hint) from error


def read_json(content: bytes) -> dict[str, Any]:
    """Return the object that a file holds as JSON. Raises ValueError, TypeError or RecursionError, see :func:`decoding`."""
    return expected(json.loads(content), dict)


def expected(value: object, kind: type[_Value]) -> _Value:
    """Return a value of a file that has just this type; a truth value is no number. Raises TypeError."""
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise TypeError(f"{value!r:.100} is not of the type {kind.__name__}")
    return value


@contextlib.contextmanager
def open_directory(path: str) -> Iterator[int]:
    """Hold a descriptor of a directory; what happens in it goes through this descriptor, not through its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the entries of a directory durable. Raises OSError."""
    with open_directory(path) as directory:
        os.fsync(directory)


def ensure_private_directory(path: str) -> bool:
    """Make a directory (mode 0700) and its missing parents durable; return whether anything was made.

    :raises ContimgError: when a component cannot be made or is not a directory.
    """
    if kind_of(path) == stat.S_IFDIR:
        return False
    parent = os.path.dirname(os.path.abspath(path))
    if not kind_of(parent):
        ensure_private_directory(parent)
    with error_context("make the directory", path):
        os.mkdir(path, 0o700)
        sync_directory(parent)
    return True


def replace_file(
    path: str,
    content: bytes | Iterable[bytes],
    *,
    mode: int = 0o600,
    owner: int = -1,
    group: int = -1,
    like: str | None = None,
) -> None:
    """Put ``content`` at ``path``: temp file beside it, fsync, rename, fsync of the directory.

    The temp file is made ``O_EXCL`` with mode 0600 and gets its owner and mode before the rename, so that
    no other user ever reads a secret through it. What a killed run has left of such a file is removed, see ``_fs/temporary.py``.

    :param content: as a whole, or in parts where it may be large.
    :param owner: numeric user id, -1 leaves the process's own.
    :param group: numeric group id, -1 leaves the process's own.
    :param like: a file whose ACLs and extended attributes the new one gets.
    :raises ContimgError: naming the path; what was there before then is still there.
    """
    directory_path, name = os.path.split(os.path.abspath(path))
    with error_context("write the file", path, "What was there before is unchanged."), open_directory(
        directory_path
    ) as directory, temporary_file(directory) as (temporary, descriptor):
        parts = [content] if isinstance(content, bytes) else content
        _fill(descriptor, parts, mode=mode, owner=owner, group=group, like=like)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)


def _fill(descriptor: int, content: Iterable[bytes], *, mode: int, owner: int, group: int, like: str | None) -> None:
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.writelines(content)
    if (owner, group) != (-1, -1):
        os.fchown(descriptor, owner, group)
    if like is not None:
        with os.fdopen(open_regular(like), "rb") as model:
            copy_extended_attributes(model.fileno(), descriptor, losses=frozenset())
    os.fchmod(descriptor, mode)
    os.fsync(descriptor)


def clear_left(path: str) -> None:
    """Remove what killed runs have left beside a file, where a run finds nothing to write. Raises ContimgError."""
    directory_path = os.path.dirname(os.path.abspath(path))
    with error_context("remove what a killed run has left beside it", path, "The file itself is as it was."):
        with contextlib.suppress(FileNotFoundError), open_directory(directory_path) as directory:
            remove_left(directory)


def with_ending(name: str, ending: str) -> str:
    """Return a name with an ending, cut where a file system takes no name of this length."""
    kept = os.fsencode(name)[: _NAME_BYTES - len(os.fsencode(ending))]
    return os.fsdecode(kept) + ending


def back_up(path: str, backup_dir: str) -> str:
    """Put a verified, durable copy of a regular file into ``backup_dir`` and return the copy's path.

    The copy keeps owner, mode, ACLs, attributes and times of the original. Its name carries the UTC second, so that copies sort by
    age. For small files such as an environment file: the content is held in memory.

    :raises ContimgError: when the file cannot be read, or the copy cannot be written or proved.
    """
    ensure_private_directory(backup_dir)
    content, status = read_with_status(path, "read the file for its backup")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = with_ending(os.path.basename(path), f".{stamp}.{secrets.token_hex(3)}")
    target = os.path.join(backup_dir, name)
    # With an ACL the group's bits are its mask, and allow more than the group has: the ACL must come along.
    replace_file(target, content, mode=status.st_mode & 0o7777, owner=status.st_uid, group=status.st_gid, like=path)
    with error_context("read the backup back", target):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        proved = read_regular(target, "read the backup back", limit=len(content)) == content
    if not proved:
        raise ContimgError("the backup differs from what was written", path=target, hint="The original is unchanged.")
    return target
