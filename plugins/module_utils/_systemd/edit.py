# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit files, drop-ins and compose files: their paths repointed, and put back where they were not changed since.

The journal keeps which paths were replaced, and the backup the file as it was: what an edit wrote follows from both.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._env.journal import EditJournal
from ansible_collections.dsa110.contimg.plugins.module_utils._env.target import (
    moves_of,
    require_unchanged,
    safe_target,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    back_up,
    clear_left,
    expected,
    read_with_status,
    replace_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import require_replaceable
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import replaced
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.line_alignment import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Moves = Sequence[tuple[str, str]]

__all__ = ["repoint_file", "restore_file", "run", "undone_lines"]

_JOURNAL = "unit-edits.json"
_UNTOUCHED = "Nothing was touched."
_SHOWN = 60  # characters of a line that has no setting
_SETTING = re.compile(r"\s*-?\s*([A-Za-z][\w.-]*)\s*[=:]")


@dataclass(frozen=True)
class _Found:
    """A file as it was read."""

    path: str
    text: str
    status: os.stat_result


def _read(path: str, hint: str) -> _Found:
    content, status = read_with_status(path, "read the unit file", hint=hint)
    return _Found(path, _decoded(content), status)


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def repoint_file(path: str, moves: Moves, *, backup_dir: str | None, check: bool) -> dict[str, Any]:
    """Replace paths in a file durably, at their boundaries and in each spelling, and return the module's result.

    :param moves: old and new paths; where several old ones begin at one place the longest decides.
    :param backup_dir: where a copy is kept before a change, and noted for :func:`restore_file`.
    :raises ContimgError: when it cannot be read or written, or is an unsafe link. It is untouched then.
    """
    found = _read(safe_target(path), f"{_UNTOUCHED} Name an existing file.")
    text = replaced(found.text, moves)
    journal = None if backup_dir is None else EditJournal(backup_dir, _JOURNAL)
    if text != found.text:
        require_replaceable(found.path)
        if journal is not None:
            journal.require_usable()
    if not check and text == found.text:
        clear_left(found.path)
    elif not check:
        if journal is not None:
            journal.add(found.path, back_up(found.path, journal.directory), moves=[list(move) for move in moves])
        require_unchanged(found.path, found.status)
        _write(found.path, text, like=found)
    return _result(found.path, found.text, text)


def restore_file(path: str, directory: str, *, check: bool) -> dict[str, Any]:
    """Undo the edits of a file whose backups are in a directory, the newest first, and return the module's result.

    A line that somebody else has changed since stays, and is named in ``kept_lines``. A file that is gone comes back.

    :raises ContimgError: when the file, a backup or the journal cannot be read, or the file cannot be written.
    """
    journal, target = EditJournal(directory, _JOURNAL), safe_target(path)
    edits = journal.edits_of(target)
    kept: list[str] = []
    if not edits:
        before = after = ""
    elif is_there(target):
        found = _read(target, _UNTOUCHED)
        before = found.text
        after, kept = _undone(before, journal, edits)
        if after != before:
            require_replaceable(target)
        if after != before and not check:
            require_unchanged(target, found.status)
            _write(target, after, like=found)
    else:
        found = _read(os.path.join(directory, os.path.basename(edits[0]["backup"])), _UNTOUCHED)
        before, after = "", found.text
        require_replaceable(target)
        if not check:
            require_unchanged(target, None)
            _write(target, after, like=found)
    return {**_result(target, before, after), "kept_lines": kept}


def _write(path: str, text: str, *, like: _Found) -> None:
    """Write a file with the metadata of another one, or of what it was."""
    content, status = text.encode("utf-8", "surrogateescape"), like.status
    mode = stat.S_IMODE(status.st_mode)
    replace_file(path, content, mode=mode, owner=status.st_uid, group=status.st_gid, like=like.path)


def _undone(text: str, journal: EditJournal, edits: Sequence[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return a file without the edits, and the lines that somebody else has changed since, as an operator knows them."""
    kept: list[str] = []
    for entry in reversed(edits):
        before = _decoded(journal.backup_of(entry) or b"")
        text, changed = undone_lines(before, replaced(before, _moves(journal, entry)), text)
        kept += changed
    lines = text.split("\n")
    return text, sorted({_named(line) for line in kept if line not in lines})


def undone_lines(before: str, after: str, now: str) -> tuple[str, list[str]]:
    """Return a file in which the lines that an edit changed are what they were before it, as far as they were not changed since.

    :param before: the file before the edit.
    :param after: the file as the edit wrote it, line for line.
    :param now: the file as it is.
    :returns: the file, and of the lines that somebody has changed since what they were before the edit.
    """
    old, new, lines = before.split("\n"), after.split("\n"), now.split("\n")
    places = aligned(new, lines)
    kept = []
    for number, (was, wrote) in enumerate(zip(old, new)):
        if was != wrote and number in places:
            lines[places[number]] = was
        elif was != wrote:
            kept.append(was)
    return "\n".join(lines), kept


def _moves(journal: EditJournal, entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    with journal.decoding():
        return [(expected(old, str), expected(new, str)) for old, new in expected(entry["moves"], list)]


def _named(line: str) -> str:
    """Return how an operator knows a line: by its setting, not by its value, which may be a secret."""
    setting = _SETTING.match(line)
    return setting.group(1) if setting else redacted(line.strip())[:_SHOWN]


def _marked(before: str, after: str) -> str:
    """Return a file as it may be shown after an edit. A line of which a mask hides the change is marked."""
    hidden, shown = redacted(before).split("\n"), redacted(after).split("\n")
    old, new = before.split("\n"), after.split("\n")
    if len(old) == len(new):
        for number, (was, line) in enumerate(zip(hidden, shown)):
            if was == line and old[number] != new[number]:
                shown[number] += " (changed)"
    return "\n".join(shown)


def _result(path: str, before: str, after: str) -> dict[str, Any]:
    header = printable(path)
    difference = {"before": redacted(before), "after": _marked(before, after)}
    headers = {"before_header": header, "after_header": header}
    return {"changed": before != after, "diff": {**headers, **difference} if before != after else {}}


def run(values: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the module's parameters ask for. Raises ContimgError, see :func:`repoint_file` and :func:`restore_file`."""
    if values["restore_from"] is not None:
        result = restore_file(values["path"], values["restore_from"], check=check)
        names = ", ".join(result["kept_lines"])
        warning = f"{values['path']}: {names}: changed by somebody else since, so the newer line stays"
        return {**result, "warnings": [warning] if names else []}
    moves = moves_of(values["repoint"])
    return {**repoint_file(values["path"], moves, backup_dir=values["backup_dir"], check=check), "warnings": []}
