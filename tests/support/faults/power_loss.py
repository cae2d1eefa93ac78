# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies on a file system that loses its power: a loop mount that is shut down, mounted again, and looked at.

Everything stands there: source (flushed before), destination, ledger and manifest.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.tests.support.faults import sync_faults as faults
from ansible_collections.dsa110.contimg.tests.support.faults.traced import environment, sample
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import Call, list_calls, run_traced

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CALLS", "FILE_SYSTEMS", "Disk", "in_namespace", "lose_power", "main"]

CALLS = (
    "pwrite64,write,rename,renameat,fsync,mkdirat,linkat,symlinkat,mknodat,unlinkat,fchmod,fchown,chmod,chown,"
    "utimensat,ftruncate,fadvise64,ioctl,fsetxattr"
)
#: How each is made, and how it is mounted.
FILE_SYSTEMS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "loop"),
    "ext4 noauto_da_alloc": (["mkfs.ext4", "-q", "-F"], "loop,noauto_da_alloc"),
    "xfs": (["mkfs.xfs", "-q", "-f"], "loop"),
}
_MIB = {"ext4": 64, "ext4 noauto_da_alloc": 64, "xfs": 320}
_SHUTDOWN = 0x8004587D
_KEEPS_LOG, _DROPS_LOG = 1, 2
_PATIENCE = 10.0  # seconds, for the processes of a run that was killed


def lose_power(directory: pathlib.Path, **wanted: Any) -> dict[str, Any]:
    """Try it in a mount namespace of its own; return how many points there were and what was found.

    :param wanted: ``system``, ``scenario`` (``new`` or ``replace``), ``points`` (how many, 0 for all), ``prelude`` and
        ``workers`` of the copy.
    """
    return in_namespace(__name__, {"directory": str(directory), **wanted})


