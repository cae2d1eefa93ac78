# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of what is its owner's alone, looked at after any call: nobody else may open anything of it, not for a moment."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.stopped_copy import stopped_at
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import copy, first_version, second_version
from ansible_collections.dsa110.contimg.tests.support.faults.traced import sample
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import Call, list_calls

if TYPE_CHECKING:
    import pathlib

# How many points are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "2"))
#: What makes a name, and what changes who may open it.
CALLS = {
    "openat": "O_CREAT",
    "mkdirat,mknodat,linkat,fchmod,chmod,fchown,chown,renameat,rename,setxattr,fsetxattr": "",
}


def prepare(base: pathlib.Path) -> None:
    """Make a second pass ready for files and directories that only their owner may read."""
    first_version(base)
    hide(base / "src")
    copy(base)
    second_version(base)
    hide(base / "src")


def hide(root: pathlib.Path) -> None:
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)


def exposed(root: pathlib.Path) -> list[pathlib.Path]:
    """Return what of a tree others than its owner may open."""
    found = [path for path in [root, *root.rglob("*")] if not path.is_symlink()]
    return [path for path in found if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def exposed_after(base: pathlib.Path, call: Call, prelude: str = "") -> list[str]:
    """Return what others may open at the destination of a copy that is stopped after a call.

    What was empty then, and has no name when the copy has ended, tried what the file system can, and never held anything.
    """
    prepare(base)
    seen: dict[str, int] = {}

    def look() -> None:
        for path in exposed(base / "dest"):
            seen[f"{path.name} {stat.filemode(path.lstat().st_mode)}"] = os.open(path, os.O_PATH)

    with contextlib.ExitStack() as held:
        outcome = stopped_at(base, call, look, prelude=prelude)
        for descriptor in seen.values():
            held.callback(os.close, descriptor)
        assert outcome.code == 0, outcome
        told = [
            what for what, descriptor in seen.items() if os.fstat(descriptor).st_size or os.fstat(descriptor).st_nlink
        ]
    return told + [path.name for path in exposed(base / "dest")]


@pytest.mark.parametrize("names", CALLS)
def test_nobody_else_may_open_what_is_being_copied(tmp_path: pathlib.Path, names: str) -> None:
    base = tmp_path / "base"
    prepare(base)
    calls = list_calls(base, names, about=CALLS[names])
    assert len(calls) > 20
    found = {call: seen for call in sample(calls, POINTS) if (seen := exposed_after(base, call))}
    assert found == {}


# A mutant: it makes its files as they come, and takes them from all others afterwards.
LATE = """
import os
_open = os.open
def _late(path, flags, mode=0o777, **named):
    made = _open(path, flags, 0o666 if flags & os.O_CREAT else mode, **named)
    if flags & os.O_CREAT:
        os.fchmod(made, mode)
    return made
os.open = _late
"""


def test_a_copy_that_sets_the_mode_after_it_has_made_a_file_is_caught(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    prepare(base)
    calls = list_calls(base, "openat", about="O_CREAT|O_EXCL", prelude=LATE)
    assert any(exposed_after(base, call, LATE) for call in reversed(calls))
