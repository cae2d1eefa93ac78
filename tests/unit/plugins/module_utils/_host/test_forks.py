# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the parents of processes, as the kernel reports them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host import forks
from ansible_collections.dsa110.contimg.plugins.module_utils._host.forks import Forks

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="process events need root")


@needs_root
def test_the_parent_of_an_ended_process_is_known() -> None:
    known = Forks()
    assert known.are_known
    process = subprocess.Popen(["sh", "-c", "true & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    child = int(process.communicate()[0])
    new = known.take()
    assert {process.pid, child} <= {*new}
    assert (known.parent(child), known.parent(process.pid)) == (process.pid, os.getpid())
    known.close()


@needs_root
def test_threads_are_no_processes() -> None:
    known = Forks()
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    known.take()
    assert known.parent(thread.native_id or 0) == 0
    known.close()


@needs_root
def test_what_began_before_is_unknown() -> None:
    process = subprocess.Popen(["true"])
    known = Forks()
    process.wait()
    known.take()
    assert known.parent(process.pid) == 0
    known.close()


@needs_root
def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "_MOST", 2)
    known = Forks()
    pids = [subprocess.Popen(["true"]) for _number in range(5)]
    for process in pids:
        process.wait()
    known.take()
    assert known.parent(pids[0].pid) == 0
    assert len(known._parents) <= 2
    known.close()


@needs_root
def test_what_was_lost_makes_all_unknown() -> None:
    """A number may belong to another process since."""
    known = Forks()
    first = subprocess.Popen(["true"])
    first.wait()
    known.take()
    assert known.parent(first.pid) == os.getpid()
    assert known._socket is not None
    known._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # only now: other processes begin all the time
    subprocess.run(["sh", "-c", "for i in $(seq 100); do /bin/true; done"], check=True)
    known.take()
    assert known.parent(first.pid) == 0
    known.close()


def test_where_the_kernel_reports_none_none_is_known() -> None:
    program = """
from ansible_collections.dsa110.contimg.plugins.module_utils._host.forks import Forks
known = Forks()
print(known.are_known, known.take(), known.parent(1), known.descriptors)
"""
    path = next(path for path in sys.path if path.endswith(".build/collections"))
    command = ["unshare", "-rn", sys.executable, "-c", program]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})
    assert said.stdout == b"False [] 0 set()\n"
