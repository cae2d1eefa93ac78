# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a host: which there are, what each runs, and which unit and container it belongs to."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted, secrets_in

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Owner", "boot_id", "command_of", "owner_in", "owner_of", "process_ids", "processes_of_unit", "read_text"]

_UNIT = re.compile(r"\.(?:service|scope|socket|mount|swap)\Z")
_CONTAINER = re.compile(
    r"(?:docker|libpod(?:-conmon)?|cri-containerd|crio)-([0-9a-f]{12,64})(?:\.scope)?\Z"
    r"|lxc\.payload\.(\S+)\Z|machine-(\S+)\.scope\Z"
)
_BELOW_ENGINE = re.compile(r"/(?:docker|lxc|libpod|kubepods/[^/]+(?:/[^/]+)*)/([0-9a-zA-Z_.-]+)(?:/|\Z)")
_LONGEST = 200


@dataclass(frozen=True)
class Owner:
    """Whose a process is.

    :ivar unit: the unit of the system's systemd, empty where it has none. Of a user's session it is ``user@UID.service``.
    :ivar user_unit: the unit of that user's own systemd, else empty.
    :ivar container: the id (or name) of its container, empty where it has none.
    """

    unit: str
    user_unit: str
    container: str


def owner_in(cgroups: str) -> Owner:
    """Return whose a process is by the text of its ``/proc/PID/cgroup``.

    The unit is the first component that is no slice, as systemd itself derives it; what stands below it was made by a
    container's engine, by a user's systemd or by the service itself.
    """
    path = _systemd_path(cgroups)
    parts = [part for part in path.split("/") if part not in ("", "..") and not part.endswith(".slice")]
    unit = parts[0] if parts and _UNIT.search(parts[0]) else ""
    below = parts[1:] if unit.startswith("user@") else []
    user_unit = next((part for part in below if _UNIT.search(part)), "")
    return Owner(unit, user_unit, _container(path, parts))


def _systemd_path(cgroups: str) -> str:
    """Return the path in the hierarchy that systemd uses: the unified one, on older hosts the one of its own name."""
    unified = named = ""
    for line in cgroups.splitlines():
        hierarchy, _separator, rest = line.partition(":")
        controllers, _separator, path = rest.partition(":")
        if hierarchy == "0":
            unified = path
        elif controllers == "name=systemd":
            named = path
    return unified if unified not in ("", "/") else named or unified


def _container(path: str, parts: list[str]) -> str:
    for part in reversed(parts):
        found = _CONTAINER.match(part)
        if found:
            return str(next(filter(None, found.groups())))
    below = _BELOW_ENGINE.search(path)
    return below.group(1) if below else ""


def owner_of(pid: int) -> Owner:
    """Return whose a process is; all fields are empty for one that is gone."""
    return owner_in(read_text(f"/proc/{pid}/cgroup"))


def command_of(pid: int) -> str:
    """Return the command line of a process, secrets masked, or its name where it has none."""
    arguments = read_text(f"/proc/{pid}/cmdline").rstrip("\0").split("\0")
    # Where an argument ends is known only from what separates them; shown is what operators know, without quotes.
    secrets = secrets_in(" ".join(map(shlex.quote, arguments)))
    return redacted(" ".join(arguments).strip(), secrets)[:_LONGEST] or read_text(f"/proc/{pid}/comm").strip()


def process_ids() -> Iterator[int]:
    """Yield every process but this one; also those that start meanwhile, until a look shows no new one."""
    seen = {os.getpid()}
    while True:
        new = {int(name) for name in os.listdir("/proc") if name.isdigit()} - seen
        if not new:
            return
        yield from sorted(new)
        seen |= new


def processes_of_unit(unit: str) -> list[int]:
    """Return the processes of a unit, also those that its own descendants have put into groups below it."""
    return [pid for pid in process_ids() if owner_of(pid).unit == unit]


def boot_id() -> str:
    """Return what tells this boot of the kernel from any other, empty where that is not known."""
    return read_text("/proc/sys/kernel/random/boot_id").strip()


def read_text(path: str) -> str:
    """Return what a file of ``/proc`` says, nothing where it cannot be read."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="backslashreplace") as file:
        return file.read()
    return ""
