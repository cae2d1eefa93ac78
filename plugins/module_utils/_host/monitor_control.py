# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write monitor of a host, as modules see it: started, asked, stopped."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import time
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    clear_left,
    decoding,
    ensure_private_directory,
    expected,
    read_json,
    read_optional,
    replace_file,
    sync_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._host.detached import detached
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_daemon import Asked, Daemon
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_socket import READ, STOP, ask, listening
from ansible_collections.dsa110.contimg.plugins.module_utils._host.place import volatile_place
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import boot_id
from ansible_collections.dsa110.contimg.plugins.module_utils._host.write_monitor import WriteMonitor
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writers import Writer, unlisted
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["monitor_here", "read", "run_write_monitor", "serves", "start", "stop"]

_ANSWER_SECONDS = 300.0  # a large tree may have to be compared
_ATTEMPTS = 100
_NOT_STOPPED = "these write to the state, and the move would not stop them"
_LIST_THEM = (
    "No service was stopped. Stop these; or list their units and containers in contimg_units and contimg_containers, or what may"
    " write meanwhile in contimg_known_references. Then run again."
)
_WRITTEN = "these have written to the state since its services were stopped, so the copy may lack it"
_STOP_THEM = "Stop them, or list their units and containers in contimg_units and contimg_containers. Then run again."
_PAUSE = 0.1
_NOTHING: dict[str, Any] = {
    "method": "",
    "complete": False,
    "reason": "no write monitor was started",
    "since": 0.0,
    "until": 0.0,
    "own_events": 0,
    "writers": [],
    "changes": [],
}
#: What a monitor has found, with the type of each value.
_KINDS: dict[str, type[Any]] = {
    "paths": list,
    "run_id": str,
    "boot_id": str,
    "ended": str,
    **{name: type(value) for name, value in _NOTHING.items()},
}


def read(asked: Asked) -> dict[str, Any] | None:
    """Return what the monitor of a directory has found, until now or until its end; ``None`` where there was none.

    :raises ContimgError: when it does not answer, or its file cannot be read.
    """
    for _attempt in range(_ATTEMPTS):
        answer = _answer(asked, READ) or _left(asked)
        if answer is None or answer["ended"] or answer["running"] or not _is_locked(asked):
            return answer
        time.sleep(_PAUSE)  # it is about to begin, or to end
    raise _silent(asked)


def start(asked: Asked) -> dict[str, Any]:
    """Have the paths monitored by a process of the host, and return what it has found.

    One that monitors the same for the same run goes on. Another one is stopped first; its findings are replaced.

    :raises ContimgError: when a path cannot be looked at, or the process does not answer.
    """
    ensure_private_directory(asked.directory)
    for _attempt in range(_ATTEMPTS):
        running = _answer(asked, READ)
        if running is not None and serves(running, asked):
            return running
        if running is not None:
            _answer(asked, STOP)
        elif _started(asked):
            continue  # its first answer shows that it is at work
        time.sleep(_PAUSE)
    raise _silent(asked)


def serves(findings: Mapping[str, Any] | None, asked: Asked) -> bool:
    """Return whether a running monitor does what is asked."""
    if findings is None or not findings["running"]:
        return False
    return (findings["paths"], findings["run_id"]) == (list(asked.paths), asked.run_id)


def _started(asked: Asked) -> bool:
    """Start the process, if no other one has the lock."""
    with error_context("start the write monitor", asked.directory, "No process was left."):
        lock = _locked(asked)
        if lock is None:
            return False
        try:
            monitor = WriteMonitor(asked.paths, run_id=asked.run_id)
            with listening(asked.socket) as listener:
                daemon = Daemon(asked, monitor, listener, lock)
                replace_file(asked.findings, json.dumps(daemon.findings()).encode(), mode=0o600)
                keep = {lock, listener.fileno(), *monitor.kept}
                detached(daemon.run, keep=keep, name="contimg-writers")
            monitor.close()
        finally:
            os.close(lock)
    return True


