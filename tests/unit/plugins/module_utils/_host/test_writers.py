# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of who writes, with real processes, and of what is kept of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host import writers
from ansible_collections.dsa110.contimg.plugins.module_utils._host.fanotify import ENDED
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased, take
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import command_of, owner_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writers import (
    MARKER,
    Processes,
    Who,
    Writers,
    unlisted,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names
from ansible_collections.dsa110.contimg.tests.support.hosts.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="process events need root")
STRANGER = Who("a program", "a.service")


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Look at processes for a run."""
    made = Processes("migrate-1", None)
    yield made
    made.close()


@contextlib.contextmanager
def running(script: str, **environment: str) -> Iterator[tuple[int, int]]:
    """Run a script that prints one number; yield the number of its own process, and that one."""
    process = subprocess.Popen(
        ["sh", "-c", f"{script}; read -r _", "the-script"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )
    assert process.stdout
    number = process.stdout.readline()
    try:
        yield process.pid, int(number)
    finally:
        process.communicate("\n")


def test_a_living_process_is_what_it_is(processes: Processes) -> None:
    with running("echo $$") as (pid, _number):
        who = processes.who(pid, None)
    assert who.command.endswith("the-script")
    assert (who.unit, who.container) == (owner_of(os.getpid()).unit, owner_of(os.getpid()).container)
    assert not who.own
    assert not who.gone


def test_a_secret_of_a_command_is_masked(processes: Processes) -> None:
    with running("echo $$; : --password=planted") as (pid, _number):
        assert "planted" not in processes.who(pid, None).command


@needs_root
def test_an_ended_process_is_told_by_the_one_that_made_it(processes: Processes) -> None:
    with running("sh -c 'echo $$'") as (pid, ended):
        assert processes.who(ended, ENDED) == Who(
            f"a process, ended since, of: {processes.who(pid, None).command}",
            owner_of(pid).unit,
            gone=True,
        )


@needs_root
def test_the_maker_may_have_ended_too(processes: Processes) -> None:
    with running("number=$(true; sh -c 'echo $$'; true); echo $number") as (_pid, ended):
        assert "the-script" in processes.who(ended, ENDED).command


@needs_root
def test_a_number_that_a_step_has_had_before_is_not_taken_for_it(processes: Processes) -> None:
    before = time.monotonic()
    with running("sh -c 'echo $$'") as (_pid, ended):
        processes._steps[ended] = before
        assert not processes.who(ended, ENDED).own
        processes._steps[ended] = time.monotonic()
        assert processes.who(ended, ENDED).own


def test_a_process_that_ended_and_was_made_before_is_unknown(processes: Processes) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    processes._forks.take()
    processes._forks._parents.clear()
    who = processes.who(process.pid, ENDED)
    assert (who.gone, who.unit, who.own) == (True, "", False)
    assert who.command.startswith("unknown")


def test_a_number_that_another_process_has_since_is_not_taken_for_it(processes: Processes) -> None:
    with running("echo $$") as (pid, _number):
        assert processes.who(pid, ENDED).gone
        assert not processes.who(pid, None).gone
        started = writers._started(pid)
        processes._known[pid].started = (started[0], "another moment")
        processes._known[pid].who = STRANGER
        assert processes.who(pid, None) != STRANGER


def test_a_process_that_has_become_another_program_is_looked_at_again(processes: Processes) -> None:
    """The one that systemd forks for a service is of systemd's own unit before it runs the program."""
    command = ["sh", "-c", "echo; read -r _; exec sleep 60"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        assert processes.who(process.pid, None).command.startswith("sh -c")
        process.stdin.write("\n")
        process.stdin.flush()
        wait_for(lambda: command_of(process.pid) == "sleep 60")  # a new program has its name before its arguments
        assert processes.who(process.pid, None).command == "sleep 60"
        process.kill()


def test_a_process_outside_of_this_container_is_named_so(processes: Processes) -> None:
    assert processes.who(0, None).command == "unknown: a process outside of this container"


def test_what_has_the_marker_of_the_run_is_its_own_and_what_descends_from_it(processes: Processes) -> None:
    with running("env -u DSA110_CONTIMG_RUN sh -c 'echo $$; read -r _'", **{MARKER: "migrate-1"}) as (pid, child):
        assert processes.who(pid, None).own
        assert processes.who(child, None).own
    with running("echo $$", **{MARKER: "migrate-2"}) as (pid, _number):
        assert not processes.who(pid, None).own
    nameless = Processes("", None)
    with running("echo $$", **{MARKER: ""}) as (pid, _number):
        assert not nameless.who(pid, None).own
    nameless.close()


def test_a_step_of_the_run_that_has_the_lease_is_its_own_with_all_that_it_makes(processes: Processes) -> None:
    """The monitor is another process; here a step is forked, as modules are."""
    run = take("migrate", {}, take_over="", check=False)
    told, tell = os.pipe()
    step = os.fork()
    if not step:
        with leased(run.run_id, "a step"):
            worker = subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE)
            assert worker.stdout
            worker.stdout.readline()
            os.write(tell, f"{worker.pid}\n".encode())
            worker.wait()
        os._exit(0)
    worker_pid = int(os.read(told, 100))
    with running("echo $$") as (stranger, _number):
        found = [processes.who(pid, None).own for pid in (step, worker_pid, stranger)]
    os.kill(worker_pid, 9)
    os.waitpid(step, 0)
    assert found == [True, True, False]


