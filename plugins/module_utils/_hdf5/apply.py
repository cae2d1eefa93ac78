# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a split writes: first the HDF5 database, then, when that is proved, the products database.

A transaction over two databases in WAL mode is atomic for each, not for both. So a crash can leave the rows in both,
never in none: the next run finds them equal and goes on with the removal.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import ROW, VALUES, source, source_row
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import (
    attached,
    connected,
    sqlite_failing,
    text_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.plan import (
    ACTIVE_HDF5_LOCATION,
    SplitOptions,
    SplitPlan,
    equal,
    fitting,
    further,
    target_wins,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.prepared import copied, file_of
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.prove import prove, proving_rows, require_sound
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.rejected import export_rejected
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import INDEX, LOCATIONS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import real_path
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.create import new_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import writable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import snapshot
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from typing import ContextManager

    from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.prepared import Prepared
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import Connection, Place
    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Facts

__all__ = ["Applied", "Made", "apply_split", "vacuum"]

_UNCHANGED = "No row was removed anywhere."
_DONE = "The split is done and proved."
_MANY_ROWS = 20000  # from here on, if they are many beside what is there, indexes are faster made again than kept up
_CREATE = re.compile(r"CREATE (TABLE|UNIQUE INDEX|INDEX) ")


class Made(NamedTuple):
    """A new HDF5 database that is a prepared one to the byte.

    :ivar facts: what is known of that one.
    :ivar file: what :func:`file_of` says of it before it gets its name.
    """

    facts: Facts
    file: tuple[int, ...] | None


class Applied(NamedTuple):
    """What a split has written.

    :ivar exported: the path of the export, empty where nothing was exported.
    :ivar made: the HDF5 database where it is a prepared one, else ``None``.
    """

    exported: str
    made: Made | None


def apply_split(options: SplitOptions, plan: SplitPlan, prepared: Prepared | None = None) -> Applied:
    """Make or fill the HDF5 database and prove it; then remove the rows from products, in a transaction of its own.

    Rows that do not fit stay there, or are exported before, as the options say.

    No process can write to products from the first row that is read to the removal: one lock stands over all of it.

    :param prepared: what a new HDF5 database begins with.
    :raises ContimgError: when something cannot be written or proved, or has changed since it was planned.
    """
    made = None
    with _products_held(options, locks=plan.removes) as (products, guard):
        if plan.writes_target() and not plan.target_schema:
            made = _make(options, plan, products, prepared)
        elif plan.fit_rows:
            if plan.writes_target():
                _fill(options, plan, products)
            prove(options, plan, products=products, hdf5=options.hdf5)
        return Applied("" if guard is None else _remove(options, plan, guard), made)


@contextlib.contextmanager
def _products_held(options: SplitOptions, *, locks: bool) -> Iterator[tuple[Place, Connection | None]]:
    """Give the place from which products is read; with ``locks`` also a connection whose transaction keeps writers away.

    Without ``locks`` it is read without a trace.
    """
    if not locks:
        with contextlib.ExitStack() as held:
            yield held.enter_context(snapshot(options.products)).place, None
        return
    place = writable(options.products)
    with connected() as guard:
        with sqlite_failing("lock the products database", options.products, _UNCHANGED):
            attached(guard, "src", place)
            guard.execute("PRAGMA src.synchronous = EXTRA")
            guard.execute("PRAGMA src.secure_delete = OFF")  # rows that live on elsewhere need no wiping
            guard.execute("BEGIN")
            guard.execute(f"DELETE FROM src.{INDEX} WHERE 0")  # noqa: S608
        yield place, guard


@contextlib.contextmanager
def _both(options: SplitOptions, products: Place, hdf5: str) -> Iterator[Connection]:
    with sqlite_failing("write the HDF5 database", options.hdf5, _UNCHANGED), connected() as connection:
        attached(connection, "dst", writable(hdf5))
        attached(connection, "src", products)
        yield connection


def _make(options: SplitOptions, plan: SplitPlan, products: Place, prepared: Prepared | None) -> Made | None:
    """Make the HDF5 database in a file of its own, which gets its place when it is whole, proved and durable.

    A prepared one that cannot be used costs time, and nothing else: it is made anew.

    :return: the prepared one, where it was taken as it is.
    """
    # Without numbers, rows that are written anew would stand in another order.
    if prepared is not None and plan.numbered:
        with contextlib.suppress(ContimgError):
            with _new(options, functools.partial(copied, prepared)) as temporary:
                return _take_prepared(options, plan, products, prepared, temporary)
    with _new(options) as temporary:
        with _both(options, products, temporary) as connection:
            _without_journal(connection)
            connection.execute("BEGIN")
            _write_rows(connection, options, plan)
            connection.execute("COMMIT")
            with proving_rows(options, plan, products=products, hdf5=temporary):
                connection.execute("BEGIN")
                _make_indexes(connection, plan)
                connection.execute("COMMIT")
            connection.execute("PRAGMA dst.journal_mode = WAL")
        require_sound(options, temporary)
    return None


def _new(options: SplitOptions, fill: Callable[[int], None] | None = None) -> ContextManager[str]:
    like = None if options.private else options.products
    return new_database(real_path(options.hdf5), like=like, state=_UNCHANGED, fill=fill)


def _without_journal(connection: sqlite3.Connection) -> None:
    """Write without a journal: no process knows this file before it has been flushed and named."""
    for setting in ("auto_vacuum = NONE", "journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
        connection.execute(f"PRAGMA dst.{setting}")


def _take_prepared(
    options: SplitOptions, plan: SplitPlan, products: Place, prepared: Prepared, temporary: str
) -> Made | None:
    """Take a copy of a prepared database; where products has changed since, write what differs and prove every row."""
    if prepared.is_current(options.products):
        return Made(prepared.facts, file_of(temporary))
    with _both(options, products, temporary) as connection:
        rows = connection.execute("SELECT sql FROM dst.sqlite_master WHERE sql IS NOT NULL")
        if {text_of(sql) for (sql,) in rows} != set(plan.statements.values()):
            raise ContimgError("has another schema than a split makes", path=prepared.path)
        _without_journal(connection)
        connection.execute("BEGIN")
        _bring_up_to_date(connection, plan)
        connection.execute("COMMIT")
        connection.execute("PRAGMA dst.journal_mode = WAL")
    prove(options, plan, products=products, hdf5=temporary)
    return None


def _bring_up_to_date(connection: sqlite3.Connection, plan: SplitPlan) -> None:
    """Delete the rows that are not what a row of products becomes now, and write those that are lacking then.

    Every value counts: one that products has lost since would else stay, since a row that lacks it is equal to one that has it.
    """
    same = f"t._rowid_ = s.{ROW}"
    # A column of the schema has a type, to which a value is converted. In another one, 1 and 1.0 are equal, and are two contents.
    own = {quoted(name) for name in further(plan.columns)}
    written = " AND ".join(
        f"quote(t.{name}) IS quote({value})" if name in own else f"t.{name} IS {value}"
        for name, value in _values(plan).items()
    )
    connection.execute(
        f"DELETE FROM dst.{INDEX} WHERE _rowid_ NOT IN (SELECT t._rowid_ FROM {source(plan.columns, numbered=True)} AS s"  # noqa: S608
        f" CROSS JOIN dst.{INDEX} AS t ON {same} WHERE {fitting(plan)} AND {written})"
    )
    _insert_rows(connection, plan, f"NOT EXISTS (SELECT 1 FROM dst.{INDEX} AS t WHERE {same})")  # noqa: S608
    connection.execute(f"DELETE FROM dst.{LOCATIONS}")  # noqa: S608
    _insert_locations(connection, plan)


def _fill(options: SplitOptions, plan: SplitPlan, products: Place) -> None:
    """Add to the HDF5 database what it lacks, in one transaction."""
    with _both(options, products, options.hdf5) as connection:
        connection.execute("PRAGMA dst.synchronous = EXTRA")
        connection.execute("PRAGMA dst.journal_mode = WAL")
        connection.execute("BEGIN")
        many = plan.index.moved > max(_MANY_ROWS, plan.target_rows // 4)
        taken_off = _take_indexes_off(connection) if many else []
        _write_rows(connection, options, plan)
        _make_indexes(connection, plan, *taken_off)
        connection.execute("COMMIT")
        connection.execute("PRAGMA dst.wal_checkpoint(TRUNCATE)")
    with error_context("flush the directory", options.hdf5, _UNCHANGED):
        sync_directory(os.path.dirname(real_path(options.hdf5)))


def _write_rows(connection: sqlite3.Connection, options: SplitOptions, plan: SplitPlan) -> None:
    """Write the tables that are lacking, all rows of the index and all locations, within the transaction that is open."""
    for sql in _tables(plan).values():
        connection.execute(_in_target(sql))
    for name, kind in plan.added_columns.items():
        connection.execute(f"ALTER TABLE dst.{INDEX} ADD COLUMN {quoted(name)} {kind}")
    done = _replace_rows(connection, plan, options.on_conflict) if plan.taken else 0
    done += _insert_rows(connection, plan)
    if done != plan.index.moved + plan.taken:
        raise ContimgError(
            f"{done} rows were about to be written instead of the {plan.index.moved + plan.taken} that were planned",
            path=options.hdf5,
            hint=f"{_UNCHANGED} Somebody writes to one of the databases: stop its services and run again.",
        )
    _insert_locations(connection, plan)


def _insert_locations(connection: sqlite3.Connection, plan: SplitPlan) -> None:
    if plan.locations.moved:  # the newest comes first, and its name is then taken
        connection.execute(
            f"INSERT OR IGNORE INTO dst.{LOCATIONS} (name, path, description)"  # noqa: S608
            f" SELECT location_type, base_path, description FROM src.{LOCATIONS} WHERE {ACTIVE_HDF5_LOCATION}"
            " ORDER BY registered_at DESC, id DESC"
        )


def _make_indexes(connection: sqlite3.Connection, plan: SplitPlan, *others: str) -> None:
    for sql in [*(sql for name, sql in plan.statements.items() if name not in _tables(plan)), *others]:
        connection.execute(_in_target(sql))


def _tables(plan: SplitPlan) -> dict[str, str]:
    return {name: sql for name, sql in plan.statements.items() if sql.startswith("CREATE TABLE")}


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


def _insert_rows(connection: sqlite3.Connection, plan: SplitPlan, which: str = "1") -> int:
    """Write rows, and return how many.

    :param which: SQL that tells whether a row ``s`` is one of them.
    """
    numbers = {"_rowid_": f"s.{ROW}"} if plan.numbered else {}
    values = {**numbers, **_values(plan)}
    verb = "INSERT" if INDEX in plan.statements else "INSERT OR IGNORE"
    return connection.execute(
        f"{verb} INTO dst.{INDEX} ({', '.join(values)}) SELECT {', '.join(values.values())}"  # noqa: S608
        f" FROM {source(plan.columns, numbered=plan.numbered)} AS s WHERE {fitting(plan)} AND {which}"
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
        f" WHERE {fitting(plan)} AND NOT ({equal(plan.columns)}) AND NOT ({target_wins(on_conflict)})"
        f" ON CONFLICT(path) DO UPDATE SET {changes}"
    ).rowcount


def _remove(options: SplitOptions, plan: SplitPlan, guard: sqlite3.Connection) -> str:
    """Remove the rows from products, whose lock the connection holds, and commit that; return the path of the export."""
    exported = ""
    if plan.drops and plan.index.rejected:
        exported = export_rejected(options, plan, guard)
    with sqlite_failing("remove the rows from the products database", options.products, _UNCHANGED):
        if plan.drops:
            guard.execute(f"DROP TABLE src.{INDEX}")
        else:
            _delete_fitting(options, plan, guard)
        guard.execute("COMMIT")
    with sqlite_failing("empty the log of the products database", options.products, _DONE):
        guard.execute("PRAGMA src.wal_checkpoint(TRUNCATE)")
    with error_context("flush the directory", options.products, _DONE):
        sync_directory(os.path.dirname(real_path(options.products)))
    return exported


def _delete_fitting(options: SplitOptions, plan: SplitPlan, guard: sqlite3.Connection) -> None:
    """Delete the rows that have moved, each by its own values: a table may number its rows, or not."""
    fits = f"(SELECT {fitting(plan)} FROM {source_row(plan.columns)} AS s)"  # noqa: S608
    done = guard.execute(f"DELETE FROM src.{INDEX} WHERE {fits}").rowcount  # noqa: S608
    if done != plan.fit_rows:
        raise ContimgError(
            f"{done} rows were about to be removed instead of the {plan.fit_rows} that were planned",
            path=options.products,
            hint=f"{_UNCHANGED} A process writes to it: stop its services and run again.",
        )


def vacuum(products: str) -> None:
    """Give the space that the table has left back to the file system.

    :raises ContimgError: when the database is in use; it is as it was then.
    """
    state = "The split is done and proved; the database is as large as it was."
    with connected() as connection, sqlite_failing("vacuum the products database", products, state):
        attached(connection, "src", writable(products))
        connection.execute("PRAGMA src.synchronous = EXTRA")
        connection.execute("VACUUM src")
        connection.execute("PRAGMA src.wal_checkpoint(TRUNCATE)")
