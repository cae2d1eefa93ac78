# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios share that follow one host through several runs: running a playbook, and asking how the host stands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

import pytest

SOURCE = "/stage/dsa110-contimg/state"
DEST = "/data/dsa110-contimg/state"
ENV_FILE = "/data/dsa110-contimg/ops/systemd/contimg.env"
UNITS = ("contimg-stream.service", "contimg-api.service", "contimg-stream-wake.timer")
TIMER = "data-retention-cleanup.timer"


def command(name: str, *options: str, **variables: object) -> list[str]:
    """Return the command that runs a playbook, of the collection or by its path, on the host of this scenario."""
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    playbook = name if "/" in name else f"dsa110.contimg.{name}"
    return ["ansible-playbook", "-i", inventory, playbook, *options, "-e", json.dumps(variables)]


def environment() -> dict[str, str]:
    """Return the environment in which playbooks of this scenario run."""
    config = os.path.join(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ansible.cfg")
    return {**os.environ, "ANSIBLE_CONFIG": config, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}


def play(name: str, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run a playbook to its end; what it says on either stream is in ``stdout``."""
    return subprocess.run(
        command(name, *options, **variables),
        check=False,
        text=True,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


# A task that is planned, in check mode, before it is done, and the task before which it is not meant.
PLANNED = {
    "environment : Set the names of the databases and directories, and repoint what lies below the old": "environment : Record",
    "rollback : Undo in the environment files what the move has changed there": "quiesce : Stop the units",
}


def begun(name: str, **variables: object) -> subprocess.Popen[str]:
    """Run a playbook and return its controller, which is at work."""
    return subprocess.Popen(
        command(name, **variables),
        text=True,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run_until(task: str, *, name: str = "migrate", **variables: object) -> subprocess.Popen[str]:
    """Run a playbook and return its controller, stopped, as soon as it says that it begins a task."""
    controller = begun(name, **variables)
    assert controller.stdout is not None
    said: list[str] = []
    for line in controller.stdout:
        said.append(line)
        if not line.startswith(f"TASK [dsa110.contimg.{task}"):
            continue
        if task not in PLANNED or sum(PLANNED[task] in one for one in said):
            os.kill(controller.pid, signal.SIGSTOP)
            return controller
    pytest.fail("".join(said))


def kill(controller: subprocess.Popen[str]) -> None:
    """Kill a controller with all its processes. What runs on the host goes on."""
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait()
    assert controller.returncode == -signal.SIGKILL


def record_of(host: Any) -> dict[str, Any]:
    """Return the record of the host."""
    record = host.file("/var/lib/dsa110-contimg-migration/record.json")
    return dict(json.loads(record.content_string)) if record.exists else {"phase": "untouched"}


def phase_of(host: Any) -> str:
    """Return the phase of the record."""
    return str(record_of(host)["phase"])


def downtime_of(host: Any) -> float:
    """Return the seconds from the first stop to the last start, as the record has them."""
    return float(record_of(host)["facts"]["downtime"])


def used_by(host: Any, unit: str, name: str) -> str:
    """Return what an environment name of a running unit says."""
    pid = host.check_output("systemctl show --property=MainPID --value %s", unit)
    entries = host.file(f"/proc/{pid}/environ").content_string.split("\0")
    return str(dict(entry.split("=", 1) for entry in entries if entry)[name])


def committed(host: Any) -> set[int]:
    """Return the numbers of all rows that the stream has committed, as it logged them outside the state directory."""
    return {int(line) for line in host.file("/var/log/contimg-stream.committed").content_string.split()}


def assert_no_row_is_lost(host: Any, state: str) -> None:
    """Every committed row stands once in the database of a state directory."""
    expected = committed(host)
    answer = host.check_output("sqlite3 -readonly %s/ingest.sqlite3 'SELECT number FROM arrivals'", state)
    numbers = [int(line) for line in answer.split()]
    assert expected - set(numbers) == set()
    assert len(numbers) == len(set(numbers))


def assert_units_use(host: Any, state: str) -> None:
    """All that ran runs, on one state directory, held by nothing; every committed row is in the database that is in use."""
    active = host.check_output(f"systemctl is-active {' '.join(UNITS)}").split()
    assert active == ["active"] * len(UNITS)
    assert not host.run("ls /run/systemd/system/*.d/90-contimg-hold.conf").succeeded
    for unit in UNITS[:2]:
        assert used_by(host, unit, "PIPELINE_STATE_DIR") == state
    assert_no_row_is_lost(host, state)


def standing(host: Any) -> list[str]:
    """Return how the host stands, but for what its services write."""
    return list(host.check_output("contimg-standing").splitlines())
