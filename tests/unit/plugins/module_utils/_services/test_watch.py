# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is judged of units after a start; the integration target follows real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._services.watch import (
    Seen,
    not_open,
    troubles,
    unhealthy,
    watch,
    watch_options,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd import client
from ansible_collections.dsa110.contimg.tests.support.hosts.health_server import health_server
from ansible_collections.dsa110.contimg.tests.support.hosts.host_stubs import write_failing_docker
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import default_options
from ansible_collections.dsa110.contimg.tests.support.trees import make_odd

if TYPE_CHECKING:
    import pathlib

NOTHING: dict[str, Any] = {**default_options("unit_watch"), "names": [], "duration": 0, "patterns": []}


@pytest.mark.parametrize(
    ("seen", "trouble"),
    [
        (Seen("active", "running", 0, "success", "simple"), ""),
        (Seen("activating", "start", 0, "success", "notify"), ""),
        (Seen("reloading", "reload", 0, "success", "notify"), ""),
        (Seen("inactive", "dead", 0, "success", "oneshot"), ""),
        (Seen("inactive", "dead", 0, "success", "simple"), "a is inactive (dead, result: success)"),
        (Seen("inactive", "dead", 0, "exit-code", "oneshot"), "a is inactive (dead, result: exit-code)"),
        (Seen("failed", "failed", 0, "exit-code", "simple"), "a is failed (failed, result: exit-code)"),
        (
            Seen("activating", "auto-restart", 1, "exit-code", "simple"),
            "a is activating (auto-restart, result: exit-code)",
        ),
        (Seen("active", "running", 3, "success", "simple"), "a was restarted 2 times"),
    ],
)
def test_a_unit_is_judged(seen: Seen, trouble: str) -> None:
    before = {"a": Seen("active", "running", 1, "success", "simple")}
    assert troubles(before, {"a": seen}) == ({"a": trouble} if trouble else {})


def test_only_what_waits_to_be_up_is_starting() -> None:
    assert Seen("activating", "start", 0, "success", "notify").is_starting
    assert not Seen("activating", "start", 0, "success", "oneshot").is_starting
    assert not Seen("active", "running", 0, "success", "simple").is_starting


@pytest.mark.parametrize(
    ("seen", "ended", "rests"),
    [
        (Seen("inactive", "dead", 0, "success", "simple"), False, True),  # it has never run
        (Seen("inactive", "dead", 0, "success", "simple", 99.0), False, True),
        (Seen("inactive", "dead", 0, "success", "oneshot", 100.0), True, True),  # systemd gives whole seconds
        (Seen("failed", "failed", 0, "exit-code", "oneshot", 99.0), False, True),  # it had failed before
        (Seen("failed", "failed", 0, "exit-code", "oneshot", 101.0), True, False),
        (Seen("inactive", "dead", 0, "exit-code", "oneshot", 101.0), True, False),
        (Seen("activating", "start", 0, "success", "oneshot", 99.0), False, False),
        (Seen("active", "running", 0, "success", "simple"), False, False),
        (Seen("activating", "auto-restart", 1, "exit-code", "simple", 101.0), False, False),
    ],
)
def test_what_waits_for_its_trigger_rests_unless_it_has_failed_since(seen: Seen, ended: bool, rests: bool) -> None:  # noqa: FBT001
    assert (seen.has_ended(100.4), seen.rests(100.4)) == (ended, rests)


SYSTEMCTL = """#!/bin/sh
case "$*" in
*Triggers*|*FragmentPath*) echo Id=$(basename a.service); echo FragmentPath=; echo DropInPaths=;;
*) printf 'ActiveState=%s\nSubState=%s\nNRestarts=0\nResult=%s\nType=oneshot\nInactiveEnterTimestamp=%s\n' $STATE "$ENDED";;
esac
"""


