# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The export of rows that the HDF5 database cannot take, as JSON lines: durable and read back before they leave products.

A line is an object of all columns of the row. What JSON has no form for is an object with one member: ``blob`` and ``text``
(not UTF-8) in hexadecimal, ``real`` for an infinite number.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    ensure_private_directory,
    open_regular,
    replace_file,
    with_ending,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import source
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import sqlite_failing, text_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import Text
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.plan import SplitOptions, SplitPlan

__all__ = ["export_rejected"]

_DIGITS = 16  # of the digest in a name, as in that of a backup
_UNCHANGED = "No row was removed from products."


def export_rejected(options: SplitOptions, plan: SplitPlan, connection: sqlite3.Connection) -> str:
    """Write the rows that do not fit to the directory of the backups, and read them back; return the path.

    Its name has the digest of its content: a run that was killed later finds its export and keeps it.

    :param connection: with the products database as ``src``, in a transaction that keeps writers away.
    :raises ContimgError: when it cannot be written or read back, or the rows are not those that were planned.
    """
    if options.backup_dir is None:
        raise ContimgError("a quarantine of rows needs a backup_dir", path=options.products, hint=_UNCHANGED)
    ensure_private_directory(options.backup_dir)
    with sqlite_failing("read the rows that do not fit", options.products, _UNCHANGED):
        wanted = _digest(_lines(connection, plan))
        ending = f".{wanted[0][:_DIGITS]}.rejected.jsonl"
        target = os.path.join(options.backup_dir, with_ending(os.path.basename(options.products), ending))
        if not is_there(target):
            replace_file(target, _lines(connection, plan))
    with error_context("read the export back", target, _UNCHANGED), os.fdopen(open_regular(target), "rb") as file:
        found = _digest(file)
    if found != wanted or found[1] != plan.index.rejected:
        raise ContimgError(
            f"has {found[1]} rows or others than the {plan.index.rejected} that do not fit",
            path=target,
            hint=f"{_UNCHANGED} Move this file away, stop what writes to products, and run again.",
        )
    return target


def _digest(lines: Iterable[bytes]) -> tuple[str, int]:
    """Return the digest of lines, and their number."""
    digest, count = hashlib.sha256(), 0
    for line in lines:
        digest.update(line)
        count += 1
    return digest.hexdigest(), count


def _lines(connection: sqlite3.Connection, plan: SplitPlan) -> Iterator[bytes]:
    names = [text_of(name) for name in plan.columns]
    chosen = ", ".join(f"s.{quoted(name)}" for name in names)
    query = f"SELECT {chosen} FROM {source(names)} AS s WHERE {plan.unfit}"  # noqa: S608
    for row in connection.execute(query):
        values = {name: _shown(value) for name, value in zip(names, row)}
        yield json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _shown(value: object) -> object:
    if isinstance(value, Text):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"text": value.hex()}
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    return {"real": str(value)} if isinstance(value, float) and math.isinf(value) else value
