# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing an index up to what stands in a directory of HDF5 files, as ``index-hdf5`` does."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.derive import mjd_of, parsed
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.header import read_headers
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.pair import (
    attached,
    columns_of,
    connected,
    reading,
    sqlite_failing,
    text_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.schema import COLUMNS, INDEX
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import real_path, require_own_place
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import require_short_name, writable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["index_files"]

# As the application reads a name: the time before the first "_sb", the subband after the last, up to a full stop.
_NAME = re.compile(r"((?:(?!_sb).)+)_sb(?:.*_sb)?(([0-9]+)[^.]*)(?:\..*)?\.hdf5\Z")
_NAMED = 20
_UNTOUCHED = "Nothing was touched."


@dataclass
class Scan:
    """What stands in the directory, against what the index knows.

    :ivar rows: rows to write, new and changed.
    :ivar missing: paths that the index knows and that are gone.
    :ivar errors: files whose name or content cannot be read, the first of them.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    misnamed: int = 0

    def add_error(self, path: str, problem: str) -> None:
        """Name a file with what is the matter with it."""
        if len(self.errors) < _NAMED:
            self.errors.append(f"{printable(path)}: {problem}")


def index_files(*, hdf5_db: str, input_dir: str, rescan: bool, check: bool) -> dict[str, Any]:
    """Scan a directory into an HDF5 database, in one transaction, and return the module's result.

    :param rescan: whether files that have not changed are read again too.
    :raises ContimgError: when either cannot be read or written, or the directory holds nothing although files are known.
    """
    require_own_place(hdf5_db)
    root = os.path.abspath(input_dir)
    scan = _compare(root, _known(hdf5_db, root), rescan=rescan)
    coordinates = "nothing to read"
    changed = bool(scan.rows or scan.missing)
    if changed:
        require_short_name(hdf5_db)
    if changed and not check:
        coordinates = _add_coordinates(scan)
        _write(hdf5_db, scan)
    counted = {name: getattr(scan, name) for name in ("new", "updated", "unchanged", "misnamed", "errors")}
    shown = "".join(
        f"{name}: {number} files\n" for name, number in (*list(counted.items())[:2], ("missing", len(scan.missing)))
    )
    return {
        "changed": changed,
        **counted,
        "missing": len(scan.missing),
        "coordinates": coordinates,
        "diff": {"before": "", "after": shown} if changed else {},
    }


def _known(hdf5_db: str, root: str) -> dict[str, tuple[float | None, int | None, int | None]]:
    """Return modification time, size and ``stored`` of the files below the directory that the index knows, by path."""
    prefix = root.rstrip("/") + "/"
    with reading(hdf5_db, None) as connection:
        columns = columns_of(connection, "src", INDEX)
        if not set(COLUMNS) <= set(columns):
            hint = f"{_UNTOUCHED} Make it with hdf5_db_split first."
            raise ContimgError(f"has no table {INDEX} of the HDF5 database", path=hdf5_db, hint=hint)
        rows = connection.execute(
            f"SELECT path, modified_time, file_size_bytes, stored FROM src.{INDEX}"  # noqa: S608
            " WHERE substr(path, 1, length(?1)) = ?1",
            (prefix,),
        )
        return {text_of(path): (modified, size, stored) for path, modified, size, stored in rows}


def _files(root: str) -> Iterator[os.DirEntry[str]]:
    """Yield every regular file below a directory. Raises OSError; no link to a directory is followed."""
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda found: found.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.is_file():
                yield entry


def _compare(root: str, known: dict[str, tuple[float | None, int | None, int | None]], *, rescan: bool) -> Scan:
    scan = Scan()
    gone = {path for path, (_modified, _size, stored) in known.items() if stored != 0}
    now = time.time()
    with error_context("read the directory of the HDF5 files", root, _UNTOUCHED):
        for entry in _files(root):
            if entry.name.endswith(".hdf5"):
                gone.discard(entry.path)
                _count(scan, entry, known.get(entry.path), now=now, rescan=rescan)
    if gone and not (scan.new + scan.updated + scan.unchanged):
        hint = f"{_UNTOUCHED} Is its file system mounted?"
        raise ContimgError(f"holds no HDF5 file, the index knows {len(gone)}", path=root, hint=hint)
    scan.missing = sorted(gone)
    return scan


def _count(scan: Scan, entry: os.DirEntry[str], known: tuple[Any, ...] | None, *, now: float, rescan: bool) -> None:
    row = _row(entry, now)
    if row is None:
        scan.misnamed += 1
        scan.add_error(entry.path, "is not named like TIMESTAMP_sbNN.hdf5, so it is not indexed")
        return
    if known is None:
        scan.new += 1
    elif rescan or known != (row["modified_time"], row["file_size_bytes"], 1):
        scan.updated += 1
    else:
        scan.unchanged += 1
        return
    scan.rows.append(row)


def _row(entry: os.DirEntry[str], now: float) -> dict[str, Any] | None:
    """Return the row of a file, ``None`` where its name does not tell one."""
    match = _NAME.match(entry.name)
    moment = None if match is None else parsed(match.group(1))
    if match is None or moment is None or printable(entry.path) != entry.path:
        return None
    status = entry.stat()
    return {
        "path": entry.path,
        "filename": entry.name,
        "group_id": match.group(1),
        "subband_code": f"sb{match.group(2).zfill(2)}",
        "subband_num": int(match.group(3)) if match.group(2) == match.group(3) else None,
        "timestamp_iso": match.group(1),
        "timestamp_mjd": mjd_of(moment),
        "file_size_bytes": status.st_size,
        "modified_time": status.st_mtime,
        "indexed_at": now,
        "stored": 1,
        "ra_deg": None,
        "dec_deg": None,
        "obs_date": moment.strftime("%Y-%m-%d"),
        "obs_time": moment.strftime("%H:%M:%S"),
    }


def _add_coordinates(scan: Scan) -> str:
    """Fill in the coordinates of the files of the first subband, and say how that went."""
    wanted = [row for row in scan.rows if row["subband_num"] == 0]
    try:
        import h5py  # noqa: PLC0415  # no requirement: where the host lacks it, the coordinates stay NULL
    except ImportError:
        return f"h5py is missing on the host: {len(wanted)} files have none"
    read = 0
    for row, found in zip(wanted, read_headers(h5py, [row["path"] for row in wanted])):
        row["ra_deg"], row["dec_deg"] = found.ra_deg, found.dec_deg
        read += found.ra_deg is not None
        if found.problem:
            scan.add_error(row["path"], f"{found.problem}; indexed without coordinates")
    return f"read from {read} of {len(wanted)} files"


def _write(hdf5_db: str, scan: Scan) -> None:
    names = list(COLUMNS)
    kept = {"ra_deg", "dec_deg"}
    changes = ", ".join(
        f"{name} = " + (f"COALESCE(excluded.{name}, {name})" if name in kept else f"excluded.{name}")
        for name in names
        if name != "path"
    )
    marks = ", ".join(f":{name}" for name in names)
    with connected() as connection, sqlite_failing("write the HDF5 database", hdf5_db, "It is as it was."):
        attached(connection, "dst", writable(hdf5_db))
        connection.execute("PRAGMA dst.synchronous = EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            f"INSERT INTO dst.{INDEX} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT(path) DO UPDATE SET {changes}",  # noqa: S608
            scan.rows,
        )
        connection.executemany(
            f"UPDATE dst.{INDEX} SET stored = 0 WHERE path = ?",  # noqa: S608
            [(path,) for path in scan.missing],
        )
        connection.execute("COMMIT")
    with error_context("flush the directory", hdf5_db, "The rows are written."):
        sync_directory(os.path.dirname(real_path(hdf5_db)))
