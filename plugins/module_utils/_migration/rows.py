# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of every database of a state directory, and how they differ from a baseline that was taken before."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree_digest import tree_digest
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import scan
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import tables_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import is_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Proofs

__all__ = ["INTERNAL", "UNNAMED", "Rows", "changed_tables", "growth", "report", "rows_of"]

#: The state directory: before the path of a database that has no name.
UNNAMED = "./"
#: Tables of SQLite itself, as that of ANALYZE.
INTERNAL = "sqlite_"


@dataclass
class Rows:
    """The databases of a state directory.

    :ivar paths: by name, or by ``./`` and the path below the directory for a database that has no name.
    :ivar tables: by the same, ``rows`` and ``checksum`` of each table.
    :ivar unreadable: by the same, why a database could not be read.
    :ivar digest: the hash of every name and status of the directory, empty where it could not be listed.
    """

    paths: dict[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    digest: str = ""


def rows_of(
    root: str,
    places: Mapping[str, str],
    exclude: Sequence[str],
    *,
    workers: int | None = None,
    proofs: Proofs = NOTHING,
) -> Rows:
    """Read every database of a tree; a damaged one is named, and the others are read all the same.

    :param places: by database name its path below the root. One that does not exist is left out.
    :param exclude: globs of what is not looked at, see :func:`scan`.
    :param workers: how many processes read at the same time.
    :param proofs: what is known of the databases; what it does not know is read and noted.
    """
    found = Rows()
    for name, place in places.items():
        if is_there(os.path.join(root, place)):
            found.paths[name] = os.path.join(root, place)
    _find_others(found, root, exclude)
    for name in sorted(found.paths):
        try:
            found.tables[name] = tables_of(found.paths[name], workers=workers, proofs=proofs)
        except ContimgError as error:
            found.unreadable[name] = error.message
    return found


def _find_others(found: Rows, root: str, exclude: Sequence[str]) -> None:
    """Find the databases that have no name."""
    named = set(found.paths.values())
    try:
        with open_root(root) as descriptor, error_context("list the directory", root):
            entries = scan(descriptor, exclude)
    except ContimgError as error:
        found.unreadable[UNNAMED] = error.message
        return
    found.digest = tree_digest(entries)
    for path, entry in entries.items():
        full, name = os.path.join(root, os.fsdecode(path)), UNNAMED + printable(path)
        if not entry.is_file or full in named or full.endswith(SIDECARS):
            continue
        try:
            if is_database(full):
                found.paths[name] = full
        except ContimgError as error:
            found.unreadable[name] = error.message


def growth(now: Rows, baseline: Mapping[str, Mapping[str, Any]], root: str) -> dict[str, Any]:
    """Return how databases differ from their baseline; see the RETURN of ``state_rows_info``.

    Without a baseline nothing is compared. A database that it does not have counts with all its rows. A table that is new
    and empty does not count: the application makes an empty ``hdf5_file_index`` again.
    """
    compared = sorted(now.tables) if baseline else []
    changed = {name: changed_tables(_before(baseline, name), now.tables[name]) for name in compared}
    grown = {name: tables for name, tables in changed.items() if tables}
    tables = {f"{name}.{table}": facts for name, found in grown.items() for table, facts in found.items()}
    fewer = sorted(name for name, facts in tables.items() if facts["now"] < facts["before"])
    return {
        "growth": grown,
        "grown": [{"name": name, "path": printable(now.paths[name])} for name in grown],
        "new_rows": sum(max(0, facts["now"] - facts["before"]) for facts in tables.values()),
        "fell_below": [name for name in fewer if not name.startswith(UNNAMED)],
        "fell_below_elsewhere": [name for name in fewer if name.startswith(UNNAMED)],
        "differs_from_baseline": bool(grown),
        "unreadable": _unreadable(now, baseline, root),
    }


def _before(baseline: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    tables: Mapping[str, Any] = baseline.get(name, {}).get("tables", {})
    return tables


def _unreadable(now: Rows, baseline: Mapping[str, Mapping[str, Any]], root: str) -> dict[str, str]:
    """Return what cannot be read, or is gone, of what could be read when the baseline was taken."""
    known = {name for name, one in baseline.items() if "unreadable" not in one}
    gone = known - set(now.paths) - set(now.unreadable)
    missing = {name: f"{os.path.join(printable(root), name)}: this database does not exist any more." for name in gone}
    return {
        **{name: why for name, why in now.unreadable.items() if name in known or name not in baseline},
        **missing,
    }


def changed_tables(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return rows ``before`` and ``now`` of each table of a database that has changed, but for a new one that is empty."""
    nothing = {"rows": 0, "checksum": ""}
    changed = {}
    for table in sorted({*before, *now}):
        old, new = before.get(table, nothing), now.get(table, nothing)
        if table.startswith(INTERNAL) or old["checksum"] == new["checksum"]:
            continue
        if old["rows"] or new["rows"]:
            changed[table] = {"before": old["rows"], "now": new["rows"]}
    return changed


def report(values: Mapping[str, Any], proofs: Proofs = NOTHING) -> dict[str, Any]:
    """Return what ``state_rows_info`` reports for its parameters.

    :param proofs: what is known of the databases.
    """
    found = rows_of(values["path"], values["names"], values["exclude"], workers=values["workers"], proofs=proofs)
    return {
        "rows": {
            **{name: {"tables": tables} for name, tables in found.tables.items()},
            **{name: {"tables": {}, "unreadable": why} for name, why in found.unreadable.items()},
        },
        **growth(found, values["baseline"], values["path"]),
        "digest": found.digest,
        "remembered": proofs.used,
    }
