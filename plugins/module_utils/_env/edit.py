# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Editing the bytes of an EnvironmentFile. Nothing here touches a disk."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._env.grammar import Assignment, format_value, parse
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import is_below, replaced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["REFERENCE", "Edit", "edited", "effective", "repointed", "settled", "unproved", "wanted"]

REFERENCE = re.compile(rb"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BEGIN, _END = b"# BEGIN dsa110.contimg\n", b"# END dsa110.contimg\n"
_END_LINE = re.compile(rb"^# END dsa110\.contimg[ \t]*\r?$", re.MULTILINE)
_EMPTY_BLOCK = re.compile(rb"^# BEGIN dsa110\.contimg[ \t]*\r?\n# END dsa110\.contimg[ \t]*\r?(\n|\Z)", re.MULTILINE)
_DEEPEST = 50
# The kernel gives no process a longer assignment (MAX_ARG_STRLEN).
_LONGEST = 128 * 1024


@dataclass(frozen=True)
class Edit:
    """What an operator wants of a file.

    :ivar values: assignments by name.
    :ivar directories: the same, for names that have no path to which ``repoint`` leads, or one below it; see :func:`settled`.
    :ivar secret_names: names whose values are never shown, besides those that look like secrets.
    :ivar absent: names that go.
    :ivar repoint: old and new paths without a slash at their end; the longest old path that matches decides.
    :ivar expand: whether ``${NAME}`` is resolved from the same file.
    :ivar texts: how an assignment of ``values`` is written, where that is not up to :func:`format_value`.
    """

    values: Mapping[bytes, bytes] = field(default_factory=dict)
    directories: Mapping[bytes, bytes] = field(default_factory=dict)
    secret_names: frozenset[bytes] = frozenset()
    absent: frozenset[bytes] = frozenset()
    repoint: Sequence[tuple[bytes, bytes]] = ()
    expand: bool = False
    texts: Mapping[bytes, bytes] = field(default_factory=dict)

    def line(self, name: bytes, value: bytes) -> bytes:
        """Return an assignment as it is written."""
        return self.texts.get(name) or name + b"=" + format_value(value)


def effective(content: bytes, *, joining_comments: bool = True) -> dict[bytes, bytes]:
    """Return what a process gets of a file; for ``joining_comments`` see :func:`parse`."""
    return {one.name: one.value for one in parse(content, joining_comments=joining_comments) if one.valid}


def settled(content: bytes, edit: Edit) -> Edit:
    """Return an edit in which the directories that the file does not name more precisely have become values."""
    places = [os.fsdecode(new) for _old, new in edit.repoint]
    there = wanted(effective(content), edit)
    kept = {name for name in edit.directories if _is_within(there.get(name, b""), places)}
    made = {name: value for name, value in edit.directories.items() if name not in kept and name not in edit.absent}
    return replace(edit, values={**made, **edit.values})


def _is_within(value: bytes, places: Sequence[str]) -> bool:
    path = os.fsdecode(value)
    return path.startswith("/") and any(is_below(os.path.normpath(path), place) for place in places)


def wanted(values: Mapping[bytes, bytes], edit: Edit) -> dict[bytes, bytes]:
    """Return the assignments that an edit makes of others.

    :raises ContimgError: when a value would expand through too many names, or to more than a process can be given.
    """
    return _Resolution({**values, **edit.values}, edit).all()


class _Resolution:
    """Resolves references, each name once, and moves the paths of what the edit does not set itself."""

    def __init__(self, values: Mapping[bytes, bytes], edit: Edit) -> None:
        self.values = {name: values[name] for name in values if name not in edit.absent}
        self.edit = edit
        self.resolved: dict[bytes, bytes] = {}
        self.under_way: list[bytes] = []

    def all(self) -> dict[bytes, bytes]:
        return {name: self.one(name) for name in self.values}

    def one(self, name: bytes) -> bytes:
        if name not in self.resolved:
            value = self._expanded(name) if self.edit.expand else self.values[name]
            self.resolved[name] = value if name in self.edit.values else repointed(value, self.edit.repoint)
        return self.resolved[name]

    def _expanded(self, name: bytes) -> bytes:
        self.under_way.append(name)
        if len(self.under_way) > _DEEPEST:
            raise _not_expandable(self.under_way[0], f"refers to others through more than {_DEEPEST} names")
        value = REFERENCE.sub(self._referred, self.values[name])
        if len(value) > _LONGEST:
            raise _not_expandable(name, f"would expand to more than {_LONGEST} bytes, which no process can be given")
        self.under_way.pop()
        return value

    def _referred(self, reference: re.Match[bytes]) -> bytes:
        name = reference.group(1)
        return self.one(name) if name in self.values and name not in self.under_way else reference.group()


def _not_expandable(name: bytes, why: str) -> ContimgError:
    return ContimgError(
        f"{printable(name)} {why}", hint="Nothing was touched. Write its value out, or leave 'expand' off."
    )


def repointed(value: bytes, repoint: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a value in which every old path, and what lies below it, is replaced by the new one, at the path's boundaries."""
    moves = [(os.fsdecode(old), os.fsdecode(new)) for old, new in repoint]
    return os.fsencode(replaced(os.fsdecode(value), moves))


def edited(content: bytes, edit: Edit) -> bytes:
    """Return a file with an edit applied; every byte that the edit does not concern stays.

    Names stand where they stood, a repeated one where it won; new ones go to a marked block at the end.

    :raises ContimgError: see :func:`wanted`.
    """
    assignments = parse(content)
    winners = {one.name: one for one in assignments if one.valid}
    values = wanted({name: winners[name].value for name in winners}, edit)
    pieces, position = [], 0
    for one in assignments:
        change = _change(content, one, winners=winners, value=values.get(one.name), edit=edit)
        if change is not None:
            pieces += [content[position : change.start], change.text]
            position = change.end
    result = b"".join([*pieces, content[position:]])
    result = _with_new(result, [edit.line(name, values[name]) for name in sorted(values) if name not in winners])
    return content if result == content else _EMPTY_BLOCK.sub(b"", result)


@dataclass(frozen=True)
class _Change:
    """A span of the file and what comes in its place."""

    start: int
    end: int
    text: bytes = b""


def _change(
    content: bytes, one: Assignment, *, winners: Mapping[bytes, Assignment], value: bytes | None, edit: Edit
) -> _Change | None:
    """Return what becomes of an assignment, ``None`` where it stays as it is."""
    winner = winners.get(one.name)
    if winner is None or (value == winner.value and one.name not in edit.values):
        return None
    if value is None or one is not winner:
        return _removal(content, one)
    return None if value == one.value else _Change(one.start, one.end, edit.line(one.name, value))


def _removal(content: bytes, one: Assignment) -> _Change:
    """Return the removal of all lines of an assignment."""
    before, after = content[: one.start], content[one.end : one.end + 2]
    indent = len(before) - len(before.rstrip(b" \t"))
    return _Change(one.start - indent, one.end + (2 if after == b"\r\n" else len(after[:1])))


def _with_new(content: bytes, new: Sequence[bytes]) -> bytes:
    """Return the content with new assignments in the marked block."""
    if not new:
        return content
    lines = b"".join(line + b"\n" for line in new)
    end = _END_LINE.search(content)
    if end:
        return content[: end.start()] + lines + content[end.start() :]
    return _closed(content) + _BEGIN + lines + _END


def _closed(content: bytes) -> bytes:
    """Return a file to which lines can be added: an open quote or a last backslash would draw them into its value."""
    last = parse(content)[-1:]
    if last and last != parse(_ended(content) + _BEGIN)[-1:]:
        content = content[: last[0].start] + Edit().line(last[0].name, last[0].value)
    return _ended(content)


def _ended(content: bytes) -> bytes:
    return content if not content or content.endswith(b"\n") else content + b"\n"


def unproved(before: bytes, after: bytes, edit: Edit) -> set[bytes]:
    """Return the names that an edit has not brought to what was asked, as an old or a new systemd reads the file.

    Both agree on most files. They do not where a comment ends in a backslash and the next line is an assignment.
    """
    names: set[bytes] = set()
    for joining in (True, False):
        asked = wanted(effective(before, joining_comments=joining), edit)
        got = effective(after, joining_comments=joining)
        names |= {name for name in {*asked, *got} if asked.get(name) != got.get(name)}
    return names
