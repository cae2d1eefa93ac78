# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of files that no 64-bit number of nanoseconds holds (before 1677, after 2262), on a tmpfs, which keeps them."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import audit
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.hosts.moved_state import Moved
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECOND = 10**9
YEAR_1600 = -11_676_096_000 * _SECOND + 123_456_789
YEAR_2400 = 13_569_465_600 * _SECOND + 987_654_321
FARTHEST = (2**62) * _SECOND + 1


@pytest.fixture(name="base")
def _base() -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield pathlib.Path(directory)


def set_time(path: pathlib.Path, time_ns: int) -> None:
    os.utime(path, ns=(0, time_ns), follow_symlinks=False)
    assert path.lstat().st_mtime_ns == time_ns


@pytest.mark.parametrize("time_ns", [YEAR_1600, YEAR_2400, FARTHEST, -FARTHEST, -1, 0, 2**63 - 1, 2**63, -(2**63) - 1])
def test_a_status_holds_any_time(base: pathlib.Path, time_ns: int) -> None:
    (base / "file").touch()
    set_time(base / "file", time_ns)
    status = (base / "file").stat()
    entry = entry_of(b"file", status)
    assert (entry.status.mtime_ns, entry.status.ctime_ns) == (time_ns, status.st_ctime_ns)
    assert (entry.status.inode, entry.status.links, entry.size) == (status.st_ino, 1, 0)
    set_time(base / "file", time_ns + 1)
    assert not entry.same_state(entry_of(b"file", (base / "file").stat()))


def test_far_times_are_copied_and_a_second_run_changes_nothing(base: pathlib.Path) -> None:
    src, dest = base / "src", base / "dest"
    (src / "d").mkdir(parents=True)
    times = {"old": YEAR_1600, "new": YEAR_2400, "link": YEAR_2400, "d/deep": FARTHEST, "d": -FARTHEST, ".": YEAR_1600}
    for name in ("old", "new", "d/deep"):
        (src / name).write_text(name)
    (src / "link").symlink_to("old")
    for name, time_ns in times.items():
        set_time(src / name, time_ns)
    values = sync_values(base)
    preview = synchronize(options_from(values), check=True)
    run = synchronize(options_from(values), check=False)
    assert (run["diff"], run["changed"]) == (preview["diff"], True)
    assert {name: (dest / name).lstat().st_mtime_ns for name in times} == times
    assert synchronize(options_from(values), check=False)["changed"] is False
    assert audit(str(dest), run["manifest"], rename={}, exclude=[], content=True)["matches"]
    set_time(src / "new", YEAR_2400 + 1)
    assert synchronize(options_from(values), check=False)["diff"]["after"] == (
        "metadata new (owner, mode, times or attributes)\n"
    )
    assert (dest / "new").stat().st_mtime_ns == YEAR_2400 + 1


def test_a_state_with_far_times_is_retired_into_an_archive_that_keeps_them(base: pathlib.Path) -> None:
    moved = Moved(base)
    times = {"notes": YEAR_1600, "logs/a.log": YEAR_2400, "catalogs/c.sqlite3": -1, "logs": FARTHEST}
    for root in (moved.src, moved.dest):
        for name, time_ns in times.items():
            set_time(root / name, time_ns)
    assert moved.retire()["changed"] is True
    assert moved.retire()["changed"] is False
    with tarfile.open(moved.archive) as archive:
        found = {member.name: member.pax_headers["mtime"] for member in archive}
    assert found["state/notes"] == "-11676095999.876543211"
    assert found["state/logs/a.log"] == "13569465600.987654321"
    assert found["state/catalogs/c.sqlite3"] == "-0.000000001"
    shutil.rmtree(moved.src, ignore_errors=True)
    subprocess.run(["tar", "-xzf", str(moved.archive), "-C", str(base)], check=True)
    assert {name: (moved.src / name).stat().st_mtime_ns for name in times} == times
