# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A verified, durable copy of one database, with what stands in its log, under a name that tells its content."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import ensure_private_directory, with_ending
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import READ_WRITE, Place, connect
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.create import new_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import open_readonly
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING

if TYPE_CHECKING:
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Proofs

__all__ = ["BackupPlan", "back_up_database", "plan_backup"]

_DIGITS = 16  # of the checksum in a name: enough to tell the contents of one database apart
_UNTOUCHED = "Nothing was touched."


@dataclass(frozen=True)
class BackupPlan:
    """What a backup does.

    :ivar path: the database.
    :ivar checksum: its content checksum.
    :ivar target: where the copy stands, or will.
    :ivar exists: whether a copy with this content is there already.
    """

    path: str
    checksum: str
    target: str
    exists: bool


def plan_backup(path: str, backup_dir: str, *, proofs: Proofs = NOTHING) -> BackupPlan:
    """Read a database, and its backup where there is one.

    :param proofs: what is known of the two; what it does not know is read and noted.
    :raises ContimgError: when the database cannot be read.
    """
    checksum = content_checksum(path, proofs=proofs)
    digest = checksum.rpartition(":")[2]
    target = os.path.join(backup_dir, with_ending(os.path.basename(path), f".{digest[:_DIGITS]}"))
    return BackupPlan(
        path, checksum, target, kind_of(target) != 0 and content_checksum(target, proofs=proofs) == checksum
    )


def _fill(copy: sqlite3.Connection, source: sqlite3.Connection, plan: BackupPlan) -> None:
    """Copy every page. A full disk is that of the copy: it is named then, not the database."""
    try:
        source.backup(copy)
    except sqlite3.Error as error:
        if "is full" not in str(error):
            raise
        with error_context("write the backup", plan.target, _UNTOUCHED):
            raise


def back_up_database(plan: BackupPlan) -> str:
    """Make the copy by SQLite's own backup, prove it by its content checksum, and return its path.

    :raises ContimgError: when it cannot be written or proved; the database is unchanged, and no half copy is left.
    """
    if plan.exists:
        return plan.target
    ensure_private_directory(os.path.dirname(plan.target))
    with new_database(plan.target, like=None, state=_UNTOUCHED) as temporary:
        with error_context("back up the database", plan.path, _UNTOUCHED):
            place = Place(temporary, READ_WRITE)
            with contextlib.closing(connect(place)) as copy, open_readonly(plan.path) as source:
                _fill(copy, source, plan)
            with contextlib.closing(connect(place)) as copy:  # which now has a schema
                copy.execute("PRAGMA journal_mode = DELETE")
        if content_checksum(temporary) != plan.checksum:
            raise ContimgError("the backup differs from the original", path=plan.target, hint=_UNTOUCHED)
    return plan.target
