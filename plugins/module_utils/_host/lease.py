# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease of a host: one run at a time changes it.

Two files in the host's volatile directory. ``lease.json`` names the run that holds the lease; only who has ``lock`` locked
(flock) changes it. A step of a run has ``lock`` locked for as long as it works, and first looks whether the lease is still its
run's. So the run that takes the lease over waits for the end of the step that is at work, and no later step of the former run
begins. This needs no clock and no expiry: when a lease may be taken over is asked only to spare a living run the trouble.

Each step writes into ``lock`` when it begins and when it ends, by a clock that nobody sets. With the lock itself these are the
signs of life of a run, for the hold limit: it ends a lease whose run gives none, and then no step of that run begins any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    decoding,
    expected,
    read_json,
    read_optional,
    replace_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.place import open_place, volatile_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = [
    "Lease",
    "LeaseEnder",
    "between_steps",
    "host_clock",
    "is_owned",
    "leased",
    "release",
    "require_owned",
    "run_lease",
    "take",
]

_WAIT = 30.0  # seconds
_POLL = 0.1
_UNTOUCHED = "Nothing was touched."


@dataclass(frozen=True)
class Lease:
    """Which run changes a host.

    :ivar run_id: begins with the name of its playbook.
    :ivar since: when it took the lease, in seconds since the epoch, by the host's clock.
    :ivar controller: who runs the playbook and where: texts ``user``, ``host``, ``pid``, and what tells its process from others.
    :ivar ended: why the run has lost it, and not to another run, as a clause; empty while it has it. Any run may take it then.
    """

    run_id: str
    since: float
    controller: Mapping[str, str]
    ended: str = ""


def take(playbook: str, controller: Mapping[str, str], *, take_over: str, wait: float = _WAIT, check: bool) -> Lease:
    """Take the lease of this host for a new run.

    :param playbook: what the id of the run begins with.
    :param take_over: the id of a run that may lose the lease by this, empty for none.
    :param wait: seconds to wait for the end of a step that is at work.
    :param check: whether this is a preview, which takes nothing; the lease that it returns has an empty id.
    :raises ContimgError: when another run has it, with that lease in the detail ``held_by``, or a step is at work.
    """
    if check:
        _require_takeable(_read(), take_over)
        return Lease("", time.time(), controller)
    with _locked(wait, _busy) as lock:
        _require_takeable(_read(), take_over)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        lease = Lease(f"{playbook}-{stamp}-{secrets.token_hex(3)}", time.time(), controller)
        _write(lease)
        _note(lock, "")
        return lease


def release(run_id: str, *, wait: float = _WAIT) -> bool:
    """Give the lease back and return whether the run had it. Raises ContimgError."""
    if not run_id:
        return False
    with _locked(wait, _busy) as lock:
        if not is_owned(run_id):
            return False
        _note(lock, "")
        with error_context("give the lease of this host back", _lease_file()):
            os.unlink(_lease_file())
    return True


def is_owned(run_id: str) -> bool:
    """Return whether a run has the lease of this host. Raises ContimgError where it cannot be read."""
    lease = _read()
    return lease is not None and lease.run_id == run_id and not lease.ended


def require_owned(run_id: str) -> None:
    """Raise ContimgError when a run has lost the lease of this host; one without an id needs none."""
    if is_owned(run_id) or not run_id:
        return
    lease = _read()
    if lease is None:
        now = "no run has it, as after a reboot or the end of another run"
    else:
        now = lease.ended or f"run {lease.run_id} by {_who(lease)} has it"
    hint = "This run changes nothing more here, and puts nothing back. Run dsa110.contimg.migrate, which reads how the host stands."
    raise ContimgError(f"run {run_id} has lost the lease of this host: {now}", path=_lease_file(), hint=hint)


@contextlib.contextmanager
def leased(run_id: str, step: str, *, check: bool = False) -> Iterator[None]:
    """Work as a step of a run: no other run can take the lease over meanwhile, however long that is.

    What this process forks keeps the lock as well, until it has ended.

    :param run_id: empty where the work belongs to no run; then nothing is locked.
    :param step: what is done, for a run that waits.
    :param check: whether this is a preview, which needs no lease.
    :raises ContimgError: when the run has lost the lease.
    """
    if check or not run_id:
        yield
        return
    with _locked(_WAIT, _busy) as lock:
        require_owned(run_id)
        _note(lock, step)
        try:
            yield
        finally:
            _note(lock, "")


def host_clock() -> float:
    """Return the seconds of the clock that nobody sets and that is the same for all processes of a host, until a reboot."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class LeaseEnder:
    """The right to end the lease of a host on which no step is at work.

    :ivar lock: the descriptor of the lock.
    :ivar last_sign: when the last step of a run began or ended, by :func:`host_clock`; ``None`` where that is not known.
    :ivar killed: whether that step has not noted its end.
    """

    lock: int
    last_sign: float | None = None
    killed: bool = False

    def holder(self) -> str:
        """Return the id of the run that has the lease, empty where none has it. Raises ContimgError."""
        lease = _read()
        return "" if lease is None or lease.ended else lease.run_id

    @contextlib.contextmanager
    def ended(self, why: str) -> Iterator[str]:
        """Take the lease from its run, yield the id of that run, empty where none had it, and work as its last step.

        :param why: what has ended it, as a clause for the next step of that run, which is refused.
        :raises ContimgError: when the lease can neither be written nor removed.
        """
        run_id = self.holder()
        if run_id:
            _end(why)
        _note(self.lock, "hold_limit")
        try:
            yield run_id
        finally:
            _note(self.lock, "")


def _end(why: str) -> None:
    """End the lease; where there is no room for the reason, remove it."""
    try:
        lease = _read()
        if lease is not None:
            _write(replace(lease, ended=why))
    except ContimgError:
        with error_context("end the lease of a run that gives no sign of life", _lease_file()):
            os.unlink(_lease_file())


@contextlib.contextmanager
def between_steps() -> Iterator[LeaseEnder | None]:
    """Keep steps of any run from beginning; yield ``None``, and keep none, where one is at work.

    :raises ContimgError: when the lock cannot be opened.
    """
    with _opened() as lock:
        yield _ender(lock) if _flock(lock, 0.0) else None


def run_lease(values: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the parameters of ``host_lease`` ask for.

    :raises ContimgError: see :func:`take`, :func:`require_owned` and :func:`release`.
    """
    if values["state"] == "owned":
        require_owned(values["run_id"])
        return {"owned": True}
    if values["state"] == "released":
        return {"owned": release(values["run_id"])}
    controller = {name: str(value) for name, value in values["controller"].items()}
    return {"run_id": take(values["playbook"], controller, take_over=values["take_over"], check=check).run_id}