def stop(asked: Asked, *, forget: bool = False) -> dict[str, Any] | None:
    """End the monitor, and return what it has found; ``None`` where there was none.

    :param forget: whether its findings are removed.
    :raises ContimgError: when it does not answer.
    """
    for _attempt in range(_ATTEMPTS):
        findings = _answer(asked, STOP) or read(asked)
        with error_context("remove what is left of the write monitor", asked.directory):
            if findings is None or (not findings["running"] and _clear(asked)):
                break
        time.sleep(_PAUSE)  # it has not received the request, or is about to end
    else:
        raise _silent(asked)
    if findings is not None and forget:
        with error_context("remove what the write monitor has found", asked.findings):
            with contextlib.suppress(FileNotFoundError):  # of a run that has ended: the monitor has removed it itself
                os.unlink(asked.findings)
            sync_directory(asked.directory)
    return findings


def monitor_here(asked: Asked, seconds: float) -> dict[str, Any]:
    """Monitor the paths in this process for some time, and return what was found. Nothing is written.

    :raises ContimgError: when a path cannot be looked at.
    """
    with error_context("monitor who writes", next(iter(asked.paths), ".")):
        monitor = WriteMonitor(asked.paths, run_id=asked.run_id)
        monitor.begin()
        poll = select.poll()
        for descriptor in monitor.descriptors:
            poll.register(descriptor, select.POLLIN)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            poll.poll(min(1.0, max(0.0, end - time.monotonic())) * 1000)
            monitor.take()
        monitor.end()
        return {**monitor.report(look=False), "run_id": asked.run_id, "ended": "stopped", "running": False}


def _locked(asked: Asked) -> int | None:
    """Return a descriptor that has the lock, ``None`` where another process has it. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    lock = os.open(asked.lock, flags, 0o600)
    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A process that has ended since has removed the name.
        if os.path.samestat(os.fstat(lock), os.lstat(asked.lock)):
            return lock
    os.close(lock)
    return None


def _is_locked(asked: Asked) -> bool:
    with error_context("look whether the write monitor is at work", asked.lock):
        try:
            lock = os.open(asked.lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
    return False


def _clear(asked: Asked) -> bool:
    """Remove what a killed process has left beside its findings; return whether none is at work."""
    clear_left(asked.findings)
    if not is_there(asked.lock) and not is_there(asked.socket):
        return True
    lock = _locked(asked)
    if lock is None:
        return False
    try:
        for path in (asked.socket, asked.lock):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        sync_directory(asked.directory)
    finally:
        os.close(lock)
    return True


def _answer(asked: Asked, request: bytes) -> dict[str, Any] | None:
    """Return what a running monitor answers, ``None`` where none runs. Raises ContimgError."""
    try:
        content = ask(asked.socket, request, _ANSWER_SECONDS)
    except socket.timeout:
        raise _silent(asked) from None
    return None if content is None else {**_decoded(asked, content), "running": request == READ}


def _silent(asked: Asked) -> ContimgError:
    process = (read_optional(asked.lock, "read which process it is") or b"").decode("utf-8", "replace").strip()
    hint = f"Find out what process {process or '(unknown)'} waits for, or end it (kill -KILL), and run again."
    return ContimgError("the write monitor does not answer", path=asked.lock, hint=hint)


def _left(asked: Asked) -> dict[str, Any] | None:
    """Return what a monitor that has ended has found, ``None`` where there was none. Raises ContimgError."""
    content = read_optional(asked.findings, "read what the write monitor has found")
    if content is None:
        return None
    findings = _decoded(asked, content)
    if not findings["ended"]:
        reboot = findings["boot_id"] != boot_id()
        reason = "the host was rebooted meanwhile" if reboot else "its process was killed"
        findings["reason"] = "; ".join(filter(None, (findings["reason"], reason)))
        findings["complete"] = False
    return {**findings, "running": False}


def _decoded(asked: Asked, content: bytes) -> dict[str, Any]:
    hint = "Nothing was changed. Remove it, and run again."
    with decoding(asked.findings, "is not what a write monitor has found", hint):
        findings = read_json(content)
        for name, kind in _KINDS.items():
            expected(findings[name], kind)
        for one in findings["writers"]:
            Writer(**one)
    return findings


def run_write_monitor(values: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the parameters of the module ``write_monitor`` ask for, and return its result.

    :raises ContimgError: when no path is to be monitored; see :func:`start`, :func:`read` and :func:`stop`.
    """
    state, paths = values["state"], tuple(values["paths"] or ())
    directory = values["run_dir"] or volatile_place()
    asked = Asked(paths, directory, values["run_id"], float(values["limit"]))
    if state == "started" and not paths:
        raise ContimgError(
            "there is nothing to monitor: paths is empty", path=asked.directory, hint="Name the directories."
        )
    before = read(asked)
    if check:
        after = _previewed(asked, before, values)
    elif state == "started":
        after = start(asked)
    else:
        after = _waited(asked, before, values["at_least"]) if state == "read" else stop(asked, forget=state == "absent")
    found = _of_this_run(after, asked, values["written_since"]) if after else dict(_NOTHING)
    writers = [Writer(**one) for one in found["writers"]]
    _refuse(writers, values)
    found["writers"] = [
        {**one.as_dict(), "listed": one.is_listed(values["units"], values["containers"])} for one in writers
    ]
    old, new = _named(before), _wanted(before, asked, state)
    changed = old != new or (state == "started" and not serves(before, asked))
    diff = {"before": json.dumps(old) + "\n", "after": json.dumps(new) + "\n"}
    return {**found, "running": new["monitor"] == "running", "changed": changed, "diff": diff}


