# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of edits of an EnvironmentFile: each edit is noted without a secret, and undone where it still stands.

A note names the backup and holds keyed digests of what the edit wrote, of the whole file and of each changed assignment.
So an undo takes back exactly the assignments that were not changed since, and no secret stands in the journal.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import Edit, edited, effective, unproved
from ansible_collections.dsa110.contimg.plugins.module_utils._env.grammar import parse
from ansible_collections.dsa110.contimg.plugins.module_utils._env.journal import EditJournal
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import expected

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

__all__ = ["Journal", "Note", "State", "Undone", "undo"]

_JOURNAL = "edits.json"


@dataclass(frozen=True)
class State:
    """What a file is: its content (``None`` where there is no file), and its mode and numeric owner and group."""

    content: bytes | None
    ownership: tuple[int, int, int]


@dataclass(frozen=True)
class Note:
    """What one edit has made of a file.

    :ivar kept: the file as it was before, ``None`` where the edit has made it.
    :ivar key: the key of the digests, hexadecimal.
    :ivar content: the digest of the whole file as the edit wrote it.
    :ivar names: by changed name the digest of the value that the edit wrote, ``None`` where it removed the name.
    :ivar before: mode, owner and group before the edit.
    :ivar after: mode, owner and group that the edit gave.
    """

    kept: bytes | None
    key: str
    content: str
    names: Mapping[str, str | None]
    before: tuple[int, int, int]
    after: tuple[int, int, int]

    def digest(self, value: bytes | None) -> str | None:
        """Return the keyed digest of a value, ``None`` for none."""
        return None if value is None else hmac.new(bytes.fromhex(self.key), value, hashlib.sha256).hexdigest()

    def written_in(self, values: Mapping[bytes, bytes]) -> set[bytes]:
        """Return the changed names whose values are what the edit wrote."""
        return {name.encode() for name, wrote in self.names.items() if self.digest(values.get(name.encode())) == wrote}


@dataclass(frozen=True)
class Undone:
    """What an undo makes of a file.

    :ivar state: the file as it is to be.
    :ivar kept: names that somebody has changed since an edit: their values stay.
    :ivar made: whether an edit has made the file.
    """

    state: State
    kept: tuple[bytes, ...] = ()
    made: bool = False


class Journal(EditJournal):
    """The notes of all edits of environment files whose backups are kept in one directory."""

    def __init__(self, directory: str) -> None:
        """Name the directory; nothing is read yet."""
        super().__init__(directory, _JOURNAL)

    def note(self, path: str, backup: str, *, before: State, after: State) -> None:
        """Note an edit durably; it has to be noted before the file changes. Raises ContimgError."""
        note = Note(None, secrets.token_hex(16), "", {}, before.ownership, after.ownership)
        content = after.content or b""
        old, new = effective(before.content or b""), effective(content)
        changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        self.add(
            path,
            backup,
            key=note.key,
            content=note.digest(content),
            names={name.decode(): note.digest(new.get(name)) for name in changed},
            before=before.ownership,
            after=after.ownership,
        )

    def notes(self, path: str) -> list[Note]:
        """Return the notes of one file. Raises ContimgError when the journal or a backup cannot be read."""
        return [self._note(entry) for entry in self.edits_of(path)]

    def _note(self, entry: dict[str, Any]) -> Note:
        kept = self.backup_of(entry)
        with self.decoding():
            bytes.fromhex(entry["key"])
            names, content = expected(entry["names"], dict), expected(entry["content"], str)
            return Note(kept, entry["key"], content, names, _three(entry["before"]), _three(entry["after"]))


def _three(numbers: Sequence[int]) -> tuple[int, int, int]:
    mode, owner, group = map(int, numbers)
    return mode, owner, group


def undo(notes: Sequence[Note], now: State) -> Undone:
    """Return what a file is once its edits are undone, the newest first.

    A file that is byte for byte what an edit wrote becomes byte for byte what it was before. In any other, the assignments
    that the edit changed become what they were, unless somebody has changed them since the newest edit of each. A file that is
    gone comes back. To undo once more changes nothing: the value that somebody gave is never taken for that of an older edit.

    :raises ContimgError: when the result would not be read as intended.
    """
    if not notes or (now.content is None and notes[0].kept is None):
        return Undone(now)
    if now.content is None:
        return Undone(State(notes[0].kept, notes[0].before))
    state, original = now, {}
    stays: set[bytes] = set()
    for note in reversed(notes):
        old, values = effective(note.kept or b""), effective(state.content or b"")
        original.update({name: old.get(name) for name in map(str.encode, note.names)})
        ours = note.written_in(values) - stays
        # An edit that was noted and not made has left what was there before.
        stays |= {
            name for name in map(str.encode, note.names) if name not in ours and values.get(name) != old.get(name)
        }
        state = _without(note, state, ours, whole=stays.isdisjoint(map(str.encode, note.names)))
    left = effective(state.content or b"")
    kept = sorted(name for name in original if original[name] != left.get(name))
    return Undone(state, tuple(kept), made=notes[0].kept is None)


def _without(note: Note, now: State, ours: Collection[bytes], *, whole: bool) -> State:
    """Return a file without one edit.

    :param ours: the names whose values are still those of the edit.
    :param whole: whether a file that is byte for byte what the edit wrote becomes what it was before.
    """
    ownership = note.before if now.ownership == note.after else now.ownership
    if whole and note.digest(now.content) == note.content:
        return State(note.kept, ownership)
    content = _reverted(now.content or b"", note.kept or b"", sorted(ours))
    return State(content or (None if note.kept is None else b""), ownership)


def _reverted(content: bytes, before: bytes, names: Sequence[bytes]) -> bytes:
    """Return a file in which some names are what they were before, written as they were.

    :raises ContimgError: when neither the old text nor a new one would be read as intended.
    """
    old = {one.name: one for one in parse(before) if one.valid}
    values = {name: old[name].value for name in names if name in old}
    texts = {name: before[old[name].start : old[name].end] for name in values}
    edit = Edit(values=values, absent=frozenset(names) - set(values), texts=texts)
    for tried in (edit, replace(edit, texts={})):
        result = edited(content, tried)
        wrong = unproved(content, result, tried)
        if not wrong:
            return result
    listed = ", ".join(printable(name) for name in sorted(wrong))
    raise ContimgError(
        f"not every systemd would read these as they were before the edit: {listed}",
        hint="Nothing was touched. Look for a comment that ends in a backslash above them.",
    )
