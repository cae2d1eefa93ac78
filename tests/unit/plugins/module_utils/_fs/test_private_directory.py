# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private directories: what killed runs have left goes, what is in use or of somebody else stays."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs import private_directory as private_directory_module
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.private_directory import (
    PRIVATE_NAME,
    private_directory,
    remove_abandoned,
    remove_abandoned_once,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.tests.support.databases.hot_journals import interrupt, make_pair
from ansible_collections.dsa110.contimg.tests.support.faults.traced import (
    Call,
    Work,
    environment,
    list_calls,
    run_traced,
    sample,
)

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

_HOLD = """
import os, sys, time
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import snapshot
with snapshot(sys.argv[1]) as state:
    if os.fork():  # a worker outlives the module for a moment
        print(state.opened, flush=True)
    time.sleep(60)
"""
#: How many points are tried of all that there are; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "12"))


@pytest.fixture(name="scratch")
def _scratch(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    remove_abandoned_once.cache_clear()
    yield scratch
    remove_abandoned_once.cache_clear()


@pytest.fixture(name="database")
def _database(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a database whose truth is partly in its WAL."""
    make_pair(tmp_path / "state")
    interrupt(tmp_path / "state" / "a.db", "wal", "UPDATE t SET x = 'new'")
    return tmp_path / "state" / "a.db"


def test_it_is_private_and_goes(scratch: pathlib.Path) -> None:
    with private_directory(state="Nothing was changed.") as path:
        (found,) = scratch.iterdir()
        assert str(found) == path
        assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert list(scratch.iterdir()) == []


def test_one_that_is_in_use_stays_and_goes_when_its_last_process_is_gone(
    scratch: pathlib.Path, database: pathlib.Path
) -> None:
    command = [sys.executable, "-c", _HOLD, str(database)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    ) as other:
        assert other.stdout is not None
        copy = other.stdout.readline().strip()
        remove_abandoned(str(scratch))
        assert os.path.exists(copy), "it is in use"
        other.kill()
        other.wait()
        remove_abandoned(str(scratch))
        assert os.path.exists(copy), "one of its processes still reads it"
        os.killpg(other.pid, signal.SIGKILL)
        assert other.stdout.read() == ""
    content_checksum(str(database))
    assert list(scratch.iterdir()) == []


def checksum(path: str) -> str:
    """Return what a trial does."""
    return content_checksum(path)


def test_what_a_run_leaves_that_is_killed_at_any_call_goes_with_the_next(
    scratch: pathlib.Path, database: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    work = Work(f"{__name__}:checksum", {"path": str(database)}, tmp_path / "log")
    names = "openat,mkdir,flock,write,pwrite64,unlink,unlinkat,rmdir,fcntl,fsync,fdatasync,ftruncate"
    points = list_calls(work, names, about=str(scratch))
    assert len(points) > 8
    expected = content_checksum(str(database))
    for point in sample(points, POINTS):
        _kill(work, point)
        remove_abandoned_once.cache_clear()
        assert content_checksum(str(database)) == expected
        assert list(scratch.iterdir()) == [], point


def _kill(work: Work, point: Call) -> None:
    outcome = run_traced(work, point.name, "-e", f"inject={point.name}:signal=KILL:when={point.ordinal}")
    assert outcome.code == -signal.SIGKILL


def strange(path: pathlib.Path) -> None:
    (path / "notes.txt").touch()


def opened_to_others(path: pathlib.Path) -> None:
    path.chmod(0o755)


def of_another_user(path: pathlib.Path) -> None:
    os.chown(path, 65534, 65534)


def a_directory_in_it(path: pathlib.Path) -> None:
    (path / PRIVATE_NAME).unlink()
    (path / PRIVATE_NAME).mkdir()


@pytest.mark.parametrize("change", [strange, opened_to_others, of_another_user, a_directory_in_it])
def test_what_is_not_provably_ours_stays(scratch: pathlib.Path, change: object) -> None:
    path = scratch / "contimg-copy-abcdefgh"
    path.mkdir(mode=0o700)
    (path / PRIVATE_NAME).touch()
    assert callable(change)
    change(path)
    remove_abandoned(str(scratch))
    assert (path / PRIVATE_NAME).exists()


def test_another_name_or_a_link_stays(scratch: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("contimg-abcdefgh", "copy-contimg-"):
        (scratch / name).mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "elsewhere" / PRIVATE_NAME).touch()
    (scratch / "contimg-copy-link").symlink_to(tmp_path / "elsewhere")
    remove_abandoned(str(scratch))
    assert len(list(scratch.iterdir())) == 3
    assert (tmp_path / "elsewhere" / PRIVATE_NAME).exists()


def test_one_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(
    scratch: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[pathlib.Path] = []
    lock = private_directory_module._locked

    def rival(descriptor: int) -> bool | None:
        if not made:
            made.extend(scratch.iterdir())
            made[0].rmdir()
        return lock(descriptor)

    monkeypatch.setattr(private_directory_module, "_locked", rival)
    with private_directory(state="Nothing was changed.") as path:
        assert [str(found) for found in scratch.iterdir()] == [path]
        assert path != str(made[0])


def test_a_place_that_is_missing_or_closed_is_named(
    database: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path / "none", database):
        monkeypatch.setenv("TMPDIR", str(place))
        with pytest.raises(ContimgError) as caught:
            content_checksum(str(database))
        assert str(place) in caught.value.message
        assert "Set TMPDIR to a directory that can be written" in caught.value.hint
