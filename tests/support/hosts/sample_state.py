# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the state directory of an observatory host as it stands before a move: the deployed schemas, and a difficult tree.

The same arguments make the same names, rows, contents, modes and timestamps. Standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import shutil
import sqlite3
import tempfile
from datetime import datetime, timedelta, timezone
from typing import Iterator

__all__ = ["PIPELINE_ID", "SUBBANDS", "make_state"]

SUBBANDS = 16
PIPELINE_ID = 1500  # uid and gid of the account that the API runs as
FIRST_GROUP = datetime(2025, 10, 2, 0, 12, tzinfo=timezone.utc)
GROUP_INTERVAL = timedelta(minutes=5)
NANOSECONDS = 1_000_000_000

INGEST_SCHEMA = """
CREATE TABLE ingest_queue (group_id TEXT PRIMARY KEY, state TEXT NOT NULL, received_at REAL NOT NULL,
    last_update REAL NOT NULL, expected_subbands INTEGER DEFAULT 16, retry_count INTEGER NOT NULL DEFAULT 0, error TEXT);
CREATE TABLE subband_files (group_id TEXT NOT NULL, subband_idx INTEGER NOT NULL, path TEXT NOT NULL UNIQUE,
    PRIMARY KEY (group_id, subband_idx));
CREATE TABLE arrivals (id INTEGER PRIMARY KEY AUTOINCREMENT, number INTEGER NOT NULL, arrived_at REAL NOT NULL);
"""
PRODUCTS_SCHEMA = """
CREATE TABLE hdf5_file_index (path TEXT PRIMARY KEY, filename TEXT NOT NULL, group_id TEXT NOT NULL,
    subband_code TEXT NOT NULL, timestamp_iso TEXT, timestamp_mjd REAL, file_size_bytes INTEGER, modified_time REAL,
    indexed_at REAL NOT NULL, stored INTEGER DEFAULT 1, UNIQUE(path));
CREATE INDEX idx_hdf5_group_id ON hdf5_file_index(group_id);
CREATE INDEX idx_hdf5_timestamp_mjd ON hdf5_file_index(timestamp_mjd);
CREATE INDEX idx_hdf5_group_subband ON hdf5_file_index(group_id, subband_code);
CREATE INDEX idx_hdf5_stored ON hdf5_file_index(stored);
CREATE TABLE storage_locations (id INTEGER PRIMARY KEY AUTOINCREMENT, location_type TEXT NOT NULL,
    base_path TEXT NOT NULL, description TEXT, registered_at REAL NOT NULL, status TEXT DEFAULT 'active', notes TEXT,
    UNIQUE(location_type, base_path));
CREATE TABLE ms_index (path TEXT PRIMARY KEY, start_mjd REAL, end_mjd REAL, mid_mjd REAL, processed_at REAL, status TEXT,
    stage TEXT, imagename TEXT);
CREATE TABLE images (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, ms_path TEXT NOT NULL, type TEXT NOT NULL,
    pbcor INTEGER DEFAULT 0, created_at REAL NOT NULL);
"""
REGISTRY_SCHEMA = """
CREATE TABLE caltables (id INTEGER PRIMARY KEY, set_name TEXT NOT NULL, path TEXT NOT NULL UNIQUE, table_type TEXT NOT NULL,
    order_index INTEGER NOT NULL, valid_start_mjd REAL, valid_end_mjd REAL, status TEXT NOT NULL);
"""
CATALOG_SCHEMA = "CREATE TABLE sources (ra_deg REAL NOT NULL, dec_deg REAL NOT NULL, flux_mjy REAL NOT NULL);"

# A newline, bytes that are not UTF-8, a leading dash, spaces, a quote, a backslash, a name like a shell's option.
AWKWARD_NAMES = (
    b"two\nlines",
    b"caf\xe9 in latin-1",
    b"-rf",
    b" spaces at both ends ",
    b"it's",
    b"back\\slash",
    b"--delete",
)


def make_state(root: pathlib.Path, *, rows: int, unprivileged: bool) -> None:
    """Make the state directory.

    Args:
        root: The directory, which must not exist.
        rows: How many files ``hdf5_file_index`` holds; a group has 16.
        unprivileged: Leave out other owners, extended attributes and special files, so that anybody can make and copy it.

    Raises:
        FileExistsError: ``root`` exists.
    """
    root.mkdir(parents=True)
    for directory in ("db", "catalogs", "logs/archive", "empty", "run"):
        (root / directory).mkdir(parents=True)
    _make_databases(root, rows=rows)
    _make_files(root)
    if not unprivileged:
        _make_privileged(root)
    _set_times(root)


