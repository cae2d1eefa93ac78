# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the write monitor, with the real kernel, real writers and real mounts; most need root."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host import (
    fanotify,
    monitored_trees,
    place,
    writers,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased, release, take
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import Holder, Holders, find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._host.place import volatile_place
from ansible_collections.dsa110.contimg.plugins.module_utils._host.write_monitor import WriteMonitor
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import (
    run_on_btrfs,
    run_on_ramfs,
    run_with_overlay,
    run_within,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="fanotify of whole file systems needs root")

#: What each writer begins with. It waits for a line, does something to the tree, and is there until its input ends.
PRELUDE = """
import ctypes, mmap, os, sys, time
tree, elsewhere = sys.argv[1:]
file = os.path.join(tree, "logs", "file")
def pause():
    print("pause", flush=True)
    sys.stdin.readline()
"""
WAIT = """
print("ready", flush=True)
sys.stdin.readline()
"""
DONE = """
print("done", flush=True)
sys.stdin.readline()
"""

#: By what a writer does: before the monitor begins, and after; which file it is, and what is reported.
WAYS: dict[str, tuple[str, str, str, str]] = {
    "opens, writes and closes": ("", "open(file, 'a').write('x')", "logs/file", "modify"),
    "writes to what it has open": ("held = open(file, 'a', 1)", "held.write('x\\n')", "logs/file", "modify"),
    "opens for writing, and closes": ("", "open(file, 'r+').close()", "logs/file", "close_write"),
    "makes a file": ("", "open(tree + '/new', 'x').close()", "new", "create"),
    "truncates by name": ("", "os.truncate(file, 1)", "logs/file", "modify"),
    "truncates by opening": ("", "open(file, 'w').close()", "logs/file", "modify"),
    "allocates": ("held = open(file, 'r+')", "os.posix_fallocate(held.fileno(), 0, 9000)", "logs/file", "modify"),
    "writes directly": (
        "held, page = os.open(file, os.O_WRONLY | os.O_DIRECT), mmap.mmap(-1, 4096)",
        "os.pwrite(held, page, 0)",
        "logs/file",
        "modify",
    ),
    "writes through a mapping, which ends": (
        "held = open(file, 'r+'); page = mmap.mmap(held.fileno(), 0); held.close()",
        "page[0:1] = b'y'; page.close()",
        "logs/file",
        "close_write",
    ),
    "renames a file of another directory into it": (
        "",
        "os.rename(elsewhere + '/other', tree + '/in')",
        "in",
        "moved_to",
    ),
    "renames a file out of it": ("", "os.rename(file, elsewhere + '/out')", "logs/file", "moved_from"),
    "renames a file within it": ("", "os.rename(file, file + '.1')", "logs/file.1", "moved_to"),
    "renames a directory into it, and writes below": (
        "os.makedirs(elsewhere + '/a/b'); open(elsewhere + '/a/b/f', 'w').close()",
        """
open(elsewhere + '/a/b/f', 'a').write('x')
pause()
os.rename(elsewhere + '/a', tree + '/a')
open(tree + '/a/b/f', 'a').write('x')
""",
        "a/b/f",
        "modify",
    ),
    "removes a file": ("", "os.unlink(file)", "logs/file", "delete"),
    "makes a directory and removes it": ("", "os.mkdir(tree + '/d'); os.rmdir(tree + '/d')", "d", "delete"),
    "makes a symbolic link": ("", "os.symlink('logs', tree + '/link')", "link", "create"),
    "makes another name of a file": ("", "os.link(elsewhere + '/other', tree + '/name')", "name", "create"),
    "changes a mode": ("", "os.chmod(file, 0o600)", "logs/file", "attrib"),
    "changes times": ("", "os.utime(file, (1, 1))", "logs/file", "attrib"),
    "changes an attribute": ("", "os.setxattr(file, 'user.x', b'1')", "logs/file", "attrib"),
    "changes the mode of a directory": ("", "os.chmod(tree + '/logs', 0o700)", "logs", "attrib"),
    "writes by a symbolic link elsewhere": (
        "os.symlink(tree, elsewhere + '/link')",
        "open(elsewhere + '/link/logs/file', 'a').write('x')",
        "logs/file",
        "modify",
    ),
    "writes by another name elsewhere": (
        "os.link(file, elsewhere + '/name')",
        "open(elsewhere + '/name', 'a').write('x')",
        "logs/file",
        "modify",
    ),
    "writes to what it has removed": (
        "held = open(file, 'a', 1); os.unlink(file)",
        "held.write('x\\n')",
        "logs/file",
        "modify",
    ),
}


