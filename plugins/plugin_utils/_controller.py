# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process runs a playbook, and whether it has ended, as far as the machine that asks can know that."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["has_ended", "identity"]

_UNKNOWN = ""
_DEAD = ("Z", "X")  # it has ended, and its parent has not asked for its status yet


def identity(pid: int) -> dict[str, str]:
    """Return what tells a process from every other one: its boot, its PID namespace, its number and its start.

    With ``user`` and ``host`` for people. What this machine does not show, one without ``/proc`` for example, is empty.
    """
    return {
        "user": _user(),
        "host": socket.gethostname(),
        "pid": str(pid),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": _namespace(),
        "started": _started(pid),
    }


def has_ended(fields: Mapping[str, str]) -> bool:
    """Return whether a process is proved to have ended, by what :func:`identity` returned of it.

    Only the kernel that ran it can prove that, in the same PID namespace (or in one that came to its number, whose processes
    have all ended). Of any other process nothing is known.
    """
    here = identity(os.getpid())
    if not fields.get("started") or any(fields.get(key) != here[key] or not here[key] for key in ("boot", "namespace")):
        return False
    pid = int(fields.get("pid", "0"))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is another user's, and /proc may hide it
        return _started(pid) not in (fields["started"], _UNKNOWN)
    return _started(pid) != fields["started"]


def _user() -> str:
    with contextlib.suppress(KeyError, OSError):  # a user who has no name
        return getpass.getuser()
    return str(os.getuid())


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return _UNKNOWN


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return _UNKNOWN


def _started(pid: int) -> str:
    """Return the start of a process that still runs, in ticks since the boot; see proc_pid_stat(5)."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in _DEAD else _UNKNOWN
