# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HDF5 database that a split has made from a copy of products before the services stop.

Its name says from which content of products it was made. What is remembered of databases says whether both are certainly the
same since; otherwise rows that differ are written anew, and every row is compared.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, is_file
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import real_path
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import identity_of

if TYPE_CHECKING:
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Facts, Identity, Proofs

__all__ = ["Prepared", "copied", "forget", "prepared_in", "prepared_path"]

_ENDING = ".hdf5"
_DIGITS = 32  # of the checksum of products in a name
_CHUNK = 1 << 20
_NO_ROW_REMOVED = "No row was removed anywhere."


@dataclass(frozen=True)
class Prepared:
    """A prepared database.

    :ivar path: where it is.
    :ivar facts: what is known of it where it and products are certainly what they were when it was made and proved, else ``None``.
    :ivar products: the identity of products then.
    """

    path: str
    facts: Facts | None = None
    products: Identity = ()

    def is_certain(self, products: str) -> bool:
        """Return whether nothing has changed, now that no process can write to products. A WAL that was made empty is no change."""
        now = identity_of(real_path(products))
        if self.facts is None or now is None or now[0] != self.products[0]:
            return False
        return all(
            here == there or (there is None and here is not None and not here[2])
            for here, there in zip(now, self.products)
        )


def prepared_path(directory: str, checksum: str) -> str:
    """Return where the database is that is made from products with a content checksum."""
    return os.path.join(directory, checksum.rpartition(":")[2][:_DIGITS] + _ENDING)


def prepared_in(directory: str | None, products: str, proofs: Proofs) -> Prepared | None:
    """Return the prepared database of a directory, ``None`` where there is none.

    :param products: the database that is to be split.
    :param proofs: what is known of both.
    """
    found = _files(directory)
    if len(found) != 1:
        return None
    known, made = proofs.recall(products), proofs.recall(found[0])
    if known is None or made is None or not known.facts.checksum or not made.facts.file_checksum:
        return Prepared(found[0])
    if found[0] != prepared_path(os.path.dirname(found[0]), known.facts.checksum):
        return Prepared(found[0])
    return Prepared(found[0], made.facts, known.identity)


def _files(directory: str | None) -> list[str]:
    if directory is None or not is_directory(directory):
        return []
    names = sorted(name for name in os.listdir(directory) if name.endswith(_ENDING))
    return [os.path.join(directory, name) for name in names if is_file(os.path.join(directory, name))]


def forget(directory: str | None) -> None:
    """Remove a directory and what is prepared in it. Raises ContimgError."""
    if directory is None or not is_directory(directory):
        return
    with error_context("remove the prepared database", directory, "It is not needed any more."):
        for path in _files(directory):
            for suffix in (*SIDECARS, ""):
                if is_file(path + suffix):
                    os.unlink(path + suffix)
        with contextlib.suppress(OSError):  # something else is in it
            os.rmdir(directory)


def copied(prepared: Prepared, place: str) -> None:
    """Write the bytes of a prepared database to an empty file; where it is certain, prove them.

    :raises ContimgError: when it cannot be read or written, or the bytes on the device are other ones.
    """
    with error_context("copy the prepared HDF5 database", place, _NO_ROW_REMOVED):
        with open(place, "r+b", buffering=0) as target, os.fdopen(open_regular(prepared.path), "rb") as source:
            for block in iter(lambda: source.read(_CHUNK), b""):
                target.write(block)
            os.fsync(target.fileno())
        if prepared.facts is None:
            return
        directory, name = os.path.split(place)
        with open_root(directory) as root:
            found = hash_file(root, os.fsencode(name), from_device=True)
    if f"sha256:{found}" != prepared.facts.file_checksum:
        hint = f"{_NO_ROW_REMOVED} Check its device and that of {prepared.path}."
        raise ContimgError("is not what was prepared", path=place, hint=hint)
