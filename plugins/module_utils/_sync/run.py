# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass of a copy: observe both sides, plan, check, apply, report."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.backup import back_up_file, clear_backups
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import nearest_existing, require_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import destination_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import new_run
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import require_separate, require_unmounted
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import require_replaceable
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.apply import apply_steps
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.capable import require_capable
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Sides
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.content import DataCopier
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Journal
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.lock import made_target, open_target
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.manifests import (
    files_beside,
    lacks_manifest,
    write_manifest,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.observe import observe
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.plan import make_plan, unproved
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.preconditions import (
    require_finished,
    require_owner,
    require_quiet,
    require_readable,
    require_space,
    require_writable,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.progress import Progress
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.report import further_lines, refuse_conflicts, report
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.trials import Ground
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.unchanged import Unchanged
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.work import Work, forget_copies, take_over

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import Options
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Plan

__all__ = ["synchronize"]

_GOES_ON = "The source is unchanged; run again to go on."


class _Prepared(NamedTuple):
    """A pass of which everything is decided and checked.

    :ivar work: what is done, ``None`` in check mode and where there is nothing to do.
    :ivar size: bytes to copy.
    """

    trees: Trees
    work: Work | None
    report: dict[str, Any]
    size: int


def synchronize(options: Options, *, check: bool) -> dict[str, Any]:
    """Do one pass, or only plan it, and return the module's result.

    :raises ContimgError: when anything stands in the way; the message says whether something was touched.
    """
    with error_context("copy", options.dest, _GOES_ON):  # for a call that has no words of its own
        return _synchronize(options, check=check)


def _synchronize(options: Options, *, check: bool) -> dict[str, Any]:
    started, started_ns = time.monotonic(), time.time_ns()
    require_directory(options.src, "source")
    _require_apart(options, "Nothing was touched.")
    if options.progress_file is not None:
        require_replaceable(options.progress_file)
    if options.require_quiesced:
        require_quiet(options.src, options.dest)
    with open_root(options.src) as source, open_target(options.dest, check=check) as target:
        progress = Progress(None if check else options.progress_file, limit=options.bandwidth_limit)
        progress.tell("compare")
        prepared = _prepare(options, Sides(source, target), check=check)
        verified = 0
        if prepared.work is not None:
            with _context(options, Sides(source, target), prepared.trees, progress, started_ns) as context:
                _carry_out(options, context, prepared.trees, prepared.work)
            verified = prepared.work.files + len(prepared.work.unproved) if options.verify else 0
        progress.tell("done")
        seconds = time.monotonic() - started
        prepared.report["stats"].update(verified=verified, copied_bytes=prepared.size)
        rate = round(prepared.size / max(seconds, 0.001))
        return {**prepared.report, "duration": round(seconds, 3), "throughput": rate}


def _require_apart(options: Options, state: str) -> None:
    require_separate(options.src, options.dest, state=state)
    require_unmounted(options.src, options.dest, exclude=options.exclude, state=state)


def _prepare(options: Options, sides: Sides, *, check: bool) -> _Prepared:
    """Observe, plan and check. The plan ends here: what a run needs of it is much smaller, see :mod:`work`."""
    trees, links, plan = _plan(options, sides)
    require_finished(sides.source, plan)
    require_readable(sides.source, trees.source.values())
    require_owner(options.dest, trees.source.values(), policy=options.decisions.policy)
    is_lacking = lacks_manifest(options, plan.kept)
    unread = unproved(plan, trees, verify=options.verify)
    result = report(
        options, trees, plan, links=links, notes=further_lines(options, plan, unread, lacks_manifest=is_lacking)
    )
    if result["changed"]:
        _require_writable(options, plan, sides.target)
    require_space(options.dest, plan, trees, backup_dir=options.backup_dir, reserve=options.reserve)
    if result["changed"] and check and plan.actions:
        _preview_losses(options, sides.source, _to_be_held(options, trees, plan.kept))
    size = sum(trees.source[step.source].size for step in plan.actions if step.kind == "copy")
    work = take_over(plan, trees, unread) if result["changed"] and not check else None
    return _Prepared(trees, work, result, size)


def _plan(options: Options, sides: Sides) -> tuple[Trees, Sequence[dict[str, Any]], Plan]:
    """Observe and plan. Of what was observed, only the trees and what there is to report of links are needed further."""
    observation = observe(sides, options)
    plan = make_plan(observation, options.decisions)
    refuse_conflicts(plan, options.dest)
    return observation.trees, observation.links, plan


def _require_writable(options: Options, plan: Plan, target: int | None) -> None:
    require_writable(
        options.dest,
        plan,
        target,
        notes=files_beside(options, plan.kept),
        backup_dir=options.backup_dir,
        links_may_be_lost="hardlink" in options.decisions.policy.losses,
    )


def _to_be_held(options: Options, trees: Trees, kept: Sequence[bytes]) -> Mapping[bytes, Entry]:
    """Return what the destination gets. What a decision keeps there stays as it is."""
    if not kept:
        return trees.source
    stays, rename = set(kept), options.decisions.rename
    return {path: entry for path, entry in trees.source.items() if destination_of(path, rename) not in stays}


def _preview_losses(options: Options, source: int, entries: Mapping[bytes, Entry]) -> None:
    """Check that the destination, which may not exist yet, can hold what the source has. Raises ContimgError."""
    with open_root(nearest_existing(os.path.abspath(options.dest))) as directory:
        require_capable(Ground(source, directory, options.decisions.policy), entries, options.dest)


@contextlib.contextmanager
def _context(
    options: Options, sides: Sides, trees: Trees, progress: Progress, started_ns: int
) -> Iterator[CopyContext]:
    """Hold what all steps of a run share. A destination that does not exist is made."""
    with contextlib.ExitStack() as stack:
        target = sides.target
        if target is None:
            target = stack.enter_context(made_target(options.dest))
        yield CopyContext(
            source=sides.source,
            target=target,
            journal=Journal(trees.ledger),
            data=stack.enter_context(DataCopier(progress.add)),
            progress=progress,
            policy=options.decisions.policy,
            live=options.live,
            verify=options.verify,
            workers=options.workers,
            started_ns=started_ns,
            databases=trees.databases,
            run=new_run(),
        )


def _carry_out(options: Options, context: CopyContext, trees: Trees, work: Work) -> None:
    """Apply, verify, remember."""
    progress = context.progress
    progress.files, progress.size = work.files, work.size * (2 if options.verify else 1)
    context.journal.begin(context.run)
    if not work.is_empty:
        ground = Ground(context.source, context.target, context.policy, context.temporary_name)
        require_capable(ground, _to_be_held(options, trees, work.kept), options.dest)
    _back_up(context, work, options.backup_dir)
    _apply(context, trees, work)
    _require_apart(options, "The copy is not proved: this came while it was made. The source is unchanged.")
    _remember(options, context, trees, work)


def _back_up(context: CopyContext, work: Work, backup_dir: str | None) -> None:
    if backup_dir is not None:
        clear_backups(backup_dir)
    for path in work.backups:
        back_up_file(context.target, path, backup_dir)


def _apply(context: CopyContext, trees: Trees, work: Work) -> None:
    unchanged = Unchanged(context, trees, work)
    unchanged.prove()
    with context.journal.step(unchanged.with_new_time()) as note:
        forget_copies(trees, work)
        apply_steps(context, trees.source, work.steps(), work.batches)
        unchanged.note_linked(note)


def _remember(options: Options, context: CopyContext, trees: Trees, work: Work) -> None:
    """Write the ledger anew, and the manifest unless the copy is live. Raises ContimgError."""
    # Where a killed run has made what is no file of one, a link say, the file is still noted.
    others = (path for path, entry in trees.source.items() if not entry.is_file)
    places = {destination_of(path, options.decisions.rename) for path in others}
    replaced = {path for path in places if trees.ledger.digest(path)}
    ended = {context.run} if trees.is_partly_unseen else trees.ledger.runs
    context.journal.finish(removed=work.removed, replaced=replaced, ended=ended)
    if not options.live:
        write_manifest(options, trees, work.kept)
