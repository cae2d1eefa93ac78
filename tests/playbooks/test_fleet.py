# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several hosts in one play: what becomes of one of them is no matter of the others."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from .conftest import Host, environment_of

if TYPE_CHECKING:
    import pathlib


class Fleet:
    """Sample hosts in one inventory. Each sees its own of what the collection keeps for a host."""

    def __init__(self, root: pathlib.Path, names: list[str]) -> None:
        self.root = root
        self.hosts = {name: Host(root / name) for name in names}
        self.more: dict[str, dict[str, object]] = {name: {} for name in names}
        for host in self.hosts.values():
            host.make()

    def play(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook on all of them."""
        inventory = {
            "contimg": {"hosts": {name: {**host.of_fleet(), **self.more[name]} for name, host in self.hosts.items()}}
        }
        path = self.root / "inventory.json"
        path.write_text(json.dumps(inventory))
        command = ["ansible-playbook", "-i", str(path), f"dsa110.contimg.{name}", *options]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment_of(self.root))

    def phases(self) -> dict[str, str]:
        """Return the phase of each host that has one."""
        return {name: host.record()["phase"] for name, host in self.hosts.items() if (host.run_dir).exists()}


#: A host loses its products database when its copy has been proved, while its services are held.
LOSES = """
if [ ! -e {host.root}/lost ] && grep -q '"phase": "proved"' {host.run_dir}/record.json; then
    touch {host.root}/lost
    rm {host.dest}/products.sqlite3
fi 2>/dev/null
"""
#: A host whose copy has been proved is held until its peer has gone back and has ended, or for minutes.
IS_HELD = """
if [ ! -e {host.root}/held ] && grep -q '"phase": "proved"' {host.run_dir}/record.json; then
    touch {host.root}/held
    for _second in $(seq 240); do
        [ -e {peer.root}/volatile/lease.json ] || ! grep -q '"phase": "rolled_back"' {peer.run_dir}/record.json || break
        sleep 1
    done
fi 2>/dev/null
"""


def shown(done: subprocess.CompletedProcess[str]) -> list[list[str]]:
    """Return each report of all hosts that a play has shown: hosts that end at once share the name of the task."""
    named = re.compile(r"Report every host, now [^\n]*\n(.*?)(?:\n\n|\Z)", re.DOTALL)
    of_host = re.compile(r"^ok: \[\w+\] => (\{.*?\n\})", re.DOTALL | re.MULTILINE)
    return [json.loads(text)["msg"] for results in named.findall(done.stdout) for text in of_host.findall(results)]


def reached(host: Host, phase: str) -> str:
    """Return when a host has come to a phase."""
    return str(next(entry["at"] for entry in host.record()["history"] if entry["phase"] == phase))


def test_a_host_that_fails_goes_back_at_once_whatever_its_peers_do(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its peer is held for long. An operator's own strategy changes nothing: it would keep the services down."""
    monkeypatch.setenv("ANSIBLE_STRATEGY", "linear")
    fleet = Fleet(tmp_path, ["fails", "peer"])
    fails, peer = fleet.hosts["fails"], fleet.hosts["peer"]
    fails.before_modules = LOSES.format(host=fails)
    peer.before_modules = IS_HELD.format(host=peer, peer=fails)
    moved = fleet.play("migrate", "-e", json.dumps({"contimg_serial": 2}))
    assert moved.returncode == 2, moved.stdout
    assert fleet.phases() == {"fails": "rolled_back", "peer": "done"}, moved.stdout
    assert reached(fails, "rolled_back") < reached(peer, "started")
    failed = 'fails (Failed at "Move the HDF5 index from the products database to the HDF5 database")'
    assert shown(moved) == [
        [
            "moved (1): peer",
            f"  next: dsa110.contimg.verify audits the move; dsa110.contimg.rollback goes back to {peer.src}",
            f"rolled back (1): {failed}",
            "  next: dsa110.contimg.migrate moves the host again",
        ]
    ]


NEXT = "  next: dsa110.contimg.migrate --check --diff shows what a move would change"
START = "  next: dsa110.contimg.migrate, when the cause of the failures is corrected"
FAILED = 'Failed at "Compare the databases of both sides by content"'
LOST = "  next: read the last message of each; dsa110.contimg.migrate goes on where the host stands"


@pytest.fixture
def hopeless(tmp_path: pathlib.Path) -> Fleet:
    """Hosts that the preflight refuses, but for one that cannot be reached."""
    fleet = Fleet(tmp_path, ["one", "two", "lost", "last"])
    for name, host in fleet.hosts.items():
        host.variables["contimg_databases"] = [{"name": "none", "src": ["none.sqlite3"], "dest": "none.sqlite3"}]
        if name == "lost":
            fleet.more[name] = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    return fleet


def test_when_the_first_host_fails_no_other_one_begins(hopeless: Fleet) -> None:
    stopped = hopeless.play("migrate")
    assert stopped.returncode == 2
    assert shown(stopped) == [[f"untouched (1): one ({FAILED})", NEXT, "waiting (3): two, lost, last", START]]


def test_a_preview_asks_every_host(hopeless: Fleet) -> None:
    stopped = hopeless.play("migrate", "--check")
    assert stopped.returncode == 4, stopped.stdout
    # Hosts that end at once report, each; the report of the last of them is complete, in whatever order they are shown.
    every = [
        f"untouched (3): one ({FAILED}), two ({FAILED}), last ({FAILED})",
        NEXT,
        "failed or unreachable (1): lost",
        LOST,
    ]
    assert every in shown(stopped)


@pytest.mark.parametrize(("percentage", "last"), [(74, "waiting"), (75, "untouched")])
def test_a_host_begins_only_while_few_enough_have_failed(hopeless: Fleet, percentage: int, last: str) -> None:
    """Of four, three have failed when the last one's turn comes."""
    more = {"contimg_max_fail_percentage": percentage, "contimg_serial": "100%"}
    stopped = hopeless.play("migrate", "--forks", "1", "-e", json.dumps(more))
    waiting = ["waiting (1): last", START] if last == "waiting" else []
    names = f"one ({FAILED}), two ({FAILED})" + ("" if waiting else f", last ({FAILED})")
    assert shown(stopped) == [
        [f"untouched ({3 - len(waiting) // 2}): {names}", NEXT, *waiting, "failed or unreachable (1): lost", LOST]
    ]
