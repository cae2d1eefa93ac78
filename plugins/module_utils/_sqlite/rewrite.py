# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rewriting the paths inside the rows of databases, each in one transaction, all of them or none.

A preview makes the same changes in a private copy: what a trigger, a constraint or an unknown function would do to a run is
found there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from dataclasses import asdict
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import (
    ContimgError,
    error_context,
    is_of_application,
    printable,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there, target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.private_directory import (
    PRIVATE_NAME,
    private_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import (
    IMMUTABLE,
    READ_WRITE,
    Place,
    connect,
    require_own_place,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import require_short_name, writable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import (
    SCHEMA,
    Column,
    Moves,
    columns_with_paths,
    encoding_of,
    paths_in,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import snapshot
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import collations_stood_in, quoted
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.virtual import (
    full_text_indexes,
    plain_tables,
    shadow_tables,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.virtual import FullTextIndex

__all__ = ["next_step", "rewrite", "rewritten", "run", "try_rewrite"]

_AS_BEFORE = "The database is as it was."
_LEAVE_OFF = (
    "leave contimg_rewrite_database_paths off (state: audited) and let the application change these rows after the move"
)
_DROP = f"Drop it for the time of the move, or {_LEAVE_OFF}."
# Of SQLite's words, how each kind of constraint begins; what is none of these is what a trigger says in RAISE(ABORT, ...).
_CONSTRAINTS = {
    "UNIQUE constraint failed": "Another row has the new value already. Decide which of the rows stays.",
    "CHECK constraint failed": f"The constraint forbids the new path. Let the application change it first, or {_LEAVE_OFF}.",
    "NOT NULL constraint failed": f"A trigger or a generated column has no value for the new path. {_DROP}",
    "FOREIGN KEY constraint failed": f"Another table refers to the old path. Let the application change both, or {_LEAVE_OFF}.",
}
_BY_TRIGGER = f"A trigger refuses the change in these words. {_DROP}"
_UNSAFE_TABLE = "unsafe use of virtual table"
_LONG_SECONDS = 30.0


def rewrite(plans: Mapping[str, Sequence[Column]], moves: Moves) -> list[str]:
    """Rewrite what was counted in each database, and return what triggers did besides. Nothing is kept unless all can be.

    :param plans: by the path of a database, the columns that :func:`paths_in` has counted.
    :raises ContimgError: when a database cannot be written, its rows are no longer those that were counted, a new path stands in
        another row already, or a trigger keeps rows from being changed. Each database is as it was then.
    """
    effects: list[str] = []
    with contextlib.ExitStack() as held:
        open_ones = []
        for path, columns in plans.items():
            connection = held.enter_context(_transaction(path, writable(path)))
            effects += _change(connection, path, columns, moves)
            open_ones.append((path, connection))
        for path, connection in open_ones:
            with error_context(
                "commit the paths in the database", path, "Run it again: what is committed is not changed twice."
            ):
                connection.execute("COMMIT")
    return effects


def try_rewrite(path: str, columns: Sequence[Column], moves: Moves, *, source: str) -> list[str]:
    """Make the same changes in a private copy of a database, and return what triggers did besides.

    :param path: the database as it is named in errors.
    :param source: the database that is copied, another one where this one is not there yet.
    :raises ContimgError: as :func:`rewrite` would, and when the copy cannot be made.
    """
    with _private_copy(source) as copy, _transaction(path, copy) as connection:
        return _change(connection, path, columns, moves)


@contextlib.contextmanager
def rewritten(path: str, moves: Moves) -> Iterator[Place]:
    """Give a state of a database in which the old paths are rewritten: a private copy, or its own where it has none of them.

    :raises ContimgError: as :func:`rewrite` would, and when the database cannot be read or copied.
    """
    columns = paths_in(path, moves)
    with contextlib.ExitStack() as stack:
        if not any(column.rows for column in columns):
            yield stack.enter_context(snapshot(path)).place
            return
        copy = stack.enter_context(_private_copy(path))
        with _transaction(path, copy) as connection:
            _change(connection, path, columns, moves)
            connection.execute("COMMIT")
        yield Place(copy.path, IMMUTABLE)


@contextlib.contextmanager
def _private_copy(source: str) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        copy = os.path.join(stack.enter_context(private_directory(state="Nothing was touched.")), PRIVATE_NAME)
        _copy_to_try(source, copy)
        yield Place(copy, READ_WRITE)


def _copy_to_try(source: str, copy: str) -> None:
    with snapshot(source) as state, error_context(
        "copy the database to try the change", source, "Nothing was touched."
    ):
        shutil.copyfile(state.opened, copy)


@contextlib.contextmanager
def _transaction(path: str, place: Place) -> Iterator[sqlite3.Connection]:
    """Hold a transaction on a database; one that is not committed is rolled back."""
    with error_context("rewrite the paths in the database", path, _AS_BEFORE):
        connection = connect(place, timeout=_LONG_SECONDS)
        try:
            connection.execute(
                "PRAGMA main.synchronous = EXTRA"
            )  # else a power loss brings the journal back, which undoes it
            connection.execute("BEGIN IMMEDIATE")
            yield connection
        finally:
            connection.close()


def _change(connection: sqlite3.Connection, path: str, columns: Sequence[Column], moves: Moves) -> list[str]:
    """Rewrite the columns of one database within a transaction; return what happens besides."""
    before = _counted(connection, path, moves)
    wanted = {(one.table, one.name): one.rows for one in columns if one.rows}
    if before != wanted:
        raise _written_meanwhile(path, wanted, before)
    indexes = {one: one.agrees(connection) for one in full_text_indexes(connection)} if wanted else {}
    rows, changes = _row_counts(connection), connection.total_changes
    updated = sum(_update(connection, path, one, moves) for one in columns if one.rows)
    others = connection.total_changes - changes - updated
    left = _counted(connection, path, moves)
    if left:
        raise _kept_by_trigger(connection, path, wanted, left)
    gained = {table: count - rows[table] for table, count in _row_counts(connection).items() if count != rows[table]}
    lost = [table for table, count in gained.items() if count < 0]
    if lost:
        raise ContimgError(
            f"a trigger or constraint removes rows of {', '.join(lost)} when paths are changed",
            path=path,
            hint=f"{_AS_BEFORE} {_DROP}",
        )
    said = [f"triggers {_said(connection, gained, others)}"] if others > 0 or gained else []
    for index, agreed in indexes.items():
        said += _keep_in_step(
            connection, path, index, agreed=agreed, tables={table for table, _name in wanted}, moves=moves
        )
    return [f"{printable(path)}: {one}" for one in said]


def _said(connection: sqlite3.Connection, gained: Mapping[str, int], others: int) -> str:
    added = [f"{count} rows to {table}" for table, count in gained.items()]
    parts = [f"add {', '.join(added)}"] if added else []
    changed = others - sum(gained.values())
    if changed > 0:
        of_indexes = ", with those in which full-text indexes are kept" if shadow_tables(connection) else ""
        parts.append(f"change {changed} further rows{of_indexes}")
    return " and ".join(parts)


def _keep_in_step(
    connection: sqlite3.Connection,
    path: str,
    index: FullTextIndex,
    *,
    agreed: bool | None,
    tables: set[str],
    moves: Moves,
) -> list[str]:
    """Rebuild a full-text index of other tables' rows if the change has left it behind; return what happens to it.

    :param agreed: whether it was that of the rows before the change, ``None`` where it cannot be checked.
    :param tables: those whose rows were changed.
    """
    name = f"the full-text index {index.name}"
    if not index.content:
        finds = any(index.may_find(connection, old) for old in moves.old)
        return [f"{name} keeps no rows and may find old paths. Let the application fill it again"] if finds else []
    if agreed is None:
        if index.content.lower() not in map(str.lower, tables):
            return []
        raise ContimgError(
            f"{name} cannot be checked, and rows of {index.content} that it indexes hold old paths",
            path=path,
            hint=f"{_AS_BEFORE} Rewrite it with the application, or {_LEAVE_OFF}.",
        )
    if not agreed:
        return [f"{name} did not match {index.content} before. This makes it match: {index.rebuilding()}"]
    if index.agrees(connection):
        return []
    _rebuild(connection, path, index)
    return [f"{name} is rebuilt from {index.content}"]


def _rebuild(connection: sqlite3.Connection, path: str, index: FullTextIndex) -> None:
    hint = f"{_AS_BEFORE} Let the application rebuild the index, or {_LEAVE_OFF}."
    with error_context(f"rebuild the full-text index {index.name}", path, hint):
        index.rebuild(connection)
    if not index.agrees(connection):
        raise ContimgError(
            f"the full-text index {index.name} does not match its rows when rebuilt", path=path, hint=hint
        )


def _counted(connection: sqlite3.Connection, path: str, moves: Moves) -> dict[tuple[str, str], int]:
    with error_context("count the paths in the database", path, _AS_BEFORE):
        return {(one.table, one.name): one.rows for one in columns_with_paths(connection, moves) if one.rows}


def _row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows of each table but those in which virtual tables keep theirs as it suits them."""
    shadows = shadow_tables(connection)
    tables = [table for table in plain_tables(connection) if table not in shadows]
    with collations_stood_in(connection, tables):
        return {
            name: connection.execute(f"SELECT count(*) FROM main.{quoted(name)} NOT INDEXED").fetchone()[0]  # noqa: S608
            for name in tables
        }


def _update(connection: sqlite3.Connection, path: str, column: Column, moves: Moves) -> int:
    """Rewrite a column and return how many rows that changed, without those that triggers changed."""
    name, encoding = quoted(column.name), encoding_of(connection)
    # ABORT, since a constraint may have REPLACE for its own: that would remove the other row.
    statement = (
        f"UPDATE OR ABORT main.{quoted(column.table)} SET {name} = {moves.moved(name, encoding)}"  # noqa: S608
        f" WHERE {moves.is_old(name, encoding)}"
    )
    try:
        return _executed(connection, statement).rowcount
    except sqlite3.IntegrityError as error:
        what = f"{column.table}.{column.name} cannot take the new paths: SQLite reports '{error}'"
        raise ContimgError(what, path=path, hint=f"{_AS_BEFORE} {next_step(str(error))}") from error
    except sqlite3.Error as error:
        if not is_of_application(error):
            raise
        what = f"{column.table}.{column.name} cannot be changed outside the application: SQLite reports '{error}'"
        drop = "Drop the trigger, index or constraint that needs it for the time of the move"
        hint = f"{_AS_BEFORE} It is not damaged. {drop}, or {_LEAVE_OFF}."
        raise ContimgError(what, path=path, hint=hint) from error


def _executed(connection: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
    """Execute a statement, also where triggers keep a full-text index in step.

    Some versions of SQLite call their own virtual tables unsafe there. The schema is trusted then, as it is for functions of
    JSON (``_sqlite/connection``): none of SQLite's own does harm.
    """
    try:
        return connection.execute(statement)
    except sqlite3.OperationalError as error:
        if _UNSAFE_TABLE not in str(error):
            raise
        connection.execute("PRAGMA trusted_schema = ON")
        return connection.execute(statement)


def next_step(words: str) -> str:
    """Return what an operator does about a constraint, by the words in which SQLite reports that it failed."""
    return next((step for beginning, step in _CONSTRAINTS.items() if words.startswith(beginning)), _BY_TRIGGER)


def _written_meanwhile(
    path: str, wanted: Mapping[tuple[str, str], int], found: Mapping[tuple[str, str], int]
) -> ContimgError:
    table, name = next(one for one in sorted({*wanted, *found}) if wanted.get(one) != found.get(one))
    before, now = wanted.get((table, name), 0), found.get((table, name), 0)
    return ContimgError(
        f"{table}.{name} had {before} rows to change, now {now}: a process writes to it",
        path=path,
        hint=f"{_AS_BEFORE} Stop its writers, and run it again.",
    )


def _kept_by_trigger(
    connection: sqlite3.Connection,
    path: str,
    wanted: Mapping[tuple[str, str], int],
    left: Mapping[tuple[str, str], int],
) -> ContimgError:
    table, name = sorted(left)[0]
    triggers = [
        one for (one,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'trigger' ORDER BY name")
    ]
    did = "keeps the old path in" if (table, name) in wanted else "writes the old path to"
    return ContimgError(
        f"a trigger ({', '.join(triggers) or 'of a view'}) {did} {left[table, name]} rows of {table}.{name}",
        path=path,
        hint=f"{_AS_BEFORE} Drop the trigger for the time of the move, or {_LEAVE_OFF}.",
    )


def run(parameters: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the module's parameters ask for.

    :raises ContimgError: see :func:`paths_in`, :func:`rewrite` and :func:`try_rewrite`.
    """
    moves = Moves([(pair["from"], pair["to"]) for pair in parameters["repoint"]])
    known = known_names(parameters["known"])
    plain = {path: path for path in parameters["paths"]}
    pending = parameters["copies_pending"]
    asked = {**plain, **{one["path"]: _readable(one, check=check, pending=pending) for one in parameters["databases"]}}
    found = {path: paths_in(readable, moves) for path, readable in asked.items() if is_there(readable)}
    rewriting = parameters["state"] == "rewritten"
    for path in asked.values() if rewriting else ():
        require_own_place(path)
    plans = {path: columns for path, columns in found.items() if any(column.rows for column in columns)}
    effects: list[str] = []
    if rewriting and check:
        for path, columns in plans.items():
            require_short_name(path, like=asked[path])
            effects += try_rewrite(path, columns, moves, source=asked[path])
    elif rewriting:
        effects = rewrite(plans, moves)
    listed = [{"database": printable(path), **asdict(column)} for path in found for column in found[path]]
    live = [one for one in listed if not any(map(known.match, _names_of(one)))]
    totals = _sums(listed)
    changed = rewriting and totals["rows"] > 0
    return {
        "changed": changed,
        "columns": listed,
        "missing": [printable(path) for path in asked if path not in found],
        "totals": {**totals, "live": sum(_sums(live).values())},
        "live_lines": list(map(_line_of, live)),
        "warnings": effects + (_left_in_schema(live) if rewriting else []),
        "diff": _diff(listed) if changed else {},
    }


def _names_of(column: Mapping[str, Any]) -> tuple[str, str]:
    return column["database"], f"{column['database']}:{column['table']}.{column['name']}"


def _sums(columns: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {what: sum(one[what] for one in columns) for what in ("rows", "mentions")}


def _line_of(column: Mapping[str, Any]) -> str:
    if column["table"] == SCHEMA:
        return f"{column['database']}: {column['table']}.{column['name']}: a definition that mentions it"
    others = f", {column['mentions']} other values that mention it" if column["mentions"] else ""
    return f"{column['database']}: {column['table']}.{column['name']}: {column['rows']} rows{others}"


def _left_in_schema(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each definition that goes on naming an old path when rows are rewritten."""
    what = "names an old path in the schema, from which new rows may get it. Let the application change its definition"
    return [f"{one['database']}: {one['name']} {what}" for one in columns if one["table"] == SCHEMA]


def _readable(database: Mapping[str, Any], *, check: bool, pending: bool) -> str:
    """Return the database to read: in check mode, where it will be copied from if it is not there yet, or is replaced."""
    path, source = str(database["path"]), database["preview_from"]
    previews = check and source is not None and ((pending and database["replaced"]) or not target_exists(path))
    return str(source) if previews else path


def _diff(columns: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    lines = [
        f"{one['database']}: {one['table']}.{one['name']}: {one['rows']} rows below" for one in columns if one["rows"]
    ]
    return {
        side: "".join(f"{line} the {side_name} path\n" for line in lines)
        for side, side_name in (("before", "old"), ("after", "new"))
    }
