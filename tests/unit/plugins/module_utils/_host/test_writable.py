# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what can be written, on real mounts and with real attributes; nothing is written to find it out."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import (
    directory_obstacle,
    flags_obstacle,
    replacing_obstacle,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_read_only, run_within
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


@contextlib.contextmanager
def attribute(path: pathlib.Path, letter: str) -> Iterator[None]:
    """Give a file or directory an attribute for the time of a ``with`` block."""
    subprocess.run(["chattr", f"+{letter}", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", f"-{letter}", str(path)], check=True)


@pytest.mark.parametrize(
    ("flags", "says"), [(0, ""), (0x10, "is immutable"), (0x20, "is append-only"), (0x30, "immutable"), (0x80000, "")]
)
def test_flags_are_read(flags: int, says: str) -> None:
    found = flags_obstacle(flags)
    assert says in found
    assert bool(says) == bool(found)


def test_what_can_be_written_has_no_obstacle_and_is_not_touched(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("x")
    before = os.stat(tmp_path), os.stat(tmp_path / "file")
    assert directory_obstacle(str(tmp_path)) == ""
    assert directory_obstacle(str(tmp_path / "a" / "b")) == ""
    assert replacing_obstacle(str(tmp_path / "file")) == ""
    assert replacing_obstacle(str(tmp_path / "a" / "b")) == ""
    assert before == (os.stat(tmp_path), os.stat(tmp_path / "file"))


def test_what_is_not_a_directory_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loose").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "fifo")
    assert directory_obstacle(f"{tmp_path}/file") == "is not a directory"
    assert directory_obstacle(f"{tmp_path}/file/a/b") == f"{tmp_path}/file above it is not a directory"
    assert directory_obstacle(f"{tmp_path}/fifo/a") == f"{tmp_path}/fifo above it is not a directory"
    assert directory_obstacle(f"{tmp_path}/loose") == "is a symbolic link to nothing"
    assert replacing_obstacle(f"{tmp_path}/file/a") == f"cannot be replaced: {tmp_path}/file is not a directory"


def test_attributes_of_inodes_count(tmp_path: pathlib.Path) -> None:
    directory, file, link = tmp_path / "directory", tmp_path / "directory" / "file", tmp_path / "link"
    directory.mkdir()
    file.touch()
    link.symlink_to(file)
    with attribute(file, "i"):
        assert replacing_obstacle(str(file)) == "is immutable (chattr +i)"
        assert replacing_obstacle(str(link)) == "is immutable (chattr +i)"
        assert directory_obstacle(str(directory)) == ""
    with attribute(directory, "a"):
        assert directory_obstacle(str(directory)) == "is append-only (chattr +a)"
        assert directory_obstacle(f"{directory}/x/y") == f"{directory} above it is append-only (chattr +a)"
        assert replacing_obstacle(str(file)) == f"cannot be replaced: {directory} is append-only (chattr +a)"


def test_a_read_only_mount_and_a_mounted_file_are_named(tmp_path: pathlib.Path) -> None:
    script = (
        "import sys; from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import *; "
        "print(repr(directory_obstacle(sys.argv[1])), repr(replacing_obstacle(sys.argv[2])), sep='\\n')"
    )
    for name in ("file", "over"):
        (tmp_path / name).touch()
    read_only = run_read_only(tmp_path, script, tmp_path / "a", tmp_path / "file").splitlines()
    assert read_only == [
        f"'{tmp_path} above it is on a file system that is mounted read-only'",
        f"'cannot be replaced: {tmp_path} is on a file system that is mounted read-only'",
    ]
    mounted = run_within([(tmp_path / "over", tmp_path / "file")], script, tmp_path, tmp_path / "file").splitlines()
    assert mounted == ["''", "'is a mount point, which cannot be replaced'"]


def test_permissions_are_those_of_the_user_who_runs_it(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    for path in (tmp_path, *tmp_path.parents[:-2]):
        path.chmod(path.stat().st_mode | 0o555)
    pid = os.fork()
    if not pid:  # another user, for good
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        os._exit("may not be written by user nobody" not in directory_obstacle(str(directory)))
    assert os.waitpid(pid, 0)[1] == 0
    assert directory_obstacle(str(directory)) == ""


def test_a_copy_is_refused_before_it_touches_anything(tmp_path: pathlib.Path) -> None:
    logs, old = tmp_path / "dest" / "logs", tmp_path / "dest" / "logs" / "new.log"
    (tmp_path / "src" / "logs").mkdir(parents=True)
    (tmp_path / "src" / "logs" / "new.log").write_text("new\n")
    logs.mkdir(parents=True)
    old.write_text("old\n")
    options = options_from(sync_values(tmp_path, on_conflict="replace", backup_dir=str(tmp_path / "kept")))
    for immutable, says in [(logs, "logs is imm"), (old, "logs/new.log is imm"), (tmp_path, f"{tmp_path} is imm")]:
        with attribute(immutable, "i"):
            for check in (True, False):
                with pytest.raises(ContimgError, match=f"dest: cannot be written: .*{says}.*Nothing was touched"):
                    synchronize(options, check=check)
            assert old.read_text() == "old\n"
    assert not (tmp_path / "kept").exists()
    assert synchronize(options, check=False)["changed"]


def test_a_copy_counts_what_others_need_and_what_it_keeps(tmp_path: pathlib.Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a").write_text("new\n")
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "a").write_bytes(b"x" * 1000)
    values = sync_values(tmp_path, on_conflict="replace", backup_dir=str(tmp_path / "kept"))
    with pytest.raises(ContimgError) as refused:
        synchronize(options_from({**values, "reserve": {str(tmp_path / "run"): 1 << 60}}), check=True)
    message = refused.value.message
    assert f"the copy in {tmp_path}/dest: 516" in message
    assert f"what is replaced in {tmp_path}/kept: 1000" in message
    assert f"what follows in {tmp_path}/run: {1 << 60}" in message
    assert synchronize(options_from({**values, "reserve": {str(tmp_path): 1}}), check=True)["changed"]
