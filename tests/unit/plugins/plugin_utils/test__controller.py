# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what one machine knows of the process that runs a playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ansible_collections.dsa110.contimg.plugins.plugin_utils._controller import has_ended, identity

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]


def test_a_process_is_told_from_every_other_one() -> None:
    here = identity(os.getpid())
    assert here["pid"] == str(os.getpid())
    assert all(here.values())
    assert here["started"] != identity(1)["started"]


def test_a_process_has_ended_when_it_is_gone_and_not_before() -> None:
    with subprocess.Popen(SLEEP, stdout=subprocess.PIPE) as process:
        told = identity(process.pid)
        assert not has_ended(told)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(told)  # not waited for yet
        process.wait()
        assert has_ended(told)


@pytest.mark.parametrize("user", [None, 65534])
def test_another_process_with_the_number_does_not_count(user: int | None) -> None:
    """Also where it is another user's, as the process of that user sees it."""
    script = (
        "import json, os, sys; sys.path[:0] = json.loads(sys.argv[1]); told = json.loads(sys.argv[2])\n"
        "from ansible_collections.dsa110.contimg.plugins.plugin_utils._controller import has_ended\n"
        "print(has_ended(told), has_ended({**told, 'started': '1'}))"
    )
    if user is not None and os.geteuid() != 0:
        user = None
    told = identity(os.getpid())
    command = [sys.executable, "-c", script, json.dumps(sys.path), json.dumps(told)]
    as_user = ["setpriv", f"--reuid={user}", "--clear-groups"] if user is not None else []
    shown = subprocess.run([*as_user, *command], check=True, capture_output=True, text=True).stdout.split()
    assert shown == ["False", "True"]


@pytest.mark.parametrize("key", ["boot", "namespace", "started"])
@pytest.mark.parametrize("value", ["", "elsewhere"])
def test_nothing_is_known_of_a_process_elsewhere(key: str, value: str) -> None:
    gone = {**identity(os.getpid()), "pid": "4194304"}
    assert has_ended(gone)
    assert has_ended({**gone, key: value}) == (key == "started" and value != "")
    assert not has_ended({})
