# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking leave of an old state: archive or remove what the manifest knows, file by file, and leave a note of where it went."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import replace_file, sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._manifest import read_manifest
from ansible_collections.dsa110.contimg.plugins.module_utils._retire_archive import (
    archive_path,
    require_archived,
    write_archive,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._retire_plan import (
    RetirePlan,
    plan_retire,
    require_unused,
    still_the_same,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._separate import require_separate, require_unmounted
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import folder_of, open_root

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["RetireOptions", "retire", "retire_options"]

_NAMED = 100  # paths that a report lists
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY)


@dataclass(frozen=True)
class RetireOptions:
    """The parameters of ``state_retire``; see its documentation."""

    src: str
    dest: str
    manifest: str
    rename: Mapping[bytes, bytes]
    moved_at: float
    state: str
    archive: str
    compression: str
    accept: tuple[str, ...]
    exclude: tuple[str, ...]
    tombstone: str
    require_proof: bool


def retire(options: RetireOptions, *, check: bool) -> dict[str, Any]:
    """Archive or remove an old state and return the module's result.

    :raises ContimgError: when anything of it is not as was proved, is not at the new place, or is still used. Nothing has been
        removed then, unless the message says how far it went; the next run goes on.
    """
    note = _read_note(options.tombstone)
    if note.get("done"):
        return {"changed": False, **note["result"], "tombstone": options.tombstone}
    _require_apart(options, "Nothing was removed.")
    archive = archive_path(options.archive, options.src, options.compression) if options.state == "archived" else ""
    plan = plan_retire(
        options.src,
        options.dest,
        read_manifest(options.manifest),
        rename=options.rename,
        accept=options.accept,
        moved_at=options.moved_at,
        resumed=bool(note),
    )
    require_unused(options.src, prove=options.require_proof)
    if not check:
        _apply(plan, options, archive, resumed=bool(note))
    result = _result(plan, archive)
    if not check:
        _write_note(options, result, done=True)
    return {"changed": True, **result, "tombstone": options.tombstone, "diff": _diff(plan, options, archive)}


def _require_apart(options: RetireOptions, state: str) -> None:
    require_separate(options.src, options.dest, state=state)
    require_unmounted(options.src, options.dest, exclude=options.exclude, state=state)


def _apply(plan: RetirePlan, options: RetireOptions, archive: str, *, resumed: bool) -> None:
    if archive:
        if resumed:
            require_archived(archive, archive, options.src, {file.path: file.sha256 for file in plan.files})
        elif os.path.lexists(archive):
            raise ContimgError(
                "exists already", path=archive, hint="Nothing was removed. Move it away, or name another place."
            )
        else:
            write_archive(archive, options.src, plan.files, plan.folders)
    # Before the first file goes: from here on a file that is missing is no riddle to the next run.
    _write_note(options, _result(plan, archive), done=False)
    _require_apart(options, "Nothing was removed, but the removal is announced; the next run goes on.")
    _remove(plan, options.src)


def _remove(plan: RetirePlan, src: str) -> None:
    hint = "What was removed till then is at the new place; the next run goes on."
    with failing("remove the old state", src, hint), open_root(src) as root:
        for file in plan.files:
            with folder_of(root, file.path) as (folder, name):
                if not still_the_same(folder, name, file):
                    raise ContimgError(
                        "has changed since it was read", path=os.path.join(os.fsencode(src), file.path), hint=hint
                    )
                os.unlink(name, dir_fd=folder)
        for path in plan.folders:
            if path:
                with folder_of(root, path) as (folder, name), _unless_used():
                    os.rmdir(name, dir_fd=folder)
                    os.fsync(folder)
        os.fsync(root)
        with _unless_used():
            os.rmdir(src)
            sync_directory(os.path.dirname(os.path.abspath(src)))


@contextlib.contextmanager
def _unless_used() -> Any:
    """Let a folder be that still holds something, or that something is mounted on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise


def _result(plan: RetirePlan, archive: str) -> dict[str, Any]:
    return {
        "files": len(plan.files) + len(plan.gone),
        "bytes": plan.size,
        "changed_since": plan.changed_since,
        "left": [display(path) for path in plan.unknown[:_NAMED]],
        "left_total": len(plan.unknown),
        "archive": archive,
    }


def _diff(plan: RetirePlan, options: RetireOptions, archive: str) -> dict[str, str]:
    shown = plan.files[:_NAMED]
    more = f"and {len(plan.files) - len(shown)} more\n" if len(plan.files) > len(shown) else ""
    gone = "".join(f"{display(file.path)}\n" for file in shown) + more
    left = "".join(f"{display(path)} (not in the manifest)\n" for path in plan.unknown[:_NAMED])
    after = f"{options.tombstone}\n" + (f"{archive}\n" if archive else "")
    return {"before_header": options.src, "after_header": options.src, "before": gone + left, "after": left + after}


def _read_note(path: str) -> dict[str, Any]:
    """Return the tombstone that an earlier run has left, empty where there is none. Raises ContimgError."""
    if not os.path.lexists(path):
        return {}
    with failing("read the tombstone", path), open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        note: dict[str, Any] = json.loads(text)
        known = isinstance(note["done"], bool) and isinstance(note["result"], dict)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise ContimgError("is no tombstone of ours", path=path, hint="Nothing was removed. Name another place for it.")
    return note


def _write_note(options: RetireOptions, result: Mapping[str, Any], *, done: bool) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    what = "was retired" if done else "is being retired; run dsa110.contimg.retire again if this does not end"
    note = {
        "message": f"The state {options.src} moved to {options.dest}. What stood here {what}.",
        "moved_to": options.dest,
        "manifest": options.manifest,
        "at": moment,
        "done": done,
        "result": result,
    }
    replace_file(options.tombstone, (json.dumps(note, indent=2) + "\n").encode(), mode=0o644)


def retire_options(values: Mapping[str, Any]) -> RetireOptions:
    """Return the options for a module's parameters."""
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
        tombstone=values["tombstone"] or values["src"].rstrip("/") + ".retired",
        require_proof=values["require_proof"],
    )
