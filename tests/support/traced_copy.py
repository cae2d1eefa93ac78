# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy in a process of its own whose system calls are listed, fail, or are its last.

One interpreter has loaded the copy and waits; each copy is a fork of it that strace takes hold of before it begins. So no time
goes into an interpreter's start, and a call's ordinal does not depend on it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.dsa110.contimg.tests.support.kill_points import environment, numbered_calls
from ansible_collections.dsa110.contimg.tests.support.sync_faults import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CALLS", "Call", "Outcome", "Running", "command_of", "list_calls", "run_traced", "traced"]

#: What a copy asks of the system.
CALLS = (
    "openat,read,pread64,preadv,write,pwrite64,lseek,newfstatat,fstat,statx,close,fsync,ftruncate,rename,renameat,"
    "mkdirat,linkat,symlinkat,mknodat,unlinkat,unlink,fchmod,chmod,fchown,chown,utimensat,getdents64,readlinkat,"
    "fsetxattr,flistxattr,fgetxattr,setxattr,llistxattr,listxattr,ioctl,fadvise64,flock,fdatasync"
)
# What is said goes through a call that no suite makes fail. Only the copy's own errors are no traceback.
_COPY = """
import ctypes, json, os, signal, sys, traceback
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import options_from, synchronize
def copy(values):
    try:
        synchronize(options_from(values), check=False)
        code, said = 0, "done"
    except ContimgError as error:
        code, said = 1, error.message
    except BaseException:
        code, said = 3, traceback.format_exc()
    os.writev(2, [said.encode()])
    os._exit(code)
"""
_ONE = _COPY + "copy(json.loads(sys.argv[1]))\n"
# It waits in a call that no suite lists. Where only a parent may trace, this lets anybody (PR_SET_PTRACER).
_MANY = (
    _COPY
    + """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))
        print(os.getpid(), flush=True)
        signal.sigwait({signal.SIGUSR1})
        copy(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)
_PATIENCE = 120.0  # seconds
_servers: dict[str, subprocess.Popen[str]] = {}


class Call(NamedTuple):
    """A system call of a copy: ``ordinal`` counts those of its name in one thread, from the copy's start."""

    name: str
    ordinal: int


class Outcome(NamedTuple):
    """How a copy ended, what it said, and whether a fault was injected into one of its calls."""

    code: int
    said: str
    fired: bool = False


class Running:
    """A copy that strace holds.

    :ivar log: what strace tells.
    :ivar outcome: how it ended, once it has.
    """

    def __init__(self, log: pathlib.Path, strace: subprocess.Popen[bytes]) -> None:
        self.log, self._strace = log, strace
        self.outcome = Outcome(-1, "has not ended")

    def told(self) -> str:
        """Return what the log says by now."""
        return self.log.read_text(errors="replace")

    def has_ended(self) -> bool:
        """Tell whether it has."""
        return self._strace.poll() is not None


def command_of(base: pathlib.Path, *, prelude: str = "", **changed: Any) -> list[str]:
    """Return the command of a copy that is not traced."""
    return [_interpreter(), "-c", prelude + _ONE, json.dumps(values_of(base, **changed))]


def _interpreter() -> str:
    """Return the interpreter itself, since a version manager's shim would be traced, too."""
    return os.path.realpath(sys.executable)


def _server(prelude: str) -> subprocess.Popen[str]:
    """Return the interpreter that has loaded the copy. It ends with this one, whose pipe it reads, or for another prelude."""
    if prelude not in _servers:
        for server in _servers.values():
            server.communicate()
        _servers.clear()
        command = [_interpreter(), "-c", prelude + _MANY]
        pipe = subprocess.PIPE
        _servers[prelude] = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1, env=environment()
        )
    return _servers[prelude]


@contextlib.contextmanager
def traced(base: pathlib.Path, *options: str, prelude: str = "", **changed: Any) -> Iterator[Running]:
    """Begin a copy under ``strace`` with these options; at the end of the context it has ended. The log stands beside ``base``."""
    server, log = _server(prelude), pathlib.Path(f"{base}.trace")
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stderr is not None
    log.unlink(missing_ok=True)
    server.stdin.write(json.dumps(values_of(base, **changed)) + "\n")
    copy = int(server.stdout.readline())
    command = ["strace", "-f", "-p", str(copy), "-o", str(log), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
        assert strace.stderr is not None
        attached = strace.stderr.readline()
        assert b"attached" in attached, attached
        os.kill(copy, signal.SIGUSR1)
        running = Running(log, strace)
        try:
            yield running
            strace.communicate(timeout=_PATIENCE)
        except BaseException:
            _servers.pop(prelude).kill()  # what it would tell next is of this copy
            with contextlib.suppress(ProcessLookupError):
                os.killpg(copy, signal.SIGKILL)
            raise
    code = int(server.stdout.readline())
    running.outcome = Outcome(code, _said(server.stderr.fileno()), "(INJECTED)" in running.told())


def _said(pipe: int) -> str:
    """Return what a copy has said that has ended. It fits into a pipe."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1 << 16).decode(errors="replace")
    except BlockingIOError:
        return ""


def run_traced(base: pathlib.Path, names: str, *inject: str, prelude: str = "", **changed: Any) -> Outcome:
    """Copy under ``strace``, which looks at the calls of these names and does what is asked with them."""
    with traced(base, "-e", f"trace={names}", *inject, prelude=prelude, **changed) as running:
        pass
    return running.outcome


def list_calls(base: pathlib.Path, names: str, *, about: str = "", **changed: Any) -> list[Call]:
    """Copy, and return each call of these names.

    :param about: what stands in the arguments of those that are returned.
    """
    outcome = run_traced(base, names, **changed)
    assert outcome.code == 0, outcome
    with open(f"{base}.trace", encoding="utf-8", errors="replace") as log:
        points = (Call(name, ordinal) for name, ordinal, arguments in numbered_calls(log) if about in arguments)
        return list(dict.fromkeys(points))
