# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of processes that outlive the one that starts them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

from ansible_collections.dsa110.contimg.tests.support.hosts.waiting import wait_for

PROGRAM = """
import fcntl, json, os, pathlib, sys, time
from ansible_collections.dsa110.contimg.plugins.module_utils._host.detached import detached

told, go_on = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
lock, kept = open(sys.argv[2], "w"), os.open("/", os.O_RDONLY)
fcntl.flock(lock, fcntl.LOCK_EX)

def work():
    while not go_on.exists():  # its parents have ended then
        time.sleep(.01)
    links = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            links[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # that of the listing
    facts = {"pid": os.getpid(), "ppid": os.getppid(), "sid": os.getsid(0), "cwd": os.getcwd(), "links": links, "kept": kept,
             "comm": pathlib.Path("/proc/self/comm").read_text()}
    told.with_suffix(".tmp").write_text(json.dumps(facts))
    told.with_suffix(".tmp").rename(told)
    1 / 0

detached(work, keep={kept}, name="contimg-test")
print("the starter goes on")
"""


def test_a_process_goes_on_alone_and_holds_nothing_but_what_it_was_given(tmp_path: pathlib.Path) -> None:
    told, lock, go_on = tmp_path / "told", tmp_path / "lock", tmp_path / "go on"
    path = next(path for path in sys.path if path.endswith(".build/collections"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(told), str(lock), str(go_on)],
        check=True,
        capture_output=True,  # returns when nobody has its output open any more
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert not told.exists()
    assert (done.stdout, done.stderr) == ("the starter goes on\n", "")
    # The lock of the starter ended with it.
    subprocess.run(["flock", "-n", str(lock), "true"], check=True)
    go_on.touch()
    wait_for(told.exists)
    facts = json.loads(told.read_text())
    assert facts["sid"] not in (os.getsid(0), facts["pid"])
    assert (facts["cwd"], facts["comm"]) == ("/", "contimg-test\n")
    assert facts["links"] == {**dict.fromkeys("012", "/dev/null"), str(facts["kept"]): "/"}
