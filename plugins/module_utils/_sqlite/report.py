# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``sqlite_checksum`` reports: one database or all below a directory, and their relation to others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import describe_all
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import is_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Proofs

__all__ = ["find_databases", "report", "report_all", "require_identical"]

_SUFFIXES = (".sqlite3", ".sqlite", ".db")


def find_databases(path: str, *, recurse: bool) -> list[str]:
    """Return the databases that ``path`` means: itself, or every file with SQLite's header in the directory.

    :raises ContimgError: when it does not exist, or a file that is named as a database is none.
    """
    if not is_directory(path):
        return [path]
    return [name for name in _files(path, recurse=recurse) if _is_one(name)]


def _files(directory: str, *, recurse: bool) -> Iterator[str]:
    with error_context("list the directory", directory):
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and recurse:
            yield from _files(entry.path, recurse=True)
        elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(SIDECARS):
            yield entry.path


def _is_one(path: str) -> bool:
    if is_database(path):
        return True
    if path.endswith(_SUFFIXES):
        raise ContimgError(
            "is named as a database but is not a database", path=path, hint="Remove it, or check the others one by one."
        )
    return False


def _counterpart(path: str, *, root: str, other: str) -> str:
    if not is_directory(other):
        return other
    return os.path.join(other, os.path.relpath(path, root) if is_directory(root) else os.path.basename(path))


def report(
    path: str,
    *,
    recurse: bool,
    compare_to: str | None,
    integrity: str,
    tables: bool,
    workers: int | None,
    proofs: Proofs = NOTHING,
) -> dict[str, Any]:
    """Return ``databases``, ``identical`` and ``differences``; see the module's RETURN.

    :param proofs: what is known of the databases.
    :raises ContimgError: when a database cannot be read, is damaged or is none.
    """
    found = find_databases(path, recurse=recurse)
    databases = describe_all(found, integrity=integrity, tables=tables, workers=workers, proofs=proofs)
    differences = {}
    for one, database in zip(found, databases):
        if compare_to is None:
            continue
        other = _counterpart(one, root=path, other=compare_to)
        relation = _relation(one, other, workers, proofs)
        database["relation"] = relation["relation"]
        if relation["relation"] != "identical":
            differences[database["path"]] = {"compared_to": printable(other), **relation}
    return {"databases": databases, "identical": not differences, "differences": differences}


def report_all(values: Mapping[str, Any], proofs: Proofs = NOTHING) -> dict[str, Any]:
    """Return what ``sqlite_checksum`` reports for its parameters: of ``path``, or of each of ``databases`` in their order.

    :param proofs: what is known of the databases.
    :raises ContimgError: see :func:`report`.
    """
    shared = {"proofs": proofs, **{name: values[name] for name in ("recurse", "tables", "workers")}}
    asked = [values] if values["databases"] is None else values["databases"]
    found = [report(one["path"], compare_to=one["compare_to"], integrity=one["integrity"], **shared) for one in asked]
    return {
        "databases": [database for one in found for database in one["databases"]],
        "identical": all(one["identical"] for one in found),
        "differences": {path: difference for one in found for path, difference in one["differences"].items()},
        "remembered": proofs.used,
    }


def require_identical(found: Mapping[str, Any]) -> None:
    """Check that all databases of a report are equal to what they were compared with.

    :param found: as :func:`report_all` returns it.
    :raises ContimgError: naming those that are not, with the report.
    """
    if not found["identical"]:
        named = ", ".join(f"{path} ({one['relation']})" for path, one in found["differences"].items())
        raise ContimgError(f"Not identical to its counterpart: {named}", hint="Nothing was changed.", **found)


def _relation(path: str, other: str, workers: int | None, proofs: Proofs) -> dict[str, Any]:
    if not target_exists(other):
        return {"relation": "ahead", "tables": {}, "missing": True}
    found = relate(path, other, workers=workers, proofs=proofs)
    return {"relation": found.kind, "tables": found.as_dict(), "missing": False}
