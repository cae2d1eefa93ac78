# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask systemd itself, as PID 1 of a container, what an EnvironmentFile means; and bash, which sources such files too."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["Oracle"]

_IMAGE = f"localhost/contimg-systemd:{os.environ.get('CONTIMG_SUITE', 'bookworm')}"
_UNIT = """\
[Service]
Type=oneshot
EnvironmentFile=/oracle/in/%i
StandardOutput=file:/oracle/out/%i
ExecStart=/usr/bin/env -0
"""
_BATCH = 250
_BOOT_SECONDS = 60
_BASH = 'for i in $(seq 0 "$1"); do env -i bash --norc -c "set -a; . /oracle/in/$i; env -0" >/oracle/out/$i; done'


class Oracle:
    """A container for the time of a ``with`` block. It needs the image of ``container_image.sh``."""

    def __enter__(self) -> Oracle:
        """Boot systemd, with a unit that prints the environment which a file gives it."""
        self._directory = tempfile.TemporaryDirectory()
        self._path = pathlib.Path(self._directory.name)
        for name in ("in", "out"):
            (self._path / name).mkdir()
        (self._path / "oracle@.service").write_text(_UNIT)
        mounts = [
            f"--volume={self._path}:/oracle",
            f"--volume={self._path}/oracle@.service:/etc/systemd/system/oracle@.service:ro",
        ]
        run = ["podman", "run", "--detach", "--rm", "--systemd=always", "--network=none", *mounts, _IMAGE, "/sbin/init"]
        self._container = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
        self._wait_until_booted()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the container."""
        subprocess.run(["podman", "rm", "--force", "--time=0", self._container], check=True, capture_output=True)
        self._directory.cleanup()

    def systemd(self, files: Sequence[bytes]) -> list[dict[bytes, bytes] | None]:
        """Return what systemd gives a process for each file, ``None`` where it refuses to start one."""
        self._write(files)
        for first in range(0, len(files), _BATCH):
            last = min(first + _BATCH, len(files))
            self._execute("systemctl", "start", *(f"oracle@{number}.service" for number in range(first, last)))
        return self._answers(len(files))

    def bash(self, files: Sequence[bytes]) -> list[dict[bytes, bytes] | None]:
        """Return what bash exports after it sourced each file in an empty environment."""
        self._write(files)
        self._execute("bash", "-c", _BASH, "bash", str(len(files) - 1))
        return self._answers(len(files))

    def _wait_until_booted(self) -> None:
        # Before it can be asked at all, systemctl fails at once instead of waiting.
        deadline = time.monotonic() + _BOOT_SECONDS
        while self._execute("systemctl", "is-system-running", "--wait") not in (b"running\n", b"degraded\n"):
            assert time.monotonic() < deadline, "systemd has not booted"
            time.sleep(0.2)

    def _execute(self, *command: str) -> bytes:
        # The answers say what happened: a unit that systemd refuses to start is one of them.
        return subprocess.run(["podman", "exec", self._container, *command], check=False, capture_output=True).stdout

    def _write(self, files: Sequence[bytes]) -> None:
        for number, content in enumerate(files):
            (self._path / "in" / str(number)).write_bytes(content)
            (self._path / "out" / str(number)).write_bytes(b"")

    def _answers(self, count: int) -> list[dict[bytes, bytes] | None]:
        return [_environment((self._path / "out" / str(number)).read_bytes()) for number in range(count)]


def _environment(printed: bytes) -> dict[bytes, bytes] | None:
    if not printed:
        return None
    pairs = (line.partition(b"=") for line in printed.split(b"\0")[:-1])
    return {name: value for name, _sign, value in pairs}
