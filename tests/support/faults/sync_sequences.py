# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random sequences of edits, copies and killed copies of a small tree with a database."""

from __future__ import annotations

import itertools
import os
import signal
import stat
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.tests.support.faults.sync_edits import DATABASE, EDITS, Source, in_child
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import (
    copy,
    digest_of,
    found_differences,
    is_told,
    rows,
)
from ansible_collections.dsa110.contimg.tests.support.faults.traced import TEMPORARY

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

__all__ = ["SEQUENCES", "Sequence"]

_CRASHES = st.tuples(st.just("crash"), st.integers(1, 2), st.integers(1, 140))
_COPIES = st.tuples(st.just("copy"), st.integers(1, 2))
#: Some edits, and then a copy, which is mostly killed.
_ROUNDS = st.tuples(st.lists(EDITS, min_size=1, max_size=4), st.one_of(_CRASHES, _CRASHES, _CRASHES, _COPIES))
#: Each is a list of steps.
SEQUENCES = st.lists(_ROUNDS, min_size=2, max_size=5).map(
    lambda rounds: [step for edits, end in rounds for step in (*edits, end)]
)
#: The calls of a copy that change something, or open what it goes on with.
_COUNTED = "chmod,chown,fsync,ftruncate,link,mkdir,mknod,open,pwrite,rename,rmdir,setxattr,symlink,unlink,utime"


class Sequence:
    """One source and its destination, below a directory."""

    def __init__(self, base: pathlib.Path) -> None:
        self.base, self.src, self.dest = base, base / "src", base / "dest"
        self.source = Source(self.src)
        self.killed = 0

    def do(self, name: str, *arguments: Any) -> None:
        """Do one step, and check what it has left."""
        (getattr(self, name, None) or getattr(self.source, name))(*arguments)

    def copy(self, workers: int = 1) -> None:
        """Copy: it converges, whatever came before it."""
        before = digest_of(self.src)
        copy(self.base, workers=workers)
        assert digest_of(self.src) == before, "the source has changed"
        left = found_differences(self.base)
        assert not left, f"leaves {left}"
        assert _rows(self.dest) == _rows(self.src), "the rows differ"
        assert is_told(self.base), "the manifest is wrong"
        again = copy(self.base)
        assert not again["changed"], f"the next run changes something: {again['actions']}"

    def crash(self, workers: int, ordinal: int) -> None:
        """Kill a copy before one of its calls: each file is then wholly old or wholly new."""
        before, old, old_rows = digest_of(self.src), _contents(self.dest), _rows(self.dest)

        def work() -> None:
            _die_at(ordinal)
            copy(self.base, workers=workers)

        status = in_child(work)
        assert status in (0, signal.SIGKILL), "the copy failed"
        self.killed += status == signal.SIGKILL
        assert digest_of(self.src) == before, "the source has changed"
        new, found = _contents(self.src), _contents(self.dest)
        for name in {*old, *new, *found}:
            assert found.get(name) in (old.get(name), new.get(name)), f"{name} is torn"
        assert _rows(self.dest) in (old_rows, _rows(self.src)), "the database is torn"


def _die_at(ordinal: int) -> None:
    """Let this process, and all that it starts, be killed before one of its calls."""
    count, opened = itertools.count(1), os.open

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            only_looks = call is opened and arguments[1] & os.O_PATH
            if not only_looks and next(count) == ordinal:
                os.killpg(0, signal.SIGKILL)
            return call(*arguments, **named)

        return called

    for name in _COUNTED.split(","):
        setattr(os, name, counted(getattr(os, name)))


def _rows(directory: pathlib.Path) -> int | None:
    return rows(directory) if (directory / DATABASE).exists() else None


def _contents(root: pathlib.Path) -> dict[str, bytes]:
    """Return the content of each file, but of those of the database and of those that have no name yet."""
    found = {}
    for directory, _names, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if stat.S_ISREG(os.lstat(path).st_mode) and not name.startswith((DATABASE, TEMPORARY)):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read()
    return found
