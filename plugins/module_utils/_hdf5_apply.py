# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a split writes: first the HDF5 database, then, when that is proved, the products database.

A transaction over two databases in WAL mode is atomic for each, not for both. So a crash can leave the rows in both,
never in none: the next run finds them equal and goes on with the removal.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_derive import DERIVED, NEEDED, VALUES, source
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_pair import (
    attached,
    connected,
    number,
    sqlite_failing,
    text_of,
    untouched,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_plan import (
    ACTIVE_HDF5_LOCATION,
    SplitOptions,
    SplitPlan,
    equal,
    further,
    target_wins,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_schema import INDEX, LOCATIONS
from ansible_collections.dsa110.contimg.plugins.module_utils._new_database import new_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_content import quoted
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import uri_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = ["finish", "vacuum", "write_target"]

_UNCHANGED = "No row was removed anywhere."
_MANY_ROWS = 20000  # from here on, if they are many beside what is there, indexes are faster made again than kept up
_CREATE = re.compile(r"CREATE (TABLE|UNIQUE INDEX|INDEX) ")


def write_target(options: SplitOptions, plan: SplitPlan) -> None:
    """Make the HDF5 database, or add to it what it lacks in one transaction.

    :raises ContimgError: when it cannot be written, or something has changed meanwhile. It is as it was then.
    """
    if plan.target_schema:
        with _both(options, options.hdf5, locks=plan.drops) as connection:
            connection.execute("PRAGMA dst.synchronous = EXTRA")
            connection.execute("PRAGMA dst.journal_mode = WAL")
            _fill(connection, options, plan)
            connection.execute("PRAGMA dst.wal_checkpoint(TRUNCATE)")
        with failing("flush the folder", options.hdf5, _UNCHANGED):
            sync_directory(os.path.dirname(os.path.abspath(options.hdf5)))
        return
    with new_database(options.hdf5, like=options.products, state=_UNCHANGED) as temporary:
        with _both(options, temporary, locks=plan.drops) as connection:
            # Nobody knows this file before it has been flushed and named.
            for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
                connection.execute(f"PRAGMA dst.{setting}")
            _fill(connection, options, plan)
            connection.execute("PRAGMA dst.journal_mode = WAL")


@contextlib.contextmanager
def _both(options: SplitOptions, hdf5: str, *, locks: bool) -> Iterator[sqlite3.Connection]:
    """Connect to both databases. With ``locks`` products can be locked and written; without, it is read without a trace."""
    with contextlib.ExitStack() as stack:
        place = uri_of(options.products, "mode=rw") if locks else stack.enter_context(untouched(options.products))
        connection = stack.enter_context(connected())
        with sqlite_failing("open the HDF5 database", hdf5, _UNCHANGED):
            attached(connection, "dst", uri_of(hdf5, "mode=rw"))
        with sqlite_failing("open the products database", options.products, _UNCHANGED):
            attached(connection, "src", place)
            connection.execute("PRAGMA src.synchronous = EXTRA")
        with sqlite_failing("write the HDF5 database", hdf5, _UNCHANGED):
            yield connection


def _begin(connection: sqlite3.Connection, options: SplitOptions, *, locks: bool) -> None:
    """Begin a transaction; with ``locks`` nobody else writes to the products database until it ends."""
    connection.execute("BEGIN")
    if locks:
        with sqlite_failing("lock the products database", options.products, _UNCHANGED):
            connection.execute(f"DELETE FROM src.{INDEX} WHERE 0")  # noqa: S608


def _fill(connection: sqlite3.Connection, options: SplitOptions, plan: SplitPlan) -> None:
    """Write all rows of the index and all locations in one transaction, and commit it."""
    _begin(connection, options, locks=plan.drops)
    tables = {name: sql for name, sql in plan.statements.items() if sql.startswith("CREATE TABLE")}
    for sql in tables.values():
        connection.execute(_in_target(sql))
    for name, kind in plan.added_columns.items():
        connection.execute(f"ALTER TABLE dst.{INDEX} ADD COLUMN {quoted(name)} {kind}")
    indexes = [sql for name, sql in plan.statements.items() if name not in tables]
    if plan.index.moved > max(_MANY_ROWS, plan.target_rows // 4):
        indexes += _take_indexes_off(connection)
    done = _replace_rows(connection, plan, options.on_conflict) if plan.taken else 0
    done += _insert_rows(connection, plan, new=INDEX in tables)
    for sql in indexes:
        connection.execute(_in_target(sql))
    if plan.locations.moved:  # the newest comes first, and its name is then taken
        connection.execute(
            f"INSERT OR IGNORE INTO dst.{LOCATIONS} (name, path, description)"  # noqa: S608
            f" SELECT location_type, base_path, description FROM src.{LOCATIONS} WHERE {ACTIVE_HDF5_LOCATION}"
            " ORDER BY registered_at DESC, id DESC"
        )
    if done != plan.index.moved + plan.taken:
        raise ContimgError(
            f"{done} rows were about to be written instead of the {plan.index.moved + plan.taken} that were planned",
            path=options.hdf5,
            hint=f"{_UNCHANGED} Somebody writes to one of the databases: stop its services and run again.",
        )
    connection.execute("COMMIT")


def _in_target(statement: str) -> str:
    return _CREATE.sub(r"CREATE \1 dst.", statement, count=1)


def _take_indexes_off(connection: sqlite3.Connection) -> list[str]:
    """Drop the indexes of the HDF5 database's table and return the statements that make them again."""
    query = "SELECT name, sql FROM dst.sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    found = [(text_of(name), text_of(sql)) for name, sql in connection.execute(query, (INDEX,))]
    for name, _sql in found:
        connection.execute(f"DROP INDEX dst.{quoted(name)}")
    return [sql for _name, sql in found]


def _values(plan: SplitPlan) -> dict[str, str]:
    """Return the SQL of every column that a row gets, by the quoted name of the column."""
    return {
        quoted(name): sql for name, sql in {**VALUES, **{n: f"s.{quoted(n)}" for n in further(plan.columns)}}.items()
    }


def _insert_rows(connection: sqlite3.Connection, plan: SplitPlan, *, new: bool) -> int:
    values = _values(plan)
    verb = "INSERT" if new else "INSERT OR IGNORE"
    return connection.execute(
        f"{verb} INTO dst.{INDEX} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM {source(plan.columns)} AS s"  # noqa: S608
    ).rowcount


def _replace_rows(connection: sqlite3.Connection, plan: SplitPlan, on_conflict: str) -> int:
    """Let the rows of products win that are newer; what they do not say stays as it is."""
    values = _values(plan)
    own = {name.lower() for name in plan.columns}
    changes = ", ".join(
        f"{name} = COALESCE(excluded.{name}, {name})"
        for name in values
        if name != quoted("path") and (name != quoted("stored") or "stored" in own)
    )
    return connection.execute(
        f"INSERT INTO dst.{INDEX} ({', '.join(values)}) SELECT {', '.join(values.values())}"  # noqa: S608
        f" FROM {source(plan.columns)} AS s CROSS JOIN dst.{INDEX} AS t ON t.path = s.path"
        f" WHERE NOT ({equal(plan.columns)}) AND NOT ({target_wins(on_conflict)})"
        f" ON CONFLICT(path) DO UPDATE SET {changes}"
    ).rowcount


def finish(options: SplitOptions, plan: SplitPlan) -> None:
    """Prove that the HDF5 database holds every row; then, in a transaction of its own, drop the table from products.

    The proof and the removal stand under one lock: no writer can add a row in between.

    :raises ContimgError: when a row is missing or differs where it was to win. Nothing has been removed then.
    """
    with _both(options, options.hdf5, locks=plan.drops) as connection:
        connection.execute("PRAGMA src.secure_delete = OFF")  # rows that live on elsewhere need no wiping
        _begin(connection, options, locks=plan.drops)
        _prove(connection, options, plan)
        if plan.drops:
            with sqlite_failing("remove the table from the products database", options.products, _UNCHANGED):
                connection.execute(f"DROP TABLE src.{INDEX}")
                connection.execute("COMMIT")
            state = "The split is done and proved."
            with sqlite_failing("empty the log of the products database", options.products, state):
                connection.execute("PRAGMA src.wal_checkpoint(TRUNCATE)")
    with failing("flush the folder", options.products, "The split is done and proved."):
        sync_directory(os.path.dirname(os.path.abspath(options.products)))


def _prove(connection: sqlite3.Connection, options: SplitOptions, plan: SplitPlan) -> None:
    """Compare every row of products with that of the HDF5 database, inside SQL. Raises ContimgError."""
    right = f"({equal(plan.columns)})"
    if plan.index.conflicts:
        right = f"({right} OR ({target_wins(options.on_conflict)}))"
    if not plan.target_rows:
        right = " AND ".join([right, *(f"t.{name} IS {DERIVED[name]}" for name in NEEDED)])
    wrong = number(
        connection,
        f"SELECT count(*) FROM {source(plan.columns)} AS s LEFT JOIN dst.{INDEX} AS t ON t.path = s.path"  # noqa: S608
        f" WHERE t.path IS NULL OR NOT ({right})",
    )
    rows = number(connection, f"SELECT count(*) FROM dst.{INDEX}")  # noqa: S608
    sound = text_of(connection.execute("PRAGMA dst.quick_check(1)").fetchone()[0])
    if wrong or rows < plan.target_rows + plan.index.moved or sound != "ok":
        what = f"does not hold what products does: {wrong} rows are missing or differ, it has {rows}, its check says '{sound}'"
        hint = f"{_UNCHANGED} Stop what writes to the databases and run again; if it says the same, check the device."
        raise ContimgError(what, path=options.hdf5, hint=hint)


def vacuum(products: str) -> None:
    """Give the space that the table has left back to the file system.

    :raises ContimgError: when the database is in use; it is as it was then.
    """
    state = "The split is done and proved; the database is as large as it was."
    with connected() as connection, sqlite_failing("vacuum the products database", products, state):
        attached(connection, "src", uri_of(products, "mode=rw"))
        connection.execute("PRAGMA src.synchronous = EXTRA")
        connection.execute("VACUUM src")
        connection.execute("PRAGMA src.wal_checkpoint(TRUNCATE)")
