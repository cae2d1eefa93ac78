# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the lookup ``hosts_of_play``, by what the playbooks of the collection say of a command line."""

from __future__ import annotations

import pathlib
import subprocess

import pytest

from ansible_collections.dsa110.contimg.tests.playbooks.conftest import ROOT, environment_of

PLAYBOOKS = ROOT / "playbooks"
IMPORTING = "- ansible.builtin.import_playbook: dsa110.contimg.verify\n"


@pytest.fixture(name="inventory")
def _inventory(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "inventory.ini"
    path.write_text("[contimg]\na\nb\n[other]\nc\n")
    return path


def run(inventory: pathlib.Path, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook as far as it does not need its hosts."""
    command = ["ansible-playbook", "-i", str(inventory), playbook, *options]
    environment = {**environment_of(inventory.parent), "COLUMNS": "1000"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-e", "contimg_hosts=nothing"], "No host of the inventory matches 'nothing'."),
        (["-e", '{"contimg_hosts": ["nothing", "!a"]}'], "No host of the inventory matches 'nothing,!a'."),
        (["--limit", "c"], "--limit c: none of its hosts matches 'contimg', which matches a, b."),
        (["--tags", "copy"], "--tags copy: this playbook has no tags."),
        (["--start-at-task", "Plan the copy"], "--start-at-task: this playbook cannot begin in its middle."),
    ],
)
@pytest.mark.parametrize("playbook", ["dsa110.contimg.migrate", str(PLAYBOOKS / "migrate.yml")])
def test_what_would_do_nothing_is_an_error(
    inventory: pathlib.Path, playbook: str, options: list[str], says: str
) -> None:
    done = run(inventory, playbook, *options)
    assert done.returncode != 0
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("playbook", sorted(path.stem for path in PLAYBOOKS.glob("*.yml")))
def test_each_playbook_takes_the_hosts_of_the_group(inventory: pathlib.Path, playbook: str) -> None:
    assert listed(inventory, playbook) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        (["--limit", "a", "--tags", "all"], ["a"]),
        (["-e", '{"contimg_hosts": ["c", "b"]}'], ["b", "c"]),
        (["-e", "contimg_hosts=localhost"], ["localhost"]),
    ],
)
def test_a_pattern_and_a_limit_are_as_ansible_has_them(
    inventory: pathlib.Path, options: list[str], hosts: list[str]
) -> None:
    assert listed(inventory, "migrate", *options) == hosts


def listed(inventory: pathlib.Path, playbook: str, *options: str) -> list[str]:
    """Return the hosts that a playbook would be run on."""
    done = run(inventory, f"dsa110.contimg.{playbook}", "--list-hosts", *options)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.partition("hosts (")[2].split()[1:])


@pytest.mark.parametrize("options", [["--limit", "c"], ["--tags", "another"], ["--syntax-check"]])
def test_a_playbook_that_imports_ours_may_leave_it_out(inventory: pathlib.Path, options: list[str]) -> None:
    site = inventory.with_name("site.yml")
    site.write_text(IMPORTING)
    done = run(inventory, str(site), *options)
    assert done.returncode == 0, done.stderr


def test_a_syntax_check_needs_no_hosts(inventory: pathlib.Path) -> None:
    inventory.write_text("")
    assert run(inventory, "dsa110.contimg.migrate", "--syntax-check").returncode == 0
