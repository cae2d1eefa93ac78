# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HDF5 database that a split has made from a copy of products before the services stop.

Its name says from which content of products it was made. It is used where what is remembered of databases says that it is
certainly the same since. Where products is not, the rows that differ are written, and every row is compared.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, is_file, is_link
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_descriptor
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import real_path
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import identity_of

if TYPE_CHECKING:
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Facts, Identity, Proofs

__all__ = ["Prepared", "copied", "file_of", "forget", "prepared_in", "prepared_path"]

_ENDING = ".prepared"
_DIGITS = 32  # of the checksum of products in a name
_NAME = re.compile(f"[0-9a-f]{{{_DIGITS}}}{_ENDING}")
_WRITABLE_BY_OTHERS = 0o022
_CHUNK = 1 << 20
_NO_ROW_REMOVED = "No row was removed anywhere."


@dataclass(frozen=True)
class Prepared:
    """A prepared database, which is as it was made and proved.

    :ivar path: where it is.
    :ivar facts: what is known of it.
    :ivar products: the identity of products where it certainly holds what it held then, else ``None``.
    """

    path: str
    facts: Facts
    products: Identity | None

    def is_current(self, products: str) -> bool:
        """Return whether products has not changed, now that no process can write to it. A WAL that was made empty is no change."""
        now = identity_of(real_path(products))
        if self.products is None or now is None or now[0] != self.products[0]:
            return False
        return all(
            here == there or (there is None and here is not None and not here[2])
            for here, there in zip(now, self.products)
        )


def file_of(path: str) -> tuple[int, ...] | None:
    """Return inode, size and mtime of a database, which a new name leaves as they are; ``None`` where it has a WAL or a journal."""
    identity = identity_of(real_path(path))
    if identity is None or identity[0] is None or identity[1:] != (None, None):
        return None
    _device, *file, _ctime = identity[0]
    return tuple(file)


def prepared_path(directory: str, checksum: str) -> str:
    """Return where the database is that is made from products with a content checksum."""
    return os.path.join(directory, checksum.rpartition(":")[2][:_DIGITS] + _ENDING)


def prepared_in(directory: str | None, products: str, proofs: Proofs) -> Prepared | None:
    """Return the prepared database of a directory, ``None`` where there is none that is certainly as it was made and proved.

    :param products: the database that is to be split.
    :param proofs: what is known of both.
    """
    found = _files(directory)
    made = proofs.recall(found[0]) if len(found) == 1 else None
    if made is None or made.wal_bytes or not made.facts.file_checksum:
        return None
    known = proofs.recall(products)
    path, directory = found[0], os.path.dirname(found[0])
    same = known is not None and known.facts.checksum and path == prepared_path(directory, known.facts.checksum)
    return Prepared(path, made.facts, known.identity if known is not None and same else None)


def _files(directory: str | None) -> list[str]:
    """Return what is prepared in a directory that only this user can write to, and that is no link."""
    if directory is None or is_link(directory) or not is_directory(directory):
        return []
    status = os.lstat(directory)
    if status.st_uid != os.geteuid() or status.st_mode & _WRITABLE_BY_OTHERS:
        return []
    names = sorted(name for name in os.listdir(directory) if _NAME.fullmatch(name))
    return [os.path.join(directory, name) for name in names if is_file(os.path.join(directory, name))]


def forget(directory: str | None) -> None:
    """Remove what is prepared in a directory, and the directory if nothing else is in it. Raises ContimgError."""
    found = _files(directory)
    if directory is None or not found:
        return
    with error_context("remove the prepared database", directory, "It is not needed any more."):
        for path in found:
            for suffix in (*SIDECARS, ""):
                if is_file(path + suffix):
                    os.unlink(path + suffix)
        with contextlib.suppress(OSError):  # something else is in it
            os.rmdir(directory)


def copied(prepared: Prepared, target: int) -> None:
    """Write the bytes of a prepared database to an open file, read them from the device and compare them with what was proved.

    :raises ContimgError: when it cannot be read or written, or the bytes are other ones.
    """
    with error_context("copy the prepared HDF5 database", prepared.path, _NO_ROW_REMOVED):
        with os.fdopen(open_regular(prepared.path), "rb") as source, os.fdopen(target, "wb", closefd=False) as copy:
            shutil.copyfileobj(source, copy, _CHUNK)
        os.fsync(target)
        os.lseek(target, 0, os.SEEK_SET)
        found = hash_descriptor(target, from_device=True)
    if f"sha256:{found}" != prepared.facts.file_checksum:
        hint = f"{_NO_ROW_REMOVED} Check its device."
        raise ContimgError("is not what was prepared", path=prepared.path, hint=hint)
