# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that are killed, or whose calls fail, on a small host below a directory; and what must hold then.

What was there is whole, old or new. An error has a path and a number. A second run ends as a clean one does, a third one changes
nothing. No secret is anywhere else.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import stat
import tempfile
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS
from ansible_collections.dsa110.contimg.tests.support.faults import flushes
from ansible_collections.dsa110.contimg.tests.support.faults.traced import (
    CALLS,
    SAID,
    TEMPORARY,
    Call,
    Outcome,
    Work,
    list_calls,
    run_traced,
)
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import BEGIN, PLUGINS, run_module

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ERRORS", "Case"]

ERRORS = ("EIO", "ENOSPC", "EROFS", "EDQUOT", "ENOMEM")
_MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\b1\.?[789]\d{8}[\d.]*(e\+09)?\b")
_STAMP = re.compile(r"\d{8}T\d{6}Z[.-][0-9a-f]+")
_ATTEMPTS = 3
_TEMPORARY = re.compile(r"(?<=\.contimg-)[0-9a-f]{16}-[0-9a-f]{16}")
_PAGE_MAGIC = b"SQLite format 3\0"

_dumps: dict[tuple[tuple[str, bytes], ...], bytes] = {}

State = dict[str, set[tuple[Any, ...]]]


class Case:
    """A changing module on a small host; each trial begins with the same host.

    :cvar module: its name.
    :cvar secrets: what must be nowhere but where it was, in what replaces that, and in private backups.
    :cvar follow: whether calls of its processes count, too.
    :cvar alone: whether it is to see no other processes of this machine.
    :cvar volatile: what a power loss may take, below the host.
    :cvar reserve: what is removed to make room on a full disk, below the host.
    :cvar loaded: a program that loads what the module loads only when it needs it.
    :cvar talks: whether it works with other processes: how often it reads what they say is a matter of time.
    :cvar mutant: a program that makes the module wrong, so that a kill leaves what must not be.
    """

    module = ""
    loaded = ""
    mutant = ""
    talks = False
    volatile: tuple[str, ...] = ()
    reserve: tuple[str, ...] = ()
    secrets: tuple[bytes, ...] = ()
    follow = False
    alone = False

    def __init__(self, scratch: pathlib.Path, *, prelude: str = "") -> None:
        self.host, self.origin, self.temporary, self.places = (
            scratch / name for name in ("host", "origin", "tmp", "places")
        )
        self.prelude, self._log = self.loaded + prelude, scratch / "trace"
        self._full = False
        self._good: set[frozenset[tuple[str, object]]] = set()
        for directory in (self.host, self.temporary, self.places):
            directory.mkdir()
        self.make()
        self.host.rename(self.origin)
        self.restore()
        self.old = self.state()
        self.points = list_calls(self._work(), CALLS, after=BEGIN, prelude=self.prelude)
        self.new = self.state()
        assert self.new != self.old, "the module changes nothing"

    def make(self) -> None:
        """Make what is on the host before the module runs."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        """Return the module's parameters."""
        raise NotImplementedError

    def constants(self) -> dict[str, Any]:
        """Return values for constants of ``module_utils``, see :func:`run_module`: this machine keeps nothing of a trial."""
        return {f"_host.place:_{name}": [str(self.places / name)] * 2 for name in ("VOLATILE", "LASTING")}

    def variables(self) -> dict[str, str]:
        """Return further variables of the environment."""
        return {"TMPDIR": str(self.temporary)}

    def named(self, path: str) -> str:
        """Return the name by which a path is compared: without what is a matter of time or chance."""
        return _STAMP.sub("STAMP", path)

    def compared(self, content: bytes) -> bytes:
        """Return what of a content, or of the dump of a database, is compared: likewise."""
        return _MOMENT.sub(b"MOMENT", _STAMP.sub("STAMP", content.decode("latin-1")).encode("latin-1"))

    def further(self) -> Iterator[str]:
        """Yield what else is wrong after a fault."""
        yield from ()

    def may_hold(self, path: pathlib.Path) -> bool:
        """Return whether a file may hold a secret: it is private, as it was or in a backup."""
        return not path.stat().st_mode & 0o077

    def restore(self) -> None:
        """Put the host back as it was before the module ran."""
        for directory in (self.host, self.temporary):
            shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.origin, self.host, symlinks=True)
        self.temporary.mkdir()

    def _work(self) -> Work:
        arguments = {
            "name": self.module,
            "parameters": self.parameters(),
            "constants": self.constants(),
            "variables": self.variables(),
        }
        function = "ansible_collections.dsa110.contimg.tests.support.modules.module_run:reported"
        modules = (f"{PLUGINS}.modules.{self.module}",)
        return Work(function, arguments, self._log, self.follow, self.alone, modules)

    def run(self) -> dict[str, Any]:
        """Run the module in this process, and return its result. Raises ContimgError."""
        return run_module(self.module, self.parameters(), constants=self.constants(), variables=self.variables())

    def state(self) -> State:
        """Return all that is on the host, by the names that are compared."""
        found: State = {name: set(self.old[name]) for name in self.reserve if self._full}
        for path in sorted(self.host.rglob("*")):
            if not self._is_sidecar(path):
                found.setdefault(self.named(str(path.relative_to(self.host))), set()).add(self.value(path))
        return found

    def _is_sidecar(self, path: pathlib.Path) -> bool:
        return any(path.name.endswith(suffix) and _is_database(_stem(path, suffix)) for suffix in SIDECARS)

    def value(self, path: pathlib.Path) -> tuple[Any, ...]:
        """Return what is compared of a file, directory or link."""
        status = path.lstat()
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = self.compared(_dump(path) if _is_database(path) else path.read_bytes())
        return (stat.filemode(status.st_mode), status.st_uid, status.st_gid, content)

    def kill(self, call: Call) -> str:
        """Kill the module before a call; return what is wrong then, and after the next runs, which is nothing."""
        outcome = self._injected(call, f"signal=KILL:when={call.ordinal}")
        survived = (
            outcome.code != -signal.SIGKILL
        )  # another of its processes died, or it came to no such call this time
        wrong = [f"was not killed: {outcome}"] if survived and not (self.talks and outcome.code in (0, 1)) else []
        return "; ".join([*wrong, *self._torn(), *self.further(), *self._leaks(outcome), *self._converges()])

    def fail(self, call: Call, error: str, *, lasting: bool) -> str:
        """Let a call fail, once or from then on; return what is wrong then, and after the next runs, which is nothing."""
        self._full = error in {"ENOSPC", "EDQUOT"}
        outcome = self._injected(call, f"error={error}:when={call.ordinal}{'+' if lasting else ''}")
        said = outcome.said
        wrong = [
            (not outcome.fired and not self.talks, "was never injected"),
            (outcome.code not in (0, 1), f"ended with {outcome.code}: {said}"),
            (outcome.code == 1 and not SAID.search(said), f"says neither where nor what: {said}"),
            (outcome.code == 1 and TEMPORARY in said.partition(": ")[0], f"names a temporary file: {said}"),
            (outcome.code == 0 and self.state() != self.new, f"claims success: {self._unlike(self.new)}"),
        ]
        found = [words for is_so, words in wrong if is_so]
        return "; ".join([*found, *self._torn(), *self.further(), *self._leaks(outcome), *self._converges()])

    def unflushed(self) -> list[str]:
        """Run the module, and return what of its work a power loss could take then."""
        self.restore()
        outcome = run_traced(self._work(), flushes.CALLS, "-y", "-s", "4096", prelude=self.prelude)
        assert outcome.code == 0, outcome
        volatile = tuple(str(self.host / name) for name in self.volatile)
        with open(self._log, encoding="utf-8", errors="replace") as log:
            lost = flushes.unflushed(log, str(self.host), after=BEGIN)
        return [words for words in lost if not volatile or not words.startswith(volatile)]

    def _injected(self, call: Call, fault: str) -> Outcome:
        for _attempt in range(_ATTEMPTS if self.talks else 1):
            self.restore()
            inject = ("-e", f"inject={call.name}:{fault}")
            outcome = run_traced(self._work(), call.name, *inject, prelude=self.prelude)
            if outcome.fired or outcome.code == -signal.SIGKILL:
                break
        return outcome

    def _torn(self) -> Iterator[str]:
        """Yield what is neither old nor new."""
        now = self.state()
        for name in sorted({*now, *self.old, *self.new}):
            allowed = self.old.get(name, set()) | self.new.get(name, set())
            if name not in now and name in self.old and name in self.new:
                yield f"{name} is gone"
            elif not now.get(name, set()) <= allowed and TEMPORARY not in name:
                yield f"{name} is neither old nor new"

    def _leaks(self, outcome: Outcome) -> Iterator[str]:
        """Yield where a secret is that must not be there."""
        for secret in self.secrets:
            if secret in outcome.said.encode():
                yield "says a secret"
            for top in (self.host, self.temporary):
                for path in (path for path in top.rglob("*") if path.is_file() and not path.is_symlink()):
                    if secret in path.read_bytes() and not self.may_hold(path):
                        yield f"leaves a secret in {path}"

    def _converges(self) -> Iterator[str]:
        """Run it again, and once more; yield what is wrong. From a state in which nothing was wrong this is not tried again."""
        start = self._whole_state()
        if start not in self._good:
            wrong = list(self._tried_again())
            self._good.update([] if wrong else [start])
            yield from wrong

    def _whole_state(self) -> frozenset[tuple[str, object]]:
        """Return all that a run may depend on, but for times and random names."""
        top = self.host.parent
        paths = (path for directory in (self.host, self.temporary) for path in directory.rglob("*"))
        return frozenset(
            (_TEMPORARY.sub("", self.named(str(path.relative_to(top)))), self.value(path)) for path in paths
        )

    def _tried_again(self) -> Iterator[str]:
        try:
            self.run()
            if self.state() != self.new:
                yield f"the second run ends otherwise than a clean one: {self._unlike(self.new)}"
            before = self._prints()
            again = self.run()
            if again["changed"] or self._prints() != before:
                yield "the third run changes something"
        except ContimgError as error:
            yield f"the next run fails: {error.message}"

    def _unlike(self, wanted: State) -> list[str]:
        now = self.state()
        return sorted(name for name in {*now, *wanted} if now.get(name) != wanted.get(name))

    def _prints(self) -> dict[str, tuple[int, ...]]:
        """Return inode, size and times of all that is on the host."""
        found: dict[str, tuple[int, ...]] = {}
        for path in sorted((self.host, *self.host.rglob("*"))):
            status = path.lstat()
            found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return found


def _stem(path: pathlib.Path, suffix: str) -> pathlib.Path:
    return path.with_name(path.name[: -len(suffix)] or ".")


def _is_database(path: pathlib.Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(_PAGE_MAGIC)) == _PAGE_MAGIC


def _dump(path: pathlib.Path) -> bytes:
    """Return what any user of a database finds in it, from a copy: looking itself must not change anything."""
    members = {suffix: f"{path}{suffix}" for suffix in ("", "-wal", "-journal") if os.path.exists(f"{path}{suffix}")}
    contents = tuple((suffix, pathlib.Path(place).read_bytes()) for suffix, place in members.items())
    if contents not in _dumps:
        _dumps[contents] = _dump_of(contents)
    return _dumps[contents]


def _dump_of(members: Iterable[tuple[str, bytes]]) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        for suffix, content in members:
            pathlib.Path(scratch, f"database{suffix}").write_bytes(content)
        with contextlib.closing(sqlite3.connect(f"{scratch}/database")) as connection:
            try:
                sound = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                return "\n".join(connection.iterdump()).encode() if sound else b"damaged"
            except sqlite3.DatabaseError as error:
                return f"damaged: {error}".encode()
