# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that may happen to a small source between two copies of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import traceback
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

__all__ = ["DATABASE", "EDITS", "Source", "in_child"]

DATABASE = "p.sqlite3"
_CONTENTS = (b"", b"a word", b"other", b"page" * 2000, b"large" * 250_000)
_MODES = (0o700, 0o755, 0o711, 0o1777, 0o750)
#: A directory never becomes a file, nor a file a directory: a copy asks the operator about that.
_FILES = st.sampled_from(["a", "b", "d/a", "d/b", "e/f/g"])
_DIRECTORIES = st.sampled_from(["d", "e", "e/f", "h"])
_NUMBERS = st.integers(0, len(_CONTENTS) - 1)
#: An edit is the name of a method of :class:`Source`, and its arguments.
EDITS = st.one_of(
    st.tuples(st.sampled_from(["write", "replace", "replace", "overwrite"]), _FILES, _NUMBERS),
    st.tuples(st.sampled_from(["link", "link_hard", "link_hard"]), _FILES, _FILES),
    st.tuples(st.just("remove"), st.one_of(_FILES, _DIRECTORIES)),
    st.tuples(st.just("make_directory"), _DIRECTORIES),
    st.tuples(st.just("change_mode"), st.one_of(_FILES, _DIRECTORIES), _NUMBERS),
    st.tuples(st.just("commit"), _NUMBERS),
    st.tuples(st.just("commit"), _NUMBERS),
    st.tuples(st.sampled_from(["fold", "drop"])),
)


class Source:
    """A tree with files, links and a database."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        root.mkdir(parents=True)

    def _is_file(self, name: str) -> bool:
        return (self.root / name).is_file() and not (self.root / name).is_symlink()

    def _in_place(self, name: str) -> pathlib.Path:
        """Return where something is made that is then moved to a name."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        return self.root / "aside"

    def write(self, name: str, number: int) -> None:
        """Write to a file as it stands, with all its names."""
        if self._is_file(name):
            (self.root / name).write_bytes(_CONTENTS[number])
        else:
            self.replace(name, number)

    def replace(self, name: str, number: int) -> None:
        """Put another file in its place."""
        self._in_place(name).write_bytes(_CONTENTS[number])
        os.rename(self.root / "aside", self.root / name)

    def overwrite(self, name: str, number: int) -> None:
        """Change its content, and neither its size nor its time."""
        if self._is_file(name):
            status = (self.root / name).stat()
            (self.root / name).write_bytes(bytes([65 + number]) * status.st_size)
            os.utime(self.root / name, ns=(status.st_atime_ns, status.st_mtime_ns))

    def link(self, name: str, other: str) -> None:
        """Put a symbolic link in its place."""
        self._in_place(name).symlink_to(other)
        os.rename(self.root / "aside", self.root / name)

    def link_hard(self, name: str, other: str) -> None:
        """Put a further name of another file in its place."""
        if self._is_file(other) and name != other:
            os.link(self.root / other, self._in_place(name))
            os.replace(self.root / "aside", self.root / name)
            (self.root / "aside").unlink(missing_ok=True)  # both were names of one file

    def remove(self, name: str) -> None:
        """Remove a file, or a directory with all that is in it."""
        if (self.root / name).is_dir() and not (self.root / name).is_symlink():
            shutil.rmtree(self.root / name)
        else:
            (self.root / name).unlink(missing_ok=True)

    def make_directory(self, name: str) -> None:
        """Make a directory."""
        (self.root / name).mkdir(parents=True, exist_ok=True)

    def change_mode(self, name: str, number: int) -> None:
        """Change who may open it."""
        if (self.root / name).exists() and not (self.root / name).is_symlink():
            (self.root / name).chmod(_MODES[number])

    def commit(self, number: int) -> None:
        """Add rows to the database in a process that dies: they stand in the log alone."""

        def work() -> None:
            connection = sqlite3.connect(self.root / DATABASE)
            connection.execute("PRAGMA journal_mode=wal")
            connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
            connection.executemany("INSERT INTO t VALUES (?)", [("a row",)] * (1 + 7 * number))
            connection.commit()
            os._exit(0)

        assert in_child(work) == 0

    def fold(self) -> None:
        """Fold the log of the database in."""
        if (self.root / DATABASE).exists():
            with contextlib.closing(sqlite3.connect(self.root / DATABASE)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def drop(self) -> None:
        """Remove the database."""
        for path in self.root.glob(DATABASE + "*"):
            path.unlink()


def in_child(work: Callable[[], object]) -> int:
    """Do something in a process of its own, which leads a group; return how it ended, as ``waitpid`` says."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        os.setpgid(0, 0)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 (nothing of the parent's may run twice)
        os.writev(2, [traceback.format_exc().encode()])
    finally:
        os._exit(1)
