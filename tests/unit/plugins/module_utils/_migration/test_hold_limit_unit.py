# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of how a hold limit is armed and disarmed; the scenario ``hold_limit`` has the timers of a real systemd."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host import place as host_place
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased, take
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_socket import SOCKET, TAKE, listening
from ansible_collections.dsa110.contimg.plugins.module_utils._migration import hold_limit_unit
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.hold_limit import read_armed
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.hold_limit_unit import limited, units_of
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_file
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_containers import run_container_hold
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_units import run_hold
from ansible_collections.dsa110.contimg.tests.support.hosts.host_stubs import (
    write_podman,
    write_systemctl,
    write_systemd_run,
)
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import on_own_host, within_mounts

FILES = {"hold-limit.json", "hold-limit.pyz"}


class Host:
    """A host with units and a container, and a systemd that sets timers."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root, self.run_dir, self.programs = root, root / "run", root / "programs"
        write_systemctl(self.programs, {"api.service": ""})
        write_podman(self.programs, ("dashboard",))
        write_systemd_run(self.programs)
        for name in ("booted", "drop-ins", "run"):
            (root / name).mkdir()

    def work(self, kind: str, state: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """Hold or release units or containers as the modules do."""
        name, work = {"units": ("hold", run_hold), "containers": ("containers", run_container_hold)}[kind]
        values = {
            "names": ["api.service" if kind == "units" else "dashboard"] if state == "held" else [],
            "state": state,
            "hold_file": str(self.run_dir / f"{name}.json"),
            "leaving": [],
            "timeout": 9,
            "limit": 600,
            "after_hold": False,
            "run_id": "migrate-1",
            **more,
        }
        return limited(work, values, kind, check=check)

    def timers(self) -> list[str]:
        """Return the timers that wait."""
        return [path.stem[len("armed-") :] for path in self.programs.glob("armed-*.timer")]

    def kept(self) -> set[str]:
        """Return the names in the run directory."""
        return {path.name for path in self.run_dir.iterdir()}


@pytest.fixture(name="host")
def _host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{host.programs}:/usr/bin:/bin")
    monkeypatch.setenv("STUB_DROP_INS", str(tmp_path / "drop-ins"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(host.programs / "storage.conf"))
    monkeypatch.setattr(hold_file, "_RUNTIME", str(tmp_path / "drop-ins"))
    monkeypatch.setattr(hold_limit_unit, "_BOOTED", str(tmp_path / "booted"))
    return host


def test_it_is_armed_before_anything_is_stopped_and_leaves_nothing_behind(host: Host) -> None:
    assert host.work("units", "held")["limited"] is True
    assert (host.programs / "timer.seen").read_text() == "api.service was active\n"
    assert (host.programs / "api.service").read_text() == "inactive\n"
    assert host.kept() == {"hold.json", *FILES}
    called = (host.programs / "timer.called").read_text().splitlines()
    (timer,) = host.timers()
    assert timer.startswith(units_of(str(host.run_dir)))
    assert f"--unit={timer}" in called
    assert "--on-active=600" in called
    assert called[called.index("--") + 1 :] == [
        sys.executable,
        "-I",
        str(host.run_dir / "hold-limit.pyz"),
        str(host.run_dir),
    ]
    assert (host.run_dir / "hold-limit.pyz").stat().st_mode & 0o777 == 0o600
    host.work("units", "released")
    assert (host.timers(), host.kept()) == ([], set())


@pytest.mark.parametrize("kind", ["units", "containers"])
def test_a_write_monitor_has_taken_in_what_was_written_when_the_hold_is_reported(host: Host, kind: str) -> None:
    """Only for what is held, and not in a preview."""
    requests: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        client, _address = listener.accept()
        with client:
            requests.append(client.recv(16))
            client.sendall(b"\n")

    with listening(str(host.run_dir / SOCKET)) as listener:
        monitor = threading.Thread(target=answer, args=(listener,), daemon=True)
        monitor.start()
        host.work(kind, "held", check=True)
        assert requests == []
        host.work(kind, "held")
        monitor.join()
        assert requests == [TAKE]
        listener.settimeout(0)
        host.work(kind, "released")
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_it_lasts_until_units_and_containers_are_released(host: Host) -> None:
    host.work("units", "held")
    host.work("containers", "held")
    armed = read_armed(str(host.run_dir))
    assert armed is not None
    assert set(armed.holds) == {"units", "containers"}
    host.work("units", "released")
    assert (len(host.timers()), host.kept()) == (1, {"containers.json", *FILES})
    host.work("containers", "released")
    assert (host.timers(), host.kept()) == ([], set())


def test_a_run_that_goes_on_after_another_one_begins_the_time_anew(host: Host) -> None:
    host.work("units", "held")
    first = read_armed(str(host.run_dir))
    host.work("units", "held", run_id="migrate-2", limit=300)
    second = read_armed(str(host.run_dir))
    assert first is not None
    assert second is not None
    assert (second.seconds, second.since > first.since) == (300.0, True)
    assert host.timers() == [second.unit]


def test_a_run_without_a_limit_ends_that_of_an_earlier_one(host: Host) -> None:
    host.work("units", "held")
    assert host.work("units", "held", run_id="migrate-2", limit=0)["limited"] is False
    assert (host.timers(), host.kept()) == ([], {"hold.json"})


def test_a_timer_that_cannot_be_set_stops_the_move_before_the_services(host: Host) -> None:
    (host.programs / "refused").write_text("")
    for kind in ("units", "containers"):
        with pytest.raises(ContimgError) as caught:
            host.work(kind, "held")
        for words in (
            "the timer that starts the services again if this run vanishes cannot be set: Failed to start",
            "timer unit: Access denied. ",
            "Nothing was stopped by this task. Correct the cause, or set contimg_hold_limit: 0",
        ):
            assert words in caught.value.message
    assert (host.programs / "api.service").read_text() == "active\n"
    assert (host.programs / "dashboard.status").read_text() == "running\n"
    assert host.kept() <= {"hold-limit.pyz"}
    host.work("units", "released")  # as the rescue of the run does
    assert host.kept() == set()


@pytest.mark.parametrize("more", [{"limit": 0}, {"run_id": ""}, {"check": True}])
def test_it_is_not_armed_unasked(host: Host, more: dict[str, Any]) -> None:
    assert host.work("units", "held", **more)["limited"] is ("check" in more)
    assert (host.timers(), host.kept() & FILES) == ([], set())


def test_without_systemd_nothing_is_armed_and_nothing_fails(host: Host) -> None:
    (host.root / "booted").rmdir()
    assert host.work("containers", "held")["limited"] is False
    assert (host.timers(), host.kept()) == ([], {"containers.json"})
    host.work("containers", "released")
    assert host.kept() == set()


def test_a_negative_limit_is_refused(host: Host) -> None:
    with pytest.raises(ContimgError, match="limit: must not be negative"):
        host.work("units", "held", limit=-1)


def test_a_limit_that_cannot_be_ended_fails_no_release(host: Host) -> None:
    host.work("units", "held")
    (host.run_dir / "hold-limit.json").write_text("{")
    host.work("units", "released")
    assert (host.programs / "api.service").read_text() == "active\n"
    assert host.kept() == set()


def test_the_program_needs_nothing_but_python(host: Host) -> None:
    """Run what the timer would start, as it would, where nothing of the collection can be imported."""
    run_id = take("migrate", {}, take_over="", wait=0.0, check=False).run_id
    with leased(run_id, "container_hold"):
        host.work("containers", "held", run_id=run_id, limit=1)
    words = (host.programs / "timer.called").read_text().splitlines()
    command = words[words.index("--") + 1 :]
    volatile, lasting = pathlib.Path(host_place.volatile_place()), pathlib.Path(host_place.lasting_place())
    own = [*within_mounts([(None, pathlib.Path("/run"))]), *on_own_host(volatile, lasting)]
    done = subprocess.run(
        [*own, *command],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "/nowhere"},
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert "no sign of life for 1 seconds, so its hold is released" in done.stdout, shlex.join(command)
    assert "started dashboard\n" in done.stdout
    assert (host.programs / "dashboard.status").read_text() == "running\n"
    assert host.kept() == set()
    assert json.loads((volatile / "lease.json").read_text())["ended"].startswith(
        "it gave no sign of life for 1 seconds"
    )
