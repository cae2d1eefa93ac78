# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making ``ms_index`` tell which measurement sets there are. Facts: docs/database-schemas.md."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, is_link
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import mjd_of, parsed
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import (
    attached,
    columns_of,
    connected,
    number,
    reading,
    sqlite_failing,
    text_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.backup import back_up_database, plan_backup
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import (
    IMMUTABLE,
    Place,
    real_path,
    require_own_place,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import require_short_name, writable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = ["reconcile"]

_TABLE = "ms_index"
_UNTOUCHED = "Nothing was touched."
_UNCHANGED = "It is as it was."
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass
class Difference:
    """What the index and the disk do not agree on.

    :ivar known: rows whose sets lie below the roots.
    :ivar removed: paths of rows whose sets are gone.
    :ivar unreachable: paths of rows whose sets would be behind a link behind which there is no set at all.
    :ivar registered: paths of sets without a row.
    :ivar dependents: rows of other tables that name a removed set, by table.
    :ivar columns: the columns of the index.
    """

    known: int = 0
    removed: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    dependents: dict[str, int] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)


def reconcile(
    *, products_db: str, roots: list[str], max_removed_fraction: float, backup_dir: str, check: bool
) -> dict[str, Any]:
    """Remove rows of sets that are gone, register sets without a row; return the module's result.

    :param roots: the directories below which sets lie; rows of sets elsewhere are left alone.
    :param max_removed_fraction: the part of the rows below the roots that may leave at once.
    :param backup_dir: where a verified copy of the database is kept before a row is removed.
    :raises ContimgError: when a root is missing or looks unmounted, too many rows would leave, or a database cannot be used.
    """
    require_own_place(products_db)
    places = [os.path.abspath(root) for root in roots]
    sets = {root: set(_sets(root)) for root in places}
    with reading(products_db, None) as connection:
        found = _difference(connection, products_db, sets, max_removed_fraction)
    changed = bool(found.removed or found.registered)
    if changed:
        require_short_name(products_db)
    backup = plan_backup(products_db, backup_dir) if found.removed else None
    if changed and not check:
        _write(products_db, found, None if backup is None else back_up_database(backup))
    lines = [*(f"- {path}\n" for path in found.removed), *(f"+ {path}\n" for path in found.registered)]
    return {
        "changed": changed,
        "removed": found.removed,
        "registered": found.registered,
        "behind_links": found.unreachable,
        "dependents": found.dependents,
        "known": found.known,
        "backup_file": "" if backup is None else backup.target,
        "diff": {"prepared": "".join(lines)} if changed else {},
    }


def _sets(root: str) -> Iterator[str]:
    """Yield every measurement set below a root: a directory ending in ``.ms``; what lies in one is part of it.

    No link is followed: a set has one path, under which it is registered.
    """
    if not is_directory(root):
        hint = f"{_UNTOUCHED} Is its file system mounted? Name roots that exist."
        raise ContimgError("is not a directory", path=root, hint=hint)
    with error_context("read the directory of measurement sets", root, _UNTOUCHED), os.scandir(root) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name.endswith(".ms"):
                    yield entry.path
                else:
                    yield from _sets(entry.path)


def _difference(
    connection: sqlite3.Connection, products: str, sets: dict[str, set[str]], max_removed_fraction: float
) -> Difference:
    columns = columns_of(connection, "src", _TABLE)
    if "path" not in columns:
        raise ContimgError(f"has no table {_TABLE}", path=products, hint=f"{_UNTOUCHED} Name a products database.")
    found = connection.execute(f"SELECT path FROM src.{_TABLE} WHERE typeof(path) = 'text'")  # noqa: S608
    rows = {path.decode() for (path,) in found if _is_text(path)}
    below = {root: {path for path in rows if path.startswith(root.rstrip("/") + "/")} for root in sets}
    on_disk = set().union(*sets.values())
    known = set().union(*below.values())
    there = {path for path in known if path in on_disk or _is_there(path)}
    if max_removed_fraction < 1:
        _refuse_unmounted(below, sets, there)
    unreachable = _unreachable(known - there, there, below) if max_removed_fraction < 1 else []
    gone = sorted((known - there).difference(unreachable))
    if known and len(gone) / len(known) > max_removed_fraction:
        hint = f"{_UNTOUCHED} If they were deleted on purpose, raise max_removed_fraction. The first: {', '.join(gone[:5])}."
        what = f"{len(gone)} of {len(known)} measurement sets are gone, more than {max_removed_fraction:.0%}"
        raise ContimgError(what, path=products, hint=hint)
    new = sorted(path for path in on_disk - rows if path.isprintable())
    return Difference(len(known), gone, unreachable, new, _dependents(connection, gone), list(columns))


def _is_text(path: bytes) -> bool:
    """Return whether a path can be compared: one that is not valid UTF-8 is left alone."""
    try:
        return b"\0" not in path and bool(path.decode())
    except UnicodeDecodeError:
        return False


def _is_there(path: str) -> bool:
    """Return whether anything is at a path, links followed. Raises ContimgError where that cannot be known."""
    with error_context("look for the measurement set", path, _UNTOUCHED):
        try:
            os.stat(path)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
    return True


def _unreachable(missing: set[str], there: set[str], below: Iterable[str]) -> list[str]:
    """Return the missing paths that lead over a link behind which no set is: its file system may not be mounted."""
    links = {path: link for path in missing for link in [_first_link(path, below)] if link}
    alive = {link for link in set(links.values()) if any(path.startswith(link + "/") for path in there)}
    return sorted(path for path, link in links.items() if link not in alive)


def _first_link(path: str, roots: Iterable[str]) -> str:
    """Return the first symbolic link on the way from the nearest root to a path, empty where there is none."""
    root = max((root.rstrip("/") for root in roots if path.startswith(root.rstrip("/") + "/")), key=len)
    place = root
    for name in path[len(root) + 1 :].split("/"):
        place = f"{place}/{name}"
        if is_link(place):
            return place
    return ""


def _refuse_unmounted(below: dict[str, set[str]], sets: dict[str, set[str]], there: set[str]) -> None:
    for root, rows in below.items():
        if rows and not sets[root] and there.isdisjoint(rows):
            hint = f"{_UNTOUCHED} Is its file system mounted? If all were deleted on purpose, set max_removed_fraction to 1."
            raise ContimgError(f"holds no measurement set, the index knows {len(rows)} there", path=root, hint=hint)


def _dependents(connection: sqlite3.Connection, gone: list[str]) -> dict[str, int]:
    """Return how many rows of other tables name a set that is gone; they stay, for their files may be there."""
    if not gone:
        return {}
    connection.execute("CREATE TABLE temp.gone (path PRIMARY KEY)")
    connection.executemany("INSERT INTO temp.gone VALUES (?)", [(path,) for path in gone])
    tables = [
        text_of(name) for (name,) in connection.execute("SELECT name FROM src.sqlite_master WHERE type = 'table'")
    ]
    counted = {
        table: number(
            connection,
            f"SELECT count(*) FROM src.{quoted(table)} WHERE ms_path IN (SELECT path FROM temp.gone)",  # noqa: S608
        )
        for table in tables
        if "ms_path" in columns_of(connection, "src", table)
    }
    return {table: rows for table, rows in counted.items() if rows}


def _row(path: str, columns: list[str]) -> dict[str, object]:
    """Return the row of a set of which only the name is known: converted, and its time where the name is one."""
    moment = parsed(os.path.basename(path)[: -len(".ms")])
    known: dict[str, object] = {
        "path": path,
        "start_mjd": None if moment is None else mjd_of(moment),
        "status": "converted",
        "stage": "converted",
    }
    return {name: known.get(name) for name in columns if name in known}


def _write(products: str, found: Difference, backup: str | None) -> None:
    """Remove and register in one transaction; what is removed is compared with its backup under the same lock."""
    with connected() as connection, sqlite_failing("write the products database", products, _UNCHANGED):
        attached(connection, "dst", writable(products))
        if backup is not None:
            attached(connection, "kept", Place(backup, IMMUTABLE))
        connection.execute("PRAGMA dst.synchronous = EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        for path in found.removed:
            if _row_of(connection, "dst", path) != _row_of(connection, "kept", path) or _is_there(path):
                hint = f"{_UNCHANGED} Run again."
                raise ContimgError(f"the row of {path} or its set has changed meanwhile", path=products, hint=hint)
        connection.executemany(f"DELETE FROM dst.{_TABLE} WHERE path = ?", [(path,) for path in found.removed])  # noqa: S608
        for path in found.registered:
            row = _row(path, found.columns)
            connection.execute(
                f"INSERT OR IGNORE INTO dst.{_TABLE} ({', '.join(row)}) VALUES ({', '.join('?' for _name in row)})",  # noqa: S608
                list(row.values()),
            )
        connection.execute("COMMIT")
    with error_context("flush the directory", products, "The rows are written."):
        sync_directory(os.path.dirname(real_path(products)))


def _row_of(connection: sqlite3.Connection, alias: str, path: str) -> list[list[tuple[str, object]]]:
    """Return the rows of a path with the types of their values."""
    rows = connection.execute(f"SELECT * FROM {alias}.{_TABLE} WHERE path = ?", (path,))  # noqa: S608
    return [[(type(value).__name__, value) for value in row] for row in rows]
