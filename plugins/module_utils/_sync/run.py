# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass of a copy: read both sides, plan, apply, prove, report."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.backup import back_up_file, clear_backups
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import replace_file
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import require_globs
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import (
    destination_of,
    hash_file,
    kept_file,
    kept_list,
    leads_below,
    manifest_line,
    read_kept,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import (
    MetadataPolicy,
    extended_attributes,
    group_id,
    open_handle,
    user_id,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import new_run
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import (
    Entry,
    entry_at,
    folder_of,
    nearest_existing,
    open_root,
    require_folder,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import (
    SharedFiles,
    may_be_shown,
    require_separate,
    require_unmounted,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import require_replaceable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.relation import relate
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.apply import Applier
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.capable import Ground, require_capable
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Asked, Trees, compare
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.content import DataCopier
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    DATABASE,
    PLACED,
    RACY,
    VERIFIED,
    Ledger,
    LedgerEntry,
    is_racy,
    losses_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.links import Links
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.lock import (
    made_target,
    open_target,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.plan import make_plan
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.preconditions import (
    require_finished,
    require_owner,
    require_quiet,
    require_readable,
    require_space,
    require_writable,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.progress import Progress
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.schedule import divide
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import CopyContext
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import (
    Action,
    Decisions,
    Plan,
    Questions,
    pack,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["Options", "options_from", "synchronize"]

_SHOWN = 200  # actions and conflicts that a result lists
_GOES_ON = "The source is unchanged; run again to go on."


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
    workers: int
    bandwidth_limit: int
    progress_file: str | None
    require_quiesced: bool
    reserve: Mapping[str, int]
    retarget_links: bool

    @property
    def ledger(self) -> str:
        """Where earlier passes are remembered."""
        return self.manifest + ".ledger"


def synchronize(options: Options, *, check: bool) -> dict[str, Any]:
    """Do one pass, or only plan it, and return the module's result.

    :raises ContimgError: when anything stands in the way; the message says whether something was touched.
    """
    with error_context("copy", options.dest, _GOES_ON):  # for a call that has no words of its own
        return _synchronize(options, check=check)


def _synchronize(options: Options, *, check: bool) -> dict[str, Any]:
    started, started_ns = time.monotonic(), time.time_ns()
    require_folder(options.src, "source")
    _require_apart(options, "Nothing was touched.")
    if options.progress_file is not None:
        require_replaceable(options.progress_file)
    if options.require_quiesced:
        require_quiet(options.src, options.dest)
    with open_root(options.src) as source, open_target(options.dest, check=check) as target:
        progress = Progress(None if check else options.progress_file, limit=options.bandwidth_limit)
        progress.tell("compare")
        pass_ = _Pass(options, source, target, started_ns)
        require_finished(source, pass_.plan)
        require_readable(source, pass_.trees.source.values())
        require_owner(options.dest, pass_.trees.source.values(), wishes=options.decisions.wishes)
        report = _report(options, pass_)
        if report["changed"]:
            pass_.require_writable(target)
        require_space(options.dest, pass_.plan, pass_.trees, backup_dir=options.backup_dir, reserve=options.reserve)
        if report["changed"]:
            pass_.preview_losses() if check else pass_.run(progress)
        progress.tell("done")
        seconds = time.monotonic() - started
        report["stats"]["verified"] = pass_.verified
        rate = round(pass_.copied_bytes / max(seconds, 0.001))
        return {**report, "duration": round(seconds, 3), "throughput": rate}


def _require_apart(options: Options, state: str) -> None:
    require_separate(options.src, options.dest, state=state)
    require_unmounted(options.src, options.dest, exclude=options.exclude, state=state)


def _new_trees(options: Options) -> Trees:
    src, dest = options.src, options.dest
    links = Links(src, dest, options.decisions.rename, retarget=options.retarget_links)
    return Trees(Ledger(options.ledger), links, SharedFiles(shown=may_be_shown(src, dest)))


class _Pass:
    """Reads both sides, plans, applies and proves."""

    def __init__(self, options: Options, source: int, target: int | None, started_ns: int) -> None:
        self.options, self.source, self.target, self.started_ns = options, source, target, started_ns
        self.verified, self.run_number = 0, new_run()
        self.trees: Trees = compare(
            source,
            target,
            _new_trees(options),
            Asked(options.exclude, options.verify, options.decisions.wishes),
        )
        self.trees.shared.require_none(options.src, options.dest)
        self.trees.links.require_none("Nothing was touched.")
        self.plan: Plan = make_plan(
            self.trees,
            options.decisions,
            Questions(self._same_content, self._same_attributes, self._relation),
        )
        sizes = [self.trees.source[step.source].size for step in self.plan.actions if step.kind == "copy"]
        self.copied, self.copied_bytes = len(sizes), sum(sizes)
        self.removed = {step.path for step in self.plan.actions if step.kind == "remove"}
        self.removed.difference_update(step.path for step in self.plan.actions if step.kind != "remove")
        self._refuse_conflicts()

    def _refuse_conflicts(self) -> None:
        if self.plan.conflicts:
            named = [f"{printable(path)} ({reason})" for path, reason in self.plan.conflicts]
            what = f"holds what this copy has not put there: {', '.join(named[:10])}"
            hint = (
                "Nothing was touched. Decide with on_conflict or decisions: keep leaves it, replace backs it up first."
                " A directory is not replaced: move it away."
            )
            raise ContimgError(what, path=self.options.dest, hint=hint, conflicts=named[:_SHOWN])

    def _there(self) -> int:
        if self.target is None:
            raise ContimgError("does not exist", path=self.options.dest)
        return self.target

    def _same_content(self, source: bytes, target: bytes) -> str:
        with error_context("compare the file", source):
            digest = hash_file(self.source, source)
            return digest if hash_file(self._there(), target) == digest else ""

    def _same_attributes(self, source: bytes, target: bytes) -> bool:
        mode = self.trees.source[source].status.mode
        with error_context("compare the attributes", source):
            with folder_of(self.source, source) as (one, name), folder_of(self._there(), target) as (two, other):
                with open_handle(one, name, mode) as first, open_handle(two, other, mode) as second:
                    return extended_attributes(first) == extended_attributes(second)

    def _relation(self, source: bytes, target: bytes) -> str:
        with folder_of(self.source, source) as (one, name), folder_of(self._there(), target) as (two, other):
            here, there = (f"/proc/self/fd/{folder}/" for folder in (one, two))  # of any length, and never elsewhere
            try:
                return relate(there + os.fsdecode(other), here + os.fsdecode(name)).kind
            except ContimgError as error:
                return f"not comparable: {error.what}"

    def further_lines(self) -> list[str]:
        """Return what a run does besides the steps of its plan, a line each."""
        lacks_manifest = self._lacks_manifest()  # looks at files that a run reads, whatever else it has to do
        doing = "verify" if self.options.verify else "remember"
        why = "has not been read back" if self.options.verify else "was there already"
        shown = {step.path for step in self.plan.actions if step.kind == "metadata"}
        lines = [f"{doing} {printable(path)} ({why})" for path in self._unproved() if path not in shown]
        return [*lines, *([f"manifest {self.options.manifest} (is written anew)"] if lacks_manifest else [])]

    def _lacks_manifest(self) -> bool:
        """A pass writes the manifest last: one older than the ledger is of a pass before one that died, or was live."""
        if self.options.live:
            return False
        rekept = self._rekept()
        with error_context("look at the manifest", self.options.manifest):
            try:
                written = os.stat(self.options.manifest).st_mtime_ns
            except FileNotFoundError:
                return True
            with contextlib.suppress(FileNotFoundError):
                if written < os.stat(self.options.ledger).st_mtime_ns:
                    return True
        return rekept

    def _rekept(self) -> bool:
        """Tell whether the list of what a decision keeps has to be written."""
        return read_kept(self.options.manifest) != frozenset(self.plan.kept)

    def _unproved(self) -> list[bytes]:
        """Files that need no copy, yet were never read back, or are known only since this comparison."""
        return [path for path, source in self.plan.unchanged.items() if not self._is_proved(path, source)]

    def _is_proved(self, path: bytes, source: bytes) -> bool:
        known = self.trees.ledger.get(path)
        if known is None or not known.describes(self.trees.source[source], self.trees.target[path]):
            return False
        return bool(known.flags & VERIFIED) or not self.options.verify

    def require_writable(self, target: int | None) -> None:
        """Check that all that a run makes or replaces can be. Raises ContimgError."""
        options = self.options
        require_writable(
            options.dest,
            self.plan,
            target,
            notes=self._notes(),
            backup_dir=options.backup_dir,
            links_may_be_lost="hardlink" in options.decisions.wishes.losses,
        )

    def _notes(self) -> list[str]:
        """Return the files that a run writes beside the destination. After a live pass another one writes the manifest."""
        manifest = self.options.manifest
        return [self.options.ledger, manifest, *([kept_file(manifest)] if self._rekept() else [])]

    def preview_losses(self) -> None:
        """Check that the destination, which may not exist yet, can hold what the source has. Raises ContimgError."""
        with open_root(nearest_existing(os.path.abspath(self.options.dest))) as folder:
            self._require_capable(Ground(self.source, folder, self.options.decisions.wishes))

    def _require_capable(self, ground: Ground) -> None:
        if self.plan.actions:
            require_capable(ground, self.trees.source, self.options.dest)

    def run(self, progress: Progress) -> None:
        """Apply, verify, remember."""
        options = self.options
        progress.files, progress.size = self.copied, self.copied_bytes * (2 if options.verify else 1)
        with contextlib.ExitStack() as stack:
            if self.target is None:
                self.target = stack.enter_context(made_target(options.dest))
            context = self._context(stack.enter_context(DataCopier(progress.add)), progress)
            self.trees.ledger.begin(context.run)
            self._require_capable(Ground(self.source, context.target, context.wishes, context.temporary_name))
            self._back_up(context)
            proved = self._prove_unchanged()
            self._intend_linked()
            works = divide(self.plan.actions, self.trees.source)
            self._forget_copies()
            Applier(context, self.trees.source, proved).apply(self.plan.actions, works)
            self._note_linked()
            _require_apart(options, "The copy is not proved: this came while it was made. The source is unchanged.")
            self._write()

    def _back_up(self, context: CopyContext) -> None:
        backup_dir = self.options.backup_dir
        if backup_dir is not None:
            clear_backups(backup_dir)
        for action in self.plan.actions:
            if action.backup:
                back_up_file(context.target, action.path, backup_dir)

    def _forget_copies(self) -> None:
        """Let go of what only works still need, which hold their own: a first copy may have hundreds of thousands of files.

        Few entries and steps are left then. They are packed, and made anew when all are gone: scattered among the others they
        would keep the memory of these.
        """
        source, target = self.trees.source, self.trees.target
        if 2 * self.copied < len(source):
            return
        for step in self.plan.actions:
            if step.kind == "copy":
                del source[step.source]
                target.pop(step.path, None)
        entries = pack(source.values())
        actions = pack(step for step in self.plan.actions if step.kind != "copy")
        source.clear()
        self.plan = replace(self.plan, actions=())
        source.update((entry.path, entry) for entry in unpack(Entry, entries))
        self.plan = replace(self.plan, actions=tuple(unpack(Action, actions)))

    def _context(self, data: DataCopier, progress: Progress) -> CopyContext:
        options = self.options
        if options.verify:
            self.verified = self.copied
        return CopyContext(
            source=self.source,
            target=self._there(),
            ledger=self.trees.ledger,
            data=data,
            progress=progress,
            wishes=options.decisions.wishes,
            live=options.live,
            verify=options.verify,
            workers=options.workers,
            started_ns=self.started_ns,
            databases=self.trees.databases,
            run=self.run_number,
        )

    def _prove_unchanged(self) -> dict[bytes, LedgerEntry]:
        """Read back what needs no copy and was never proved; return what is not noted before its attributes are set."""
        attributes = {step.path for step in self.plan.actions if step.kind == "metadata"}
        unproved = self._unproved()
        self.trees.ledger.append((path, self._proof(path)) for path in unproved if path not in attributes)
        return {path: self._proof(path) for path in unproved if path in attributes}

    def _proof(self, path: bytes) -> LedgerEntry:
        source = self.trees.source[self.plan.unchanged[path]]
        known = self.trees.ledger.get(path)
        digest = self.plan.equal.get(path) or (known.sha256.hex() if known else "")
        flags = PLACED | (RACY if is_racy(source, self.started_ns) else 0)
        flags |= DATABASE if source.path in self.trees.databases else 0
        flags |= losses_of(self.options.decisions.wishes.losses)
        with error_context("read the copy back", path):
            if self.options.verify:
                self._prove(path, digest)
                flags |= VERIFIED
            target = entry_at(self._there(), path).identity
        return LedgerEntry(source.identity, target, bytes.fromhex(digest), flags)

    def _intend_linked(self) -> None:
        """The time that a file is about to get through one of its names is that of the others, too."""
        entries = self.trees.source
        steps = [step for step in self.plan.actions if step.kind == "metadata" and step.source in entries]
        inodes = {entries[step.source].inode for step in steps}
        linked = ((path, entry, known) for path, entry, known in self._linked() if entry.inode in inodes)
        self.trees.ledger.append((path, known.intended(times_of=entry)) for path, entry, known in linked)

    def _note_linked(self) -> None:
        """A name that was added to a file, or taken from it, has moved the ctime of its other names."""
        noted = []
        for path, _entry, known in self._linked():
            with error_context("look at the copy", path):
                noted.append((path, known._replace(target=entry_at(self._there(), path).identity)))
        self.trees.ledger.append(noted)

    def _linked(self) -> Iterator[tuple[bytes, Entry, LedgerEntry]]:
        """Yield each name that needs no copy of a file with several, with its entry in the source and what is known of it."""
        for path, source in self.plan.unchanged.items():
            entry = self.trees.source[source]
            if max(entry.links, self.trees.target[path].links) > 1:
                known = self.trees.ledger.get(path)
                if known is not None:
                    yield path, entry, known

    def _prove(self, path: bytes, digest: str) -> None:
        if hash_file(self._there(), path, from_device=True) != digest:
            hint = "The source is unchanged. Check the destination's device, remove the file there, and run again."
            raise ContimgError("the copy differs from what was read from the source", path=path, hint=hint)
        self.verified += 1

    def _write(self) -> None:
        ledger = self.trees.ledger
        replaced = {path for path in self._targets_of_others() if ledger.digest(path)}
        ended = {self.run_number} if self.trees.is_partly_unseen else ledger.runs
        ledger.rewrite(removed=self.removed, replaced=replaced, ended=ended)
        if not self.options.live:
            kept = {path + suffix for path in self.plan.kept for suffix in (b"", b"-wal")}
            told = ledger.files(without=self.trees.gone | kept)
            if self._rekept():
                replace_file(kept_file(self.options.manifest), kept_list(self.plan.kept), mode=0o644)
            replace_file(self.options.manifest, (manifest_line(*file) for file in told), mode=0o644)

    def _targets_of_others(self) -> set[bytes]:
        """Return the places of what is no file. Where a killed run has made it of one, a link say, the file is still noted."""
        others = (path for path, entry in self.trees.source.items() if not entry.is_file)
        return {destination_of(path, self.options.decisions.rename) for path in others}


def _report(options: Options, pass_: _Pass) -> dict[str, Any]:
    """Return what a plan says; a run adds what it has proved, and how long it took."""
    plan, trees, notes = pass_.plan, pass_.trees, pass_.further_lines()
    return {
        "changed": bool(plan.actions or notes),
        "stats": {
            "files": trees.files,
            "bytes": trees.size,
            "copied": pass_.copied,
            "skipped": len(plan.unchanged) + trees.settled,
            "removed": sum(step.kind == "remove" for step in plan.actions),
            "kept": len(plan.kept),
        },
        "actions": [
            {"action": step.kind, "path": printable(step.path or b"."), "reason": step.reason}
            for step in plan.actions[:_SHOWN]
        ],
        "actions_total": len(plan.actions),
        "actions_digest": plan.digest(),
        "conflicts": [printable(path) for path in plan.kept[:_SHOWN]],
        "links": trees.links.report()[:_SHOWN],
        "links_total": len(trees.links.found),
        "manifest": options.manifest,
        "source_digest": trees.digest,
        "identical": not plan.actions,
        "diff": plan.diff(notes),
    }


def _require_places(rename: Mapping[str, str]) -> None:
    for path, root in (pair for old, new in rename.items() for pair in ((old, "src"), (new, "dest"))):
        if not leads_below(os.fsencode(path)):
            hint = "Nothing was touched. Write it without a slash at its beginning or end, '.' and '..'."
            raise ContimgError(
                f"is in rename, and is not a path below {root} in its shortest form", path=path, hint=hint
            )


def options_from(values: dict[str, Any]) -> Options:
    """Return the options for a module's parameters.

    :raises ContimgError: when an owner or group does not exist, or a decision, a glob or a place of ``rename`` is none.
    """
    require_globs(values["exclude"])
    _require_places(values["rename"])
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
        wishes=MetadataPolicy(user_id(values["owner"]), group_id(values["group"]), frozenset(values["allow_loss"])),
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
        workers=max(1, values["workers"]),
        bandwidth_limit=values["bandwidth_limit"],
        progress_file=values["progress_file"],
        require_quiesced=values["require_quiesced"],
        reserve={place: int(size) for place, size in values["reserve"].items()},
        retarget_links=values["retarget_links"],
    )
