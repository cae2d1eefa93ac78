# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass of a copy: read both sides, plan, apply, prove, report."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import replace_file
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._manifest import format_manifest, hash_file
from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import (
    extended_attributes,
    group_id,
    user_id,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_read import is_database
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite_relation import relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_apply import Copier
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_backup import back_up_file
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_checks import (
    require_capable,
    require_owner,
    require_quiet,
    require_readable,
    require_space,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_ledger import (
    Known,
    fact,
    known,
    read_ledger,
    write_ledger,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync_plan import Decisions, Plan, Trees, make_plan
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import (
    Entry,
    open_below,
    open_root,
    require_folder,
    require_separate,
    scan,
    tree_digest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["Options", "options_from", "synchronize"]

_SHOWN = 200  # actions and conflicts that a result lists
_SMALLEST_DATABASE = 512  # bytes: the smallest page; a database is a multiple of it


@dataclass(frozen=True)
class Options:
    """What to copy and how; see the module's documentation."""

    src: str
    dest: str
    exclude: tuple[str, ...]
    decisions: Decisions
    live: bool
    verify: bool
    manifest: str
    backup_dir: str | None
    losses: frozenset[str]
    workers: int
    bandwidth_limit: int
    progress_file: str | None
    require_quiesced: bool

    @property
    def ledger(self) -> str:
        """Where earlier passes are remembered."""
        return self.manifest + ".ledger"


class _Progress:
    """Counts bytes, keeps to the bandwidth limit, and tells how far the copy is, about twice a second."""

    def __init__(self, options: Options, total: int) -> None:
        self.path, self.limit, self.total = options.progress_file, options.bandwidth_limit, total
        self.started = self.told = time.monotonic()
        self.done = 0

    def __call__(self, count: int) -> None:
        self.done += count
        elapsed = time.monotonic() - self.started
        if self.limit:
            time.sleep(max(0.0, self.done / self.limit - elapsed))
        if self.path and time.monotonic() - self.told >= 0.5:
            self.told = time.monotonic()
            rate = self.done / max(elapsed, 0.001)
            left = (self.total - self.done) / max(rate, 1.0)
            state = {"phase": "copy", "bytes": self.done, "total": self.total, "rate": rate, "seconds_left": left}
            replace_file(self.path, json.dumps(state).encode(), mode=0o644)


def synchronize(options: Options, *, check: bool) -> dict[str, Any]:
    """Do one pass, or only plan it, and return the module's result.

    :raises ContimgError: when anything stands in the way; the message says whether something was touched.
    """
    started, started_ns = time.monotonic(), time.time_ns()
    require_folder(options.src, "source")
    require_separate(options.src, options.dest)
    if options.require_quiesced:
        require_quiet(options.src, options.dest)
    with open_root(options.src) as source:
        trees = _read_trees(options, source)
        plan = _plan(options, trees)
        require_readable(source, trees.source.values())
        require_owner(options.dest, trees.source.values(), allowed=options.losses, decisions=options.decisions)
        require_space(options.dest, plan, trees.source)
        pass_ = _Pass(options, source, trees, plan, started_ns)
        changed = pass_.has_work() if check else pass_.run()
        return _report(
            options, trees, plan, changed=changed, seconds=time.monotonic() - started, verified=pass_.verified
        )


def _read_trees(options: Options, source: int) -> Trees:
    entries = scan(source, options.exclude)
    databases = frozenset(path for path, entry in entries.items() if _is_database(options.src, path, entry))
    target: dict[bytes, Entry] = {}
    if os.path.isdir(options.dest):
        with open_root(options.dest) as root:
            target = scan(root)
    elif os.path.lexists(options.dest):
        raise ContimgError("is no directory", path=options.dest, hint="Nothing was touched.")
    extras = {path: entry for path, entry in target.items() if options.decisions.delete and path not in entries}
    foreign = frozenset(path for path, entry in extras.items() if _is_database(options.dest, path, entry))
    return Trees(entries, target, read_ledger(options.ledger), databases, foreign)


def _is_database(root: str, path: bytes, entry: Entry) -> bool:
    size = entry.status.st_size
    if not entry.is_file or not size or size % _SMALLEST_DATABASE or not os.access(_join(root, path), os.R_OK):
        return False
    with contextlib.suppress(ContimgError):  # it may vanish under a live copy
        return is_database(_join(root, path))
    return False


def _join(root: str, path: bytes) -> str:
    return os.path.join(root, os.fsdecode(path))


def _plan(options: Options, trees: Trees) -> Plan:
    def same_content(source: bytes, target: bytes) -> str:
        with failing("compare the file", source), open_root(options.src) as one, open_root(options.dest) as other:
            digest = hash_file(one, source)
            return digest if hash_file(other, target) == digest else ""

    def same_attributes(source: bytes, target: bytes) -> bool:
        with failing("compare the attributes", source), open_root(options.src) as one, open_root(options.dest) as other:
            with open_below(one, source) as first, open_below(other, target) as second:
                return extended_attributes(first) == extended_attributes(second)

    def relation(source: bytes, target: bytes) -> str:
        try:
            return relate(_join(options.dest, target), _join(options.src, source)).kind
        except ContimgError as error:
            return f"not comparable: {error.what}"

    plan = make_plan(
        trees,
        options.decisions,
        same_content=same_content,
        same_attributes=same_attributes,
        database_relation=relation,
    )
    if plan.conflicts:
        named = [f"{display(path)} ({reason})" for path, reason in plan.conflicts]
        what = f"holds what this copy has not put there: {', '.join(named[:10])}"
        hint = "Nothing was touched. Decide with on_conflict or decisions: keep leaves it, replace backs it up first."
        raise ContimgError(what, path=options.dest, hint=hint, conflicts=named[:_SHOWN])
    return plan


class _Pass:
    """Applies one plan and proves it."""

    def __init__(self, options: Options, source: int, trees: Trees, plan: Plan, started_ns: int) -> None:
        self.options, self.source, self.trees, self.plan, self.started_ns = options, source, trees, plan, started_ns
        self.verified = 0

    def has_work(self) -> bool:
        """Tell whether a run would change anything."""
        return bool(self.plan.actions) or bool(self._unproved_before()) or self._lacks_manifest()

    def _lacks_manifest(self) -> bool:
        return not self.options.live and not os.path.exists(self.options.manifest)

    def _unproved_before(self) -> set[bytes]:
        """Files that need no copy, yet were never read back, or are known only since this comparison."""
        return {path for path in self.plan.unchanged if not self._is_proved(path)}

    def _is_proved(self, path: bytes) -> bool:
        before = self.trees.known.get(path)
        source, target = self.trees.source[self.plan.unchanged[path]], self.trees.target[path]
        if before is None or not before.describes(source.status, target.status):
            return False
        return before.verified or self.options.live or not self.options.verify

    def run(self) -> bool:
        """Apply, verify, remember; tell whether anything changed."""
        if not self.has_work():
            return False
        require_capable(self.options.dest, self.trees.source.values(), allowed=self.options.losses)
        with failing("make the destination", self.options.dest):
            os.makedirs(self.options.dest, exist_ok=True)
        with open_root(self.options.dest) as target, _alone(target, self.options.dest):
            copier = self._copier(target)
            copier.apply(self.plan.actions, lambda path: back_up_file(target, path, self.options.backup_dir))
            ledger = self._remember(scan(target), copier.placed)
            if self.options.verify and not self.options.live:
                unproved = {path: one for path, one in ledger.items() if not one.verified}
                ledger.update(copier.verify(unproved))
                self.verified = len(unproved)
            self._write(ledger)
        return True

    def _copier(self, target: int) -> Copier:
        total = sum(self.trees.source[step.source].status.st_size for step in self.plan.actions if step.kind == "copy")
        return Copier(
            source=self.source,
            target=target,
            entries=self.trees.source,
            live=self.options.live,
            owner=self.options.decisions.owner,
            group=self.options.decisions.group,
            losses=self.options.losses,
            workers=self.options.workers,
            started_ns=self.started_ns,
            progress=_Progress(self.options, total),
        )

    def _remember(self, target: dict[bytes, Entry], placed: dict[bytes, Known]) -> dict[bytes, Known]:
        """Return the new ledger. Renames, links and metadata change a ctime, so the destination is looked at again."""
        ledger = {}
        for path, source in {**dict.fromkeys(placed, b""), **self.plan.unchanged}.items():
            if path not in target:
                continue
            if path in placed:
                ledger[path] = replace(placed[path], target=fact(target[path].status))
            elif path in self.plan.equal:
                status = self.trees.source[source].status
                digest = self.plan.equal[path]
                ledger[path] = known(status, target[path].status, digest, verified=False, started_ns=self.started_ns)
            else:
                first = self.trees.known.get(path)
                if first is not None:
                    ledger[path] = replace(first, target=fact(target[path].status))
        return {**self._linked(target, ledger), **ledger}

    def _linked(self, target: dict[bytes, Entry], ledger: dict[bytes, Known]) -> dict[bytes, Known]:
        """A hard link is known by what is known of its first name."""
        firsts = {target[path].inode: one for path, one in ledger.items()}
        links = {*self.plan.unchanged, *(step.path for step in self.plan.actions if step.kind == "link")}
        return {path: firsts[target[path].inode] for path in links if path in target and target[path].inode in firsts}

    def _write(self, ledger: dict[bytes, Known]) -> None:
        write_ledger(self.options.ledger, ledger)
        if not self.options.live:
            manifest = format_manifest({path: one.sha256 for path, one in ledger.items()})
            replace_file(self.options.manifest, manifest, mode=0o644)


@contextlib.contextmanager
def _alone(target: int, dest: str) -> Iterator[None]:
    """Hold the lock of a destination; a second run says so and leaves."""
    try:
        fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "Nothing was touched. Wait for it."
        raise ContimgError("another copy to this destination is running", path=dest, hint=hint) from error
    yield


def _report(
    options: Options, trees: Trees, plan: Plan, *, changed: bool, seconds: float, verified: int
) -> dict[str, Any]:
    copies = [step for step in plan.actions if step.kind == "copy"]
    copied_bytes = sum(trees.source[step.source].status.st_size for step in copies)
    files = [entry for entry in trees.source.values() if entry.is_file]
    return {
        "changed": changed,
        "stats": {
            "files": len(files),
            "bytes": sum(entry.status.st_size for entry in files),
            "copied": len(copies),
            "skipped": len(plan.unchanged),
            "verified": verified,
            "removed": sum(step.kind == "remove" for step in plan.actions),
            "kept": len(plan.kept),
        },
        "actions": [
            {"action": step.kind, "path": display(step.path or b"."), "reason": step.reason}
            for step in plan.actions[:_SHOWN]
        ],
        "actions_total": len(plan.actions),
        "actions_digest": plan.digest(),
        "conflicts": [display(path) for path in plan.kept[:_SHOWN]],
        "manifest": options.manifest,
        "source_digest": tree_digest(dict(trees.source)),
        "duration": round(seconds, 3),
        "throughput": round(copied_bytes / max(seconds, 0.001)),
        "identical": not plan.actions,
        "diff": plan.diff(),
    }


def options_from(values: dict[str, Any]) -> Options:
    """Return the options for a module's parameters.

    :raises ContimgError: when an owner or group does not exist, or a decision is none.
    """
    for path, decision in values["decisions"].items():
        if decision not in ("keep", "replace"):
            raise ContimgError(
                f"has no decision '{decision}', only keep or replace", path=path, hint="Nothing was touched."
            )
    decisions = Decisions(
        rename={os.fsencode(old): os.fsencode(new) for old, new in values["rename"].items()},
        on_conflict=values["on_conflict"],
        single={os.fsencode(path): decision for path, decision in values["decisions"].items()},
        delete=values["delete"],
        owner=user_id(values["owner"]),
        group=group_id(values["group"]),
    )
    return Options(
        src=values["src"],
        dest=values["dest"],
        exclude=tuple(values["exclude"]),
        decisions=decisions,
        live=values["live"],
        verify=values["verify"] == "checksum",
        manifest=values["manifest"] or values["dest"].rstrip("/") + ".sha256",
        backup_dir=values["backup_dir"],
        losses=frozenset(values["allow_loss"]),
        workers=max(1, values["workers"]),
        bandwidth_limit=values["bandwidth_limit"],
        progress_file=values["progress_file"],
        require_quiesced=values["require_quiesced"],
    )
