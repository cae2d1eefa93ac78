# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retire an old state: archive or remove what the manifest knows, file by file, and note where it went.

The order, each step durable before the next one: prove, archive, read the archive back, record that there is no way back, note,
remove. A run that dies anywhere has a next run that finishes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import clear_left, sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import require_globs
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import directory_of, open_below, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import require_separate, require_unmounted
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import (
    advance,
    keep,
    read_record,
    record_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_archive import (
    archive_path,
    flush_archive,
    has_archive,
    write_archive,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_checks import (
    require_archivable,
    require_removable,
    require_writable_notes,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_note import (
    DONE,
    REMOVING,
    Note,
    read_note,
    tombstone_of,
    write_note,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_plan import (
    OldFile,
    RetireOptions,
    RetirePlan,
    plan_retire,
    require_unused,
    still_the_same,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_proof import rows_in
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_room import require_archive_room
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.rows import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["retire", "retire_options"]

_NAMED = 100  # paths that a report lists
_NOTHING = "Nothing was removed."
_BEGUN = "What was removed till then is at the new place; the next run goes on."
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY)
_MAY_GO = ("", "done", "retiring", "retired")  # phases; a run directory without a record is that of a copy by hand


@dataclass(frozen=True)
class _Work:
    """What a run does.

    :ivar before: what earlier runs have noted.
    :ivar archive: where the archive is, or will be; empty where none is made.
    :ivar archived: whether it is there already, and proved.
    """

    plan: RetirePlan
    before: Note | None
    archive: str
    archived: bool

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.plan.files or self.plan.emptied) or self.before is None or self.before.stage != DONE


def retire(options: RetireOptions, *, check: bool) -> dict[str, Any]:
    """Archive or remove an old state and return the module's result.

    :raises ContimgError: when anything of it is not as was proved, is not at the new place, or is still used. Nothing has been
        removed then, unless the message says how far it went; the next run goes on.
    """
    with error_context("retire the old state", options.src, _NOTHING):  # for a call that has no words of its own
        note = read_note(options.run_dir, options.src, options.dest)
        phase = _phase(options)
        gone = _whole_tree_gone(options, note)
        if gone is not None:
            return _result(options, gone, changed=False)
        _require_apart(options, _NOTHING)
        # The record is the authority; a run directory without one has but the tombstone.
        work = _planned(options, note, resumed=phase in ("retiring", "retired") or (not phase and note is not None))
        require_unused(options.src, prove=options.require_proof)
        if work.changes:
            _require_possible(options, work)
    note = _note_of(options, work)
    if work.changes and not check:
        _apply(work, options, note)
    diff = {"diff": _diff(work, options)} if work.changes else {}
    return {**_result(options, note, changed=work.changes), **diff}


def _require_possible(options: RetireOptions, work: _Work) -> None:
    """Check that all can be written and removed, and has room. Raises ContimgError."""
    if work.archive and not work.archived:
        require_archivable(work.archive)
        require_archive_room(work.archive, options.src, work.plan.files)
    require_writable_notes(options.run_dir, [record_file(options.run_dir), tombstone_of(options.run_dir)])
    require_removable(options.src, [*(file.path for file in work.plan.files), *work.plan.emptied])


def _phase(options: RetireOptions) -> str:
    """Return where the host stands, empty without a record. Raises ContimgError when its old state must stay."""
    record = read_record(options.run_dir)
    path, hint = record_file(options.run_dir), f"{_NOTHING} Finish the move with dsa110.contimg.migrate first."
    if record["phase"] not in _MAY_GO:
        what = f"this host is at phase '{record['phase']}', so its old state is not to be retired"
        raise ContimgError(what, path=path, hint=hint)
    for name, asked in (("src", options.src), ("dest", options.dest)):
        fields = record["move"].get(name, asked)
        if fields != os.path.normpath(asked):
            hint = f"{_NOTHING} Name the directories of this move, or its run directory."
            raise ContimgError(f"is the record of a move with {name} {fields}, not {asked}", path=path, hint=hint)
    return str(record["phase"])


def _whole_tree_gone(options: RetireOptions, note: Note | None) -> Note | None:
    """Return the note of the run that has removed the whole tree. Raises ContimgError when it is missing for another reason."""
    kind = kind_of(options.src)
    if kind == stat.S_IFDIR:
        return None
    if kind not in (0, stat.S_IFLNK):
        raise ContimgError("is not a directory", path=options.src, hint=_NOTHING)
    if note is None or note.stage != DONE:
        hint = f"{_NOTHING} Is its file system mounted? If it was removed by hand, make it an empty directory, and run again."
        raise ContimgError("does not exist", path=options.src, hint=hint)
    return note


def _require_apart(options: RetireOptions, state: str) -> None:
    require_separate(options.src, options.dest, state=state)
    require_unmounted(options.src, options.dest, exclude=options.exclude, state=state)


def _planned(options: RetireOptions, note: Note | None, *, resumed: bool) -> _Work:
    plan = plan_retire(options, resumed=resumed)
    begun = note if resumed else None
    if begun is not None and not plan.files:  # the archive has done its duty, and may have been taken elsewhere
        return _Work(plan, note, begun.archive, archived=True)
    if options.state != "archived":
        return _Work(plan, note, "", archived=False)
    if begun is not None and plan.gone and not begun.archive:
        hint = "Nothing more was removed. Finish it as it was begun (contimg_retire_state: removed)."
        raise ContimgError(f"{len(plan.gone)} files are removed already and in no archive", path=options.src, hint=hint)
    asked = options.archive or (begun.archive if begun is not None else "")
    archive = archive_path(asked, options.src, options.compression)
    there = has_archive(archive, options.src, plan.digests, resumed=bool(plan.gone))
    return _Work(plan, note, archive, archived=there)


def _note_of(options: RetireOptions, work: _Work) -> Note:
    """Return the note of the end. Of what is gone already, the run that has begun to remove knew the size."""
    plan, before = work.plan, work.before
    counts = {
        "files": len(plan.files) + len(plan.gone),
        "bytes": plan.size,
        "changed_since": plan.changed_since,
        "left_total": len(plan.unknown),
    }
    if plan.gone and before is not None:
        counts.update({name: before.counts[name] for name in ("bytes", "changed_since")})
    left = tuple(printable(path) for path in plan.unknown[:_NAMED])
    return Note(options.src, options.dest, options.manifest, DONE, work.archive, counts=counts, left=left)


def _apply(work: _Work, options: RetireOptions, note: Note) -> None:
    with error_context("retire the old state", options.src, _NOTHING):
        clear_left(work.archive or os.path.realpath(options.src))
        if work.archive and work.archived and work.plan.files:
            flush_archive(work.archive)
        elif work.archive and not work.archived:
            write_archive(work.archive, options.src, work.plan.files, work.plan.directories)
            require_unused(options.src, prove=options.require_proof)  # that took its time
        _require_apart(options, f"{_NOTHING} The archive is complete." if work.archive else _NOTHING)
        _record_retiring(options)
        write_note(options.run_dir, replace(note, stage=REMOVING))
    with error_context("remove the old state", options.src, _BEGUN), open_root(options.src) as root:
        for file in work.plan.files:
            _remove_file(root, file, options.src)
        for path in {parent_of(file.path) for file in work.plan.files} - set(work.plan.emptied):
            with open_below(root, path, os.O_DIRECTORY) as directory:
                os.fsync(directory)
        for path in work.plan.emptied:
            if path:
                with directory_of(root, path) as (directory, name), _unless_used():
                    os.rmdir(name, dir_fd=directory)
                    os.fsync(directory)
    write_note(options.run_dir, note)
    if b"" in work.plan.emptied and not os.path.ismount(options.src):
        _remove_root(os.path.realpath(options.src))


def _record_retiring(options: RetireOptions) -> None:
    """Record that there is no way back. The record is read again: an archive takes its time. Raises ContimgError."""
    record = read_record(options.run_dir)
    if record["phase"] not in ("", "retiring", "retired"):
        keep(options.run_dir, advance(record, "retiring", {}, at=time.time(), run=options.run_id))


def _remove_file(root: int, file: OldFile, src: str) -> None:
    path = os.path.join(os.fsencode(src), file.path)
    with directory_of(root, file.path) as (directory, name):
        if not still_the_same(directory, name, file):
            raise ContimgError("has changed since it was read", path=path, hint=_BEGUN)
        os.unlink(name, dir_fd=directory)


def _remove_root(path: str) -> None:
    """Remove the tree's root last of all: a tree that is missing before that is no tree that this module has removed."""
    with error_context("remove the directory of the old state", path, "All files that were copied are removed."):
        with _unless_used():
            os.rmdir(path)
        sync_directory(os.path.dirname(path))


@contextlib.contextmanager
def _unless_used() -> Iterator[None]:
    """Let a directory be that still holds something, or that something is mounted on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise


def _result(options: RetireOptions, note: Note, *, changed: bool) -> dict[str, Any]:
    counts = {name: note.counts[name] for name in ("files", "bytes", "changed_since", "left_total")}
    places = {"archive": note.archive, "tombstone": tombstone_of(options.run_dir)}
    return {"changed": changed, **counts, "left": list(note.left), **places}


def _diff(work: _Work, options: RetireOptions) -> dict[str, str]:
    plan = work.plan
    shown = plan.files[:_NAMED]
    more = f"and {len(plan.files) - len(shown)} more\n" if len(plan.files) > len(shown) else ""
    gone = "".join(f"{printable(file.path)}\n" for file in shown) + more
    left = "".join(f"{printable(path)} (not in the manifest)\n" for path in plan.unknown[:_NAMED])
    after = f"{tombstone_of(options.run_dir)}\n" + (f"{work.archive}\n" if work.archive else "")
    return {"before_header": options.src, "after_header": options.src, "before": gone + left, "after": left + after}


def retire_options(values: Mapping[str, Any]) -> RetireOptions:
    """Return the options for a module's parameters. Raises ContimgError on a baseline or a glob that is none."""
    require_globs([*values["accept"], *values["exclude"]])
    try:
        readable = {name: fields for name, fields in values["baseline"].items() if "unreadable" not in fields}
        baseline = {_place(name, values["names"]): rows_in(fields["tables"]) for name, fields in readable.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        hint = f"{_NOTHING} Give the rows that state_rows_info returned, and the names that it was given."
        raise ContimgError(f"the baseline is none: {error}", hint=hint) from error
    return RetireOptions(
        src=values["src"],
        dest=values["dest"],
        manifest=values["manifest"] or values["dest"].rstrip("/") + ".sha256",
        rename={os.fsencode(old): os.fsencode(new) for old, new in values["rename"].items()},
        moved_at=values["moved_at"],
        state=values["state"],
        archive=values["archive"] or "",
        compression=values["compression"],
        accept=tuple(values["accept"]),
        exclude=tuple(values["exclude"]),
        baseline=baseline,
        run_dir=values["run_dir"],
        require_proof=values["require_proof"],
        run_id=values.get("run_id", ""),
    )


def _place(name: str, names: Mapping[str, str]) -> str:
    """Return the path of a database of the baseline below the new state, as it is shown. Raises KeyError."""
    return name[len(UNNAMED) :] if name.startswith(UNNAMED) else names[name]
