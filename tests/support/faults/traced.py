# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A piece of work in a process of its own whose system calls are listed, fail, or are its last.

One interpreter has loaded the work and waits; each trial is a fork of it that strace attaches to before it begins. So no time
goes into an interpreter's start, and a call's ordinal does not depend on it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "CALLS",
    "SAID",
    "TEMPORARY",
    "Call",
    "Outcome",
    "Running",
    "Work",
    "command_of",
    "environment",
    "list_calls",
    "numbered_calls",
    "run_traced",
    "sample",
    "traced",
]

#: What the collection asks of a file system.
CALLS = (
    "openat,read,pread64,preadv,write,pwrite64,lseek,newfstatat,fstat,statx,close,fsync,ftruncate,rename,renameat,renameat2,"
    "mkdir,mkdirat,link,linkat,symlinkat,mknodat,unlinkat,unlink,rmdir,fchmod,chmod,fchmodat,fchown,chown,utimensat,"
    "getdents64,readlink,readlinkat,fsetxattr,flistxattr,fgetxattr,setxattr,llistxattr,listxattr,fremovexattr,ioctl,fadvise64,"
    "flock,fcntl,fdatasync"
)
#: How an error of the collection begins, and what is in it.
SAID = re.compile(r"^\S.*: .*(\[errno (\d+|None)\]|SQLite reports)", re.DOTALL)
#: How every temporary name begins.
TEMPORARY = ".contimg-"
# What is said goes through a call that no suite makes fail. Only the work's own errors are no traceback.
_PROGRAM = """
import ctypes, importlib, json, os, signal, sys, traceback
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
def loaded(name):
    module, _colon, function = name.partition(":")
    return getattr(importlib.import_module(module), function)
def do(function, arguments):
    try:
        code, said = 0, function(**arguments)
    except ContimgError as error:
        code, said = 1, error.message
    except BaseException:
        code, said = 3, traceback.format_exc()
    os.writev(2, [str(said).encode()])
    os._exit(code)
"""
_ONE = _PROGRAM + "do(loaded(sys.argv[1]), json.loads(sys.argv[2]))\n"
# It waits in a call that no suite lists. Where only a parent may trace, this lets any process (PR_SET_PTRACER).
_MANY = (
    _PROGRAM
    + """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
for line in sys.stdin:
    name, arguments, modules, variables = json.loads(line)
    function = loaded(name)
    for module in modules:
        importlib.import_module(module)
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        os.environ.update(variables)
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))
        print(os.getpid(), flush=True)
        signal.sigwait({signal.SIGUSR1})
        do(function, arguments)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)
_CALL = re.compile(r"^(\d+ +)?([a-z0-9_]+)\((.*)")
_PATIENCE = 120.0  # seconds
_ALONE = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"])]
_ALONE += ["--pid", "--fork", "--kill-child", "--mount-proc"]
_servers: dict[tuple[str, str, bool], subprocess.Popen[str]] = {}
_LINGER = 60.0  # seconds
_INHERITED_TMPDIR = os.environ.get("TMPDIR")


class Work(NamedTuple):
    """What is tried.

    :ivar function: ``module:name`` of a function; what it returns is what the outcome says.
    :ivar arguments: its keyword arguments, JSON types only.
    :ivar log: where strace writes.
    :ivar follow: whether its threads and processes are traced, too.
    :ivar alone: whether it sees no processes but its own: what it reads in ``/proc`` is then the same each time.
    :ivar modules: what else is loaded before it begins.
    """

    function: str
    arguments: Mapping[str, Any]
    log: pathlib.Path
    follow: bool = True
    alone: bool = False
    modules: tuple[str, ...] = ()


class Call(NamedTuple):
    """A system call of a piece of work: ``ordinal`` counts those of its name in one thread, from the work's start."""

    name: str
    ordinal: int


class Outcome(NamedTuple):
    """How a piece of work ended, what it said, and whether a fault was injected into one of its calls."""

    code: int
    said: str
    fired: bool = False


class Running:
    """A piece of work that strace holds.

    :ivar log: what strace reports.
    :ivar outcome: how it ended, once it has.
    """

    def __init__(self, log: pathlib.Path, strace: subprocess.Popen[bytes]) -> None:
        self.log, self._strace = log, strace
        self.outcome = Outcome(-1, "has not ended")

    def told(self) -> str:
        """Return what the log says by now."""
        return self.log.read_text(errors="replace")

    def has_ended(self) -> bool:
        """Return whether it has."""
        return self._strace.poll() is not None


def command_of(work: Work, *, prelude: str = "") -> list[str]:
    """Return the command of the work, which is not traced."""
    return [_interpreter(), "-c", prelude + _ONE, work.function, json.dumps(work.arguments)]


def environment() -> dict[str, str]:
    """One order of dictionaries and no byte-code, so that every run makes the same calls."""
    return {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def _interpreter() -> str:
    """Return the interpreter itself, since a version manager's shim would be traced, too."""
    return os.path.realpath(sys.executable)


def _server(prelude: str, *, alone: bool) -> subprocess.Popen[str]:
    """Return the interpreter that has loaded the work. It ends with this one, whose pipe it reads, or for another prelude."""
    key = _key(prelude, alone=alone)
    if key not in _servers:
        for server in _servers.values():
            server.communicate()
        _servers.clear()
        command = [*(_ALONE if alone else []), _interpreter(), "-c", prelude + _MANY]
        pipe = subprocess.PIPE
        _servers[key] = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1, env=environment()
        )
    return _servers[key]


def _key(prelude: str, *, alone: bool) -> tuple[str, str, bool]:
    """Return by what an interpreter is known that may serve: its trials make their private copies where it would."""
    return (prelude, os.environ.get("TMPDIR", ""), alone)


def _own_temporary(work: Work) -> dict[str, str]:
    """Return ``TMPDIR`` of a trial, an empty directory of its own: what others leave there would be cleared away by it.

    One that the test has set stays: it looks into it.
    """
    if os.environ.get("TMPDIR") != _INHERITED_TMPDIR:
        return {}
    directory = f"{work.log}.tmp"
    shutil.rmtree(directory, ignore_errors=True)
    os.mkdir(directory)
    os.chmod(directory, 0o1777)  # the trial may act for another user, who makes his own there
    return {"TMPDIR": directory}


def _number_here(server: int, number: int) -> int:
    """Return the number by which this process knows one that the server knows by another, in a namespace of its own.

    The list of children may lack one while another one ends.
    """
    (interpreter,) = _children(server)
    for _attempt in range(1000):
        for process in _children(interpreter):
            if _numbers_of(process)[-1:] == [number]:
                return process
        time.sleep(0.01)
    raise AssertionError(number)


def _numbers_of(process: int) -> list[int]:
    """Return the numbers of a process, from this namespace to its own; nothing when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/status", encoding="ascii", errors="replace") as file:
        return [int(number) for line in file if line.startswith("NSpid:") for number in line.split()[1:]]
    return []


def _children(process: int) -> list[int]:
    return [int(child) for child in pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@contextlib.contextmanager
def traced(work: Work, *options: str, prelude: str = "") -> Iterator[Running]:
    """Begin a piece of work under ``strace`` with these options; at the end of the context it has ended."""
    server = _server(prelude, alone=work.alone)
    assert server.stdin is not None
    assert server.stdout is not None
    assert server.stderr is not None
    work.log.unlink(missing_ok=True)
    server.stdin.write(json.dumps([work.function, work.arguments, work.modules, _own_temporary(work)]) + "\n")
    process = int(server.stdout.readline())
    process = _number_here(server.pid, process) if work.alone else process
    follow = ["-f"] if work.follow else []
    command = ["strace", *follow, "-p", str(process), "-o", str(work.log), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
        assert strace.stderr is not None
        attached = strace.stderr.readline()
        assert b"attached" in attached, attached
        os.kill(process, signal.SIGUSR1)
        running = Running(work.log, strace)
        try:
            yield running
            strace.communicate(timeout=_PATIENCE)
        except BaseException:
            _servers.pop(_key(prelude, alone=work.alone)).kill()  # what it would say next is of this work
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            raise
    code = int(server.stdout.readline())
    _await_group(process)
    running.outcome = Outcome(code, _said(server.stderr.fileno()), "(INJECTED)" in running.told())


def _await_group(group: int) -> None:
    """Wait for programs that a killed piece of work has started. Its workers end by themselves."""
    patience = time.monotonic() + _LINGER
    while _is_at_work(group) and time.monotonic() < patience:
        time.sleep(0.005)


def _is_at_work(group: int) -> bool:
    """Return whether any process of a group lives; of one that has ended the number is left until its parent has asked for it."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    stats = (_fields_of(process) for process in os.listdir("/proc") if process.isdigit())
    return any(fields[2:3] == [str(group)] and fields[0] not in ("Z", "X") for fields in stats)


def _fields_of(process: str) -> list[str]:
    """Return what ``/proc`` says of a process behind its name: state, parent, group; nothing when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()
    return []


def _said(pipe: int) -> str:
    """Return what a piece of work has said that has ended. It fits into a pipe."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1 << 16).decode(errors="replace")
    except BlockingIOError:
        return ""


def run_traced(work: Work, names: str, *inject: str, prelude: str = "") -> Outcome:
    """Work under ``strace``, which looks at the calls of these names and does what is asked with them."""
    with traced(work, "-e", f"trace={names}", *inject, prelude=prelude) as running:
        pass
    return running.outcome


def list_calls(work: Work, names: str, *, about: str = "", after: str = "", prelude: str = "") -> list[Call]:
    """Do the work, and return each call of these names.

    :param about: what is in the arguments of those that are returned.
    :param after: what is in the arguments of the call behind which they begin; what comes before it is no part of the work.
    """
    outcome = run_traced(work, names, prelude=prelude)
    assert outcome.code == 0, outcome
    points: dict[Call, None] = {}
    begun = not after
    with open(work.log, encoding="utf-8", errors="replace") as log:
        for name, ordinal, arguments in numbered_calls(log):
            if begun and about in arguments:
                points[Call(name, ordinal)] = None
            begun = begun or after in arguments
    return list(points)


def numbered_calls(log: Iterable[str]) -> Iterator[tuple[str, int, str]]:
    """Yield name, ordinal and the rest of each call in a log of strace; each thread counts its own from its start."""
    counted: dict[tuple[str, str], int] = {}
    for line in log:
        match = _CALL.match(line)
        if match is not None:
            thread, name, rest = match.groups()
            counted[thread, name] = counted.get((thread, name), 0) + 1
            yield name, counted[thread, name], rest


def sample(points: Sequence[Any], count: int) -> list[Any]:
    """Return so many of all points, evenly; all for 0."""
    step = max(1, len(points) // count) if count else 1
    return list(points[step // 2 :: step])[: count or None]
