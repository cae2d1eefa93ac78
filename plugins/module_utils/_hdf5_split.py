# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The split itself: the HDF5 database is written, committed and verified before the products database loses a row.

A transaction over two databases in WAL mode is atomic for each, not for both. So a crash can leave the rows in both,
never in none: the next run finds them equal and goes on with the removal.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import ensure_private_directory, sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_plan import (
    SplitPlan,
    chosen,
    columns_of,
    make_split_plan,
    schema_after,
    source_rows,
    wanted_locations,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_schema import INDEX, LOCATIONS, SCHEMA
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_content import content_checksum, quoted
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import is_database, open_readonly, uri_of
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import DEBRIS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["SplitOptions", "split", "split_options"]

_BATCH = 5000
_BUSY_SECONDS = 5.0
_UNCHANGED = "No row was removed anywhere."


@dataclass(frozen=True)
class SplitOptions:
    """The parameters of ``hdf5_db_split``; see its documentation."""

    products: str
    hdf5: str
    keep_source: bool
    on_conflict: str
    backup_dir: str | None
    vacuum: bool


def split_options(values: Mapping[str, Any], *, check: bool) -> SplitOptions:
    """Return the options; in check mode a database that does not exist yet is read at its place in ``preview_from``."""
    places = {}
    for name in ("products_db", "hdf5_db"):
        preview = (values["preview_from"] or {}).get(name)
        places[name] = preview if check and preview and not os.path.exists(values[name]) else values[name]
    return SplitOptions(
        products=places["products_db"],
        hdf5=places["hdf5_db"],
        keep_source=values["keep_source"],
        on_conflict=values["on_conflict"],
        backup_dir=values["backup_dir"],
        vacuum=values["vacuum"],
    )


def split(options: SplitOptions, *, check: bool) -> dict[str, Any]:
    """Plan the split, do it outside check mode, and return the module's result.

    :raises ContimgError: when rows are unfit or in conflict (nothing has changed then), or a database cannot be used.
    """
    if not os.path.exists(options.products):
        raise ContimgError("the products database does not exist", path=options.products, hint="Nothing was touched.")
    plan = make_split_plan(options.products, options.hdf5, on_conflict=options.on_conflict)
    _refuse(options, plan)
    drops = bool(plan.source_rows) and not options.keep_source
    changed = plan.writes_target() or drops
    backup = ""
    if changed and not check:
        backup = _apply(options, plan, drops=drops)
    return _report(options, plan, changed=changed, backup=backup)


def _refuse(options: SplitOptions, plan: SplitPlan) -> None:
    if plan.index.rejected:
        raise ContimgError(
            f"{plan.index.rejected} rows of {INDEX} cannot satisfy the new schema: {'; '.join(plan.rejected_rows)}",
            path=options.products,
            hint="Nothing was touched. Correct or remove these rows.",
            tables=_tables(plan),
        )
    if plan.index.conflicts and options.on_conflict == "fail":
        raise ContimgError(
            f"{plan.index.conflicts} rows differ from those of {options.products}: {', '.join(plan.conflict_paths)}",
            path=options.hdf5,
            hint="Nothing was touched. Decide with on_conflict: newest or keep.",
            tables=_tables(plan),
        )


def _apply(options: SplitOptions, plan: SplitPlan, *, drops: bool) -> str:
    _require_space(options)
    backup = "" if options.backup_dir is None else _back_up(options.products, options.backup_dir)
    if not os.path.exists(options.hdf5):
        _make(options, plan)
    elif plan.writes_target():
        with _writing(options.hdf5) as target:
            _fill(target, options, plan)
    _verify(options)
    if drops:
        with _writing(options.products) as products:
            products.execute("BEGIN IMMEDIATE")
            products.execute(f"DROP TABLE {INDEX}")
            products.execute("COMMIT")
            if options.vacuum:
                products.execute("VACUUM")
    return backup


def _require_space(options: SplitOptions) -> None:
    folder = os.path.dirname(os.path.abspath(options.hdf5))
    needed = 2 * os.stat(options.products).st_size
    space = os.statvfs(folder)
    if needed > space.f_bavail * space.f_frsize:
        raise ContimgError(
            f"has not enough space: {needed} bytes may be needed", path=folder, hint="Nothing was touched."
        )


@contextlib.contextmanager
def _writing(path: str) -> Iterator[sqlite3.Connection]:
    """Open a database for writing, durably; at the end its log is emptied into it."""
    hint = f"{_UNCHANGED} Stop what has it open, or repair its permissions, and run again."
    with failing("write the database", path, hint):
        connection = sqlite3.connect(uri_of(path, "mode=rw"), uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
        try:
            connection.execute("PRAGMA synchronous = EXTRA")
            yield connection
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
        sync_directory(os.path.dirname(os.path.abspath(path)))


def _make(options: SplitOptions, plan: SplitPlan) -> None:
    """Build a new HDF5 database beside its place and give it its name when it is whole and durable."""
    folder, name = os.path.split(os.path.abspath(options.hdf5))
    temporary = os.path.join(folder, f"{os.fsdecode(DEBRIS)}{secrets.token_hex(4)}-{name}")
    like = os.stat(options.products)
    try:
        with failing("make the HDF5 database", options.hdf5, _UNCHANGED):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with _writing(temporary) as target:
            _fill(target, options, plan)
            target.execute("PRAGMA journal_mode = WAL")
        with failing("put the HDF5 database in place", options.hdf5, _UNCHANGED):
            with open(temporary, "rb") as file:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), like.st_mode & 0o7777)
                os.fsync(file.fileno())
            os.rename(temporary, options.hdf5)
            sync_directory(folder)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary + suffix)


