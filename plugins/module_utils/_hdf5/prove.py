# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that the HDF5 database holds every row of products, inside SQL: what it must say before a row is removed."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import DERIVED, NEEDED, ROW, decided, source
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import (
    attached,
    connected,
    number,
    sqlite_failing,
    text_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.plan import (
    SplitOptions,
    SplitPlan,
    equal,
    fitting,
    target_wins,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import INDEX
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import IMMUTABLE, Place
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import snapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = ["prove", "proving_rows", "require_sound"]

_UNCHANGED = "No row was removed anywhere."
_DOING = "prove the HDF5 database"


@contextlib.contextmanager
def proving_rows(options: SplitOptions, plan: SplitPlan, *, products: Place, hdf5: str) -> Iterator[None]:
    """Compare every row of products with that of a new HDF5 database in a thread of its own, while others work on the file.

    They may add indexes. These stand on pages of their own: those of the rows are not written again, so what the thread
    reads without locks (``immutable``) is the file as it stays.

    :param products: the products database; no process writes to it meanwhile.
    :param hdf5: the path of the new database, with all rows committed.
    :raises ContimgError: at the end, when a row is missing or differs.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(sqlite_failing(_DOING, options.hdf5, _UNCHANGED))
        connection = stack.enter_context(connected())
        attached(connection, "src", products)
        attached(connection, "dst", Place(hdf5, IMMUTABLE))
        connection.execute("BEGIN")  # from here on it sees the schema as it is now
        connection.execute(f"SELECT 1 FROM dst.{INDEX} LIMIT 1").fetchone()  # noqa: S608
        with ThreadPoolExecutor(1) as second:
            found = second.submit(_count_wrong, connection, options, plan)
            yield
            wrong, rows = found.result()
        _require(options, plan, wrong, rows)


def require_sound(options: SplitOptions, hdf5: str) -> None:
    """Let SQLite check the structure of a new HDF5 database. Raises ContimgError."""
    with sqlite_failing(_DOING, options.hdf5, _UNCHANGED):
        _require_ok(options, _structure(Place(hdf5, IMMUTABLE)))


def prove(options: SplitOptions, plan: SplitPlan, *, products: Place, hdf5: str) -> None:
    """Compare every row of products with that of the HDF5 database, and check that one's structure meanwhile.

    :param products: the products database; no process writes to it meanwhile.
    :param hdf5: where the HDF5 database is; a new one has not got its place yet.
    :raises ContimgError: when a row is missing, or differs where it was to win.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(sqlite_failing(_DOING, options.hdf5, _UNCHANGED))
        state = stack.enter_context(snapshot(hdf5))
        connection = stack.enter_context(connected())
        attached(connection, "src", products)
        attached(connection, "dst", state.place)
        with ThreadPoolExecutor(1) as second:
            structure = second.submit(_structure, state.place)
            wrong, rows = _count_wrong(connection, options, plan)
            _require_ok(options, structure.result())
        _require(options, plan, wrong, rows)


def _structure(hdf5: Place) -> str:
    with connected() as connection:
        attached(connection, "dst", hdf5)
        return text_of(connection.execute("PRAGMA dst.quick_check(1)").fetchone()[0])


def _count_wrong(connection: sqlite3.Connection, options: SplitOptions, plan: SplitPlan) -> tuple[int, int]:
    """Return how many of the rows that move the HDF5 database lacks or has otherwise than it must, and how many rows it has.

    Rows that have kept their number stand in the same order on both sides: they need no look into an index.
    """
    terms = [equal(plan.columns)]
    if plan.index.conflicts:
        terms = [f"(({terms[0]}) OR ({target_wins(options.on_conflict)}))"]
    if not plan.target_rows:
        terms += [f"t.{name} IS {DERIVED[name]}" for name in NEEDED]
    same = f"t._rowid_ = s.{ROW}" if plan.numbered else "t.path = s.path"
    right = decided(" AND ".join(["t.path IS s.path", *terms]))
    wrong = number(
        connection,
        f"SELECT count(*) FROM {source(plan.columns, numbered=plan.numbered)} AS s"  # noqa: S608
        f" LEFT JOIN dst.{INDEX} AS t ON {same}"
        f" WHERE {fitting(plan)} AND (s.path IS NULL OR NOT {right})",
    )
    return wrong, number(connection, f"SELECT count(*) FROM dst.{INDEX}")  # noqa: S608


def _require(options: SplitOptions, plan: SplitPlan, wrong: int, rows: int) -> None:
    wanted = plan.target_rows + plan.index.moved
    if wrong or rows < wanted or (rows > wanted and not plan.target_schema):
        _refuse(options, f"{wrong} rows are missing or differ, it has {rows}")


def _require_ok(options: SplitOptions, structure: str) -> None:
    if structure != "ok":
        _refuse(options, f"its check reports '{structure}'")


def _refuse(options: SplitOptions, found: str) -> None:
    hint = f"{_UNCHANGED} Stop what writes to the databases and run again; if it says the same, check the device."
    raise ContimgError(f"does not hold what products does: {found}", path=options.hdf5, hint=hint)
