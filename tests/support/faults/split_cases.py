# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small splits, and ways back, that are killed at their system calls, and what must hold after each kill."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import shutil
import signal
import sqlite3
import tempfile
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import prepare, split
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit import unsplit
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit_plan import UnsplitOptions
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import remembering
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    dump,
    file_row,
    make_hdf5,
    make_products,
    new_row,
    options_for,
    rows_of,
    snapshot,
)
from ansible_collections.dsa110.contimg.tests.support.faults.traced import CALLS, Call, Work, list_calls, run_traced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["CASES", "UNSPLIT_CASES", "KillCase", "SplitCase", "UnsplitCase", "split_below", "unsplit_below"]

_ROWS = 12
_NAMES = ("products.sqlite3", "hdf5.sqlite3")
#: By name: the journal mode of products, whether the HDF5 database exists, and the options of the split.
CASES: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "new, with backup and vacuum": ("WAL", False, {"backup": True, "vacuum": True}),
    "merged by age": ("WAL", True, {"on_conflict": "newest"}),
    "rollback journal": ("DELETE", False, {}),
    "prepared from more rows": ("WAL", False, {"prepared": True}),
    "rows that do not fit stay": ("WAL", False, {"rejected": "keep_in_products"}),
    "rows that do not fit are exported": (
        "DELETE",
        True,
        {"rejected": "quarantine", "backup": True, "on_conflict": "newest"},
    ),
}
_UNFIT = 2  # rows of products, where they are decided about
_TABLE = "CREATE TABLE hdf5_file_index (path TEXT PRIMARY KEY, filename TEXT NOT NULL, group_id TEXT NOT NULL"
_OF_OLD = f"{_TABLE}, subband_code TEXT NOT NULL, indexed_at REAL NOT NULL);"
_ROWS_OF_OWN = f"""
{_TABLE}, subband_code TEXT NOT NULL, file_size_bytes INTEGER, indexed_at REAL NOT NULL);
INSERT INTO hdf5_file_index VALUES ('/own', 'own', 'own', 'sb00', 1, 1.0),
  ('/data/incoming/2025-10-02T00:00:00_sb01.hdf5', 'older', 'older', 'sb01', 1, 1.0);
"""
#: Of ways back, by name: the journal mode of products, SQL that prepares it after its split, and the options.
UNSPLIT_CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no table, with backup": ("WAL", "", {"backup": True}),
    "an empty table of the application": ("DELETE", _OF_OLD, {}),
    "rows of both by age": ("WAL", _ROWS_OF_OWN, {"on_conflict": "newest"}),
}
_ATTEMPTS = 5


def split_below(
    directory: str, on_conflict: str, *, backup: bool, vacuum: bool, prepared: bool = False, rejected: str = "fail"
) -> dict[str, Any]:
    """Split the databases in a directory, and return the module's result."""
    places = (pathlib.Path(directory, "products.sqlite3"), pathlib.Path(directory, "hdf5.sqlite3"))
    backup_dir = f"{directory}/backups" if backup else None
    values: dict[str, Any] = {
        "on_conflict": on_conflict,
        "backup_dir": backup_dir,
        "vacuum": vacuum,
        "rejected": rejected,
        "prepared_dir": f"{directory}/prepared" if prepared else None,
    }
    proofs = f"{directory}/proofs.json" if prepared else None
    remember = functools.partial(remembering, proofs, write=False, warn=print)
    return split(options_for(*places, **values), check=False, remember=remember)


def unsplit_below(directory: str, on_conflict: str, *, backup: bool) -> dict[str, Any]:
    """Undo the split of the databases in a directory, and return the module's result."""
    places = (f"{directory}/products.sqlite3", f"{directory}/hdf5.sqlite3")
    return unsplit(UnsplitOptions(*places, on_conflict, f"{directory}/backups" if backup else None), check=False)


