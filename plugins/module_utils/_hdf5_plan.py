# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a split of the HDF5 index has to do, found by reading both databases without a trace."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_schema import (
    COLUMNS,
    INDEX,
    LOCATIONS,
    SCHEMA,
    UnfitError,
    derive,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_content import quoted
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import Text, open_readonly

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from typing import Any

__all__ = [
    "Counts",
    "SplitPlan",
    "chosen",
    "columns_of",
    "make_split_plan",
    "schema_after",
    "source_rows",
    "wanted_locations",
]

_NAMED = 20  # rows that an error lists
_HANGING = (
    "SELECT type, name FROM sqlite_master WHERE (type = 'view' AND sql LIKE :named)"
    " OR (type = 'trigger' AND (tbl_name = :table OR sql LIKE :named))"
)


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
    :ivar columns: columns that the index must have besides those of the schema, name to type.
    :ivar source_rows: rows of the index in the products database, 0 where it has none any more.
    :ivar source_schema: statements of the products database.
    :ivar target_schema: statements of the HDF5 database, empty where it does not exist.
    :ivar taken: rows of the conflicts that replace the HDF5 database's.
    :ivar conflict_paths: the first rows that differ.
    :ivar rejected_rows: the first rows that are unfit, with the reason.
    """

    index: Counts = field(default_factory=Counts)
    locations: Counts = field(default_factory=Counts)
    columns: dict[str, str] = field(default_factory=dict)
    source_rows: int = 0
    taken: int = 0
    source_schema: list[str] = field(default_factory=list)
    target_schema: list[str] = field(default_factory=list)
    conflict_paths: list[str] = field(default_factory=list)
    rejected_rows: list[str] = field(default_factory=list)

    def writes_target(self) -> bool:
        """Tell whether the HDF5 database has to be made or changed."""
        return not self.target_schema or bool(self.index.moved or self.locations.moved or self.taken)


def make_split_plan(products: str, hdf5: str, *, on_conflict: str) -> SplitPlan:
    """Read both databases and count what a split would do.

    :raises ContimgError: when a database cannot be read, the layout is another one, or something hangs on the table.
    """
    plan = SplitPlan()
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_readonly(products))
        target = stack.enter_context(open_readonly(hdf5)) if os.path.exists(hdf5) else None
        plan.source_schema = _schema(source)
        plan.target_schema = [] if target is None else _schema(target)
        _refuse_other_layouts(source, products)
        names = columns_of(source, INDEX)
        plan.columns = {name: kind for name, kind in names.items() if name not in COLUMNS}
        if names:
            plan.source_rows = int(source.execute(f"SELECT count(*) FROM {INDEX}").fetchone()[0])  # noqa: S608
            _count_rows(plan, source, target, on_conflict)
        _count_locations(plan, source, target)
    return plan


def _schema(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, name")
    return [str(sql, "utf-8", "replace") for (sql,) in rows]


def columns_of(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the columns of a table with their types, empty where there is no such table."""
    rows = connection.execute(f"PRAGMA table_info({quoted(table)})")
    return {_text(row[1]): _text(row[2]) for row in rows}


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _refuse_other_layouts(source: sqlite3.Connection, products: str) -> None:
    if columns_of(source, "hdf5_files"):
        hint = "Nothing was touched. This host needs no split."
        raise ContimgError("is the newer unified layout (it has a table hdf5_files)", path=products, hint=hint)
    hanging = source.execute(_HANGING, {"table": INDEX, "named": f"%{INDEX}%"}).fetchall()
    if hanging:
        named = ", ".join(f"{_text(kind)} {_text(name)}" for kind, name in hanging)
        hint = "Nothing was touched. Drop them first, or move them by hand."
        raise ContimgError(f"the table {INDEX} cannot leave it while these use it: {named}", path=products, hint=hint)


