# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the write monitor as a process of the host: begun, asked, ended, killed."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host import (
    monitor_control,
    monitor_daemon,
    monitor_socket,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased, release, take
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_control import read, start, stop
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_daemon import Asked
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_socket import settle
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import command_of, owner_of, read_text
from ansible_collections.dsa110.contimg.plugins.module_utils._host.write_monitor import WriteMonitor
from ansible_collections.dsa110.contimg.tests.support.hosts.waiting import wait_for
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="fanotify of whole file systems needs root")


@pytest.fixture
def asked(tmp_path: pathlib.Path) -> Iterator[Asked]:
    """Ask for a state directory; what is at work at the end is ended."""
    state = tmp_path / "state"
    state.mkdir()
    made = Asked((str(state),), str(tmp_path / "run"), "", 600.0)
    yield made
    with contextlib.suppress(OSError, ValueError):
        os.kill(process_of(made), signal.SIGKILL)


def process_of(asked: Asked) -> int:
    """Return the process that has the lock."""
    return int(pathlib.Path(asked.lock).read_text())


def has_ended(pid: int) -> bool:
    """Return whether a process has ended. The first one of this machine may not have taken it away yet."""
    return read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] in ([], ["Z"])


@contextlib.contextmanager
def writer_to(path: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Let another process write to a file; it is there to the end of the block."""
    command = ["sh", "-c", 'echo x >>"$0"; echo; read -r _', path]
    variables, pipe = {**os.environ, **environment}, subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=variables, start_new_session=True) as writer:
        try:
            assert writer.stdout
            assert writer.stdout.readline() == b"\n"
            yield writer
        finally:
            writer.kill()


def write(asked: Asked, name: str = "file", **environment: str) -> None:
    """Let another process write to the tree. A monitor at work looks at it before it ends."""
    with writer_to(os.path.join(asked.paths[0], name), **environment):
        read(asked)


def files_of(findings: dict[str, Any] | None) -> set[str]:
    """Return the names of all files that were written."""
    assert findings is not None
    return {os.path.basename(name) for one in findings["writers"] for name in one["files"]}


def events_of(findings: dict[str, Any] | None) -> int:
    """Return how many events of writers were noted."""
    assert findings is not None
    return sum(one["events"] for one in findings["writers"])


def test_from_the_start_to_the_stop_writers_are_found_and_nothing_is_left_then(asked: Asked) -> None:
    first = start(asked)
    assert (first["complete"], first["reason"], first["writers"], first["running"]) == (True, "", [], True)
    pid = process_of(asked)
    assert read_text(f"/proc/{pid}/comm") == "contimg-writers\n"
    assert os.getsid(pid) != os.getsid(0)
    write(asked)
    seen = read(asked)
    assert files_of(seen) == {"file"}
    write(asked, "second")
    found = stop(asked)
    assert found is not None
    assert files_of(found) == {"file", "second"}
    assert found["complete"]
    assert found["writers"][0]["unit"] == owner_of(os.getpid()).unit
    wait_for(lambda: has_ended(pid))
    assert os.listdir(asked.directory) == ["write-monitor.json"]
    write(asked, "third")
    later = read(asked)
    assert later == found
    assert stop(asked) == found


def test_a_writer_that_opens_writes_and_closes_now_and_then_is_found_by_name(asked: Asked) -> None:
    start(asked)
    loop = ["sh", "-c", 'while sleep .2; do echo x >>"$0"; done', f"{asked.paths[0]}/log"]
    with subprocess.Popen(loop, start_new_session=True) as process, contextlib.ExitStack() as at_the_end:
        at_the_end.callback(process.kill)
        wait_for(lambda: events_of(read(asked)) >= 6)
        command = command_of(process.pid)
        found = stop(asked)
    assert found is not None
    (one,) = found["writers"]
    assert (one["pid"], one["command"], one["gone"]) == (process.pid, command, False)
    assert one["events"] >= 6
    assert one["files"] == [f"{asked.paths[0]}/log"]


def test_what_is_found_is_on_disk_soon_and_for_this_user_only(asked: Asked) -> None:
    start(asked)
    write(asked)
    wait_for(lambda: "/file" in read_text(asked.findings))
    modes = {name: os.stat(os.path.join(asked.directory, name)).st_mode & 0o777 for name in os.listdir(asked.directory)}
    names = ("json", "lock", "socket")
    assert modes == {f"write-monitor.{name}": 0o600 for name in names}
    assert os.stat(asked.directory).st_mode & 0o777 == 0o700


def test_a_second_start_for_the_same_lets_the_first_go_on(asked: Asked) -> None:
    since = start(asked)["since"]
    pid = process_of(asked)
    write(asked)
    again = start(asked)
    assert (again["since"], process_of(asked)) == (since, pid)
    assert files_of(again) == {"file"}


@pytest.mark.parametrize("other", ["paths", "run_id"])
def test_a_start_for_something_else_begins_anew(asked: Asked, other: str, tmp_path: pathlib.Path) -> None:
    start(asked)
    pid = process_of(asked)
    write(asked)
    run_id = take("migrate", {}, take_over="", check=False).run_id if other == "run_id" else ""
    paths = asked.paths if other == "run_id" else (str(tmp_path / "other"),)
    assert start(Asked(paths, asked.directory, run_id, 60.0))["writers"] == []
    assert process_of(asked) != pid
    wait_for(lambda: has_ended(pid))


def test_of_many_starts_at_once_one_process_is_left(asked: Asked) -> None:
    program = f"""
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_control import start
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_daemon import Asked
print(start(Asked({asked.paths!r}, {asked.directory!r}, "", 600.0))["since"])
"""
    path = next(path for path in sys.path if path.endswith(".build/collections"))
    environment = {**os.environ, "PYTHONPATH": path}
    many = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
        for _number in range(6)
    ]
    said = [process.communicate()[0] for process in many]
    assert len(set(said)) == 1
    assert float(said[0]) > 0
    comm = {int(pid): read_text(f"/proc/{pid}/comm") for pid in filter(str.isdigit, os.listdir("/proc"))}
    monitors = [pid for pid, name in comm.items() if name == "contimg-writers\n" and not has_ended(pid)]
    assert [pid for pid in monitors if asked.lock in _opened(pid)] == [process_of(asked)]


def _opened(pid: int) -> list[str]:
    """Return what a process has open. A monitor closes descriptors while it is looked at."""
    directory, found = f"/proc/{pid}/fd", []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"{directory}/{name}"))
    return found


def test_a_killed_monitor_is_not_taken_for_a_complete_one(asked: Asked) -> None:
    start(asked)
    write(asked)
    wait_for(lambda: "/file" in read_text(asked.findings))
    pid = process_of(asked)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: has_ended(pid))
    found = read(asked)
    assert found is not None
    assert (found["complete"], found["reason"], found["running"]) == (False, "its process was killed", False)
    assert files_of(found) == {"file"}
    assert stop(asked) == found
    assert os.listdir(asked.directory) == ["write-monitor.json"]
    assert start(asked)["complete"]


def test_after_a_reboot_it_is_not_taken_for_a_complete_one(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    start(asked)
    pid = process_of(asked)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: has_ended(pid))
    monkeypatch.setattr(monitor_control, "boot_id", lambda: "another one")
    found = read(asked)
    assert found is not None
    assert (found["complete"], found["reason"]) == (False, "the host was rebooted meanwhile")


def test_it_ends_by_itself_at_its_limit(asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    later = tmp_path / "ten minutes later"
    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + 600.0 * later.exists())
    monkeypatch.setattr(monitor_daemon, "time", clock)
    start(asked)
    pid = process_of(asked)
    write(asked)
    later.touch()
    wait_for(lambda: has_ended(pid))
    assert os.listdir(asked.directory) == ["write-monitor.json"]
    found = read(asked)
    assert found is not None
    assert (found["complete"], found["reason"]) == (False, "it ended at its limit of time")
    assert files_of(found) == {"file"}


def test_a_signal_ends_it_and_is_named(asked: Asked) -> None:
    start(asked)
    write(asked)
    pid = process_of(asked)
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: has_ended(pid))
    found = read(asked)
    assert found is not None
    assert (found["complete"], found["reason"]) == (False, "it was ended by a signal")
    assert files_of(found) == {"file"}


def test_one_that_does_not_answer_is_named(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    start(asked)
    pid = process_of(asked)
    monkeypatch.setattr(monitor_control, "_ANSWER_SECONDS", 0.3)
    os.kill(pid, signal.SIGSTOP)
    for request in (read, start, stop):
        with pytest.raises(ContimgError, match=f"does not answer.*process {pid} waits for"):
            request(asked)
    os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    assert stop(asked)


def test_what_was_written_before_it_was_settled_is_not_taken_for_later(asked: Asked) -> None:
    """The monitor stands still meanwhile."""
    start(asked)
    pid = process_of(asked)
    os.kill(pid, signal.SIGSTOP)
    with writer_to(os.path.join(asked.paths[0], "file")):
        goes_on = threading.Timer(0.5, os.kill, (pid, signal.SIGCONT))
        goes_on.start()
        settle(asked.directory)
        settled = time.time()
        goes_on.join()
        found = read(asked)
    assert found is not None
    assert [one["last"] <= settled for one in found["writers"]] == [True]


def test_nothing_waits_long_for_a_monitor_to_settle(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where there is none, nor for one that does not answer."""
    monkeypatch.setattr(monitor_socket, "_SETTLE_SECONDS", 0.3)
    settle(asked.directory)
    start(asked)
    pid = process_of(asked)
    os.kill(pid, signal.SIGSTOP)
    settle(asked.directory)
    os.kill(pid, signal.SIGCONT)
    assert stop(asked)


class Late(socket.socket):
    """A client that stands still between its call and its request until it is no longer waited for."""

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send it."""
        assert self.recv(1, socket.MSG_PEEK) == b""
        super().sendall(data, flags)


@pytest.mark.parametrize("request_of", [read, stop])
def test_a_request_that_comes_too_late_is_made_again(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, request_of: Callable[[Asked], dict[str, Any] | None]
) -> None:
    monkeypatch.setattr(monitor_daemon, "_CLIENT_SECONDS", 0.1)
    start(asked)
    pid = process_of(asked)
    clients = iter([Late])
    kinds = (socket.AF_UNIX, socket.SOCK_STREAM)
    monkeypatch.setattr(monitor_socket, "_socket", lambda: next(clients, socket.socket)(*kinds))
    found = request_of(asked)
    assert next(clients, None) is None
    assert found is not None
    assert (found["complete"], found["running"]) == (True, request_of is read)
    if request_of is stop:
        wait_for(lambda: has_ended(pid))
        assert os.listdir(asked.directory) == ["write-monitor.json"]


def test_the_findings_of_one_that_is_about_to_end_are_removed_when_it_has_ended(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    unlink, sleep, here, may_end = os.unlink, time.sleep, os.getpid(), tmp_path / "may end"

    def late(path: Any, **options: Any) -> None:
        while os.getpid() != here and not may_end.exists():
            sleep(0.01)
        unlink(path, **options)

    def waiting(seconds: float) -> None:
        may_end.touch()
        sleep(seconds)

    monkeypatch.setattr(os, "unlink", late)
    start(asked)
    os.kill(process_of(asked), signal.SIGTERM)
    wait_for(lambda: '"ended": "signal"' in read_text(asked.findings))
    monkeypatch.setattr(time, "sleep", waiting)
    found = stop(asked, forget=True)
    assert found is not None
    assert found["ended"] == "signal"
    assert may_end.exists()
    assert os.listdir(asked.directory) == []


def test_what_could_not_be_taken_in_while_it_did_not_run_is_admitted(asked: Asked) -> None:
    start(asked)
    pid = process_of(asked)
    os.kill(pid, signal.SIGSTOP)
    most = int(pathlib.Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    program = f"import os, sys\nfor number in range({most + 10}): os.mkdir(sys.argv[1] + f'/{{number}}')"
    subprocess.run([sys.executable, "-c", program, asked.paths[0]], check=True)
    os.kill(pid, signal.SIGCONT)
    found = stop(asked)
    assert found is not None
    assert not found["complete"]
    assert "overflowed" in found["reason"]


def test_what_is_mounted_while_it_is_at_work_is_named_and_monitored(asked: Asked) -> None:
    program = """
import json, os, pathlib, subprocess, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_control import read, start, stop
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_daemon import Asked
asked = Asked((sys.argv[1],), sys.argv[2], "", 60.0)
start(asked)
subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
read(asked)
subprocess.run(["sh", "-c", 'echo x >"$0"; sleep .1', sys.argv[1] + "/file"], check=True)
print(json.dumps(stop(asked)))
"""
    path = next(path for path in sys.path if path.endswith(".build/collections"))
    command = ["unshare", "-m", sys.executable, "-c", program, asked.paths[0], asked.directory]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}).stdout
    found = json.loads(said)
    assert (found["complete"], found["reason"]) == (False, f"{asked.paths[0]} was mounted while it was monitored")
    assert files_of(found) == {"file"}


def test_steps_of_the_move_are_no_writers_and_a_stranger_beside_them_is(asked: Asked) -> None:
    run = take("migrate", {}, take_over="", check=False)
    ours = Asked(asked.paths, asked.directory, run.run_id, 600.0)
    with leased(run.run_id, "start"):
        start(ours)
    with leased(run.run_id, "copy"):
        pathlib.Path(asked.paths[0], "copied").write_text("copied")
        write(asked, "by what it makes")
        read(ours)
    write(asked, "marked", DSA110_CONTIMG_RUN=run.run_id)
    found = read(ours)
    assert found is not None
    assert found["writers"] == []
    assert found["own_events"] >= 6
    write(asked, "strange")
    assert files_of(stop(ours)) == {"strange"}


def test_it_ends_with_its_run_and_leaves_nothing(asked: Asked) -> None:
    run = take("migrate", {}, take_over="", check=False)
    ours = Asked(asked.paths, asked.directory, run.run_id, 600.0)
    start(ours)
    pid = process_of(ours)
    time.sleep(2)
    assert not has_ended(pid)
    assert release(run.run_id)
    wait_for(lambda: has_ended(pid))
    assert os.listdir(ours.directory) == []


def test_it_does_not_keep_the_lease_of_the_step_that_starts_it(asked: Asked) -> None:
    run = take("migrate", {}, take_over="", check=False)
    with leased(run.run_id, "start"):
        start(asked)
    with leased(run.run_id, "the next step"):
        pass


def test_a_run_directory_with_a_long_name_is_one(asked: Asked) -> None:
    deep = Asked(asked.paths, os.path.join(asked.directory, *["x" * 100] * 3), "", 60.0)
    start(deep)
    assert stop(deep)


def test_a_damaged_file_is_named(asked: Asked) -> None:
    start(asked)
    stop(asked)
    pathlib.Path(asked.findings).write_text("{}")
    with pytest.raises(ContimgError, match=r"is not what a write monitor has found.*Remove it"):
        read(asked)


def module(asked: Asked, state: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Call the module."""
    paths = {"paths": list(asked.paths)} if state == "started" else {}
    return run_module("write_monitor", {"state": state, "run_dir": asked.directory, **paths, **options}, check=check)


def test_the_module_previews_what_it_does_and_does_it_once(asked: Asked) -> None:
    for state, process in (("started", True), ("stopped", False), ("absent", False)):
        before = sorted(os.listdir(asked.directory)) if os.path.isdir(asked.directory) else None
        preview = module(asked, state, check=True)
        assert (sorted(os.listdir(asked.directory)) if before else None) == before
        done = module(asked, state)
        assert (preview["changed"], done["changed"]) == (True, True)
        assert preview["diff"] == done["diff"]
        assert preview["running"] == done["running"] == process
        again = [module(asked, state, check=check) for check in (True, False)]
        assert [one["changed"] for one in again] == [False, False]
    assert os.listdir(asked.directory) == []
    nothing = module(asked, "read")
    assert (nothing["complete"], nothing["reason"], nothing["changed"]) == (
        False,
        "no write monitor was started",
        False,
    )


def test_the_module_says_which_writers_are_listed(asked: Asked) -> None:
    module(asked, "started")
    write(asked)
    found = module(asked, "read", units=["other.service"])
    assert [one["listed"] for one in found["writers"]] == [False]
    unit = found["writers"][0]["unit"]
    assert [one["listed"] for one in module(asked, "stopped", units=[unit])["writers"]] == [bool(unit)]


def test_the_module_fails_on_writers_that_are_not_listed(asked: Asked) -> None:
    module(asked, "started")
    assert module(asked, "read", fail_on=["unlisted", "written"])["writers"] == []
    write(asked, "a file")
    with pytest.raises(ContimgError) as failed:
        module(asked, "read", fail_on=["unlisted"])
    assert "these write to the state, and the move would not stop them:\nprocess " in failed.value.message
    assert f"{asked.paths[0]}/a file (" in failed.value.message
    assert "No service was stopped." in failed.value.message
    assert len(module(asked, "read", fail_on=["unlisted"], known=[f"{asked.paths[0]}/.*"])["writers"]) == 1


def test_the_module_fails_on_what_is_written_after_a_moment(asked: Asked) -> None:
    module(asked, "started")
    write(asked, "before")
    moment = time.time()
    assert len(module(asked, "read", fail_on=["written"], written_since=moment)["writers"]) == 1
    write(asked, "after")
    with pytest.raises(ContimgError) as failed:
        module(asked, "stopped", fail_on=["written"], written_since=moment, known=[".*"])
    assert "have written to the state since its services were stopped" in failed.value.message
    assert f"{asked.paths[0]}/after" in failed.value.message


def test_the_module_waits_until_it_has_observed_long_enough(asked: Asked) -> None:
    since = module(asked, "started")["since"]
    found = module(asked, "read", at_least=3)
    assert found["until"] >= since + 3


def test_what_another_run_or_a_later_monitor_has_found_is_not_complete(asked: Asked) -> None:
    since = module(asked, "started")["since"]
    run = take("migrate", {}, take_over="", check=False)
    found = module(asked, "stopped", run_id=run.run_id, written_since=since - 1)
    assert not found["complete"]
    assert found["reason"].endswith("it belongs to no run; it began too late")


def test_in_check_mode_it_monitors_within_its_own_call_and_leaves_nothing(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[int] = []
    with contextlib.ExitStack() as until_then:

        class Begun(WriteMonitor):
            """One under which something is written at once."""

            def begin(self) -> None:
                super().begin()
                writers.append(until_then.enter_context(writer_to(f"{asked.paths[0]}/log")).pid)

        monkeypatch.setattr(monitor_control, "WriteMonitor", Begun)
        found = module(asked, "started", check=True, duration=2)
    assert [one["pid"] for one in found["writers"]] == writers
    assert len(writers) == 1
    assert (found["complete"], found["changed"]) == (True, True)
    assert 1.9 < found["until"] - found["since"] < 10
    assert not os.path.exists(asked.directory)
    silent = module(asked, "started", check=True)
    assert (silent["writers"], silent["reason"]) == ([], "no write monitor was started")


def test_the_file_has_what_the_answer_has(asked: Asked) -> None:
    start(asked)
    write(asked)
    found = stop(asked)
    assert found is not None
    assert {**json.loads(pathlib.Path(asked.findings).read_text()), "running": False} == found
