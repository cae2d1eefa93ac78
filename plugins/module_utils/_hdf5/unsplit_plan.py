# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the way back of a split has to do, found by reading both databases without a trace.

As in a split, the products database is ``src`` and the HDF5 database ``dst``. Here the rows ``s`` are those of the HDF5 database,
and the rows ``t`` those that products has already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import DERIVED, decided
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import columns_of, number, reading, text_of
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.plan import (
    differing,
    equal,
    target_wins,
    without_index,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import (
    COLUMNS,
    INDEX,
    PRODUCTS_COLUMNS,
    PRODUCTS_INDEXES,
    REQUIRED,
    products_table_with,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

if TYPE_CHECKING:
    import sqlite3

__all__ = ["UnsplitCounts", "UnsplitOptions", "UnsplitPlan", "make_unsplit_plan", "pairs", "schema_after_unsplit"]

_NAMED = 20  # rows that an error lists
_UNTOUCHED = "Nothing was touched."
_NEWER = [name for name in COLUMNS if name not in PRODUCTS_COLUMNS]


@dataclass(frozen=True)
class UnsplitOptions:
    """The parameters of ``hdf5_db_unsplit``; see its documentation."""

    products: str
    hdf5: str
    on_conflict: str
    backup_dir: str | None
    compare_groups: bool = False


@dataclass
class UnsplitCounts:
    """Rows of the index by what becomes of them.

    :ivar moved: new in the products database.
    :ivar merged: there already, and equal.
    :ivar conflicts: there already, and different.
    :ivar own: rows that only the products database has, and that stay.
    """

    moved: int = 0
    merged: int = 0
    conflicts: int = 0
    own: int = 0


@dataclass
class UnsplitPlan:
    """What was found.

    :ivar index: counts of the index.
    :ivar rows: rows of the index in the HDF5 database.
    :ivar taken: rows of the conflicts that replace those of products.
    :ivar columns: the columns that are copied.
    :ivar statements: statements of the table and its indexes that products lacks, by what they make.
    :ivar added_columns: columns that the table of products lacks, name to declaration.
    :ivar replaces: whether an empty table of products, in which the rows have no place, is made anew.
    :ivar conflict_names: the first rows that differ.
    :ivar conflict_columns: in how many rows of the conflicts each column differs, where any does.
    :ivar triggers: triggers of products that would run for every row.
    :ivar source_schema: statements of the products database.
    """

    index: UnsplitCounts = field(default_factory=UnsplitCounts)
    rows: int = 0
    taken: int = 0
    columns: list[str] = field(default_factory=list)
    statements: dict[str, str] = field(default_factory=dict)
    added_columns: dict[str, str] = field(default_factory=dict)
    replaces: bool = False
    conflict_names: list[str] = field(default_factory=list)
    conflict_columns: dict[str, int] = field(default_factory=dict)
    triggers: list[str] = field(default_factory=list)
    source_schema: list[str] = field(default_factory=list)

    def writes(self) -> bool:
        """Return whether the products database has to be changed."""
        return bool(self.rows and (self.index.moved or self.taken or self.statements or self.added_columns))


def make_unsplit_plan(options: UnsplitOptions) -> UnsplitPlan:
    """Read both databases and count what an unsplit would do.

    :raises ContimgError: when a database cannot be read, or its layout is another one.
    """
    plan = UnsplitPlan()
    with reading(options.products, options.hdf5) as connection:
        theirs = _hdf5_columns(connection, options.hdf5)
        plan.rows = number(connection, f"SELECT count(*) FROM dst.{INDEX}")  # noqa: S608
        _read_products(plan, connection, options.products, theirs)
        _refuse_unfit(connection, options.hdf5)
        _count(plan, connection, options.on_conflict)
    return plan


def _hdf5_columns(connection: sqlite3.Connection, hdf5: str) -> dict[str, str]:
    columns = columns_of(connection, "dst", INDEX)
    lacking = [name for name in (*PRODUCTS_COLUMNS, "subband_num") if name not in {known.lower() for known in columns}]
    if lacking:
        found = f"has a table {INDEX} without {', '.join(lacking)}" if columns else f"has no table {INDEX}"
        raise ContimgError(found, path=hdf5, hint=f"{_UNTOUCHED} Name the HDF5 database.")
    return columns


def _read_products(plan: UnsplitPlan, connection: sqlite3.Connection, products: str, theirs: dict[str, str]) -> None:
    found = connection.execute("SELECT type, name, tbl_name, sql FROM src.sqlite_master ORDER BY type DESC, name")
    schema = [(text_of(kind), text_of(name), text_of(table), sql) for kind, name, table, sql in found]
    plan.source_schema = [text_of(sql) for _kind, _name, _table, sql in schema if sql is not None]
    plan.triggers = [name for kind, name, table, _sql in schema if kind == "trigger" and table.lower() == INDEX]
    names = {name for _kind, name, _table, _sql in schema}
    if "hdf5_files" in names:
        hint = f"{_UNTOUCHED} This host was never split."
        raise ContimgError("is the newer unified layout (it has a table hdf5_files)", path=products, hint=hint)
    ours = columns_of(connection, "src", INDEX)
    wanted = _wanted(connection, theirs)
    if ours:
        _fit_in(plan, connection, products, ours, theirs, wanted)
    if not ours or plan.replaces:
        further = {name: kind for name, kind in wanted.items() if name not in PRODUCTS_COLUMNS}
        plan.statements[INDEX] = products_table_with(further)
        plan.columns = list(wanted)
    gone = names - {name for _kind, name, table, _sql in schema if table == INDEX} if plan.replaces else names
    plan.statements.update({name: sql for name, sql in PRODUCTS_INDEXES.items() if name not in gone})


def _wanted(connection: sqlite3.Connection, theirs: dict[str, str]) -> dict[str, str]:
    """Return the columns that products must have, with the declarations of added ones.

    Those that products always has, those of the HDF5 database that are not of its schema, and those that only the HDF5 database has
    where they say anything that would not be derived again.
    """
    plain = {name: kind.replace(" PRIMARY KEY", "").replace(" NOT NULL", "") for name, kind in PRODUCTS_COLUMNS.items()}
    have = {name.lower() for name in theirs}
    newer = {name: COLUMNS[name] for name in _NEWER if name in have and _says_more(connection, name)}
    return {**plain, **newer, **{name: kind for name, kind in theirs.items() if name.lower() not in COLUMNS}}


def _says_more(connection: sqlite3.Connection, name: str) -> bool:
    derived = DERIVED.get(name, "NULL")
    named = ", ".join([*PRODUCTS_COLUMNS, *(f"NULL AS {other}" for other in _NEWER), f"{name} AS contimg_said"])
    query = (
        f"SELECT EXISTS (SELECT 1 FROM (SELECT {named} FROM dst.{INDEX} NOT INDEXED) AS s"  # noqa: S608
        f" WHERE s.contimg_said IS NOT NULL AND s.contimg_said IS NOT {derived})"
    )
    return bool(number(connection, query))


def _fit_in(
    plan: UnsplitPlan,
    connection: sqlite3.Connection,
    products: str,
    ours: dict[str, str],
    theirs: dict[str, str],
    wanted: dict[str, str],
) -> None:
    """Find out how the rows fit into the table that products has."""
    known, from_hdf5 = {name.lower() for name in ours}, {name.lower() for name in theirs}
    empty = not number(connection, f"SELECT EXISTS (SELECT 1 FROM src.{INDEX})")  # noqa: S608
    lacking = [name for name in REQUIRED if name not in known]
    facts = connection.execute(f"PRAGMA src.table_xinfo({quoted(INDEX)})").fetchall()
    unfilled = [
        text_of(row[1])
        for row in facts
        if row[3] and row[4] is None and not row[6] and text_of(row[1]).lower() not in from_hdf5
    ]
    plan.replaces = empty and bool(lacking or unfilled)
    if plan.replaces:
        return
    if lacking or unfilled:
        what = (
            f"without {', '.join(lacking)}" if lacking else f"whose {', '.join(unfilled)} only its application can fill"
        )
        raise ContimgError(f"has a table {INDEX} with rows, {what}", path=products, hint=f"{_UNTOUCHED} Move it away.")
    computed = {text_of(row[1]).lower() for row in facts if row[6]}
    plan.added_columns = {name: kind for name, kind in wanted.items() if name.lower() not in known}
    plan.columns = [name for name in (*ours, *plan.added_columns) if name.lower() in from_hdf5 - computed]


def _refuse_unfit(connection: sqlite3.Connection, hdf5: str) -> None:
    nothing = " OR ".join(f"s.{name} IS NULL" for name in REQUIRED)
    unfit = number(connection, f"SELECT count(*) FROM dst.{INDEX} AS s WHERE {nothing}")  # noqa: S608
    if unfit:
        hint = f"{_UNTOUCHED} Correct or remove these rows."
        raise ContimgError(f"{unfit} rows of {INDEX} lack one of {', '.join(REQUIRED)}", path=hdf5, hint=hint)


def pairs(plan: UnsplitPlan) -> str:
    """Return the SQL that tells whether a row ``t`` of products holds all that a row ``s`` of the HDF5 database says."""
    return equal(dict.fromkeys(plan.columns, ""))


def _count(plan: UnsplitPlan, connection: sqlite3.Connection, on_conflict: str) -> None:
    """Count the rows. Columns that are about to be added are not there yet: what they would say differs."""
    ours = {} if INDEX in plan.statements else columns_of(connection, "src", INDEX)
    if not ours:
        plan.index = UnsplitCounts(moved=plan.rows)
        return
    same = decided(equal(dict.fromkeys(plan.columns, ""), ours))
    stays = target_wins(on_conflict, ours)
    both = f"FROM dst.{INDEX} AS s CROSS JOIN src.{INDEX} AS t ON t.path = s.path"
    merged, conflicts, taken = (
        int(value)
        for value in connection.execute(
            f"SELECT total({same}), total(NOT {same}), total(NOT {same} AND NOT ({stays})) {both}"
        ).fetchone()
    )
    there = number(connection, f"SELECT count(*) FROM src.{INDEX}")  # noqa: S608
    plan.index = UnsplitCounts(
        moved=plan.rows - merged - conflicts, merged=merged, conflicts=conflicts, own=there - merged - conflicts
    )
    plan.taken = taken if on_conflict == "newest" else 0
    if conflicts:
        query = f"SELECT s.path {both} WHERE NOT {same} ORDER BY s.path LIMIT {_NAMED}"
        plan.conflict_names = [text_of(path) for (path,) in connection.execute(query)]
        pairs_of = f"{both} WHERE NOT {same}"
        plan.conflict_columns = differing(connection, pairs_of, dict.fromkeys(plan.columns, ""), ours)


def schema_after_unsplit(plan: UnsplitPlan) -> list[str]:
    """Return the statements of the products database as an unsplit leaves it."""
    if not plan.writes():
        return plan.source_schema
    added = [f"ALTER TABLE {INDEX} ADD COLUMN {quoted(name)} {kind}" for name, kind in plan.added_columns.items()]
    kept = without_index(plan.source_schema) if plan.replaces else plan.source_schema
    return [*kept, *plan.statements.values(), *added]
