# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of which users of a path a move neither stops nor repoints: tables of what was observed, and the lines of it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._migration.strangers import (
    Move,
    Seen,
    leftovers,
    notes,
    strangers,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names

OLD, NEW = "/stage/state", "/data/state"
ENV, UNIT = "/data/contimg.env", "/etc/systemd/system/api.service"
MOVE = Move(frozenset({OLD}), frozenset({ENV}), frozenset({"web"}), "clean.timer")


def use(path: str = OLD, where: str = "ExecStart", **more: Any) -> dict[str, Any]:
    """Return a use by a unit."""
    return {"path": path, "where": where, "files": [UNIT], **more}


def unit(*uses: dict[str, Any], listed: bool = False, **more: Any) -> dict[str, Any]:
    """Return a unit that runs."""
    state = {"active_state": "active", "sub_state": "running", "unexpanded_files": [], "triggered_by": []}
    return {"uses": list(uses), "listed": listed, **state, **more}


def container(*uses: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a container that runs."""
    return {"id": "c0ffee", "status": "running", "uses": list(uses), "named_in": [], "obstacle": "", **more}


def process(mode: str = "read", files: tuple[str, ...] = (f"{OLD}/a",), **more: str) -> dict[str, Any]:
    """Return a process that has files open."""
    return {
        "pid": 7,
        "command": "reader",
        "unit": "",
        "user_unit": "",
        "container": "",
        "files": list(files),
        "mode": mode,
        **more,
    }


def mount(pid: int = 0, **more: str) -> dict[str, Any]:
    """Return a mount that shows the path."""
    return {"point": "/mnt", "pid": pid, "unit": "", "container": "", "command": "", **more}


FILES = tuple(f"{OLD}/{name}" for name in "abcd")
STRANGE = [
    # units: what names the path, and is neither repointed nor expected
    ({"units": {"a.service": unit(use())}}, [f"a.service: ExecStart in {UNIT} names {OLD}"]),
    ({"units": {"a.service": unit(use(name="STATE"))}}, [f"a.service: STATE in {UNIT} names {OLD}"]),
    ({"units": {"a.service": unit(use(files=[ENV]))}}, []),
    ({"units": {"a.service": unit(use(files=[ENV, UNIT]))}}, [f"a.service: ExecStart in {ENV} or {UNIT} names {OLD}"]),
    ({"units": {"a.service": unit(use(), listed=True)}}, [f"a.service: ExecStart in {UNIT} names {OLD}"]),
    ({"units": {"a.service": unit(use(NEW), listed=True)}}, []),
    ({"units": {"a.service": unit(use(NEW))}}, [f"a.service: ExecStart in {UNIT} names {NEW}"]),
    ({"units": {"clean.service": unit(use(NEW), triggered_by=["clean.timer"])}}, []),
    ({"units": {"a.service": unit(use(where="StandardOutput"), listed=True)}}, []),
    ({"units": {"a.service": unit(use(where="StandardError"))}}, [f"a.service: StandardError in {UNIT} names {OLD}"]),
    (
        {"units": {"a@.service": unit(use(where="StandardError"), listed=True)}},
        [f"a@.service: StandardError in {UNIT} names {OLD}"],
    ),
    # containers: those that are not stopped, and those that could not follow
    (
        {"containers": {"x": container({"path": OLD, "where": "mount", "name": "/state"})}},
        [f"container x (running): mount /state shows or names {OLD}"],
    ),
    (
        {"containers": {"x": container({"path": OLD, "where": "command", "name": ""})}},
        [f"container x (running): command shows or names {OLD}"],
    ),
    ({"containers": {"web": container({"path": OLD, "where": "mount", "name": "/state"})}}, []),
    ({"containers": {"web": container(obstacle="is run by a unit")}}, ["container web: is run by a unit"]),
    (
        {"containers": {"web": container(named_in=[ENV, "/compose.yml"])}},
        ["container web: /compose.yml, which creates it, names the state"],
    ),
    # processes
    ({"holders": [process()]}, [f"process 7 (reader) reads {OLD}/a"]),
    (
        {"holders": [process("write", FILES)]},
        [f"process 7 (reader) can write to {', '.join(FILES[:3])} and more"],
    ),
    ({"holders": [process(unit="a.service")]}, [f"process 7 (reader) of a.service reads {OLD}/a"]),
    (
        {"holders": [process(unit="user@1.service", user_unit="mine.service")]},
        [f"process 7 (reader) of mine.service reads {OLD}/a"],
    ),
    ({"holders": [process(container="beef")]}, [f"process 7 (reader) of beef reads {OLD}/a"]),
    ({"holders": [process(unit="a.service")], "units": {"a.service": unit(listed=True)}}, []),
    ({"holders": [process(container="c0ffee")], "containers": {"web": container()}}, []),
    # crontabs and mounts
    ({"cron": [{"file": "/etc/crontab", "line": 3, "text": f"ls {OLD}"}]}, [f"/etc/crontab:3: ls {OLD}"]),
    ({"mounts": [mount()]}, ["this host has it mounted at /mnt"]),
    ({"mounts": [mount(9, container="beef", command="sh")]}, ["container beef (sh) has it mounted at /mnt"]),
    ({"mounts": [mount(9, command="sh")]}, []),
    ({"mounts": [mount(9, container="c0ffee")], "containers": {"x": container()}}, []),
    ({"mounts": [mount(unit="a.service")], "units": {"a.service": unit(listed=True)}}, []),
]


@pytest.mark.parametrize(("seen", "lines"), STRANGE)
def test_a_use_that_is_neither_stopped_nor_repointed_is_a_line(seen: dict[str, Any], lines: list[str]) -> None:
    assert strangers(Seen(**seen), MOVE) == lines


KNOWN = [
    ({"units": {"a.service": unit(use())}}, "a[.]service"),
    ({"units": {"a.service": unit(use())}}, UNIT),
    ({"containers": {"x": container({"path": OLD, "where": "mount", "name": "/state"})}}, "c0ff.*"),
    ({"containers": {"web": container(named_in=["/compose.yml"])}}, "/compose.yml"),
    ({"holders": [process()]}, "reader"),
    ({"cron": [{"file": "/etc/crontab", "line": 3, "text": f"ls {OLD}"}]}, "/etc/.*"),
    ({"mounts": [mount()]}, "/mnt"),
]


@pytest.mark.parametrize(("seen", "known"), KNOWN)
def test_what_is_known_may_go_on_and_only_its_whole_name_counts(seen: dict[str, Any], known: str) -> None:
    for expression, count in ((known, 0), (known[:-1] if known[-1] != "*" else "c0ff", 1)):
        move = Move(MOVE.leaving, MOVE.repointed, MOVE.containers, known=known_names(["other", expression]))
        assert len(strangers(Seen(**seen), move)) == count


def test_a_known_process_that_can_write_is_a_stranger() -> None:
    move = Move(MOVE.leaving, known=known_names(["reader"]))
    assert strangers(Seen(holders=[process("write")]), move) == [f"process 7 (reader) can write to {OLD}/a"]


LEFT = [
    ({"units": {"a.service": unit(use(where="StandardError"), listed=True)}}, [f"a.service: StandardError in {UNIT}"]),
    ({"units": {"a.service": unit(use(files=[ENV]))}}, []),
    (
        {"containers": {"web": container({"path": OLD, "where": "mount", "name": "/state"})}},
        ["container web (running): mount /state"],
    ),
    ({"containers": {"web": container({"path": OLD, "where": "above", "name": "/state"})}}, []),
    ({"containers": {"web": container(named_in=[ENV])}}, [f"container web: {ENV}, which creates it"]),
    ({"containers": {"web": {"status": "not-found"}}}, []),
    ({"holders": [process("write")]}, []),
    ({"cron": [{"file": "/etc/crontab", "line": 3, "text": f"ls {OLD}"}]}, [f"/etc/crontab:3: ls {OLD}"]),
    ({"mounts": [mount()]}, ["/mnt: a mount that shows it"]),
    ({"mounts": [mount(9, container="beef")]}, []),
]


@pytest.mark.parametrize(("seen", "lines"), LEFT)
def test_after_a_move_each_name_of_the_old_path_is_a_line(seen: dict[str, Any], lines: list[str]) -> None:
    assert leftovers(Seen(**seen), MOVE) == lines


NOTED = [
    ({"units": {"a": unit()}}, []),
    ({"units": {"a": unit(active_state="inactive", sub_state="dead")}}, []),
    (
        {"units": {"a": unit(active_state="failed", sub_state="failed")}},
        ["a is failed (failed) before the move, which is not its fault"],
    ),
    (
        {"units": {"a": unit(active_state="activating", sub_state="auto-restart")}},
        ["a is activating (auto-restart) before the move, which is not its fault"],
    ),
    ({"units": {"a": unit(active_state="activating", sub_state="start")}}, ["a is at work: activating (start)"]),
    (
        {"units": {"a": unit(active_state="activating", sub_state="start", listed=True)}},
        ["a is at work: activating (start); it would be stopped, and started again after the move"],
    ),
    (
        {"units": {"a": unit(unexpanded_files=["/w/${X}"])}},
        ["/w/${X}: somebody gave a a variable for a path, which systemd does not expand"],
    ),
    ({"inside": [process()]}, [f"process 7 (reader) works in {OLD}/a"]),
    (
        {"unasked": {"docker": "its daemon is down"}},
        ["docker could not be asked for its containers: its daemon is down"],
    ),
]


@pytest.mark.parametrize(("seen", "lines"), NOTED)
def test_what_is_unusual_before_a_move_is_noted(seen: dict[str, Any], lines: list[str]) -> None:
    assert notes(Seen(**seen)) == lines