def _lease_file() -> str:
    return os.path.join(volatile_place(), "lease.json")


def _read() -> Lease | None:
    path = _lease_file()
    with open_place(volatile_place(), make=False):
        content = read_optional(path, "read the lease of this host")
    if content is None:
        return None
    hint = f"{_UNTOUCHED} If no run of a playbook of dsa110.contimg works on this host, remove it and run again."
    with decoding(path, "is not the lease of a host", hint):
        fields = read_json(content)
        controller = {name: expected(value, str) for name, value in expected(fields["controller"], dict).items()}
        ended = expected(fields.get("ended", ""), str)
        return Lease(expected(fields["run_id"], str), expected(fields["since"], float), controller, ended)


def _write(lease: Lease) -> None:
    replace_file(_lease_file(), json.dumps(asdict(lease), indent=2).encode(), mode=0o600)


def _require_takeable(lease: Lease | None, take_over: str) -> None:
    if lease is None or lease.ended or lease.run_id == take_over:
        return
    what = f"another run works on this host: {lease.run_id}, begun at {_clock(lease.since)} by {_who(lease)}; {_last_step()}"
    hint = (
        f"{_UNTOUCHED} Wait for its end. If it has ended without giving the host back, for example with the connection of its "
        f"controller, take the host over with contimg_take_over: {lease.run_id}. Whatever is left of that run is then refused."
    )
    raise ContimgError(what, path=_lease_file(), hint=hint, held_by=asdict(lease))


def _busy() -> ContimgError:
    lease = _read()
    run = f" of run {lease.run_id}" if lease else ""
    hint = (
        f"{_UNTOUCHED} It goes on without its controller. Wait until it has ended, or end that process; then run again."
    )
    details = {"held_by": asdict(lease)} if lease else {}
    return ContimgError(f"a step{run} is at work on this host: {_last_step()}", path=_lock_file(), hint=hint, **details)


def _who(lease: Lease) -> str:
    names = {name: printable(lease.controller.get(name, "?")) for name in ("user", "host", "pid")}
    return "{user} on {host} (process {pid} there)".format(**names)


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(moment))


def _lock_file() -> str:
    return os.path.join(volatile_place(), "lock")


@contextlib.contextmanager
def _locked(wait: float, busy: Any) -> Iterator[int]:
    """Have the lock, and yield its descriptor; after ``wait`` seconds raise what ``busy`` returns."""
    with _opened() as lock:
        if not _flock(lock, wait):
            raise busy()
        yield lock


@contextlib.contextmanager
def _opened() -> Iterator[int]:
    """Yield a descriptor of the lock, which is made."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open_place(volatile_place(), make=True) as place:
        with error_context("open the lock of this host", _lock_file(), _UNTOUCHED):
            lock = os.open("lock", flags, 0o600, dir_fd=place)
        try:
            if not stat.S_ISREG(os.fstat(lock).st_mode):
                raise ContimgError("is not a regular file", path=_lock_file(), hint=f"{_UNTOUCHED} Remove it.")
            yield lock
        finally:
            os.close(lock)


def _flock(lock: int, wait: float) -> bool:
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL)
        else:
            return True


def _note(lock: int, step: str) -> None:
    """Write into the lock the moment, and which step is at work, empty for none.

    It is a hint for a run that waits, and a sign of life; it may fail. Written over the former one, it needs no room. The moment is
    not rounded: one that is rounded up lies in the future of whoever reads it at once, and is then none.
    """
    text = f"{os.getpid()} {host_clock()!r} {step}\n".encode()
    with contextlib.suppress(OSError):
        os.pwrite(lock, text, 0)
        os.ftruncate(lock, len(text))


def _noted() -> tuple[str, str, str]:
    """Return of the last note the process, the moment and the step, empty texts where there is none. Raises ContimgError."""
    content = read_optional(_lock_file(), "read the lock") or b""
    process, moment, step = (*content.decode("utf-8", "replace").split(" ", 2), "", "", "")[:3]
    return process, moment, step.strip()


def _ender(lock: int) -> LeaseEnder:
    """Return what the last note says. One of before a reboot of the host says nothing."""
    try:
        _process, moment, step = _noted()
        sign = float(moment)
    except (ContimgError, ValueError):
        return LeaseEnder(lock)
    return LeaseEnder(lock, sign, killed=bool(step)) if sign <= host_clock() else LeaseEnder(lock)


def _last_step() -> str:
    """Return what is known of the last step, as a clause."""
    try:
        moment = _clock(os.stat(_lock_file()).st_mtime)
        process, _moment, step = _noted()
    except (OSError, ContimgError):
        return "nothing is known of its steps"
    if not step:
        return f"its last step ended at {moment}"
    return f"its last step, {printable(step)} in process {printable(process)}, began at {moment}"
