# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that releases a hold when the run that has placed it, or any later one, has given no sign of life for too long.

A sign of life is a step at work, which has the lock of the lease, and the moment at which the last step began or ended. The program
looks and acts while it has that lock itself: no step begins meanwhile, and after it each step of that run is refused.

It runs as a transient unit, from the copy of this package that ``hold_limit_unit`` has put into the run directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    decoding,
    expected,
    read_json,
    read_optional,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import between_steps, host_clock
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import advance, keep, read_record
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import names_path
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_containers, hold_units
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import hold_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import LeaseEnder

__all__ = ["Armed", "Signs", "Way", "config_file", "left", "main", "program_file", "read_armed", "way_of"]

_POLL = 5.0  # seconds between two looks
_AGAIN = 30.0  # seconds until what does not start is started again
_TRIES = 4
#: The phases at which the source is still the truth, and the services ran on it.
_ON_SOURCE = ("", "presynced", "held", "proved", "split")
#: Those of them at which a run that fails goes back to the source, see the role rollback.
_GO_BACK = ("held", "proved", "split")
_COMMENT = ("#", ";")


@dataclass(frozen=True)
class Armed:
    """A hold limit, as it was armed.

    :ivar seconds: how long a run may give no sign of life.
    :ivar timeout: seconds that units, and that each container, have to start.
    :ivar since: when it was armed, by the clock of the host.
    :ivar holds: the hold files, by what they hold: ``units``, ``containers``.
    :ivar unit: the name of the timer, and of its service, without the ending.
    """

    seconds: float
    timeout: float
    since: float
    holds: Mapping[str, str]
    unit: str

    def held(self) -> dict[str, str]:
        """Return the holds that have not been released. Raises ContimgError."""
        known = hold_files()  # also one whose file was removed: its drop-ins are there
        return {kind: file for kind, file in self.holds.items() if file in known or is_there(file)}


def config_file(run_dir: str) -> str:
    """Return the path of the file in which a run directory has its hold limit."""
    return os.path.join(run_dir, "hold-limit.json")


def program_file(run_dir: str) -> str:
    """Return the path of the program of a hold limit."""
    return os.path.join(run_dir, "hold-limit.pyz")


def read_armed(run_dir: str) -> Armed | None:
    """Return the hold limit of a run directory, ``None`` where none was armed. Raises ContimgError when its file is none."""
    path = config_file(run_dir)
    content = read_optional(path, "read the hold limit")
    if content is None:
        return None
    with decoding(path, "is not a hold limit", "Remove it."):
        fields = read_json(content)
        seconds, timeout, since = (expected(fields[name], float) for name in ("seconds", "timeout", "since"))
        holds = {kind: expected(file, str) for kind, file in fields["holds"].items() if kind in _RELEASES}
        return Armed(seconds, timeout, since, holds, expected(fields["unit"], str))


def written(armed: Armed) -> bytes:
    """Return a hold limit as it stands in its file."""
    return json.dumps(asdict(armed), indent=2).encode()


def left(now: float, *, sign: float, at_work: bool, limit: float) -> float:
    """Return the seconds that are left until the limit, 0 where it has passed.

    :param sign: when the last sign of life was.
    :param at_work: whether a step is at work now, which is one.
    """
    return limit if at_work else max(0.0, limit - (now - sign))


class Signs:
    """The last sign of life, as far as this process has seen one."""

    def __init__(self) -> None:
        """Begin with none."""
        self._last = 0.0
        self._killed: float | None = None

    def last(self, ender: LeaseEnder | None, since: float, now: float) -> float:
        """Return when the last sign was, after one more look.

        A step that was killed has noted no end. That it is over is seen now, and it may have been at work until now.

        :param ender: ``None`` where a step is at work.
        :param since: when the limit was armed.
        """
        if ender is None:
            self._last = now
            return now
        self._last = max(self._last, since, ender.last_sign or 0.0)
        if ender.killed and ender.last_sign != self._killed:
            self._killed, self._last = ender.last_sign, now
        return self._last


@dataclass(frozen=True)
class Way:
    """How the services come back.

    :ivar phase: of the record then.
    :ivar leaving: paths to which no container is bound after its start, if its project can create it again.
    :ivar refused: why nothing may be started, as a clause.
    """

    phase: str
    leaving: tuple[str, ...] = ()
    refused: str = ""


def way_of(record: Mapping[str, Any], named: Collection[str]) -> Way:
    """Return how services come back, by the record of the host.

    :param named: which sides (``src``, ``dest``) the files name that a move repoints. Only those of a host that was repointed say
        anything: it may copy again, and then what they name is a copy that nothing has proved.
    """
    phase, move = record["phase"], record["move"]
    if phase in _ON_SOURCE:
        if "env_backups" in record["facts"] and "dest" in named:
            return Way(phase, refused=f"the environment names {move['dest']}, whose copy is not proved")
        return Way("rolled_back" if phase in _GO_BACK else phase)
    return Way(phase, tuple(move[side] for side in ("src", "dest") if len(named) == 1 and side not in named))