def in_namespace(module: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Run a module's ``main`` as root in a mount namespace of its own; return what it prints as JSON."""
    program = f"from {module} import main; main()"
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n", "--preserve-env"]
    command = [*as_root, "unshare", "-m", "--propagation", "private", sys.executable, "-c", program]
    variables = {**environment(), "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    done = subprocess.run([*command, json.dumps(wanted)], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Disk:
    """A file system in an image below a directory, mounted at ``mnt`` there."""

    def __init__(self, directory: pathlib.Path, system: str) -> None:
        self.image, self.mount_point = directory / "image", directory / "mnt"
        self.base = self.mount_point / "base"
        make, self.options = FILE_SYSTEMS[system]
        self.kind = system.partition(" ")[0]
        with open(self.image, "wb") as image:
            image.truncate(_MIB[system] << 20)
        self.mount_point.mkdir()
        subprocess.run([*make, str(self.image)], check=True)

    def mount(self) -> None:
        command = ["mount", "-t", self.kind, "-o", self.options, str(self.image), str(self.mount_point)]
        subprocess.run(command, check=True)

    def unmount(self) -> None:
        patience = time.monotonic() + _PATIENCE
        while subprocess.run(["umount", str(self.mount_point)], check=False, stderr=subprocess.PIPE).returncode:
            assert time.monotonic() < patience, "the file system stays busy"
            time.sleep(0.02)

    def flush(self) -> None:
        subprocess.run(["sync", "-f", str(self.mount_point)], check=True)

    def lose_power(self, flag: int) -> None:
        """Shut the file system down as it is, and mount what is on its device."""
        with self._opened() as descriptor:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", flag))
        self.unmount()
        self.mount()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class _Trial:
    def __init__(self, disk: Disk, wanted: dict[str, Any]) -> None:
        self.disk, self.base, self.scenario = disk, disk.base, wanted["scenario"]
        self.values = {"workers": wanted["workers"]}
        self.prelude = wanted["prelude"]

    def prepare(self) -> None:
        for name in ("dest", "dest.sha256", "dest.sha256.ledger"):
            subprocess.run(["rm", "-rf", str(self.base / name)], check=True)
        faults.first_version(self.base)
        if self.scenario == "replace":
            faults.copy(self.base)
        faults.second_version(self.base)
        self.disk.flush()
        self.before = faults.digest_of(self.base / "src")

    def calls(self) -> list[Call]:
        self.prepare()
        return list_calls(self.base, CALLS, **self.values)

    def killed(self, call: Call, flag: int) -> str:
        """Return what a power loss before a call has broken, if anything."""
        self.prepare()
        inject = f"inject={call.name}:signal=KILL:when={call.ordinal}"
        outcome = run_traced(self.base, call.name, "-e", inject, prelude=self.prelude, **self.values)
        # Which of two processes makes a call is a matter of time.
        if outcome.code == 0 and not self.prelude and self.values["workers"] == 1:
            return f"was not killed: {outcome}"
        self.disk.lose_power(flag)
        return self.wrong() or self.unfinished()

    def finished(self, flag: int) -> str:
        """Return what a power loss has broken after a copy that reported success, if anything."""
        self.prepare()
        outcome = run_traced(self.base, "execve", prelude=self.prelude, **self.values)
        if outcome.code:
            return f"failed: {outcome}"
        self.disk.lose_power(flag)
        dest = self.base / "dest"
        if not dest.exists() or faults.found_differences(self.base):
            return "what a success had reported is not there"
        if not faults.is_told(self.base) or faults.copy(self.base, check=True)["changed"]:
            return "what a success had noted is not there"
        return self.wrong() or self.unfinished()

    def wrong(self) -> str:
        """Return what is neither the old state nor the new one."""
        if faults.digest_of(self.base / "src") != self.before:
            return "the source has changed"
        dest = self.base / "dest"
        found = [name for name, contents in self.allowed().items() if _content(dest / name) not in contents]
        if found:
            return f"torn: {found}"
        return "" if self.database() else "the database is torn"

    def allowed(self) -> dict[str, tuple[bytes | None, ...]]:
        absent = [None] if self.scenario == "new" else []
        log = (b"old\n" * 100, b"new\n" * 200, *absent)
        return {
            "big": (faults.OLD_BIG, faults.NEW_BIG, *absent),
            "hard": log,
            "logs/a.log": log,
            "new/b.log": (None, b"new"),
            "harder": (None, b"new"),
            "sparse": (None, b"start".ljust(3 << 20, b"\0")),
        }

    def database(self) -> bool:
        dest = self.base / "dest"
        if self.scenario == "new" and not (dest / "p.sqlite3").exists():
            return True
        return faults.rows(dest) in ((5, 9) if self.scenario == "replace" else (9,))

    def unfinished(self) -> str:
        """Finish the copy, and return what is wrong then."""
        try:
            faults.copy(self.base)
        except ContimgError as error:
            return f"the next run fails: {error.message}"
        differences = faults.found_differences(self.base)
        if differences or faults.rows(self.base / "dest") != 9:
            return f"the next run leaves {differences}"
        if not faults.is_told(self.base):
            return "the manifest of the next run is wrong"
        return "the third run changes something" if faults.copy(self.base)["changed"] else ""


def _content(path: pathlib.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def main() -> None:
    """Try what the first argument says, and print what was found as JSON."""
    wanted = json.loads(sys.argv[1])
    disk = Disk(pathlib.Path(wanted["directory"]), wanted["system"])
    disk.mount()
    trial = _Trial(disk, wanted)
    calls = trial.calls()
    found = []
    for flag in (_KEEPS_LOG, _DROPS_LOG):
        wrong = trial.finished(flag)
        found += [f"after success, shutdown {flag}: {wrong}"] if wrong else []
    points = [(call, flag) for call in calls for flag in (_KEEPS_LOG, _DROPS_LOG)]
    tried = sample(points, wanted["points"])
    for call, flag in tried:
        wrong = trial.killed(call, flag)
        found += [f"killed before {call.name} {call.ordinal}, shutdown {flag}: {wrong}"] if wrong else []
    disk.unmount()
    print(json.dumps({"points": len(points), "tried": len(tried) + 2, "found": found}))