class KillCase:
    """One change of two databases, as often as it is wanted: each trial starts from the same databases.

    :cvar does: the function of this file that makes the change.
    """

    does: Callable[..., dict[str, Any]]

    def __init__(self, scratch: pathlib.Path) -> None:
        self.scratch = scratch
        self.directory = scratch / "state"
        self.origin = scratch / "origin"
        self.origin.mkdir()
        self.make(self.origin)
        self.old = _dumps(self.origin)
        self.restore()
        self._do()
        self.clean = _dumps(self.directory)

    def make(self, directory: pathlib.Path) -> None:
        """Make the databases as they are before the change."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the change."""
        raise NotImplementedError

    def judge(self, seen: pathlib.Path) -> str:
        """Return what is wrong with a copy of what a killed run has left, which is nothing."""
        raise NotImplementedError

    def restore(self) -> None:
        """Put the databases back as they were before the change."""
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(self.origin, self.directory)

    def _do(self) -> dict[str, Any]:
        return type(self).does(**self.arguments())

    def _work(self) -> Work:
        return Work(f"{__name__}:{type(self).does.__name__}", self.arguments(), self.scratch / "trace")

    def points(self) -> list[Call]:
        """Return every system call of the change."""
        self.restore()
        return list_calls(self._work(), CALLS, after=str(self.directory))

    def breach(self, point: Call) -> str:
        """Kill the change at a point, look, run it again; return what is wrong, which is nothing.

        Calls are counted in each process. Which of several reads what is chance, so a kill may need more than one try.
        """
        inject = f"inject={point.name}:signal=KILL:when={point.ordinal}"
        for _attempt in range(_ATTEMPTS):
            self.restore()
            if run_traced(self._work(), point.name, "-e", inject).code == -signal.SIGKILL:
                return self._look() or self._go_on()
        return "the kill did not fire"

    def _look(self) -> str:
        """Judge a copy of what the killed run has left: looking itself must not repair anything."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch:
            seen = pathlib.Path(scratch) / "seen"
            shutil.copytree(self.directory, seen)
            for name in _NAMES:
                if (seen / name).exists() and not _is_sound(seen / name):
                    return f"{name} is damaged"
            return self.judge(seen)

    def _go_on(self) -> str:
        self._do()
        if _dumps(self.directory) != self.clean:
            return "the second run ends otherwise than a clean one"
        debris = [path.name for path in self.directory.rglob(".contimg-*")]
        if debris:
            return f"left: {debris}"
        before = snapshot(self.directory)
        changed = self._do()["changed"]
        return "the third run changes something" if changed or snapshot(self.directory) != before else ""


class SplitCase(KillCase):
    """A split: every row is in products, or in the HDF5 database, or exported."""

    does = staticmethod(split_below)

    def __init__(self, name: str, scratch: pathlib.Path) -> None:
        self.journal_mode, self.merges, self.changed = CASES[name]
        self.rejected = self.changed.get("rejected", "fail")
        self.unfit = [] if self.rejected == "fail" else [_unfit(number) for number in range(_UNFIT)]
        super().__init__(scratch)
        self.rows = rows_of(self.directory / "hdf5.sqlite3")

    def make(self, directory: pathlib.Path) -> None:
        rows = [file_row(number) for number in range(_ROWS)]
        make_products(directory / "products.sqlite3", [*self.unfit, *rows], journal_mode=self.journal_mode)
        if self.merges:
            older = new_row(1, indexed_at=1.0, file_size_bytes=1)
            make_hdf5(directory / "hdf5.sqlite3", [new_row(0), older, new_row(90)])

    def restore(self) -> None:
        """Prepare again, too: a copy of a prepared database is another file."""
        super().restore()
        if self.changed.get("prepared"):
            places = [self.directory / name for name in _NAMES]
            remember = functools.partial(remembering, f"{self.directory}/proofs.json", write=True, warn=print)
            prepare(options_for(*places, prepared_dir=f"{self.directory}/prepared"), check=False, remember=remember)
            with contextlib.closing(sqlite3.connect(places[0], isolation_level=None)) as connection:
                connection.execute("DELETE FROM hdf5_file_index WHERE rowid = 2")

    def arguments(self) -> dict[str, Any]:
        conflict = self.changed.get("on_conflict", "fail")
        asked = {name: bool(self.changed.get(name)) for name in ("backup", "vacuum", "prepared")}
        return {"directory": str(self.directory), "on_conflict": conflict, "rejected": self.rejected, **asked}

    def judge(self, seen: pathlib.Path) -> str:
        source = rows_of(seen / "products.sqlite3")
        target = rows_of(seen / "hdf5.sqlite3") if (seen / "hdf5.sqlite3").exists() else []
        if len(source) == len(self.unfit) + _ROWS - bool(self.changed.get("prepared")):
            return ""
        if target != self.rows:
            return f"products holds {len(source)} rows, the HDF5 database {len(target)}"
        kept = source if self.rejected == "keep_in_products" else _exported(seen)
        return "" if len(kept) == len(self.unfit) else f"of the rows that do not fit, {len(kept)} are kept"


class UnsplitCase(KillCase):
    """A way back: products is as it was or has every row, and the HDF5 database is as it was."""

    does = staticmethod(unsplit_below)

    def __init__(self, name: str, scratch: pathlib.Path) -> None:
        self.journal_mode, self.further, self.changed = UNSPLIT_CASES[name]
        super().__init__(scratch)

    def make(self, directory: pathlib.Path) -> None:
        products = directory / "products.sqlite3"
        make_products(products, [file_row(number) for number in range(_ROWS)], journal_mode=self.journal_mode)
        split_below(str(directory), "fail", backup=False, vacuum=False)
        connection = sqlite3.connect(str(products))
        connection.executescript(self.further)
        connection.close()

    def arguments(self) -> dict[str, Any]:
        conflict = self.changed.get("on_conflict", "fail")
        return {"directory": str(self.directory), "on_conflict": conflict, "backup": bool(self.changed.get("backup"))}

    def judge(self, seen: pathlib.Path) -> str:
        products, hdf5 = _dumps(seen)
        if hdf5 != self.old[1]:
            return "the HDF5 database is not as it was"
        return "" if products in (self.old[0], self.clean[0]) else "products is neither as it was nor whole"


def _unfit(number: int) -> dict[str, Any]:
    return file_row(number, path=f"/odd/{number}", group_id="odd", timestamp_iso=None, timestamp_mjd=None)


def _exported(directory: pathlib.Path) -> list[str]:
    return [line for file in directory.glob("backups/*.jsonl") for line in file.read_text().splitlines()]


def _dumps(directory: pathlib.Path) -> list[Sequence[str]]:
    return [dump(directory / name) if (directory / name).exists() else () for name in _NAMES]


def _is_sound(path: pathlib.Path) -> bool:
    connection = sqlite3.connect(str(path))
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    finally:
        connection.close()