def named_sides(record: Mapping[str, Any]) -> list[str]:
    """Return which sides of a move its environment files and unit files name now. Raises ContimgError."""
    facts = record["facts"]
    text = "\n".join(_code_of(path) for name in ("env_files", "unit_files") for path in facts.get(name, []))
    return [side for side in ("src", "dest") if record["move"] and names_path(text, record["move"][side])]


def _code_of(path: str) -> str:
    content = read_optional(os.path.realpath(path), "read the file that the move repoints") or b""
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(_COMMENT))


def put_back(armed: Armed, ender: LeaseEnder, run_dir: str) -> list[ContimgError]:
    """End the lease, note it in the record, release the hold and start what ran; return what went wrong.

    What is no more than a note may fail. Where an environment names a copy that is not proved, nothing is started.
    """
    errors: list[ContimgError] = []
    way = Way("")
    with _noted_in(errors):
        record = read_record(run_dir)
        way = way_of(record, named_sides(record))
    if way.refused:
        hint = "Nothing was started. Run dsa110.contimg.migrate or dsa110.contimg.rollback."
        return [ContimgError(way.refused, path=run_dir, hint=hint)]
    why = f"it gave no sign of life for {armed.seconds:g} seconds (contimg_hold_limit), and the host has released its hold"
    with ender.ended(why) as run_id:
        with _noted_in(errors):
            _note_in_record(run_dir, way.phase, run_id, armed.seconds)
        for kind, file in armed.held().items():
            with _noted_in(errors):
                started = _RELEASES[kind](file, armed.timeout, way.leaving)
                say(f"started {', '.join(started) or 'nothing, since nothing ran before'}")
    return errors


@contextlib.contextmanager
def _noted_in(errors: list[ContimgError]) -> Iterator[None]:
    try:
        with error_context("release the hold", "/"):
            yield
    except ContimgError as error:
        errors.append(error)


def _note_in_record(run_dir: str, phase: str, run_id: str, seconds: float) -> None:
    record = read_record(run_dir)
    if not record["phase"]:
        return
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    fact = {"at": moment, "run": run_id, "seconds": seconds, "from": record["phase"], "to": phase}
    keep(run_dir, advance(record, phase, {"hold_limit": fact}, at=now, run=run_id))


def _release_units(hold_file: str, timeout: float, _leaving: Sequence[str]) -> list[str]:
    result = hold_units.release((), hold_file, timeout=timeout, after_hold=False, check=False)
    return [name for name, one in result["units"].items() if one["started"]]


def _release_containers(hold_file: str, timeout: float, leaving: Sequence[str]) -> list[str]:
    result = hold_containers.release((), hold_file, leaving, timeout=timeout, after_hold=False, check=False)
    return [name for name, one in result["containers"].items() if one["started"]]


#: What can be held, in the order in which it is started.
_RELEASES = {"units": _release_units, "containers": _release_containers}


def say(text: str) -> None:
    """Write a line for the journal."""
    sys.stdout.write(f"{printable(text)}\n")
    sys.stdout.flush()


@dataclass
class _Watcher:
    """The loop: it ends when nothing is held any more, or what does not start was tried often enough."""

    run_dir: str
    signs: Signs = field(default_factory=Signs)
    failed: int = 0
    acted: bool = False

    def look(self) -> float | None:
        """Look once, and act where that is due. Return the seconds until the next look, ``None`` at the end."""
        with between_steps() as ender:
            armed = read_armed(self.run_dir)
            if ender is None:
                self.signs.last(ender, 0.0, host_clock())
                return _POLL
            if armed is None or not armed.held():
                say("nothing is held any more")
                self._end()
                return None
            now = host_clock()
            seconds = left(now, sign=self.signs.last(ender, armed.since, now), at_work=False, limit=armed.seconds)
            if seconds and not (self.acted and not ender.holder()):
                return min(seconds, _POLL)
            silent = (
                f"{ender.holder() or 'no run'}: no sign of life for {armed.seconds:g} seconds, so its hold is released"
            )
            say("what did not start is started again" if self.acted else silent)
            self.acted = True
            errors = put_back(armed, ender, self.run_dir)
            for error in errors:
                say(error.message)
            if not armed.held():
                self._end()
                return None
        return self.again()

    def again(self) -> float:
        """Count a failure, and return the seconds until the next try."""
        self.failed += 1
        return _AGAIN

    def _end(self) -> None:
        for path in (config_file(self.run_dir), program_file(self.run_dir)):
            with contextlib.suppress(OSError):
                os.unlink(path)


def main(run_dir: str) -> int:
    """Watch over the hold of a run directory to its end, and return the exit status: 1 where something could not be started."""
    watcher = _Watcher(run_dir)
    wait: float | None = 0.0
    while wait is not None:
        time.sleep(wait)
        try:
            with error_context("watch over the hold", run_dir):
                wait = watcher.look()
        except ContimgError as error:
            say(error.message)
            wait = watcher.again()
        if watcher.failed >= _TRIES:
            say("what could not be started stays down: start it when the cause is corrected")
            return 1
    return 0