def source_rows(source: sqlite3.Connection, plan: SplitPlan | None = None) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield each row of the index as the HDF5 database will hold it, by path, and whether anything was derived.

    :param plan: counts and names unfit rows; without one they cannot occur any more.
    :raises UnfitError: for an unfit row, without a plan.
    """
    names = list(columns_of(source, INDEX))
    for values in source.execute(f"SELECT * FROM {INDEX} ORDER BY path"):  # noqa: S608
        try:
            yield derive(names, values)
        except UnfitError as error:
            if plan is None:
                raise
            plan.index.rejected += 1
            if len(plan.rejected_rows) < _NAMED:
                shown = _text(values[names.index("path")]) if "path" in names else _text(values[0])
                plan.rejected_rows.append(f"{shown} {error}")


def _count_rows(
    plan: SplitPlan, source: sqlite3.Connection, target: sqlite3.Connection | None, on_conflict: str
) -> None:
    there = _TargetRows(target)
    for row, derived in source_rows(source, plan):
        plan.index.derived += derived
        found = there.find(row["path"])
        if found is None:
            plan.index.moved += 1
        elif chosen(row, found, "equal") is found:
            plan.index.merged += 1
        else:
            plan.index.conflicts += 1
            plan.taken += chosen(row, found, on_conflict) is row
            if len(plan.conflict_paths) < _NAMED:
                plan.conflict_paths.append(str(row["path"]))


class _TargetRows:
    """The rows of the HDF5 database, read beside those of the products database in the same order of paths."""

    def __init__(self, target: sqlite3.Connection | None) -> None:
        self.names = [] if target is None else list(columns_of(target, INDEX))
        self.rows = iter(()) if not self.names else target.execute(f"SELECT * FROM {INDEX} ORDER BY path")  # type: ignore[union-attr]  # noqa: S608
        self.row = self._next()

    def _next(self) -> dict[str, Any] | None:
        values = next(self.rows, None)
        if values is None:
            return None
        return {
            name: value.decode("utf-8", "surrogateescape") if isinstance(value, Text) else value
            for name, value in zip(self.names, values)
        }

    def find(self, path: str) -> dict[str, Any] | None:
        while self.row is not None and self.row["path"].encode("utf-8", "surrogateescape") < path.encode():
            self.row = self._next()
        return self.row if self.row is not None and self.row["path"] == path else None


def chosen(row: dict[str, Any], found: dict[str, Any], rule: str) -> dict[str, Any]:
    """Return the row that wins: equal ones and those of rule ``keep`` stay, ``newest`` goes by ``indexed_at``.

    A value that only the HDF5 database has (coordinates, for example) is no difference.
    """
    equal = all(value is None or found.get(name) == value for name, value in row.items())
    if equal or rule == "keep":
        return found
    if rule == "newest" and (found.get("indexed_at") or 0.0) >= (row.get("indexed_at") or 0.0):
        return found
    return row


def wanted_locations(source: sqlite3.Connection) -> dict[str, tuple[str, str | None]]:
    """Return path and description of the newest active HDF5 location by its name, ``hdf5_*``."""
    if "location_type" not in columns_of(source, LOCATIONS):
        return {}
    rows = source.execute(
        f"SELECT location_type, base_path, description FROM {LOCATIONS}"  # noqa: S608
        " WHERE location_type GLOB 'hdf5_*' AND status = 'active' ORDER BY registered_at, id"
    )
    return {_text(name): (_text(path), None if note is None else _text(note)) for name, path, note in rows}


def _count_locations(plan: SplitPlan, source: sqlite3.Connection, target: sqlite3.Connection | None) -> None:
    there = set()
    if target is not None and columns_of(target, LOCATIONS):
        there = {_text(name) for (name,) in target.execute(f"SELECT name FROM {LOCATIONS}")}  # noqa: S608
    wanted = set(wanted_locations(source))
    plan.locations.moved, plan.locations.merged = len(wanted - there), len(wanted & there)


def schema_after(plan: SplitPlan, *, keep_source: bool) -> tuple[list[str], list[str]]:
    """Return the statements of both databases as a split leaves them."""
    leaves = bool(plan.source_rows) and not keep_source
    kept = [sql for sql in plan.source_schema if not (leaves and INDEX in sql.split("(", 1)[0])]
    added = [f"ALTER TABLE {INDEX} ADD COLUMN {quoted(name)} {kind}" for name, kind in plan.columns.items()]
    return kept, plan.target_schema or [*SCHEMA.values(), *added]