@pytest.mark.parametrize(
    ("state", "ended", "wrong"),
    [
        ("inactive dead success", "", ""),
        ("failed failed exit-code", "Fri 2026-11-27 12:00:00 UTC", ""),
        ("inactive dead success", "Fri 2026-11-27 12:00:09 UTC", ""),
        (
            "failed failed exit-code",
            "Fri 2026-11-27 12:00:09 UTC",
            r"a.service is failed \(failed, result: exit-code\); the last lines of a.service: 2 \| 3 \| 4 \| 5 \| token=\*+\.",
        ),
    ],
)
def test_what_a_trigger_has_started_is_followed_and_its_last_lines_are_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, state: str, ended: str, wrong: str
) -> None:
    for name, text in (
        ("systemctl", SYSTEMCTL),
        ("journalctl", "#!/bin/sh\nprintf '%s\\n' 1 2 3 4 5 token=planted.\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("STATE", state)
    monkeypatch.setenv("ENDED", ended)
    since = 1795780800.0 + 5  # 2026-11-27 12:00:05 UTC
    options = watch_options({**NOTHING, "names": ["a.service"], "triggered": True, "since": since})
    if wrong:
        with pytest.raises(ContimgError, match=wrong):
            watch(options, check=False)
    else:
        assert watch(options, check=False)["units"]["a.service"]["active"] == state.split(maxsplit=1)[0]


def test_a_file_that_is_expected_open_may_be_named_by_its_place() -> None:
    expected = {"a.service": ["products", "/other"]}
    options = watch_options({**NOTHING, "expect_open": expected, "places": {"products": "/data/p.sqlite3"}})
    assert options.expect_open == {"a.service": ["/data/p.sqlite3", "/other"]}


def test_files_that_were_never_open_are_named() -> None:
    expected = {"a": ["/x", "/y"], "b": ["/x"]}
    assert not_open(expected, {"a": ["/x"]}) == ["a does not have /y open", "b does not have /x open"]


def test_an_answer_that_is_no_success_is_named_unless_it_is_known() -> None:
    with health_server() as server:
        urls = {"a": f"{server}/health", "b": f"{server}/x?token=planted-secret", "c": "http://127.0.0.1:1/"}
        found = unhealthy(urls, {})
        known = unhealthy(urls, {"b": 503, "c": 0})
        otherwise = unhealthy(urls, {"b": 500})
    assert found[0].startswith(f"b is not healthy: {server}/x?token=")
    assert "HTTP Error 503" in found[0]
    assert "planted-secret" not in found[0]
    assert found[1].startswith("c is not healthy: http://127.0.0.1:1/: ")
    assert known == found[1:]
    assert otherwise == found


def test_a_log_alone_can_be_followed(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"no such table\nfine\n")
    options = {**NOTHING, "log_files": [str(path)], "patterns": ["no such table"]}
    assert watch(watch_options(options), check=False) == {"units": {}, "containers": {}, "matches": []}
    from_start = watch_options({**options, "log_offsets": {str(path): 0}})
    with pytest.raises(ContimgError, match=r"a.log says: no such table. The units were left as they are.") as error:
        watch(from_start, check=False)
    assert error.value.details["matches"] == [{"source": str(path), "line": "no such table"}]
    assert watch(from_start, check=True)["matches"]
    assert watch(watch_options(NOTHING), check=False) == {"units": {}, "containers": {}, "matches": []}
    assert client.show([], ("Id",)) == {}


def test_a_log_that_is_not_watched_is_a_warning(tmp_path: pathlib.Path) -> None:
    make_odd("link to a device", tmp_path / "a.log")
    options = {**NOTHING, "log_files": [str(tmp_path / "a.log")], "patterns": ["no such table"]}
    warnings = watch(watch_options(options), check=False)["warnings"]
    assert warnings == [f"{tmp_path}/a.log: is a symbolic link, which is not followed; it is not watched."]


def test_why_an_engine_could_not_be_asked_is_said_of_a_container_that_is_not_there(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_failing_docker(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    options = watch_options({**NOTHING, "containers": ["web"]})
    with pytest.raises(ContimgError, match=r"not there, and docker could not be asked: .* failed: the daemon is down"):
        watch(options, check=False)
