# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of who uses a path without having it open, with real tables and mounts."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import command_of
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.users import (
    _Unread,
    cron_entries,
    look,
    mounts_using,
    users_of,
)
from ansible_collections.dsa110.contimg.tests.support.hosts.waiting import wait_for

if TYPE_CHECKING:
    import pathlib

OLD = "/stage/dsa110-contimg/state"
#: A mount namespace of one's own needs root, or a user namespace.
OWN_MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


def test_lines_of_crontabs_that_name_a_path_are_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cron.d").mkdir()
    (tmp_path / "crontab").write_text(f"# {OLD}\nSTATE={OLD}\n* * * * * root monitor --password planted {OLD}/db\n")
    (tmp_path / "cron.d" / "other").write_text(f"* * * * * root ls {OLD}-old\n")
    (tmp_path / "cron.d" / "mover").write_bytes(b"* * * * * root mv \xff " + OLD.encode() + b"/logs/a /b\n")
    unread = _Unread()
    found = list(cron_entries(["/data", OLD], unread=unread, tables=[f"{tmp_path}/crontab", f"{tmp_path}/cron.d/*"]))
    assert [(os.path.basename(one["file"]), one["line"], one["text"]) for one in found] == [
        ("mover", 1, f"* * * * * root mv \\xff {OLD}/logs/a /b"),
        ("crontab", 2, f"STATE={OLD}"),
        ("crontab", 3, f"* * * * * root monitor --password ******** {OLD}/db"),
    ]
    assert {one["path"] for one in found} == {OLD}
    assert not unread.found


def test_a_mount_in_another_namespace_is_told_with_its_process(tmp_path: pathlib.Path) -> None:
    (tmp_path / "state" / "logs").mkdir(parents=True)
    bind = f"mount --bind '{tmp_path}/state/logs' /mnt && echo && exec sleep 60"
    with subprocess.Popen([*OWN_MOUNTS, "sh", "-c", bind], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        wait_for(lambda: command_of(process.pid) == "sleep 60")  # a new program has its name before its arguments
        found = [one for one in mounts_using([str(tmp_path / "state")], unread=_Unread()) if one["pid"] == process.pid]
        elsewhere = list(mounts_using([str(tmp_path / "other")], unread=_Unread()))
        process.kill()
    assert [(one["point"], one["command"]) for one in found] == [("/mnt", "sleep 60")]
    assert process.pid not in [one["pid"] for one in elsewhere]


def test_a_bind_mount_of_our_own_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "state").mkdir()
    code = (
        "import sys; sys.path[:0] = sys.argv[2:];"
        "from ansible_collections.dsa110.contimg.plugins.module_utils._migration.users import users_of;"
        "print([(one['point'], one['pid']) for one in users_of([sys.argv[1]])['mounts'] if not one['pid']])"
    )
    bind = f"mount --bind '{tmp_path}/state' /mnt && exec \"$@\""
    command = [*OWN_MOUNTS, "sh", "-c", bind, "sh", sys.executable, "-c", code, str(tmp_path / "state"), *sys.path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "[('/mnt', 0)]", done


def test_a_path_that_nobody_uses_has_no_users(tmp_path: pathlib.Path) -> None:
    found = users_of([str(tmp_path)])
    assert (found["cron"], found["mounts"]) == ([], [])


def test_a_process_that_has_a_file_open_is_a_user_until_the_move_is_done(tmp_path: pathlib.Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a").write_text("a")
    values = {
        "paths": [f"{tmp_path}/state", f"{tmp_path}/new"], "leaving": [f"{tmp_path}/state"], "units": [], "hold_file": None,
        "containers": [], "timer": "", "repointed": [], "known": [], "moved": False,
    }  # fmt: skip
    with subprocess.Popen(
        ["sh", "-c", "exec 3<a; echo; read _"], cwd=tmp_path / "state", stdin=-1, stdout=-1
    ) as process:
        assert process.stdout
        process.stdout.readline()
        before = look(values)
        known = look({**values, "known": ["sh -c.*"]})
        after = look({**values, "moved": True})
        process.communicate(b"\n")
    line = f"process {process.pid} (sh -c exec 3<a; echo; read _)"
    assert next(one for one in before["users"] if one.startswith(line)).endswith(f"reads {tmp_path}/state/a")
    assert before["open"] == {f"{tmp_path}/state": ["sh -c exec 3<a; echo; read _"], f"{tmp_path}/new": []}
    assert not [one for one in known["users"] + after["users"] if one.startswith(line)]
    assert after["open"] == {}
