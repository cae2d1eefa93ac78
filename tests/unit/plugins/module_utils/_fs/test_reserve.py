# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the reserve on a real file system that is full: record and hold files can still be written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import advance, keep, read_record
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_within

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = """
import json, os, subprocess, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_containers
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_file
from ansible_collections.dsa110.contimg.plugins.module_utils._host import place
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import advance, keep, read_record
directory = sys.argv[1]
run_dir = directory + "/run"
place._LASTING = (directory + "/lasting",) * 2

def limit(options):
    subprocess.run(["mount", "-o", "remount," + options, directory], check=True)

def fill():
    try:
        with open(directory + "/full", "ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass

def to(phase, **facts):
    move = {"src": "/old", "dest": "/new", "databases": {}, "exclude": []}
    keep(run_dir, advance(read_record(run_dir), phase, facts, at=0, move=move))
"""

FULL = """
limit("size=3m")
to("presynced")
fill()
to("rolled_back", why="x" * 200000)
reserve = os.path.exists(run_dir + "/reserve")
fill()
try:
    to("rolled_back", why="y" * 200000)
    said = ""
except ContimgError as error:
    said = error.message
os.unlink(directory + "/full")
to("presynced")
print(json.dumps([reserve, said, read_record(run_dir)["former"][0]["why"][0], os.path.exists(run_dir + "/reserve")]))
"""

HOLDS = """
limit("size=3m")
to("presynced")
fill()
hold_file.write_memory(run_dir + "/hold.json", hold_file.HoldState(stopped_at=1.0))
hold_containers.write_memory(run_dir + "/containers.json", hold_containers.HeldContainers(stopped_at=2.0))
moments = [hold_file.read_memory(run_dir + "/hold.json").stopped_at]
moments.append(hold_containers.read_memory(run_dir + "/containers.json").stopped_at)
print(json.dumps(moments))
"""

TOO_SMALL = """
limit("size=512k")
try:
    to("presynced")
except ContimgError as error:
    print(json.dumps([error.message, read_record(run_dir)["phase"], os.listdir(run_dir)]))
"""

INODES = """
to("presynced")
limit("nr_inodes=" + str(os.statvfs(directory).f_files - os.statvfs(directory).f_ffree))
to("held")
print(json.dumps(read_record(run_dir)["phase"]))
"""


def test_on_a_full_disk_the_reserve_makes_room_once_and_a_new_move_makes_it_again(tmp_path: Path) -> None:
    reserve, said, first, again = json.loads(run_within([(None, tmp_path)], BEGIN + FULL, tmp_path))
    assert not reserve
    assert "No space left on device" in said
    assert (first, again) == ("x", True)


def test_on_a_full_disk_what_was_running_is_written_down(tmp_path: Path) -> None:
    assert json.loads(run_within([(None, tmp_path)], BEGIN + HOLDS, tmp_path)) == [1.0, 2.0]


def test_a_move_does_not_begin_without_room_for_its_way_back(tmp_path: Path) -> None:
    said, phase, files = json.loads(run_within([(None, tmp_path)], BEGIN + TOO_SMALL, tmp_path))
    assert "It is the room that a way back needs. Nothing was touched." in said
    assert (phase, files) == ("", [])


def test_the_reserve_gives_its_inode_too(tmp_path: Path) -> None:
    assert json.loads(run_within([(None, tmp_path)], BEGIN + INODES, tmp_path)) == "held"


def test_another_error_leaves_the_reserve_alone(tmp_path: Path) -> None:
    move = {"src": "/old", "dest": "/new", "databases": {}, "exclude": []}
    record = advance(read_record(str(tmp_path)), "presynced", {}, at=0, move=move)
    keep(str(tmp_path), record)
    (tmp_path / "record.json").unlink()
    (tmp_path / "record.json").mkdir()
    with pytest.raises(ContimgError, match="could not write the file"):
        keep(str(tmp_path), record)
    assert (tmp_path / "reserve").stat().st_size == 1 << 20
