# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small splits that are killed at their system calls, and what must hold after each kill."""

from __future__ import annotations

import pathlib
import shutil
import signal
import sqlite3
import tempfile
from typing import Any

from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5_split import split
from ansible_collections.dsa110.contimg.tests.support.hdf5_databases import (
    dump,
    file_row,
    make_hdf5,
    make_products,
    new_row,
    options_for,
    rows_of,
    snapshot,
)
from ansible_collections.dsa110.contimg.tests.support.traced import CALLS, Call, Work, list_calls, run_traced

__all__ = ["CASES", "SplitCase", "split_below"]

_ROWS = 12
#: By name: the journal mode of products, whether the HDF5 database exists, and the options of the split.
CASES: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "new, with backup and vacuum": ("WAL", False, {"backup": True, "vacuum": True}),
    "merged by age": ("WAL", True, {"on_conflict": "newest"}),
    "rollback journal": ("DELETE", False, {}),
}
_ATTEMPTS = 5


def split_below(folder: str, on_conflict: str, *, backup: bool, vacuum: bool) -> dict[str, Any]:
    """Split the databases in a directory, and return the module's result."""
    places = (pathlib.Path(folder, "products.sqlite3"), pathlib.Path(folder, "hdf5.sqlite3"))
    backup_dir = f"{folder}/backups" if backup else None
    return split(options_for(*places, on_conflict=on_conflict, backup_dir=backup_dir, vacuum=vacuum), check=False)


class SplitCase:
    """One split, as often as it is wanted: each trial starts from the same databases."""

    def __init__(self, name: str, scratch: pathlib.Path) -> None:
        self.journal_mode, self.merges, self.changed = CASES[name]
        self.scratch = scratch
        self.folder = scratch / "state"
        self.origin = scratch / "origin"
        self.origin.mkdir()
        self._make(self.origin)
        self.restore()
        split_below(**self._arguments())
        self.clean = [dump(self.folder / name) for name in ("products.sqlite3", "hdf5.sqlite3")]
        self.rows = rows_of(self.folder / "hdf5.sqlite3")

    def _make(self, folder: pathlib.Path) -> None:
        rows = [file_row(number) for number in range(_ROWS)]
        make_products(folder / "products.sqlite3", rows, journal_mode=self.journal_mode)
        if self.merges:
            older = new_row(1, indexed_at=1.0, file_size_bytes=1)
            make_hdf5(folder / "hdf5.sqlite3", [new_row(0), older, new_row(90)])

    def restore(self) -> None:
        """Put the databases back as they were before the split."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.origin, self.folder)

    def _arguments(self) -> dict[str, Any]:
        conflict = self.changed.get("on_conflict", "fail")
        asked = {name: bool(self.changed.get(name)) for name in ("backup", "vacuum")}
        return {"folder": str(self.folder), "on_conflict": conflict, **asked}

    def _work(self) -> Work:
        return Work(f"{__name__}:split_below", self._arguments(), self.scratch / "trace")

    def points(self) -> list[Call]:
        """Return every system call of the split."""
        self.restore()
        return list_calls(self._work(), CALLS, after=str(self.folder))

    def breach(self, point: Call) -> str:
        """Kill the split at a point, look, run it again; return what is wrong, which is nothing.

        Calls are counted in each process. Which of several reads what is chance, so a kill may need more than one try.
        """
        inject = f"inject={point.name}:signal=KILL:when={point.ordinal}"
        for _attempt in range(_ATTEMPTS):
            self.restore()
            if run_traced(self._work(), point.name, "-e", inject).code == -signal.SIGKILL:
                return self._look() or self._go_on()
        return "the kill did not fire"

    def _look(self) -> str:
        """Judge a copy of what the killed run has left: looking itself must not mend anything."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as scratch:
            seen = pathlib.Path(scratch) / "seen"
            shutil.copytree(self.folder, seen)
            for name in ("products.sqlite3", "hdf5.sqlite3"):
                if (seen / name).exists() and not _is_sound(seen / name):
                    return f"{name} is damaged"
            source = rows_of(seen / "products.sqlite3")
            target = rows_of(seen / "hdf5.sqlite3") if (seen / "hdf5.sqlite3").exists() else []
        if source and len(source) != _ROWS:
            return f"products holds {len(source)} rows"
        return "" if source or target == self.rows else f"products holds none, the HDF5 database {len(target)}"

    def _go_on(self) -> str:
        split_below(**self._arguments())
        if [dump(self.folder / name) for name in ("products.sqlite3", "hdf5.sqlite3")] != self.clean:
            return "the second run ends otherwise than a clean one"
        debris = [path.name for path in self.folder.rglob(".contimg-*")]
        if debris:
            return f"left: {debris}"
        before = snapshot(self.folder)
        changed = split_below(**self._arguments())["changed"]
        return "the third run changes something" if changed or snapshot(self.folder) != before else ""


def _is_sound(path: pathlib.Path) -> bool:
    connection = sqlite3.connect(str(path))
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    finally:
        connection.close()
