# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases where none belong: made by services that were started in another folder or with a path that stayed literal."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_content import quoted, table_names
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import SIDECARS, is_database, open_readonly
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_relation import relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_backup import back_up_file
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import open_root

if TYPE_CHECKING:
    from typing import Any

__all__ = ["misplaced"]

_HARMLESS = ("empty", "identical", "behind")


def misplaced(*, databases: list[str], places: list[str], quarantine_dir: str | None, check: bool) -> dict[str, Any]:
    """Find misplaced databases, compare each with the real one of its name, quarantine those that hold nothing of their own.

    :param databases: paths of the real ones.
    :param places: paths where none belongs, patterns allowed; what is no database is ignored.
    :param quarantine_dir: where they are moved to; without it they are only reported.
    :raises ContimgError: when one cannot be read, or moved.
    """
    real = {os.path.basename(path): path for path in databases}
    found = [_judged(path, real) for path in _found(databases, places)]
    moving = [one for one in found if one["relation"] in _HARMLESS] if quarantine_dir is not None else []
    for one in moving:
        one["action"] = "quarantine"
        if not check and quarantine_dir is not None:
            _quarantine(one["path"], quarantine_dir)
    lines = "".join(f"{one['path']}: {one['relation']}\n" for one in moving)
    return {
        "changed": bool(moving),
        "databases": found,
        "left": [one["path"] for one in found if one["relation"] not in _HARMLESS],
        "diff": {"before": lines, "after": ""} if moving else {},
    }


def _found(databases: list[str], places: list[str]) -> list[str]:
    """Return the candidates: regular files that are databases, or empty, and none of the real ones."""
    real = {os.path.realpath(path) for path in databases}
    paths = {
        os.path.abspath(path) for place in places for path in ([place] if os.path.lexists(place) else glob.glob(place))
    }
    return sorted(
        path
        for path in paths
        if os.path.isfile(path)
        and not os.path.islink(path)
        and not path.endswith(SIDECARS)
        and os.path.realpath(path) not in real
        and (os.stat(path).st_size == 0 or is_database(path))
    )


def _judged(path: str, real: dict[str, str]) -> dict[str, Any]:
    """Return a candidate with its ``relation``: ``empty``, what it is to the real one, or ``unknown`` where there is none."""
    counterpart = real.get(os.path.basename(path), "")
    if os.stat(path).st_size == 0 or not _has_rows(path):
        relation = "empty"
    elif counterpart and os.path.exists(counterpart):
        relation = relate(path, counterpart).kind
    else:
        relation = "unknown"
    return {"path": display(path), "counterpart": counterpart, "relation": relation, "action": "leave"}


def _has_rows(path: str) -> bool:
    with open_readonly(path) as connection:
        return any(
            connection.execute(f"SELECT 1 FROM main.{quoted(table)} LIMIT 1").fetchone() is not None  # noqa: S608
            for table in table_names(connection)
            if table != "sqlite_sequence"
        )


def _quarantine(path: str, quarantine_dir: str) -> None:
    """Copy a database with what belongs to it, prove the copy, and only then remove it, durably."""
    folder, name = os.path.split(path)
    with open_root(folder) as root:
        back_up_file(root, os.fsencode(name), quarantine_dir)
    with failing("remove the misplaced database", path, "Its copy is in the quarantine."):
        for suffix in (*SIDECARS, ""):
            if os.path.lexists(path + suffix):
                os.unlink(path + suffix)
        sync_directory(folder)
    if os.path.lexists(path):
        raise ContimgError("came back at once: a service still uses it", path=path, hint="Stop it, and run again.")