def test_who_only_waits_for_the_lease_is_a_stranger(processes: Processes) -> None:
    """So is a step of another run, and whoever reads the lock."""
    take("migrate", {}, take_over="", check=False)
    program = "import sys, time; held = open(sys.argv[1]); print('ready', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", program, processes._lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        assert not processes.who(process.pid, None).own
        process.kill()


def test_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_MOST_WRITERS", 2)
    found = Writers()
    for number in range(3):
        found.note(number, Who(f"program {number}"), b"/file", kinds=["modify"], moment=1.0)
    for number in range(30):
        found.note(1, Who("program 1"), b"/file%d" % number, kinds=["modify"], moment=2.0)
    first, second = found.found()
    assert (first.events, second.events, found.dropped) == (1, 31, 1)
    assert (len(second.files), second.more_files, first.more_files) == (20, True, False)
    assert (second.first, second.last) == (1.0, 2.0)


def test_processes_of_one_command_and_unit_are_one_writer() -> None:
    found = Writers()
    for pid in (7, 7, 8, 9):
        found.note(pid, STRANGER, b"/file", kinds=["modify", "close_write"], moment=pid)
    found.note(10, Who("own", own=True), b"/file", kinds=["modify"], moment=11.0)
    (one,) = found.found()
    assert (one.pid, one.processes, one.events, one.kinds) == (9, 3, 4, ["modify", "close_write"])
    assert found.own_events == 1


@pytest.mark.parametrize(
    ("who", "is_listed"),
    [
        (Who("x", unit="a.service"), True),
        (Who("x", unit="user@1.service", user_unit="a.service"), True),
        (Who("x", container="0123"), True),
        (Who("x", unit="b.service"), False),
        (Who("x"), False),
    ],
)
def test_a_writer_is_listed_by_its_unit_or_container(who: Who, *, is_listed: bool) -> None:
    found = Writers()
    found.note(1, who, b"/file", kinds=["modify"], moment=1.0)
    assert found.found()[0].is_listed(["a.service", ""], ["0123", ""]) == is_listed


@pytest.mark.parametrize(
    ("known", "is_unlisted"),
    [
        ([], True),
        (["a program"], False),
        (["a prog"], True),
        (["b.service"], False),
        (["/state/a.*"], True),
        (["/state/.*"], False),
    ],
)
def test_a_writer_that_is_not_listed_may_go_on_by_its_command_its_unit_or_its_files(
    known: list[str], *, is_unlisted: bool
) -> None:
    found = Writers()
    for path in (b"/state/a", b"/state/b"):
        found.note(1, Who("a program", unit="b.service"), path, kinds=["modify"], moment=1.0)
    lines = [
        one.line() for one in unlisted(found.found(), units=["a.service"], containers=[], known=known_names(known))
    ]
    shown = "process 1 (a program; b.service): /state/a, /state/b (modify)"
    assert lines == ([shown] if is_unlisted else [])


def test_files_that_are_not_kept_are_not_known() -> None:
    found = Writers()
    for number in range(30):
        found.note(1, Who("x", container="0123456789abcdef"), b"/state/%d" % number, kinds=["modify"], moment=1.0)
    (one,) = unlisted(found.found(), units=[], containers=[], known=known_names(["/state/.*"]))
    assert one.line() == "process 1 (x; container 0123456789ab): /state/0, /state/1, /state/2, and others (modify)"
    assert Writers().found() == unlisted([], units=[], containers=[], known=known_names([]))
