# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transient timer of a hold limit: armed before anything is stopped, disarmed when what ran has been started.

systemd has the timer, so neither the end of a connection or of a login session nor the death of a process group ends it. A reboot
does, as it ends the hold. Until it elapses there is no process. Its program is one file in the run directory, made from what
the module that arms it has imported: the host needs Python for it, and no package.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import sys
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import read_optional
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.reserve import replace_with_reserve
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import host_clock
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_socket import settle
from ansible_collections.dsa110.contimg.plugins.module_utils._migration import hold_limit
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.hold_limit import (
    Armed,
    config_file,
    program_file,
    read_armed,
    written,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["HoldLimit", "limited", "program", "units_of"]

_BOOTED = "/run/systemd/system"  # where it is, systemd is the first process, see sd_booted(3)
_PACKAGE = hold_limit.__name__.rpartition("._migration.")[0]
_MAIN = f"import sys\nfrom {hold_limit.__name__} import main\nsys.exit(main(sys.argv[1]))\n"
# A container that the program starts may be a child of it, and a program that was killed is started again.
_PROPERTIES = ("Restart=on-abnormal", "RestartSec=10", "KillMode=process")
_TIMEOUT = 30.0


@dataclass(frozen=True)
class HoldLimit:
    """The limit of the hold of units, or of that of containers.

    :ivar kind: ``units`` or ``containers``.
    :ivar seconds: how long a run may give no sign of life, 0 for no limit.
    :ivar timeout: seconds that what is held has to start.
    :ivar run_id: the run that holds; what belongs to no run gives no sign of life, and has no limit.
    """

    kind: str
    hold_file: str
    seconds: int
    timeout: int
    run_id: str

    @property
    def run_dir(self) -> str:
        """Where the limit is kept: beside the hold file."""
        return os.path.dirname(os.path.abspath(self.hold_file))

    def is_due(self) -> bool:
        """Return whether there is to be a limit: only systemd can keep one, and only for root."""
        return self.seconds > 0 and bool(self.run_id) and os.geteuid() == 0 and is_there(_BOOTED)

    def arm(self) -> None:
        """Start a timer, and then end that of an earlier task or run; without a limit, only end it.

        At no moment is there none while something is held: an earlier run may have stopped it.

        :raises ContimgError: when it cannot be started. Nothing is stopped then.
        """
        if not self.is_due():
            self.disarm()
            return
        before = self._armed()
        holds = {**(before.holds if before else {}), self.kind: os.path.abspath(self.hold_file)}
        unit = f"{units_of(self.run_dir)}{secrets.token_hex(3)}"
        armed = Armed(float(self.seconds), float(self.timeout), host_clock(), holds, unit)
        path, content = program_file(self.run_dir), program()
        if read_optional(path, "read the program of the hold limit") != content:
            replace_with_reserve(path, content)
        _start(unit, self.run_dir, self.seconds)
        replace_with_reserve(config_file(self.run_dir), written(armed))
        if before:
            _stop(f"{before.unit}.*")

    def disarm(self) -> None:
        """End the timer if nothing else is held. It may fail: a timer that finds nothing held ends by itself."""
        files = (config_file(self.run_dir), program_file(self.run_dir))
        with contextlib.suppress(ContimgError, OSError):
            if not any(map(is_there, files)):
                return
            before = self._armed()
            if before:
                armed = replace(before, holds={kind: file for kind, file in before.holds.items() if kind != self.kind})
                if armed.held():
                    replace_with_reserve(files[0], written(armed))
                    return
            _stop(f"{units_of(self.run_dir)}*")  # also that of a run which was killed before it had written its name
            for path in filter(is_there, files):
                os.unlink(path)

    def _armed(self) -> Armed | None:
        with contextlib.suppress(ContimgError):  # one that is damaged is replaced
            return read_armed(self.run_dir)
        return None


def limited(
    work: Callable[..., dict[str, Any]], values: Mapping[str, Any], kind: str, *, check: bool
) -> dict[str, Any]:
    """Hold or release with a hold limit, and return the module's result.

    :param work: what holds or releases; it takes ``arm``, which it calls before it stops anything.
    :param values: the parameters of the module.
    :raises ContimgError: as ``work`` does, and when the limit cannot be armed.
    """
    limit = HoldLimit(kind, values["hold_file"], values["limit"], values["timeout"], values["run_id"])
    if limit.seconds < 0:
        raise ContimgError("must not be negative", path="limit", hint="Nothing was touched. 0 stands for no limit.")
    if values["state"] == "held":
        result = {**work(values, check=check, arm=limit.arm), "limited": limit.is_due()}
        if not check:
            settle(limit.run_dir)
        return result
    result = work(values, check=check)
    if not check:
        limit.disarm()
    return result


def units_of(run_dir: str) -> str:
    """Return how the names of all timers for a run directory begin."""
    return f"contimg-hold-limit-{hashlib.sha256(os.fsencode(run_dir)).hexdigest()[:8]}-"


def program() -> bytes:
    """Return the program: an archive that Python runs, with all of this package that this process has imported.

    :raises ContimgError: when a file of it cannot be read any more.
    """
    packages: set[str] = set()
    files = {"__main__.py": _MAIN.encode()}
    for name, module in sorted(sys.modules.items()):
        if name.startswith(f"{_PACKAGE}.") and not hasattr(module, "__path__"):
            parts = name.split(".")
            packages.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
            loader: Any = module.__spec__ and module.__spec__.loader
            with error_context("read the program of the hold limit", loader.get_filename(name)):
                files[f"{'/'.join(parts)}.py"] = loader.get_data(loader.get_filename(name))
    files.update({f"{package}/__init__.py": b"" for package in packages})
    archived = io.BytesIO()
    with zipfile.ZipFile(archived, "w") as archive:
        for path, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(path), content)
    return archived.getvalue()


def _start(unit: str, run_dir: str, seconds: int) -> None:
    command = [
        *("systemd-run", "--quiet", f"--unit={unit}", f"--on-active={seconds}", "--timer-property=AccuracySec=1s"),
        "--description=Release the hold of dsa110.contimg if its run gives no sign of life",
        *(f"--property={one}" for one in _PROPERTIES),
        f"--setenv=PATH={os.environ.get('PATH', os.defpath)}",
        *("--", sys.executable, "-I", program_file(run_dir).replace("$", "$$"), run_dir.replace("$", "$$")),
    ]
    done = run(command, timeout=_TIMEOUT)
    if done.returncode:
        hint = "Nothing was stopped by this task. Correct the cause, or set contimg_hold_limit: 0 to move without that protection."
        what = f"the timer that starts the services again if this run vanishes cannot be set: {done.stderr.strip()}"
        raise ContimgError(what, path=unit, hint=hint)


def _stop(names: str) -> None:
    """End timers and their services, by a pattern for their names: it stands for those that exist, and for no others."""
    for verb in ("stop", "reset-failed"):
        run(["systemctl", verb, "--", names], timeout=_TIMEOUT)
