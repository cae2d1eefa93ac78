# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is asked of systemd, and how its answers are read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd import client

if TYPE_CHECKING:
    import pathlib


@pytest.fixture
def says(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return a directory first on PATH; a script there answers as systemd would."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def answer(directory: pathlib.Path, command: str, script: str) -> None:
    """Let a command of the host be a script."""
    (directory / command).write_text(f"#!/bin/sh\n{script}\n")
    (directory / command).chmod(0o755)


def test_properties_of_several_units_come_from_one_question(says: pathlib.Path) -> None:
    answer(
        says,
        "systemctl",
        f"""echo "$*" >>{says}/asked
printf 'Type=simple\\nExecStart={{ a }}\\nExecStart={{ b }}\\n\\nType=\\nExecStart=\\n'""",
    )
    assert client.show(["a.service", "b.service"], ("Type", "ExecStart", "Unknown")) == {
        "a.service": {"Type": "simple", "ExecStart": "{ a }\n{ b }", "Unknown": ""},
        "b.service": {"Type": "", "ExecStart": "", "Unknown": ""},
    }
    assert (says / "asked").read_text().splitlines() == [
        "--no-pager show --all -p Type,ExecStart,Unknown -- a.service b.service"
    ]


def test_a_value_with_an_empty_line_does_not_mix_up_units(says: pathlib.Path) -> None:
    answer(
        says,
        "systemctl",
        r"""while [ "$1" != -- ]; do shift; done; shift
first=1
for unit; do [ $first ] || echo; first=; printf 'Environment=A=1\n\n%s\nId=%s\n' "$unit" "$unit"; done""",
    )
    shown = client.show(["a.service", "b.service"], ("Environment", "Id"))
    assert shown == {name: {"Environment": f"A=1\n\n{name}", "Id": name} for name in ("a.service", "b.service")}


def test_many_units_are_asked_for_in_batches(says: pathlib.Path) -> None:
    answer(
        says,
        "systemctl",
        f"""while [ "$1" != -- ]; do shift; done; shift
echo $# >>{says}/asked
first=1
for unit; do [ $first ] || echo; first=; echo "Id=$unit"; done""",
    )
    names = [f"{number}.service" for number in range(120)]
    assert {name: facts["Id"] for name, facts in client.show(names, ("Id",)).items()} == dict(zip(names, names))
    assert (says / "asked").read_text().split() == ["50", "50", "20"]


def test_former_names_of_properties_are_known(says: pathlib.Path) -> None:
    answer(
        says, "systemctl", "echo 'EnvironmentFile=/a (ignore_errors=no)'; echo 'EnvironmentFile=/b (ignore_errors=yes)'"
    )
    shown = client.show(["a.service"], ("EnvironmentFiles",))
    assert shown["a.service"]["EnvironmentFiles"] == "/a (ignore_errors=no)\n/b (ignore_errors=yes)"


def test_a_failure_says_what_systemd_said(says: pathlib.Path) -> None:
    answer(says, "systemctl", "echo 'Failed to connect to bus' >&2; exit 1")
    with pytest.raises(ContimgError, match="'systemctl daemon-reload' failed: Failed to connect to bus"):
        client.systemctl("daemon-reload")


def test_a_command_that_is_missing_or_does_not_end_is_named(
    says: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(says, "journalctl", "exec sleep 60")
    with pytest.raises(ContimgError, match=r"'journalctl -x' has not ended in 0.2 seconds"):
        client.run(["journalctl", "-x"], timeout=0.2)
    monkeypatch.setenv("PATH", str(says))
    with pytest.raises(ContimgError, match=r"'systemctl' does not exist.*no systemd"):
        client.systemctl("--version")


@pytest.mark.parametrize(
    ("said", "number"),
    [("systemd 252 (252.38-1~deb12u1)\n+PAM", 252), ("systemd 237\n", 237), ("systemd 257.9-1 (x)", 257), ("?", 0)],
)
def test_the_version_is_read(says: pathlib.Path, said: str, number: int) -> None:
    answer(says, "systemctl", f"echo '{said}'")
    assert client.version() == number


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("Normalized form: x\n    Next elapse: Wed 2023-11-15 00:00:00 UTC\n       From now: y", 1700006400.0),
        ("    Next elapse: Wed 2023-11-15 01:00:00 CET\n       (in UTC): Wed 2023-11-15 00:00:00 UTC", 1700006400.0),
        ("    Next elapse: never", None),
        ("", None),
    ],
)
def test_the_next_elapse_of_a_calendar_expression_is_read(says: pathlib.Path, said: str, moment: float | None) -> None:
    answer(says, "systemd-analyze", f"cat <<'END'\n{said}\nEND")
    assert client.next_elapse("daily", 1.0) == moment


@pytest.mark.parametrize(("after", "base"), [(1700006399.0, 1700006399), (1700006399.7, 1700006399), (0.9, 0)])
def test_what_elapses_within_the_second_of_a_moment_is_not_passed_over(
    says: pathlib.Path, after: float, base: int
) -> None:
    """A moment that is rounded up is that of the elapse itself, and systemd names the one behind it."""
    answer(says, "systemd-analyze", f'echo "$*" >{says}/asked')
    client.next_elapse("daily", after)
    assert f"--base-time=@{base} " in (says / "asked").read_text()


def test_the_journal_goes_on_where_it_ended(says: pathlib.Path) -> None:
    answer(
        says,
        "journalctl",
        f"""echo "$*" >>{says}/asked
case "$*" in *--since*) printf 'one\\ntwo\\n-- cursor: s=1;i=2\\n' ;; esac""",
    )
    lines, start = client.journal_from("a.service", "--since=@12.5")
    assert (lines, start) == (["one", "two"], "--after-cursor=s=1;i=2")
    assert client.journal_from("a.service", start) == ([], start)
    assert client.journal("a.service", since=12.5) == ["one", "two"]
    assert (says / "asked").read_text().splitlines()[1].startswith("-u a.service --after-cursor=s=1;i=2")


def test_a_journal_without_a_message_has_no_cursor(says: pathlib.Path) -> None:
    answer(says, "journalctl", 'case "$*" in *--show-cursor*) exit 1 ;; esac')
    assert client.journal_from("a.service", "--since=@12.5") == ([], "--since=@12.5")


def test_a_journal_that_cannot_be_read_is_an_error(says: pathlib.Path) -> None:
    answer(says, "journalctl", "echo 'No journal files' >&2; exit 1")
    with pytest.raises(ContimgError, match="the journal cannot be read: No journal files"):
        client.journal("a.service", since=0)