def _fill(target: sqlite3.Connection, options: SplitOptions, plan: SplitPlan) -> None:
    """Write all rows of the index and all locations in one transaction."""
    with open_readonly(options.products) as source:
        target.execute("BEGIN IMMEDIATE")
        have = columns_of(target, INDEX)
        for name, statement in SCHEMA.items():
            if name == LOCATIONS or not have:
                target.execute(statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1))
        for name, kind in plan.columns.items():
            if name not in have:
                target.execute(f"ALTER TABLE {INDEX} ADD COLUMN {quoted(name)} {kind}")
        if columns_of(source, INDEX):
            _write_rows(target, source, options.on_conflict)
        for name, (path, note) in wanted_locations(source).items():
            target.execute(
                f"INSERT OR IGNORE INTO {LOCATIONS} (name, path, description) VALUES (?, ?, ?)",  # noqa: S608
                (name, path, note),
            )
        target.execute("COMMIT")


def _write_rows(target: sqlite3.Connection, source: sqlite3.Connection, on_conflict: str) -> None:
    names: list[str] = []
    batch: list[list[object]] = []
    existing = target.execute(f"SELECT 1 FROM {INDEX} LIMIT 1").fetchone() is not None  # noqa: S608
    for row, _derived in source_rows(source):
        names = names or list(row)
        if existing and not _wins(target, row, on_conflict):
            continue
        batch.append([row[name] for name in names])
        if len(batch) >= _BATCH:
            _insert(target, names, batch)
            batch = []
    _insert(target, names, batch)


def _wins(target: sqlite3.Connection, row: dict[str, Any], on_conflict: str) -> bool:
    cursor = target.execute(f"SELECT * FROM {INDEX} WHERE path = ?", (row["path"],))  # noqa: S608
    values = cursor.fetchone()
    if values is None:
        return True
    found = dict(zip((column[0] for column in cursor.description), values))
    if chosen(row, found, on_conflict) is found:
        return False
    row.update({name: found[name] for name in row if row[name] is None})
    return True


def _insert(target: sqlite3.Connection, names: list[str], batch: list[list[object]]) -> None:
    if batch:
        columns, marks = ", ".join(map(quoted, names)), ", ".join("?" for _name in names)
        changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in names if name != "path")
        target.executemany(
            f"INSERT INTO {INDEX} ({columns}) VALUES ({marks}) ON CONFLICT(path) DO UPDATE SET {changes}",  # noqa: S608
            batch,
        )


def _verify(options: SplitOptions) -> None:
    """Compare again, row by row, from both files: nothing may be left to move.

    :raises ContimgError: when a row is missing or differs where the source's was to win.
    """
    left = make_split_plan(options.products, options.hdf5, on_conflict=options.on_conflict)
    with open_readonly(options.hdf5) as target, failing("check the HDF5 database", options.hdf5, _UNCHANGED):
        sound = target.execute("PRAGMA quick_check(1)").fetchone()[0] == b"ok"
    if left.writes_target() or left.index.rejected or not sound:
        hint = f"{_UNCHANGED} Run again; if it says the same, check the device."
        raise ContimgError("does not hold what was written to it", path=options.hdf5, hint=hint)


def _back_up(products: str, backup_dir: str) -> str:
    """Keep a verified, durable copy of the products database, made by SQLite's backup; return its path."""
    ensure_private_directory(backup_dir)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    final = os.path.join(backup_dir, f"{os.path.basename(products)}.{stamp}.{secrets.token_hex(3)}")
    temporary = f"{final}.part"
    with failing("back up the products database", products, _UNCHANGED):
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        copy = sqlite3.connect(temporary)
        try:
            with open_readonly(products) as source:
                source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
        if content_checksum(temporary) != content_checksum(products):
            raise ContimgError("the backup differs from the original", path=temporary, hint=_UNCHANGED)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.rename(temporary, final)
        sync_directory(backup_dir)
    return final


def _tables(plan: SplitPlan) -> dict[str, dict[str, int]]:
    return {INDEX: asdict(plan.index), LOCATIONS: asdict(plan.locations)}


def _report(options: SplitOptions, plan: SplitPlan, *, changed: bool, backup: str) -> dict[str, Any]:
    before = (plan.source_schema, plan.target_schema)
    after = schema_after(plan, keep_source=options.keep_source)
    existing = {"products": options.products, "hdf5": options.hdf5}
    return {
        "changed": changed,
        "tables": _tables(plan),
        "backup_file": backup,
        "checksums": {
            name: content_checksum(path)
            for name, path in existing.items()
            if os.path.exists(path) and is_database(path)
        },
        "diff": {"before": _shown(*before), "after": _shown(*after)} if changed else {},
    }


def _shown(products: list[str], hdf5: list[str]) -> str:
    lines = ["-- products", *products, "-- hdf5", *hdf5]
    return "".join(" ".join(line.split()) + "\n" for line in lines)
