# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files written so that they are wholly old or wholly new, also after a power loss."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import copy_extended_attributes
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import create_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["back_up", "ensure_private_directory", "open_directory", "replace_file", "sync_directory"]


@contextlib.contextmanager
def open_directory(path: str) -> Iterator[int]:
    """Hold a descriptor of a folder; what happens in it goes through this descriptor, not through its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_directory(path: str) -> None:
    """Make the entries of a folder durable. Raises OSError."""
    with open_directory(path) as folder:
        os.fsync(folder)


def ensure_private_directory(path: str) -> bool:
    """Make a folder (mode 0700) and its missing parents durable; tell whether anything was made.

    :raises ContimgError: when a component cannot be made or is no directory.
    """
    if os.path.isdir(path):
        return False
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        ensure_private_directory(parent)
    with failing("make the folder", path):
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
    """Put ``content`` at ``path``: temp file beside it, fsync, rename, fsync of the folder.

    The temp file is made ``O_EXCL`` with mode 0600 and gets its owner and mode before the rename, so that
    nobody ever reads a secret through it.

    :param content: as a whole, or in parts where it may be large.
    :param owner: numeric user id, -1 leaves the process's own.
    :param group: numeric group id, -1 leaves the process's own.
    :param like: a file whose ACLs and extended attributes the new one gets.
    :raises ContimgError: naming the path; what stood there before then still stands there.
    """
    folder_path, name = os.path.split(os.path.abspath(path))
    temporary = f".{name[:200]}.contimg-{secrets.token_hex(6)}"
    with failing("write the file", path, "What stood there before is unchanged."), open_directory(
        folder_path
    ) as folder:
        try:
            parts = [content] if isinstance(content, bytes) else content
            _write_new(folder, temporary, parts, mode=mode, owner=owner, group=group, like=like)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)


def _write_new(
    folder: int, name: str, content: Iterable[bytes], *, mode: int, owner: int, group: int, like: str | None
) -> None:
    descriptor = create_name(folder, name)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(content)
        file.flush()
        if (owner, group) != (-1, -1):
            os.fchown(descriptor, owner, group)
        if like is not None:
            with open(like, "rb") as model:
                copy_extended_attributes(model.fileno(), descriptor, losses=frozenset())
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)


def back_up(path: str, backup_dir: str) -> str:
    """Put a verified, durable copy of a regular file into ``backup_dir`` and return the copy's path.

    The copy keeps owner, mode, ACLs, attributes and times of the original. Its name carries the UTC second, so that copies sort by
    age. For small files such as an environment file: the content is held in memory.

    :raises ContimgError: when the file cannot be read, or the copy cannot be written or proved.
    """
    ensure_private_directory(backup_dir)
    with failing("read the file for its backup", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content, status = file.read(), os.fstat(descriptor)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = os.path.join(backup_dir, f"{os.path.basename(path)}.{stamp}.{secrets.token_hex(3)}")
    # With an ACL the group's bits are its mask, and allow more than the group has: the ACL must come along.
    replace_file(target, content, mode=status.st_mode & 0o7777, owner=status.st_uid, group=status.st_gid, like=path)
    with failing("read the backup back", target):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        with open(target, "rb") as file:
            proved = hashlib.sha256(file.read()).digest() == hashlib.sha256(content).digest()
    if not proved:
        raise ContimgError("the backup differs from what was written", path=target, hint="The original is unchanged.")
    return target