def _waited(asked: Asked, findings: dict[str, Any] | None, seconds: float) -> dict[str, Any] | None:
    """Return what was found when a monitor has been at work for some seconds."""
    if findings is None or not findings["running"]:
        return findings
    time.sleep(max(0.0, findings["since"] + seconds - time.time()))
    return read(asked)


def _of_this_run(findings: Mapping[str, Any], asked: Asked, since: float) -> dict[str, Any]:
    """Return what is reported of findings; those of another run, or of one that began after a moment, are not complete."""
    found = {name: findings[name] for name in _NOTHING}
    reasons = [found["reason"]]
    if findings["run_id"] != asked.run_id:
        reasons.append(f"it belongs to run {findings['run_id']}" if findings["run_id"] else "it belongs to no run")
    if 0 < since < found["since"]:
        reasons.append("it began too late")
    found["reason"] = "; ".join(filter(None, reasons))
    found["complete"] = not found["reason"]
    return found


def _refuse(writers: Sequence[Writer], values: Mapping[str, Any]) -> None:
    """Raise ContimgError where writers were found that are to fail the task."""
    if "unlisted" in values["fail_on"]:
        listed = {"units": values["units"], "containers": values["containers"]}
        _fail(unlisted(writers, known=known_names(values["known"]), **listed), _NOT_STOPPED, _LIST_THEM)
    if "written" in values["fail_on"]:
        late = [one for one in writers if one.last > values["written_since"]]
        _fail(late, _WRITTEN, _STOP_THEM)


def _fail(writers: Sequence[Writer], heading: str, hint: str) -> None:
    if writers:
        lines = "\n".join(one.line() for one in writers)
        raise ContimgError(f"{heading}:\n{lines}", hint=hint, writers=[one.as_dict() for one in writers])


def _previewed(asked: Asked, before: dict[str, Any] | None, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is known without a change to the host."""
    if values["state"] == "started" and values["duration"] and not serves(before, asked):
        return monitor_here(asked, values["duration"])
    return before


def _named(findings: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a diff shows of a monitor."""
    if findings is None:
        return {"monitor": "absent"}
    return {"monitor": "running" if findings["running"] else "stopped", "paths": findings["paths"]}


def _wanted(before: Mapping[str, Any] | None, asked: Asked, state: str) -> dict[str, Any]:
    """Return what a diff shows of the monitor after a run."""
    if state == "started":
        return {"monitor": "running", "paths": list(asked.paths)}
    if state == "absent" or before is None:
        return _named(None)
    return {**_named(before), **({"monitor": "stopped"} if state == "stopped" else {})}