class Turns:
    """How often a monitor of this process has taken in what was reported."""

    def __init__(self) -> None:
        self._turned, self._count = threading.Condition(), 0

    def next(self) -> None:
        """Count one."""
        with self._turned:
            self._count += 1
            self._turned.notify_all()

    def wait(self) -> None:
        """Wait until all was taken in that has happened before: the turn that is under way may have missed it."""
        with self._turned:
            end = self._count + 2
            assert self._turned.wait_for(lambda: self._count >= end, timeout=60)


TURNS = Turns()


class Stranger:
    """A process of a session of its own that writes when it is asked."""

    def __init__(self, before: str, after: str, *arguments: pathlib.Path, prefix: tuple[str, ...] = ()) -> None:
        program = PRELUDE + before + WAIT + after + DONE
        command = [*prefix, sys.executable, "-c", program, *map(str, arguments)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        assert self._line() == "ready\n"

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def write(self) -> None:
        """Do it. Where it pauses, the monitor takes in what it has done until then."""
        self._go_on()
        while (line := self._line()) == "pause\n":
            TURNS.wait()
            self._go_on()
        assert line == "done\n"

    def _go_on(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """End the process."""
        self.process.communicate("\n")


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a state directory, beside which others are."""
    (tmp_path / "state" / "logs").mkdir(parents=True)
    (tmp_path / "state" / "logs" / "file").write_bytes(b"x" * 8192)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other").touch()
    return tmp_path / "state"


def seen(tree: pathlib.Path, act: Callable[[], object], *, run_id: str = "", is_taking: bool = True) -> dict[str, Any]:
    """Return what a monitor of this process reports of what happens."""
    monitor = WriteMonitor([str(tree)], run_id=run_id)
    monitor.begin()
    try:
        if monitor._links is not None:
            monitor._links.join()  # all files with several names are known
        thread = threading.Thread(target=act)
        thread.start()
        while thread.is_alive():
            if is_taking:
                monitor.take()
                TURNS.next()
            time.sleep(0.005)
    finally:
        monitor.end()
    return monitor.report(look=False)


def seen_way(tree: pathlib.Path, way: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """Return the process that has written in one of the ways, and what was reported."""
    before, after, *_expected = WAYS[way]
    stranger = Stranger(before, after, tree, tree.with_name("elsewhere"), **options)
    try:
        return stranger.process.pid, seen(tree, stranger.write)
    finally:
        stranger.end()


def is_found(tree: pathlib.Path, way: str, pid: int, report: dict[str, Any]) -> bool:
    """Return whether the writer is reported as it should be."""
    *_program, name, kind = WAYS[way]
    return any(
        one["pid"] == pid and str(tree / name) in one["files"] and kind in one["kinds"] and one["command"]
        for one in report["writers"]
    )


@needs_root
@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_write_is_reported_with_its_process(way: str, tree: pathlib.Path) -> None:
    pid, report = seen_way(tree, way)
    assert is_found(tree, way, pid, report), report
    assert report["method"] == "fanotify"
    assert (report["complete"], report["reason"]) == (True, "")
    assert report["since"] < report["writers"][0]["first"] <= report["writers"][0]["last"] <= report["until"]


def _without(kind: str) -> Callable[[pytest.MonkeyPatch], None]:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.delitem(fanotify.KINDS, kind)

    return mutate


def _never_forget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fanotify.Event, "moves_directory", property(lambda _event: False))


def _no_links(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(monitored_trees, "_linked_below", lambda _path: iter(()))


def _all_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writers.Processes, "_is_own", lambda _self, _pid: True)


#: Monitors that are wrong on purpose, each with a way of writing that it misses.
MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "no writes": (_without("modify"), "writes to what it has open"),
    "no end of a descriptor": (_without("close_write"), "writes through a mapping, which ends"),
    "no metadata": (_without("attrib"), "changes a mode"),
    "no new entries": (_without("create"), "makes a symbolic link"),
    "no removed entries": (_without("delete"), "removes a file"),
    "no entries renamed from": (_without("moved_from"), "renames a file out of it"),
    "no entries renamed to": (_without("moved_to"), "renames a file of another directory into it"),
    "places that are never forgotten": (_never_forget, "renames a directory into it, and writes below"),
    "no further names of files": (_no_links, "writes by another name elsewhere"),
    "takes all for its own": (_all_own, "opens, writes and closes"),
}


@needs_root
@pytest.mark.parametrize("name", MUTANTS)
def test_a_monitor_that_misses_a_writer_is_caught(
    name: str, tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate, way = MUTANTS[name]
    mutate(monkeypatch)
    pid, report = seen_way(tree, way)
    assert not is_found(tree, way, pid, report)


@needs_root
def test_a_write_through_a_mapping_makes_no_report_and_the_process_is_found_by_what_it_has_mapped(
    tree: pathlib.Path,
) -> None:
    before = "held = open(file, 'r+'); page = mmap.mmap(held.fileno(), 0)"
    stranger = Stranger(before, "page[0:1] = b'y'", tree, tree)
    report = seen(tree, stranger.write)
    holders = find_holders([str(tree)], writers_only=True)
    stranger.end()
    assert report["writers"] == []
    assert [one.pid for one in holders.holders] == [stranger.process.pid]


BIND = 'mount --bind "$0" "$1" && exec "${@:2}"'


@needs_root
def test_a_writer_that_sees_the_tree_elsewhere_through_a_mount_is_reported_by_our_name(tree: pathlib.Path) -> None:
    shown = tree.with_name("shown")
    shown.mkdir()
    prefix = ("unshare", "-m", "bash", "-c", BIND, str(tree), str(shown))
    stranger = Stranger("", "open(elsewhere + '/logs/file', 'a').write('x')", tree, shown, prefix=prefix)
    report = seen(tree, stranger.write)
    stranger.end()
    assert [one["files"] for one in report["writers"]] == [[str(tree / "logs" / "file")]]
    assert report["writers"][0]["pid"] == stranger.process.pid


@needs_root
def test_a_writer_that_sees_one_file_of_the_tree_through_a_mount_is_reported(tree: pathlib.Path) -> None:
    shown = tree.with_name("elsewhere") / "other"
    prefix = ("unshare", "-m", "bash", "-c", BIND, str(tree / "logs" / "file"), str(shown))
    stranger = Stranger("", "open(elsewhere + '/other', 'a').write('x')", tree, shown.parent, prefix=prefix)
    report = seen(tree, stranger.write)
    stranger.end()
    assert [one["files"] for one in report["writers"]] == [[str(tree / "logs" / "file")]]


@needs_root
def test_a_tree_that_is_itself_seen_through_a_mount_and_a_link_is_monitored(tree: pathlib.Path) -> None:
    """The monitor sees only a part of the file system: what lies elsewhere on it has names that mean nothing there."""
    program = """
import pathlib, sys, json
from ansible_collections.dsa110.contimg.tests.unit.plugins.module_utils._host.test_write_monitor import Stranger, seen
tree, shown, outside = map(pathlib.Path, sys.argv[1:])
act = "open(tree + '/logs/file', 'a').write('x'); open(elsewhere + '/logs/file', 'a').write('x')"
stranger = Stranger("", act, tree, outside)
print(json.dumps(seen(shown.with_name("link"), stranger.write)))
stranger.end()
"""
    shown, outside = tree.with_name("shown"), tree.with_name("outside")
    shown.mkdir()
    shown.with_name("link").symlink_to(shown)
    (outside / "logs").mkdir(parents=True)
    command = ["unshare", "-m", "bash", "-c", BIND, str(tree), str(shown), sys.executable, "-c", program]
    path = next(path for path in sys.path if path.endswith(".build/collections"))
    done = subprocess.run(
        [*command, *map(str, (tree, shown, outside))],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    report = json.loads(done.stdout)
    assert [one["files"] for one in report["writers"]] == [[str(shown / "logs" / "file")]]
    assert report["complete"]


@needs_root
def test_what_is_mounted_below_is_monitored_and_what_comes_later_is_named(tree: pathlib.Path) -> None:
    program = """
import json, os, pathlib, subprocess, sys
from ansible_collections.dsa110.contimg.tests.unit.plugins.module_utils._host.test_write_monitor import Stranger, seen
tree = pathlib.Path(sys.argv[1])
(tree / "later").mkdir()
subprocess.run(["mount", "-t", "tmpfs", "none", str(tree / "logs")], check=True)
stranger = Stranger("", "open(file, 'a').write('x')", tree, tree)
first = seen(tree, stranger.write)
stranger.end()
late = lambda: subprocess.run(["mount", "-t", "tmpfs", "none", str(tree / "later")], check=True)
print(json.dumps([first, seen(tree, late)]))
"""
    first, second = json.loads(run_as_root_of_mounts(program, tree))
    assert [str(tree / "logs" / "file") in one["files"] for one in first["writers"]] == [True]
    assert first["complete"]
    assert second["reason"] == f"{tree}/later was mounted while it was monitored"


def run_as_root_of_mounts(program: str, *arguments: object) -> str:
    """Return what a program prints in a mount namespace of its own, as real root."""
    path = next(path for path in sys.path if path.endswith(".build/collections"))
    command = ["unshare", "-m", sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


ONE_WRITER = """
import json, pathlib, sys
from ansible_collections.dsa110.contimg.tests.unit.plugins.module_utils._host.test_write_monitor import Stranger, seen
tree = pathlib.Path(sys.argv[1])
(tree / "logs").mkdir(exist_ok=True)
stranger = Stranger("held = open(file, 'a')", "os.write(held.fileno(), b'x')", tree, tree)
print(json.dumps([stranger.process.pid, seen(tree, stranger.write)]))
stranger.end()
"""


@needs_root
@pytest.mark.parametrize("run", [run_on_btrfs, run_on_ramfs])
def test_on_each_file_system_a_writer_is_found_or_the_report_says_that_it_may_be_missed(
    run: Callable[..., str], tree: pathlib.Path
) -> None:
    pid, report = json.loads(run(tree, ONE_WRITER, tree))
    assert pid in [one["pid"] for one in report["writers"]]
    assert report["complete"] == (report["method"] == "fanotify")
    assert report["method"] == "fanotify" or report["changes"]


def test_without_the_capability_changes_are_compared_and_the_report_says_so(tree: pathlib.Path) -> None:
    """In a user namespace of its own a root may not ask the kernel about whole file systems."""
    shown = tree.with_name("shown")
    shown.mkdir()
    pid, report = json.loads(run_within([(tree, shown)], ONE_WRITER, shown))
    assert (report["method"], report["complete"]) == ("changes", False)
    assert report["reason"].startswith("fanotify cannot be used: Operation not permitted")
    assert [one["path"] for one in report["changes"]] == [str(shown / "logs" / "file")]
    assert pid in [one["pid"] for one in report["writers"]]


def test_on_an_overlay_the_report_says_that_a_writer_may_be_missed(tree: pathlib.Path) -> None:
    point = tree.with_name("overlay")
    point.mkdir()
    _pid, report = json.loads(run_with_overlay(tree, point, ONE_WRITER, point))
    assert not report["complete"]


@needs_root
def test_what_no_writer_of_the_tree_does_is_not_reported(tree: pathlib.Path) -> None:
    act = """
open(file).read(); os.listdir(tree)
open(elsewhere + '/other', 'a').write('x')
os.mkdir(tree + '-2'); open(tree + '-2/file', 'w').write('x')
os.mkdir(elsewhere + '/logs'); open(elsewhere + '/logs/file', 'w').write('x')
"""
    stranger = Stranger("", act, tree, tree.with_name("elsewhere"))
    report = seen(tree, stranger.write)
    stranger.end()
    assert (report["writers"], report["own_events"], report["complete"]) == ([], 0, True)


@needs_root
@pytest.mark.parametrize("written", [True, False])
def test_who_writes_by_a_name_elsewhere_before_all_names_are_known_is_not_missed_in_silence(
    tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch, *, written: bool
) -> None:
    """Which process it was is not known any more."""
    look, may_look = monitored_trees._linked_below, threading.Event()

    def late(path: bytes) -> Iterator[bytes]:
        assert may_look.wait(60)
        yield from look(path)

    monkeypatch.setattr(monitored_trees, "_linked_below", late)
    (tree / "b\n").hardlink_to(tree.with_name("elsewhere") / "other")
    act = f"open(elsewhere + '/{'other' if written else 'third'}', 'a').write('x')"
    stranger = Stranger("", act, tree, tree.with_name("elsewhere"))
    monitor = WriteMonitor([str(tree)], run_id="")
    monitor.begin()
    stranger.write()
    monitor.take()
    may_look.set()
    monitor.end()
    stranger.end()
    report = monitor.report()
    wrong = f"{tree}/b\\x0a was written by another name before all names of files were known"
    assert (report["complete"], report["reason"]) == ((False, wrong) if written else (True, ""))


@needs_root
def test_what_this_process_does_is_its_own(tree: pathlib.Path) -> None:
    report = seen(tree, lambda: (tree / "logs" / "file").write_bytes(b"own"))
    assert report["writers"] == []
    assert report["own_events"] > 0


@contextlib.contextmanager
def step_on_request(run_id: str, tree: pathlib.Path) -> Iterator[Callable[[], None]]:
    """Yield what lets another process do a step with a worker of its own, each of which writes; both have ended when it returns."""
    (asked, ask), (told, tell) = os.pipe(), os.pipe()
    controller = os.fork()
    if not controller:
        os.close(ask)
        while os.read(asked, 1):
            if not os.fork():
                os.close(os.open(f"{volatile_place()}/lock", os.O_RDWR))  # as who waits for the lease
                with leased(run_id, "a step"):
                    (tree / "logs" / "file").write_bytes(b"of the step")
                    worker = os.fork()
                    (tree / "logs" / ("by its maker" if worker else "of a worker")).touch()
                    os.waitpid(worker, 0) if worker else os._exit(0)
                os._exit(0)
            os.wait()
            os.write(tell, b"x")
        os._exit(0)

    def act() -> None:
        os.write(ask, b"x")
        os.read(told, 1)

    yield act
    os.close(ask)
    os.waitpid(controller, 0)
    for descriptor in (asked, told, tell):
        os.close(descriptor)


@needs_root
def test_a_step_that_has_ended_before_it_could_be_looked_at_is_of_the_move(tree: pathlib.Path) -> None:
    run = take("migrate", {}, take_over="", check=False)
    with step_on_request(run.run_id, tree) as act:
        report = seen(tree, act, is_taking=False)
    assert report["writers"] == []
    assert report["own_events"] >= 4
    assert release(run.run_id)


@needs_root
def test_so_is_one_whose_lease_is_on_another_file_system(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host, where it is on a tmpfs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as volatile:
        monkeypatch.setattr(place, "_VOLATILE", (volatile, volatile))
        assert os.stat(volatile).st_dev != tree.stat().st_dev
        run = take("migrate", {}, take_over="", check=False)
        with step_on_request(run.run_id, tree) as act:
            report = seen(tree, act, is_taking=False)
    assert (report["writers"], report["complete"], report["reason"]) == ([], True, "")
    assert report["own_events"] >= 4


@needs_root
def test_what_is_no_step_and_has_ended_is_a_writer(tree: pathlib.Path) -> None:
    """Whoever waits for the lease opens its lock, too."""
    run = take("migrate", {}, take_over="", check=False)
    with step_on_request("", tree) as act:
        report = seen(tree, act, is_taking=False)
    assert report["own_events"] == 0
    assert {file for one in report["writers"] for file in one["files"]} >= {
        f"{tree}/logs/file",
        f"{tree}/logs/of a worker",
    }
    assert release(run.run_id)


@needs_root
def test_a_writer_that_comes_and_goes_is_named_with_the_process_that_makes_it(tree: pathlib.Path) -> None:
    loop = f'while read -r _; do (date >>"{tree}/logs/file"); touch "{tree}/logs/$RANDOM"; echo; done'
    process = subprocess.Popen(
        ["bash", "-c", loop, "the-script"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def act() -> None:
        assert process.stdin
        assert process.stdout
        for _turn in range(20):
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()

    report = seen(tree, act)
    process.communicate()
    unknown = [one for one in report["writers"] if one["command"].startswith("unknown")]
    assert unknown == []
    gone = [one["command"] for one in report["writers"] if one["gone"]]
    assert all("the-script" in command or "bash" in command for command in gone)
    assert sum(one["events"] for one in report["writers"]) >= 60


@needs_root
def test_a_directory_that_does_not_exist_is_monitored_from_its_making_on(tmp_path: pathlib.Path) -> None:
    tree = tmp_path / "deep" / "state"
    stranger = Stranger("", "os.makedirs(tree + '/logs'); open(file, 'w').write('x')", tree, tmp_path)
    report = seen(tree, stranger.write)
    stranger.end()
    assert report["writers"][0]["files"] == [str(tree), str(tree / "logs"), str(tree / "logs" / "file")]


@needs_root
def test_a_directory_that_is_removed_and_made_again_stays_monitored(tree: pathlib.Path) -> None:
    act = "import shutil; shutil.rmtree(tree); pause(); os.makedirs(tree + '/logs'); open(file, 'w').write('x')"
    stranger = Stranger("", act, tree, tree)
    report = seen(tree, stranger.write)
    stranger.end()
    (one,) = report["writers"]
    assert {"delete", "create", "modify"} <= {*one["kinds"]}
    assert str(tree) in one["files"]
    assert report["complete"]


@needs_root
def test_a_single_file_that_is_mounted_below_is_compared(tree: pathlib.Path) -> None:
    program = """
import json, os, pathlib, subprocess, sys
from ansible_collections.dsa110.contimg.tests.unit.plugins.module_utils._host.test_write_monitor import Stranger, seen
tree = pathlib.Path(sys.argv[1])
subprocess.run(["mount", "--bind", "/etc/hostname", str(tree / "logs" / "file")], check=True)
print(json.dumps(seen(tree, lambda: None)))
"""
    report = json.loads(run_as_root_of_mounts(program, tree))
    assert f"{tree}/logs/file: its file system (" in report["reason"]
    assert not report["complete"]


@needs_root
def test_a_single_file_is_monitored(tree: pathlib.Path) -> None:
    act = "open(file, 'a').write('x'); open(file + '2', 'a').write('x')"
    stranger = Stranger("", act, tree, tree)
    report = seen(tree / "logs" / "file", stranger.write)
    stranger.end()
    assert [one["files"] for one in report["writers"]] == [[str(tree / "logs" / "file")]]


@needs_root
def test_what_could_not_be_taken_in_is_admitted(tree: pathlib.Path) -> None:
    """More events than the kernel keeps: each is of another file."""
    most = int(pathlib.Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    act = f"for number in range({most} + 10): os.mkdir(tree + f'/logs/{{number}}')"
    stranger = Stranger("", act, tree, tree)
    report = seen(tree, stranger.write, is_taking=False)
    stranger.end()
    assert not report["complete"]
    assert "overflowed" in report["reason"]
    assert stranger.process.pid in [one["pid"] for one in report["writers"]]


@needs_root
def test_who_had_a_file_open_and_has_ended_since_is_not_taken_for_a_stranger(tree: pathlib.Path) -> None:
    """It may have been a step of the move: nobody can look any more."""
    with subprocess.Popen(["sleep", "600"]) as ended, subprocess.Popen(
        ["sleep", "600"], start_new_session=True
    ) as lives:
        monitor = WriteMonitor([str(tree)], run_id="")
        ended.kill()
        ended.wait()
        open_there = [
            Holder(one.pid, str(one.pid), "", "", "", (f"{tree}/logs/file",), "write") for one in (ended, lives)
        ]
        monitor._take_holders(Holders(tuple(open_there), complete=True))
        found = monitor.report(look=False)["writers"]
        lives.kill()
    monitor.close()
    assert [one["pid"] for one in found] == [lives.pid]


@needs_root
def test_the_monitor_keeps_no_descriptor(tree: pathlib.Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    seen_way(tree, "opens, writes and closes")
    assert sorted(os.listdir("/proc/self/fd")) == before


@needs_root
def test_the_monitor_leaves_no_trace_in_the_tree(tree: pathlib.Path) -> None:
    paths = [tree, tree / "logs", tree / "logs" / "file"]
    before = [os.lstat(path) for path in paths]
    seen(tree, lambda: time.sleep(0.2))
    assert [os.lstat(path) for path in paths] == before


@needs_root
def test_names_that_are_not_text_are_shown(tree: pathlib.Path) -> None:
    act = "open(tree.encode() + b'/a\\xff\\n', 'w').close()"
    stranger = Stranger("", act, tree, tree)
    report = seen(tree, stranger.write)
    stranger.end()
    assert report["writers"][0]["files"] == [f"{tree}/a\\xff\\x0a"]


@needs_root
@pytest.mark.parametrize("groups", [fanotify._GROUPS[1:], fanotify._GROUPS[2:]], ids=["5.9", "5.1"])
def test_on_older_kernels_writers_are_found(
    groups: tuple[int, ...], tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without descriptors of processes; without names of entries, when the directory is named instead of what was in it."""
    monkeypatch.setattr(fanotify, "_GROUPS", groups)
    for way in ("opens, writes and closes", "renames a file out of it"):
        pid, report = seen_way(tree, way)
        assert pid in [one["pid"] for one in report["writers"]]
        assert all(name.startswith(str(tree)) for one in report["writers"] for name in one["files"])
        assert report["complete"] == bool(groups[0] & fanotify._REPORT_DIR_NAME)
        (tree / "logs" / "file").write_bytes(b"x" * 8192)
