# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the lease of a host: who gets it, who loses it, and that a step at work is waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host import lease
from ansible_collections.dsa110.contimg.plugins.module_utils._host import place as host_place
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import (
    between_steps,
    leased,
    release,
    require_owned,
    take,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.place import volatile_place

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

ALICE = {"user": "alice", "host": "laptop", "pid": "1234"}
BOB = {"user": "bob", "host": "desk", "pid": "99"}

# A step of a run, in a process of its own, that works until its input ends; with a worker that it has forked, perhaps.
STEP = """
import os, sys
sys.path[:0] = [{path!r}]
from ansible_collections.dsa110.contimg.plugins.module_utils._host import place as host_place
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
host_place._VOLATILE = ({place!r}, {place!r})
with leased({run_id!r}, "state_sync"):
    if {forks!r} and os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


def taken(playbook: str = "migrate", *, take_over: str = "", wait: float = 0.0, check: bool = False) -> str:
    """Take the lease and return the id of the run."""
    return take(playbook, ALICE, take_over=take_over, wait=wait, check=check).run_id


@pytest.fixture(name="step")
def _step() -> Iterator[list[subprocess.Popen[str]]]:
    steps: list[subprocess.Popen[str]] = []
    yield steps
    for process in steps:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        process.wait()


def begin(steps: list[subprocess.Popen[str]], run_id: str, *, forks: bool = False) -> subprocess.Popen[str]:
    """Let a step of a run work in a process of its own."""
    root = next(path for path in sys.path if path.endswith(".build/collections"))
    script = STEP.format(path=root, place=volatile_place(), run_id=run_id, forks=forks)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    steps.append(process)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == str(process.pid), process.communicate()
    return process


def test_a_second_run_is_told_who_has_the_host_and_what_to_do() -> None:
    first = taken()
    with leased(first, "unit_hold"):
        pass
    with pytest.raises(ContimgError) as caught:
        take("rollback", BOB, take_over="migrate-of-yesterday", wait=0.0, check=False)
    for words in (
        f"another run works on this host: {first}, begun at 20",
        "by alice on laptop (process 1234 there); its last step ended at 20",
        "Nothing was touched. Wait for its end.",
        f"contimg_take_over: {first}.",
    ):
        assert words in caught.value.message
    assert caught.value.details["held_by"]["controller"] == ALICE
    assert release(first)
    second = taken("rollback")
    assert second.startswith("rollback-20")
    assert second != first


def test_a_run_that_has_lost_the_host_changes_and_releases_nothing() -> None:
    first = taken()
    second = taken(take_over=first)
    for lost in (first, "migrate-never"):
        with pytest.raises(ContimgError, match=f"run {lost} has lost the lease of this host: run {second} by alice"):
            with leased(lost, "unit_hold"):
                pytest.fail("it worked")
        assert not release(lost)
    require_owned(second)
    with leased(second, "unit_hold"):
        pass
    assert release(second)
    with pytest.raises(ContimgError, match="no run has it, as after a reboot or the end of another run"):
        require_owned(second)
    assert not release(second)


def test_what_belongs_to_no_run_needs_no_lease() -> None:
    taken()
    with leased("", "state_sync"):
        require_owned("")
    assert not release("")


def test_a_preview_takes_nothing_and_stops_where_a_run_would() -> None:
    assert taken(check=True) == ""
    assert not os.path.exists(volatile_place())
    first = taken()
    before = [(entry.name, entry.stat()) for entry in os.scandir(volatile_place())]
    with pytest.raises(ContimgError, match=f"another run works on this host: {first}"):
        taken(check=True)
    assert taken(check=True, take_over=first) == ""
    assert [(entry.name, entry.stat()) for entry in os.scandir(volatile_place())] == before


def test_nobody_takes_the_host_over_while_a_step_works(step: list[subprocess.Popen[str]]) -> None:
    first = taken()
    process = begin(step, first)
    with pytest.raises(ContimgError) as caught:
        taken(take_over=first)
    for words in (
        f"a step of run {first} is at work on this host: its last step, state_sync in process {process.pid}, began at",
        "Wait until it has ended, or end that process; then run again.",
    ):
        assert words in caught.value.message
    assert caught.value.details["held_by"]["run_id"] == first
    with pytest.raises(ContimgError, match=f"state_sync in process {process.pid}, began at"):
        taken(check=True)
    process.kill()
    process.wait()
    assert taken(take_over=first, wait=30.0)


def test_what_a_killed_step_has_forked_is_waited_for_too(step: list[subprocess.Popen[str]]) -> None:
    first = taken()
    process = begin(step, first, forks=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(ContimgError, match="is at work on this host"):
        taken(take_over=first)
    assert process.stdin is not None
    process.stdin.close()  # the worker ends
    assert taken(take_over=first, wait=30.0)


def test_a_contender_waits_for_a_step_that_ends_soon(step: list[subprocess.Popen[str]]) -> None:
    first = taken()
    process = begin(step, first)
    assert process.stdin is not None
    with subprocess.Popen(["sleep", "0.5"]) as delay:
        delay.wait()
        process.stdin.close()
    assert taken(take_over=first, wait=30.0) != first


def test_of_many_contenders_one_gets_the_host() -> None:
    script = STEP.partition("with leased")[0] + (
        "from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError\n"
        "from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import take\n"
        "sys.stdin.read()\n"
        "try:\n    print(take('migrate', {{}}, take_over='', check=False).run_id)\n"
        "except ContimgError:\n    print('refused')\n"
    )
    root = next(path for path in sys.path if path.endswith(".build/collections"))
    code = script.format(path=root, place=volatile_place())
    command = [sys.executable, "-c", code]
    gate, opener = os.pipe()
    runs = [subprocess.Popen(command, stdin=gate, stdout=subprocess.PIPE, text=True) for _run in range(8)]
    os.close(gate)
    os.close(opener)
    told = [run.communicate()[0].strip() for run in runs]
    assert told.count("refused") == len(runs) - 1
    assert lease._read() is not None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"run_id": "a", "since": 1.0, "controller": {"pid": 1}}'])
def test_a_lease_that_is_none_is_refused(content: str) -> None:
    first = taken()
    path = os.path.join(volatile_place(), "lease.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)
    says = r"lease.json: is not the lease of a host. Nothing was touched"
    with pytest.raises(ContimgError, match=says):
        taken()
    with pytest.raises(ContimgError, match=says):
        require_owned(first)


@pytest.mark.parametrize("name", ["lock", "lease.json"])
def test_no_link_or_fifo_is_followed(tmp_path: pathlib.Path, name: str) -> None:
    os.mkdir(volatile_place(), 0o700)
    path = os.path.join(volatile_place(), name)
    target = tmp_path / "target"
    for special in ("link", "fifo"):
        if special == "link":
            os.symlink(target, path)
        else:
            os.mkfifo(path)
        with pytest.raises(ContimgError, match=name):
            taken()
        os.unlink(path)
    assert not target.exists()


def test_a_place_that_others_could_write_to_is_refused() -> None:
    os.mkdir(volatile_place())
    os.chmod(volatile_place(), 0o777)
    with pytest.raises(ContimgError, match="is writable by others"):
        taken()
    assert host_place.volatile_place() == volatile_place()


@pytest.mark.parametrize("now", [1234.0004, 1234.0006])
def test_taking_the_lease_is_a_sign_of_life_in_the_same_moment(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    monkeypatch.setattr(lease, "host_clock", lambda: now)
    taken()
    with between_steps() as ender:
        assert ender is not None
        assert ender.last_sign == now
