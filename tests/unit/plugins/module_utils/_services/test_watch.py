# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is judged of units after a start; the integration target follows real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._services.log_tail import (
    FileTail,
    JournalTail,
    compiled,
    matching,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services.watch import (
    Seen,
    not_open,
    troubles,
    unhealthy,
    watch,
    watch_options,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd import client as systemd
from ansible_collections.dsa110.contimg.tests.support.health_server import health_server
from ansible_collections.dsa110.contimg.tests.support.trees import ODD_KINDS, make_odd

if TYPE_CHECKING:
    import pathlib

NOTHING: dict[str, Any] = {
    "names": [], "containers": [], "since": None, "duration": 0, "patterns": [], "log_files": [], "log_offsets": {},
    "expect_open": {}, "health_url": {}, "health_status": {}, "triggered": False,
}  # fmt: skip


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


def test_files_that_were_never_open_are_named() -> None:
    expected = {"a": ["/x", "/y"], "b": ["/x"]}
    assert not_open(expected, {"a": ["/x"]}) == ["a does not have /y open", "b does not have /x open"]


def test_each_line_of_a_log_is_read_once_also_when_it_is_rotated_or_cut(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"old\nolder")
    tail, from_offset = FileTail(str(path), None), FileTail(str(path), 4)
    assert tail.lines() == []
    assert from_offset.lines() == ["older"]
    with path.open("ab") as file:
        file.write(b" still\nnew\nhal")
    assert tail.lines() == [" still", "new", "hal"]
    assert from_offset.lines() == ["older still", "new", "hal"]
    with path.open("ab") as file:
        file.write(b"f\n")
    assert tail.lines() == ["half"]
    assert tail.lines() == []
    path.rename(tmp_path / "a.log.1")
    assert tail.lines() == []
    path.write_bytes(b"rotated\n")
    assert tail.lines() == ["rotated"]
    path.write_bytes(b"cut\n")
    assert tail.lines() == ["cut"]


def test_a_log_that_does_not_exist_yet_is_read_from_its_start(tmp_path: pathlib.Path) -> None:
    tail = FileTail(str(tmp_path / "a.log"), None)
    (tmp_path / "a.log").write_bytes(b"first \xff\n")
    assert tail.lines() == ["first \\xff"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ContimgError, match="could not read the log"):
        FileTail(str(tmp_path / "file" / "a.log"), None)


@pytest.mark.parametrize("kind", ODD_KINDS)
def test_a_log_that_is_not_a_regular_file_is_not_read_and_that_is_reported(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "a.log"
    make_odd(kind, path)
    tail = FileTail(str(path), 0)
    assert tail.lines() == []
    what = "is a symbolic link, which is not followed" if path.is_symlink() else "is not a regular file"
    assert tail.unread == f"{path}: {what}; it is not watched."
    path.rmdir() if kind == "directory" else path.unlink()
    path.write_text("now it is\n")
    assert tail.lines() == ["now it is"]
    assert tail.unread == ""


def test_matches_carry_their_source_and_no_secret(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"fine\nno such table: x, token=planted\n" + b"no such table\n" * 100)
    found = matching([FileTail(str(path), 0)], compiled(["no such table", "readonly"]))
    assert found[0] == {"source": str(path), "line": "no such table: x, token=********"}
    assert len(found) == 50
    assert matching([FileTail(str(path), 0)], compiled([])) == []


def test_a_journal_is_read_on_from_its_cursor(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "journalctl"
    script.write_text(f"#!/bin/sh\necho \"$3\" >>{tmp_path}/asked\nprintf 'line\\n-- cursor: c1\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tail = JournalTail("a.service", 2.5)
    assert [tail.lines(), tail.lines()] == [["line"], ["line"]]
    assert (tmp_path / "asked").read_text().splitlines() == ["--since=@2.500000", "--after-cursor=c1"]


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(ContimgError, match=r"'\(' is not a regular expression"):
        watch_options({**NOTHING, "patterns": ["fine", "("]})
    with pytest.raises(ContimgError, match="cannot be looked for at once"):
        watch_options({**NOTHING, "patterns": ["(?P<x>a)", "(?P<x>b)"]})


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
    assert systemd.show([], ("Id",)) == {}


def test_a_log_that_is_not_watched_is_a_warning(tmp_path: pathlib.Path) -> None:
    make_odd("link to a device", tmp_path / "a.log")
    options = {**NOTHING, "log_files": [str(tmp_path / "a.log")], "patterns": ["no such table"]}
    warnings = watch(watch_options(options), check=False)["warnings"]
    assert warnings == [f"{tmp_path}/a.log: is a symbolic link, which is not followed; it is not watched."]
