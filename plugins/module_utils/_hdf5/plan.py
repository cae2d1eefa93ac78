# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a split of the HDF5 index has to do, found by reading both databases without a trace."""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import (
    DERIVED,
    FILLED,
    ONCE,
    WAS_DERIVED,
    decided,
    reason,
    rejected,
    source,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import columns_of, number, reading, text_of
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import (
    COLUMNS,
    INDEX,
    LOCATIONS,
    REQUIRED,
    SCHEMA,
    table_with,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import read_header
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import Moves

__all__ = [
    "ACTIVE_HDF5_LOCATION",
    "Counts",
    "SplitOptions",
    "SplitPlan",
    "conflict_error",
    "differing",
    "equal",
    "exists",
    "fitting",
    "further",
    "make_split_plan",
    "schema_after",
    "target_wins",
    "without_index",
]

_NAMED = 20  # rows that an error lists
_UNTOUCHED = "Nothing was touched."
#: SQL that tells whether a storage location of products is one that the HDF5 database gets.
ACTIVE_HDF5_LOCATION = "location_type GLOB 'hdf5_*' AND status = 'active'"


@dataclass(frozen=True)
class SplitOptions:
    """The parameters of ``hdf5_db_split``; see its documentation.

    :ivar private: whether a new HDF5 database stays with the user who makes it, for nobody else to read.
    :ivar moves: paths that will have been rewritten in the rows of both databases before the split that is planned.
    """

    products: str
    hdf5: str
    keep_source: bool
    on_conflict: str
    backup_dir: str | None
    vacuum: bool
    rejected: str = "fail"
    moves: Moves | None = None
    compare_groups: bool = False
    prepared_dir: str | None = None
    private: bool = False


@dataclass
class Counts:
    """Rows of a table by what becomes of them.

    :ivar moved: new in the HDF5 database.
    :ivar merged: there already, and equal.
    :ivar conflicts: there already, and different.
    :ivar derived: with columns that were filled in.
    :ivar rejected: unfit for the schema.
    """

    moved: int = 0
    merged: int = 0
    conflicts: int = 0
    derived: int = 0
    rejected: int = 0


@dataclass
class SplitPlan:
    """What was found.

    :ivar index: counts of the index.
    :ivar locations: counts of the storage locations.
    :ivar columns: the columns of the index in the products database, name to type; empty where it has none.
    :ivar source_rows: rows of the index in the products database.
    :ivar target_rows: rows of the index in the HDF5 database.
    :ivar source_schema: statements of the products database.
    :ivar target_schema: statements of the HDF5 database, empty where it does not exist.
    :ivar added_columns: columns that the HDF5 database's table lacks, name to declaration.
    :ivar statements: statements of the schema that the HDF5 database lacks, by what they make.
    :ivar numbered: whether the rows keep the numbers that they have in products: the HDF5 database's table is new.
    :ivar taken: rows of the conflicts that replace the HDF5 database's.
    :ivar conflict_names: the first rows and locations that differ.
    :ivar conflict_columns: in how many rows of the conflicts each column differs, where any does.
    :ivar rejected_rows: the first rows that are unfit, with the reason.
    :ivar unfit: SQL that tells whether a row ``s`` is unfit.
    :ivar removes: whether rows leave the products database.
    :ivar drops: whether the table itself leaves it.
    :ivar hanging: views, triggers and tables of products that use the index.
    :ivar free_pages: pages of the products database that hold nothing.
    :ivar journal_mode: of the HDF5 database.
    """

    index: Counts = field(default_factory=Counts)
    locations: Counts = field(default_factory=Counts)
    columns: dict[str, str] = field(default_factory=dict)
    source_rows: int = 0
    target_rows: int = 0
    taken: int = 0
    source_schema: list[str] = field(default_factory=list)
    target_schema: list[str] = field(default_factory=list)
    added_columns: dict[str, str] = field(default_factory=dict)
    statements: dict[str, str] = field(default_factory=dict)
    numbered: bool = False
    conflict_names: list[str] = field(default_factory=list)
    conflict_columns: dict[str, int] = field(default_factory=dict)
    rejected_rows: list[str] = field(default_factory=list)
    hanging: list[str] = field(default_factory=list)
    unfit: str = "0"
    removes: bool = False
    drops: bool = False
    free_pages: int = 0
    journal_mode: str = "wal"

    def writes_target(self) -> bool:
        """Return whether the HDF5 database has to be made or changed. It is left alone where no row is to move."""
        rows = self.index.moved or self.taken or self.locations.moved
        return bool(self.fit_rows and (rows or self.statements or self.added_columns or self.journal_mode != "wal"))

    @property
    def fit_rows(self) -> int:
        """How many rows of the products database the HDF5 database gets, or has."""
        return self.source_rows - self.index.rejected


def exists(path: str) -> bool:
    """Return whether there is a database: an empty file, which an application leaves that has only connected, is none."""
    return target_exists(path) and os.stat(path).st_size > 0


def make_split_plan(options: SplitOptions) -> SplitPlan:
    """Read both databases and count what a split would do.

    :raises ContimgError: when a database cannot be read, or its layout is another one.
    """
    there = exists(options.hdf5)
    plan = SplitPlan()
    with reading(options.products, options.hdf5 if there else None, moves=options.moves) as connection:
        _read_source(plan, connection, options.products)
        if there:
            _read_target(plan, connection, options.hdf5)
        else:
            plan.statements = _lacking_statements(plan.columns, set())
        if plan.source_rows:
            plan.numbered = INDEX in plan.statements and _has_numbers(connection, plan.columns)
            _count_rows(plan, connection, options.on_conflict, there=there and INDEX not in plan.statements)
            stay = plan.index.rejected and options.rejected == "keep_in_products"
            plan.removes = not options.keep_source and bool(plan.fit_rows or not stay)
            plan.drops = plan.removes and not stay
            _count_locations(plan, connection, there=there and LOCATIONS not in plan.statements)
    return plan


def _schema(connection: sqlite3.Connection, alias: str) -> list[str]:
    rows = connection.execute(f"SELECT sql FROM {alias}.sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")  # noqa: S608
    return [text_of(sql) for (sql,) in rows]


def _read_source(plan: SplitPlan, connection: sqlite3.Connection, products: str) -> None:
    plan.source_schema = _schema(connection, "src")
    plan.free_pages = number(connection, "PRAGMA src.freelist_count")
    if columns_of(connection, "src", "hdf5_files"):
        hint = f"{_UNTOUCHED} This host needs no split."
        raise ContimgError("is the newer unified layout (it has a table hdf5_files)", path=products, hint=hint)
    plan.columns = columns_of(connection, "src", INDEX)
    lacking = [name for name in REQUIRED if name not in {known.lower() for known in plan.columns}]
    if plan.columns:
        plan.source_rows = number(connection, f"SELECT count(*) FROM src.{INDEX}")  # noqa: S608
    if plan.source_rows and lacking:
        hint = f"{_UNTOUCHED} docs/database-schemas.md tells which variants are known."
        raise ContimgError(f"has a table {INDEX} without {', '.join(lacking)}", path=products, hint=hint)
    plan.hanging = _hanging(connection)


def _has_numbers(connection: sqlite3.Connection, columns: dict[str, str]) -> bool:
    """Return whether the rows of products have numbers of SQLite's own: a table can do without, or use the name itself."""
    try:
        connection.execute(f"SELECT _rowid_ FROM src.{INDEX} LIMIT 0")  # noqa: S608
    except sqlite3.OperationalError:
        return False
    return "_rowid_" not in {name.lower() for name in columns}


def _hanging(connection: sqlite3.Connection) -> list[str]:
    """Return what would break with the index: views, triggers, references from other tables."""
    used = re.compile(rf"\b{INDEX}\b", re.IGNORECASE)
    referenced = re.compile(rf"\bREFERENCES\W+{INDEX}\b", re.IGNORECASE)
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM src.sqlite_master WHERE sql IS NOT NULL")
    found = []
    for kind, name, table, sql in (map(text_of, row) for row in rows):
        if kind in ("view", "trigger"):
            hangs = bool(used.search(sql)) or table == INDEX
        else:
            hangs = kind == "table" and name != INDEX and bool(referenced.search(sql))
        if hangs:
            found.append(f"{kind} {name}")
    return found


def further(columns: dict[str, str]) -> list[str]:
    """Return the columns that are not of the schema, in their order."""
    return [name for name in columns if name.lower() not in COLUMNS]


def _read_target(plan: SplitPlan, connection: sqlite3.Connection, hdf5: str) -> None:
    plan.target_schema = _schema(connection, "dst")
    header = read_header(hdf5)
    plan.journal_mode = header.journal_mode if header else ""
    rows = connection.execute("SELECT name FROM dst.sqlite_master WHERE type IN ('table', 'index')")
    plan.statements = _lacking_statements(plan.columns, {text_of(name) for (name,) in rows})
    columns = columns_of(connection, "dst", INDEX)
    if columns:
        plan.added_columns = _lacking_columns(plan.columns, columns, hdf5)
        plan.target_rows = number(connection, f"SELECT count(*) FROM dst.{INDEX}")  # noqa: S608
    _require_locations(connection, hdf5)


def _lacking_statements(columns: dict[str, str], there: set[str]) -> dict[str, str]:
    table = table_with({name: columns[name] for name in further(columns)})
    return {name: sql for name, sql in {**SCHEMA, INDEX: table}.items() if name not in there}


def _lacking_columns(ours: dict[str, str], theirs: dict[str, str], hdf5: str) -> dict[str, str]:
    known = {name.lower() for name in theirs}
    wanted = {**COLUMNS, **{name: ours[name] for name in further(ours)}}
    lacking = {name: kind for name, kind in wanted.items() if name.lower() not in known}
    mandatory = [name for name, kind in lacking.items() if name in COLUMNS and ("NOT NULL" in kind or name == "path")]
    if mandatory:
        hint = f"{_UNTOUCHED} Move it out of the way, or name another hdf5_db."
        raise ContimgError(f"has a table {INDEX} without {', '.join(mandatory)}", path=hdf5, hint=hint)
    return lacking


def _require_locations(connection: sqlite3.Connection, hdf5: str) -> None:
    columns = columns_of(connection, "dst", LOCATIONS)
    if columns and not {"name", "path", "description"} <= set(columns):
        hint = f"{_UNTOUCHED} Is this a products database? Name the HDF5 database."
        raise ContimgError(f"has a table {LOCATIONS} of another layout", path=hdf5, hint=hint)


def equal(columns: dict[str, str], theirs: dict[str, str] | None = None) -> str:
    """Return the SQL that tells whether a row ``t`` of the HDF5 database holds what a row ``s`` says.

    Only what the row itself says counts: what would be derived for it, or what only the HDF5 database has
    (coordinates, for example), is no difference. No time of indexing is 0.

    :param columns: the columns of the table in products.
    :param theirs: the columns of the table in the HDF5 database, where it may lack some.
    """
    return " AND ".join(_same(columns, theirs).values())


def _same(columns: Mapping[str, str], theirs: Mapping[str, str] | None) -> dict[str, str]:
    known = None if theirs is None else {name.lower() for name in theirs}
    terms = {}
    for name in columns:
        if name.lower() == "path":
            continue
        theirs_is = f"COALESCE(t.{quoted(name)}, 0)" if name.lower() == "indexed_at" else f"t.{quoted(name)}"
        same = "" if known is not None and name.lower() not in known else f" OR {theirs_is} IS s.{quoted(name)}"
        terms[name] = f"(s.{quoted(name)} IS NULL{same})"
    return terms


def differing(
    connection: sqlite3.Connection, pairs: str, columns: Mapping[str, str], theirs: Mapping[str, str]
) -> dict[str, int]:
    """Return in how many pairs of rows each column differs, where any does; see :func:`equal`.

    :param pairs: SQL of pairs of rows ``s`` and ``t`` of one path; it begins with ``FROM``.
    """
    terms = _same(columns, theirs)
    counts = ", ".join(f"total(NOT {term})" for term in terms.values())
    return {
        name: int(rows) for name, rows in zip(terms, connection.execute(f"SELECT {counts} {pairs}").fetchone()) if rows
    }


def conflict_error(
    tables: Mapping[str, Mapping[str, int]],
    *,
    names: Iterable[str],
    columns: Mapping[str, int],
    source: str,
    target: str,
    stays: str,
) -> ContimgError:
    """Return the error for rows that both databases have, and that differ.

    :param tables: the counts of each table.
    :param names: the first rows.
    :param columns: see :func:`differing`.
    :param source: the database whose rows move.
    :param target: the database that gets them.
    :param stays: what the operator calls that.
    """
    conflicts = sum(counts["conflicts"] for counts in tables.values())
    named = ", ".join(f"{name} ({rows})" for name, rows in columns.items())
    by_column = f", by column in {named}" if named else ""
    return ContimgError(
        f"{conflicts} rows differ from those of {source}{by_column}: {', '.join(names)}",
        path=target,
        hint="Nothing was touched. Decide with contimg_hdf5_on_conflict (the option on_conflict): with newest the row with the"
        f" later indexed_at stays, with keep that of the {stays} database.",
        tables=tables,
        conflict_columns=columns,
    )


def target_wins(on_conflict: str, theirs: dict[str, str] | None = None) -> str:
    """Return the SQL that tells whether a row ``t`` of the HDF5 database stays although ``s`` differs; see :func:`equal`."""
    if on_conflict != "newest":
        return "1"
    lacking = theirs is not None and "indexed_at" not in {name.lower() for name in theirs}
    return f"COALESCE({'NULL' if lacking else 't.indexed_at'}, 0) >= COALESCE(s.indexed_at, 0)"


def fitting(plan: SplitPlan) -> str:
    """Return the SQL that tells whether a row ``s`` moves. Where every row does, none is looked at."""
    return f"NOT {plan.unfit}" if plan.index.rejected else "1"


def _filled(plan: SplitPlan, connection: sqlite3.Connection) -> list[str]:
    """Return the columns that the HDF5 database declares NOT NULL beyond the schema, and that a split writes."""
    written = {**dict.fromkeys(COLUMNS), **dict.fromkeys(further(plan.columns))}
    rows = connection.execute(f"PRAGMA dst.table_xinfo({quoted(INDEX)})")
    mandatory = {text_of(row[1]).lower() for row in rows if row[3]}
    return [name for name in written if name.lower() in mandatory and name not in FILLED]


def _count_rows(plan: SplitPlan, connection: sqlite3.Connection, on_conflict: str, *, there: bool) -> None:
    theirs = columns_of(connection, "dst", INDEX) if there else {}
    filled = _filled(plan, connection) if there else []
    plan.unfit = rejected(filled)
    same = equal(plan.columns, theirs)
    classes = f"t.path IS NULL AS moved, {decided(same)} AS merged, {target_wins(on_conflict, theirs)} AS stays"
    classed = (
        f"SELECT {plan.unfit} AS rejected, {WAS_DERIVED} AS derived, {classes if there else '1 AS moved, 0 AS merged, 0 AS stays'}"  # noqa: S608
        f" FROM {source(plan.columns)} AS s"
        + (f" LEFT JOIN dst.{INDEX} AS t ON t.path = s.path {ONCE}" if there else f" {ONCE}")
    )
    differs = "NOT rejected AND NOT moved AND NOT merged"
    row = connection.execute(
        "SELECT total(rejected), total(NOT rejected AND derived), total(NOT rejected AND moved),"  # noqa: S608
        f" total(NOT rejected AND NOT moved AND merged), total({differs}), total({differs} AND NOT stays) FROM ({classed})"
    ).fetchone()
    unfit, derived, moved, merged, conflicts, taken = map(int, row)
    plan.index = Counts(moved=moved, merged=merged, conflicts=conflicts, derived=derived, rejected=unfit)
    plan.taken = taken if on_conflict == "newest" else 0
    plan.rejected_rows = _name_rejected(plan, connection, filled) if unfit else []
    if conflicts:
        pairs = (
            f"FROM {source(plan.columns)} AS s CROSS JOIN dst.{INDEX} AS t"
            f" WHERE t.path = s.path AND NOT {plan.unfit} AND NOT ({same})"
        )
        named = connection.execute(f"SELECT s.path {pairs} ORDER BY s.path LIMIT {_NAMED}")
        plan.conflict_names = [text_of(path) for (path,) in named]
        plan.conflict_columns = differing(connection, pairs, plan.columns, theirs)


def _name_rejected(plan: SplitPlan, connection: sqlite3.Connection, filled: list[str]) -> list[str]:
    names = list(dict.fromkeys([*REQUIRED, *DERIVED, *filled]))
    query = (
        f"SELECT {', '.join(f's.{quoted(name)}' for name in names)} FROM {source(plan.columns)} AS s"  # noqa: S608
        f" WHERE {plan.unfit} LIMIT {_NAMED}"
    )
    rows: list[dict[str, Any]] = [dict(zip(names, values)) for values in connection.execute(query)]
    return [f"{text_of(row['path'] or row['filename'] or 'a row')} {reason(row, filled)}" for row in rows]


def _wanted_locations(connection: sqlite3.Connection) -> dict[str, tuple[object, object]]:
    """Return path and description of the newest active HDF5 location of products by its name, ``hdf5_*``."""
    if "location_type" not in columns_of(connection, "src", LOCATIONS):
        return {}
    rows = connection.execute(
        f"SELECT CAST(location_type AS TEXT), base_path, description FROM src.{LOCATIONS}"  # noqa: S608
        f" WHERE {ACTIVE_HDF5_LOCATION} ORDER BY registered_at, id"
    )
    return {text_of(name): (path, note) for name, path, note in rows}


def _count_locations(plan: SplitPlan, connection: sqlite3.Connection, *, there: bool) -> None:
    found = {}
    if there:
        rows = connection.execute(f"SELECT name, path, description FROM dst.{LOCATIONS}")  # noqa: S608
        found = {text_of(name): (path, note) for name, path, note in rows}
    for name, (path, note) in _wanted_locations(connection).items():
        if name not in found:
            plan.locations.moved += 1
        elif found[name][0] == path and note in (None, found[name][1]):
            plan.locations.merged += 1
        else:
            plan.locations.conflicts += 1
            plan.conflict_names.append(f"location {name}")


def without_index(statements: list[str]) -> list[str]:
    """Return the statements of a schema but for those of the index."""
    leaving = re.compile(rf"CREATE (TABLE|(UNIQUE )?INDEX \S+ ON) \W*{INDEX}\b", re.IGNORECASE)
    return [sql for sql in statements if not leaving.match(" ".join(sql.split()))]


def schema_after(plan: SplitPlan) -> tuple[list[str], list[str]]:
    """Return the statements of both databases as a split leaves them."""
    kept = without_index(plan.source_schema) if plan.drops else plan.source_schema
    if not plan.writes_target():
        return kept, plan.target_schema
    added = [f"ALTER TABLE {INDEX} ADD COLUMN {quoted(name)} {kind}" for name, kind in plan.added_columns.items()]
    return kept, [*plan.target_schema, *plan.statements.values(), *added]
