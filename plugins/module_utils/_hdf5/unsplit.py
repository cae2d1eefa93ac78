# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of a split: the products database gets the index again, in one transaction. The HDF5 database is kept.

Only the products database is written to, and both are locked from the first row that is read to the commit. So a crash leaves the
products database as it was, or with every row.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import Need, require_room
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.answers import answers_of, require_same_answers
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import decided
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import (
    attached,
    connected,
    number,
    sqlite_failing,
    text_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.plan import (
    conflict_error,
    exists,
    target_wins,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import INDEX
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import refuse_places
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit_plan import (
    UnsplitOptions,
    UnsplitPlan,
    make_unsplit_plan,
    pairs,
    schema_after_unsplit,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.backup import back_up_database, plan_backup
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import writable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    import sqlite3
    from typing import Any

__all__ = ["unsplit"]

_UNTOUCHED = "Nothing was touched."
_UNCHANGED = "The products database is as it was."
_DONE = "The products database has every row."
_ROW_BYTES = 1024  # of the products database for a row, with its indexes, and of its log
_CREATE = re.compile(r"CREATE (TABLE|INDEX) ")


def unsplit(options: UnsplitOptions, *, check: bool) -> dict[str, Any]:
    """Plan the way back, do it outside check mode, and return the module's result.

    :raises ContimgError: when rows are in conflict or have no place (nothing has changed then), or a database cannot be used; when
        the products database then answers otherwise than the HDF5 database, and ``compare_groups`` is set.
    """
    refuse_places(options.products, options.hdf5)
    if not exists(options.hdf5):
        raise ContimgError(
            "the HDF5 database does not exist", path=options.hdf5, hint=f"{_UNTOUCHED} Is this host split?"
        )
    plan = make_unsplit_plan(options)
    _refuse(options, plan)
    changed = plan.writes()
    backup = "" if check else _carry_out(options, plan)
    places = {"products": options.products, "hdf5": options.hdf5}
    before, after = (
        "".join(f"{' '.join(line.split())}\n" for line in schema)
        for schema in (plan.source_schema, schema_after_unsplit(plan))
    )
    return {
        "changed": changed,
        "tables": {INDEX: asdict(plan.index)},
        "conflict_columns": plan.conflict_columns,
        "backup_file": backup,
        "checksums": {name: content_checksum(path) for name, path in places.items()},
        "diff": {"before": before, "after": after} if changed else {},
    }


def _carry_out(options: UnsplitOptions, plan: UnsplitPlan) -> str:
    """Do what a plan says, and compare the groups if that is wanted. Returns the copy of products, empty where none was made."""
    if not (options.compare_groups and plan.rows):
        return _written(options, plan)
    # Also where nothing is to be written: a run that was killed after its commit has not compared them.
    before = answers_of(options.hdf5)
    backup = _written(options, plan)
    kept = backup or ("not kept" if plan.writes() else "the same")
    back = " To go back, put that copy in its place while the services are stopped." if backup else ""
    require_same_answers(
        before,
        source=options.hdf5,
        target=options.products,
        rejected=0,
        exact=not plan.index.own + plan.index.conflicts,
        state=f"The HDF5 database is unchanged; the products database as it was is {kept}.{back}",
    )
    return backup


def _written(options: UnsplitOptions, plan: UnsplitPlan) -> str:
    """Write what a plan says. Returns the copy of the products database, empty where none was made."""
    backup = ""
    if plan.writes():
        _require_space(options, plan)
        if options.backup_dir is not None:
            backup = back_up_database(plan_backup(options.products, options.backup_dir))
        _apply(options, plan)
    return backup


def _refuse(options: UnsplitOptions, plan: UnsplitPlan) -> None:
    if plan.writes() and plan.triggers:
        hint = f"{_UNTOUCHED} Drop them first, and make them again afterwards."
        what = f"these triggers would run for every row: {', '.join(plan.triggers)}"
        raise ContimgError(what, path=options.products, hint=hint)
    if plan.index.conflicts and options.on_conflict == "fail":
        tables, names, columns = {INDEX: asdict(plan.index)}, plan.conflict_names, plan.conflict_columns
        raise conflict_error(
            tables, names=names, columns=columns, source=options.hdf5, target=options.products, stays="products"
        )


def _require_space(options: UnsplitOptions, plan: UnsplitPlan) -> None:
    """Refuse where a file system has no room for the rows, twice: in the log and in the database."""
    rows = min(2 * os.stat(options.hdf5).st_size, plan.index.moved * _ROW_BYTES)
    needs = [
        Need(
            os.path.dirname(os.path.abspath(options.products)),
            "the rows and the WAL of the products database",
            2 * rows,
        )
    ]
    if options.backup_dir is not None:
        size = os.stat(options.products).st_size
        needs.append(Need(options.backup_dir, "the backup of the products database", size))
    require_room(needs, hint=f"{_UNTOUCHED} Make room and run again.")


def _apply(options: UnsplitOptions, plan: UnsplitPlan) -> None:
    """Write the rows, prove them, and only then commit.

    :raises ContimgError: when something cannot be written or proved, or has changed since it was planned.
    """
    with sqlite_failing("write the products database", options.products, _UNCHANGED), connected() as connection:
        attached(connection, "src", writable(options.products))
        attached(connection, "dst", writable(options.hdf5))
        connection.execute("PRAGMA src.synchronous = EXTRA")
        connection.execute("BEGIN IMMEDIATE")  # of both: no process can write to either
        _write(connection, options, plan)
        _prove(connection, options, plan)
        connection.execute("COMMIT")
        with sqlite_failing("checkpoint the products database", options.products, _DONE):
            connection.execute("PRAGMA src.wal_checkpoint(TRUNCATE)")
    with error_context("flush the directory", options.products, _DONE):
        sync_directory(os.path.dirname(os.path.abspath(options.products)))


def _write(connection: sqlite3.Connection, options: UnsplitOptions, plan: UnsplitPlan) -> None:
    if plan.replaces:
        if number(connection, f"SELECT count(*) FROM src.{INDEX}"):  # noqa: S608
            _refuse_change(options, "has rows in a table that was empty")
        connection.execute(f"DROP TABLE src.{INDEX}")
    if INDEX in plan.statements:
        connection.execute(_CREATE.sub(r"CREATE \1 src.", plan.statements[INDEX], count=1))
    for name, kind in plan.added_columns.items():
        connection.execute(f"ALTER TABLE src.{INDEX} ADD COLUMN {quoted(name)} {kind}")
    done = _replace_rows(connection, options, plan) if plan.taken else 0
    done += _insert_rows(connection, plan)
    if done != plan.index.moved + plan.taken:
        _refuse_change(options, f"{done} rows were about to be written instead of {plan.index.moved + plan.taken}")
    for name, statement in plan.statements.items():
        if name != INDEX:
            connection.execute(_CREATE.sub(r"CREATE \1 src.", statement, count=1))


def _refuse_change(options: UnsplitOptions, found: str) -> None:
    hint = f"{_UNCHANGED} A process writes to one of the databases: stop its services and run again."
    raise ContimgError(found, path=options.products, hint=hint)


def _values(plan: UnsplitPlan) -> dict[str, str]:
    """Return the SQL of every column that a row gets, by the quoted name of the column."""
    return {
        quoted(name): "COALESCE(s.indexed_at, 0)" if name.lower() == "indexed_at" else f"s.{quoted(name)}"
        for name in plan.columns
    }


def _insert_rows(connection: sqlite3.Connection, plan: UnsplitPlan) -> int:
    values = _values(plan)
    return connection.execute(
        f"INSERT OR IGNORE INTO src.{INDEX} ({', '.join(values)}) SELECT {', '.join(values.values())}"  # noqa: S608
        f" FROM dst.{INDEX} AS s NOT INDEXED"
    ).rowcount


def _replace_rows(connection: sqlite3.Connection, options: UnsplitOptions, plan: UnsplitPlan) -> int:
    """Let the rows of the HDF5 database win that are newer; what they do not say stays as it is."""
    values = _values(plan)
    changes = ", ".join(f"{name} = COALESCE(excluded.{name}, {name})" for name in values if name != quoted("path"))
    return connection.execute(
        f"INSERT INTO src.{INDEX} ({', '.join(values)}) SELECT {', '.join(values.values())}"  # noqa: S608
        f" FROM dst.{INDEX} AS s CROSS JOIN src.{INDEX} AS t ON t.path = s.path"
        f" WHERE NOT ({pairs(plan)}) AND NOT ({target_wins(options.on_conflict)}) ON CONFLICT(path) DO UPDATE SET {changes}"
    ).rowcount


def _prove(connection: sqlite3.Connection, options: UnsplitOptions, plan: UnsplitPlan) -> None:
    """Compare every row of both within the transaction, and let SQLite check the structure. Raises ContimgError."""
    right = pairs(plan)
    if plan.index.conflicts:
        right = f"({right}) OR ({target_wins(options.on_conflict)})"
    right = decided(f"t.path IS s.path AND ({right})")
    wrong = number(
        connection,
        f"SELECT count(*) FROM dst.{INDEX} AS s NOT INDEXED LEFT JOIN src.{INDEX} AS t ON t.path = s.path"  # noqa: S608
        f" WHERE NOT {right}",
    )
    rows = number(connection, f"SELECT count(*) FROM src.{INDEX}")  # noqa: S608
    structure = text_of(connection.execute("PRAGMA src.quick_check(1)").fetchone()[0])
    if wrong or rows != plan.rows + plan.index.own or structure != "ok":
        found = f"{wrong} rows are missing or differ, it would have {rows}, its check reports '{structure}'"
        hint = f"{_UNCHANGED} Stop what writes to the databases and run again; if it says the same, check the device."
        raise ContimgError(f"would not hold what the HDF5 database does: {found}", path=options.products, hint=hint)