def _make_databases(root: pathlib.Path, *, rows: int) -> None:
    _make_ingest(root / "ingest.sqlite3", groups=rows // SUBBANDS)
    _make_products(root / "db" / "products.sqlite3", rows=rows, state=root)
    _make_registry_with_hot_wal(root / "db" / "cal_registry.sqlite3")
    for name, declination in (("nvss", 54.6), ("first", 16.1)):
        with _database(
            root / "catalogs" / f"{name}_dec{declination:+.1f}.sqlite3", CATALOG_SCHEMA, "DELETE"
        ) as catalog:
            catalog.executemany(
                "INSERT INTO sources VALUES (?, ?, ?)",
                ((number * 0.36, declination + number / 1000, 2.5 + number) for number in range(500)),
            )


@contextlib.contextmanager
def _database(path: pathlib.Path, schema: str, journal_mode: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(str(path))
    try:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.executescript(schema)
        yield connection
        connection.commit()
    finally:
        connection.close()


def _make_ingest(path: pathlib.Path, *, groups: int) -> None:
    with _database(path, INGEST_SCHEMA, "WAL") as ingest:
        for index in range(groups):
            name, seconds = _group(index)
            ingest.execute(
                "INSERT INTO ingest_queue (group_id, state, received_at, last_update) VALUES (?, 'completed', ?, ?)",
                (name, seconds, seconds + 60),
            )
            ingest.executemany(
                "INSERT INTO subband_files VALUES (?, ?, ?)",
                ((name, number, f"/data/incoming/{name}_sb{number:02d}.hdf5") for number in range(SUBBANDS)),
            )


def _make_products(path: pathlib.Path, *, rows: int, state: pathlib.Path) -> None:
    groups = (rows + SUBBANDS - 1) // SUBBANDS
    with _database(path, PRODUCTS_SCHEMA, "WAL") as products:
        products.executemany(
            "INSERT INTO hdf5_file_index VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (_indexed_file(number) for number in range(rows)),
        )
        products.executemany(
            "INSERT INTO storage_locations (location_type, base_path, description, registered_at, status)"
            " VALUES (?, ?, ?, ?, ?)",
            _locations(state),
        )
        for index in range(groups):
            _insert_products_of_group(products, index)


def _indexed_file(number: int) -> tuple[str, str, str, str, str, float, int, float, float, int]:
    group, seconds = _group(number // SUBBANDS)
    subband = f"sb{number % SUBBANDS:02d}"
    name = f"{group}_{subband}.hdf5"
    size = 150_000_000 + number
    return (f"/data/incoming/{name}", name, group, subband, group, _mjd(seconds), size, seconds, seconds + 5, 1)


def _locations(state: pathlib.Path) -> list[tuple[str, str, str, float, str]]:
    """Return rows of ``storage_locations``: an HDF5 location that has moved, one below the state directory, one of products."""
    registered = FIRST_GROUP.timestamp()
    return [
        ("hdf5_incoming", "/data/incoming-2024", "Correlator output, until 2024", registered, "inactive"),
        ("hdf5_incoming", "/data/incoming", "Correlator output", registered + 1, "active"),
        ("hdf5_staging", f"{state}/hdf5_staging", "Files being assembled", registered + 2, "active"),
        ("ms_files", "/stage/dsa110-contimg/ms", "Measurement sets", registered + 3, "active"),
    ]


def _insert_products_of_group(products: sqlite3.Connection, index: int) -> None:
    name, seconds = _group(index)
    start = _mjd(seconds)
    measurement_set = f"/stage/dsa110-contimg/ms/{name}.ms"
    image = f"/stage/dsa110-contimg/images/{name}.img-image.fits"
    products.execute(
        "INSERT INTO ms_index VALUES (?, ?, ?, ?, ?, 'done', 'imaged', ?)",
        (measurement_set, start, start + 0.0036, start + 0.0018, seconds + 600, image),
    )
    products.execute(
        "INSERT INTO images (path, ms_path, type, created_at) VALUES (?, ?, 'image', ?)",
        (image, measurement_set, seconds + 900),
    )


def _make_registry_with_hot_wal(path: pathlib.Path) -> None:
    """Make the registry as a killed service leaves it: the last commits stand in the write-ahead log alone."""
    with tempfile.TemporaryDirectory() as scratch:
        origin = pathlib.Path(scratch) / path.name
        with _database(origin, REGISTRY_SCHEMA, "WAL") as registry:
            registry.executemany(
                "INSERT INTO caltables VALUES (NULL, '3C286_2025-10-02', ?, ?, ?, 60950.0, 60951.0, 'active')",
                (
                    (f"/stage/dsa110-contimg/cal/3c286.{kind}", kind, order)
                    for order, kind in enumerate(("K", "BP", "G"))
                ),
            )
            registry.commit()
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{origin}{suffix}", f"{path}{suffix}")


def _make_files(root: pathlib.Path) -> None:
    (root / "logs" / "casa-20251002.log").write_text("INFO imager: started\n" * 200)
    (root / "logs" / "archive" / "contimg-stream.out.1").write_bytes(bytes(range(256)) * 64)
    os.link(root / "logs" / "casa-20251002.log", root / "logs" / "archive" / "casa-20251002.log")
    (root / "logs" / "latest").symlink_to("casa-20251002.log")
    (root / "logs" / "old").symlink_to("archive", target_is_directory=True)
    (root / "run" / "gone").symlink_to("/nonexistent/lock")
    (root / "contimg-stream.pid").write_text("4194304\n")
    (root / ".pipeline-lock").write_text("")
    (root / "run" / "private").mkdir(mode=0o700)
    (root / "run" / "private" / "read-only").write_text("kept\n")
    (root / "run" / "private" / "read-only").chmod(0o400)
    _make_sparse(root / "catalogs" / "healpix.bin")
    awkward = os.fsencode(root / "run")
    for number, name in enumerate(AWKWARD_NAMES):
        pathlib.Path(os.fsdecode(os.path.join(awkward, name))).write_text(f"{number}\n")


def _make_sparse(path: pathlib.Path) -> None:
    with path.open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 20)
        file.write(b"end")


def _make_privileged(root: pathlib.Path) -> None:
    os.mkfifo(root / "run" / "control", 0o620)
    os.setxattr(root / "logs" / "casa-20251002.log", "user.origin", b"lxd110h20")
    for directory in (root, root / "db", root / "catalogs"):
        os.chown(directory, -1, PIPELINE_ID)
        directory.chmod(0o2775)
    for name in ("db/products.sqlite3", "catalogs/nvss_dec+54.6.sqlite3"):
        os.chown(root / name, PIPELINE_ID, PIPELINE_ID)
        (root / name).chmod(0o664)
    os.chown(root / "run" / "gone", PIPELINE_ID, PIPELINE_ID, follow_symlinks=False)


def _set_times(root: pathlib.Path) -> None:
    """Give everything a time of its own, down to the nanosecond; directories last, from the bottom up."""
    moment = int(FIRST_GROUP.timestamp()) * NANOSECONDS + 123_456_789
    for directory, directories, files in os.walk(os.fsencode(root), topdown=False):
        for name in sorted([*directories, *files]):
            moment += NANOSECONDS
            os.utime(os.path.join(directory, name), ns=(moment, moment), follow_symlinks=False)
    os.utime(root, ns=(moment, moment))


def _group(index: int) -> tuple[str, float]:
    """Return the name of a group of subbands and its time in Unix seconds."""
    moment = FIRST_GROUP + index * GROUP_INTERVAL
    return moment.strftime("%Y-%m-%dT%H:%M:%S"), moment.timestamp()


def _mjd(seconds: float) -> float:
    return seconds / 86400 + 40587


def main() -> None:
    """Make a sample for the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, required=True, help="directory to make")
    parser.add_argument("--rows", type=int, default=4000, help="files in hdf5_file_index")
    parser.add_argument("--unprivileged", action="store_true", help="without other owners, xattrs and special files")
    given = parser.parse_args()
    if given.root.exists():
        parser.error(f"{given.root} exists; name a directory that this program may make")
    os.umask(0o022)
    make_state(given.root, rows=given.rows, unprivileged=given.unprivileged)


if __name__ == "__main__":
    main()
