# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tombstone of an old state: where it went and how far its removal is, for operators and for the next run.

It is kept in the run directory, where only root writes. What it holds is data all the same: it tells a run what to look at, and
never stands for what the run can look at itself.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    decoding,
    ensure_private_directory,
    expected,
    read_json,
    read_optional,
    replace_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["DONE", "REMOVING", "Note", "read_note", "tombstone_of", "write_note"]

#: Files may be gone.
REMOVING = "removing"
#: All files that were copied are gone.
DONE = "done"

_VERSION = 1
_MESSAGES = {
    REMOVING: "is being removed; run dsa110.contimg.retire again if this does not end",
    DONE: "was retired",
}
_COUNTS = ("files", "bytes", "changed_since", "left_total")


@dataclass(frozen=True)
class Note:
    """What is noted of an old state.

    :ivar stage: ``REMOVING`` or ``DONE``.
    :ivar archive: where the archive is; empty without one.
    :ivar counts: ``files``, ``bytes``, ``changed_since`` and ``left_total`` of the run that has begun to remove.
    :ivar left: paths that stay, as they are shown.
    """

    src: str
    dest: str
    manifest: str
    stage: str
    archive: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    left: tuple[str, ...] = ()


def tombstone_of(run_dir: str) -> str:
    """Return the path of the tombstone in a run directory."""
    return os.path.join(run_dir, "retired.json")


def read_note(run_dir: str, src: str, dest: str) -> Note | None:
    """Return what earlier runs have noted of an old state, ``None`` where nothing is.

    :raises ContimgError: when the file is no tombstone, or that of another state.
    """
    path = tombstone_of(run_dir)
    content = read_optional(path, "read the tombstone", hint="Nothing was removed.")
    if content is None:
        return None
    with decoding(path, "is not a tombstone", "Nothing was removed. Move it away, and run again."):
        note = _checked(read_json(content))
    if tuple(map(os.path.normpath, (note.src, note.dest))) != tuple(map(os.path.normpath, (src, dest))):
        hint = "Nothing was removed. Name the run directory of this move (contimg_run_dir)."
        raise ContimgError(f"is the tombstone of {note.src}, which moved to {note.dest}", path=path, hint=hint)
    return note


def _checked(fields: Mapping[str, Any]) -> Note:
    """Return what a tombstone holds, and nothing else that is in its file. Raises ValueError, KeyError or TypeError."""
    texts = {name: expected(fields[name], str) for name in ("src", "dest", "manifest", "stage", "archive")}
    result = fields["result"]
    note = Note(
        **texts,
        counts={name: expected(result[name], int) for name in _COUNTS},
        left=tuple(expected(path, str) for path in expected(result["left"], list)),
    )
    if fields["version"] != _VERSION or note.stage not in _MESSAGES:
        raise ValueError
    return note


def write_note(run_dir: str, note: Note) -> None:
    """Write the tombstone durably. Raises ContimgError."""
    content = {
        "version": _VERSION,
        "message": f"The state {note.src} moved to {note.dest}. The old one {_MESSAGES[note.stage]}.",
        "src": note.src,
        "dest": note.dest,
        "manifest": note.manifest,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "stage": note.stage,
        "archive": note.archive,
        "result": {**note.counts, "left": list(note.left)},
    }
    ensure_private_directory(run_dir)
    replace_file(tombstone_of(run_dir), (json.dumps(content, indent=2) + "\n").encode(), mode=0o644)
