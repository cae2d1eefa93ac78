# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases where none belong: made by services that were started in another directory or with a path that stayed literal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.backup import clear_backups
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import (
    is_directory,
    is_file,
    is_link,
    is_there,
    matching,
    target_exists,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import is_database, open_readonly
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.removal import (
    put_back,
    remove_database,
    require_unused,
    users_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import select_rows, table_names

if TYPE_CHECKING:
    from typing import Any

__all__ = ["misplaced"]

_HARMLESS = ("empty", "identical", "behind")


def misplaced(
    *, databases: list[str], places: list[str], quarantine_dir: str | None, require_proof: bool, check: bool
) -> dict[str, Any]:
    """Find misplaced databases, compare each with the real one of its name, quarantine those that hold nothing of their own.

    :param databases: paths of the real ones.
    :param places: paths where none belongs, patterns allowed; what is not a database is ignored.
    :param quarantine_dir: where they are moved to; without it they are only reported.
    :param require_proof: whether the open files of every process must be readable.
    :raises ContimgError: when one cannot be read, is in use, or cannot be moved.
    """
    real = {os.path.basename(path): path for path in databases}
    if quarantine_dir is not None and not check:
        _finish_interrupted(places)
    found = [(path, _judged(path, real)) for path in _found(databases, places)]
    moving = [(path, one) for path, one in found if quarantine_dir is not None and one["relation"] in _HARMLESS]
    for path, one in moving:
        one.update(action="quarantine", open_in=users_of(path)[0])
    if quarantine_dir is not None and not check:
        for path, _one in moving:
            require_unused(path, require_proof=require_proof)
        clear_backups(quarantine_dir)
        for path, one in moving:
            _quarantine(path, one["counterpart"], quarantine_dir, require_proof=require_proof)
    lines = "".join(f"{one['path']}: {one['relation']}\n" for _path, one in moving)
    return {
        "changed": bool(moving),
        "databases": [one for _path, one in found],
        "left": [one["path"] for _path, one in found if one["relation"] not in _HARMLESS],
        "diff": {"before": lines, "after": ""} if moving else {},
    }


def _finish_interrupted(places: list[str]) -> None:
    for directory in {directory for place in places for directory in matching(os.path.dirname(os.path.abspath(place)))}:
        if is_directory(directory):
            put_back(directory)


def _found(databases: list[str], places: list[str]) -> list[str]:
    """Return the candidates: regular files that are databases, or empty, and none of the real ones under any name."""
    real = {_inode(path) for path in databases if target_exists(path)}
    paths = {os.path.abspath(path) for place in places for path in ([place] if is_there(place) else matching(place))}
    return sorted(
        path
        for path in paths
        if is_file(path)
        and not is_link(path)
        and not path.endswith(SIDECARS)
        and _inode(path) not in real
        and (os.stat(path).st_size == 0 or is_database(path))
    )


def _inode(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _judged(path: str, real: dict[str, str]) -> dict[str, Any]:
    """Return a candidate with its ``relation``: ``empty``, what it is to the real one, or ``unknown`` where there is none."""
    counterpart = real.get(os.path.basename(path), "")
    relation = _relation(path, counterpart)
    return {
        "path": printable(path),
        "counterpart": counterpart,
        "relation": relation,
        "action": "leave",
        "open_in": [],
    }


def _relation(path: str, counterpart: str) -> str:
    if os.stat(path).st_size == 0 or not _has_rows(path):
        return "empty"
    return relate(path, counterpart).kind if counterpart and target_exists(counterpart) else "unknown"


def _has_rows(path: str) -> bool:
    with open_readonly(path) as connection:
        return any(
            select_rows(connection, table).fetchone() is not None
            for table in table_names(connection)
            if table != "sqlite_sequence"
        )


def _quarantine(path: str, counterpart: str, quarantine_dir: str, *, require_proof: bool) -> None:
    def judge(copy: str) -> None:
        relation = _relation(copy, counterpart)
        if relation not in _HARMLESS:
            hint = "It is where it was. Stop what uses it and run again."
            raise ContimgError(f"has changed meanwhile: it is now '{relation}' to the real one", path=path, hint=hint)

    remove_database(path, backup_dir=quarantine_dir, judge=judge, require_proof=require_proof)
