# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every use of a path, or of patterns, in the files of trees: where, of which kind, and what can be rewritten."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names
from ansible_collections.dsa110.contimg.plugins.module_utils._references.composed import compositions
from ansible_collections.dsa110.contimg.plugins.module_utils._references.kinds import DEAD, language_of, line_kind
from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import LINE_END, parsed
from ansible_collections.dsa110.contimg.plugins.module_utils._references.rewrite import Rewriting, rewriting
from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Shown
from ansible_collections.dsa110.contimg.plugins.module_utils._references.walk import File, Trees, text_of
from ansible_collections.dsa110.contimg.plugins.module_utils._workers import available_processors, forked

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._references.composed import Composition
    from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import Source
    from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Needle
    from ansible_collections.dsa110.contimg.plugins.module_utils._references.variables import Variables

__all__ = ["Change", "Inventory", "Reference", "take_inventory"]

_FIRST_LINE = 4096


@dataclass(frozen=True)
class Reference:
    """A use; see the RETURN of ``path_references``."""

    file: str
    line: int
    text: str
    kind: str
    match: str
    rewritten: bool = False
    reason: str = ""

    def is_live(self, known: re.Pattern[str]) -> bool:
        """Return whether something executes or reads it, as far as its kind tells, and its file is not known."""
        return self.kind not in DEAD and not known.match(self.file)


@dataclass(frozen=True)
class Change:
    """A file that would be rewritten."""

    file: File
    after: bytes


@dataclass
class Inventory:
    """What was found.

    :ivar files: how many files were looked at.
    :ivar unread: what could not be looked at, and why.
    :ivar missing: roots that do not exist.
    :ivar known: the files whose references are not live, as :func:`known_names` returns it.
    """

    references: list[Reference] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    files: int = 0
    unread: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    known: re.Pattern[str] = field(default_factory=lambda: known_names(()))

    def totals(self) -> dict[str, Any]:
        """Return the counts: of files, of references, of those that are live, were rewritten, by kind and by what matched."""
        return {
            "files": self.files,
            "references": len(self.references),
            "live": sum(one.is_live(self.known) for one in self.references),
            "rewritten": sum(one.rewritten for one in self.references),
            "kinds": dict(sorted(Counter(one.kind for one in self.references).items())),
            "matches": dict(sorted(Counter(one.match for one in self.references).items())),
        }

    def listed(self, most: int) -> list[dict[str, Any]]:
        """Return the first references as the module returns them."""
        return [{**asdict(one), "live": one.is_live(self.known)} for one in self.references[:most]]


def take_inventory(roots: Sequence[str], *, exclude: Sequence[str], needle: Needle, variables: Variables) -> Inventory:
    """Look through trees, with every processor there is up to four.

    :raises ContimgError: when a root cannot be opened.
    """
    shares = available_processors()

    def look(share: int) -> tuple[Any, ...]:
        trees = Trees(roots, exclude, _wanted(needle), share=(share, shares))
        found = [(trees.number, _packed(*_in_file(file, needle, variables))) for file in trees.read()]
        return found, trees.files, trees.unread, trees.missing

    with error_context("look through it", roots[0] if roots else "."):
        return _joined([answer for _share, answer in forked(look, shares, shares)])


def _packed(references: Sequence[Reference], change: Change | None) -> tuple[Any, ...]:
    """Return what was found in a file as it goes from process to process."""
    becoming = None if change is None else (*vars(change.file).values(), change.after)
    return [tuple(vars(one).values()) for one in references], becoming


def _joined(answers: Sequence[tuple[Any, ...]]) -> Inventory:
    """Return the whole inventory, files in the order of their paths. What concerns directories, every share has met."""
    inventory = Inventory()
    for _number, (references, becoming) in sorted(
        (one for found, *_rest in answers for one in found), key=itemgetter(0)
    ):
        inventory.references += [Reference(*one) for one in references]
        if becoming is not None:
            *file, after = becoming
            inventory.changes.append(Change(File(*file), after))
    inventory.files = sum(files for _found, files, _unread, _missing in answers)
    inventory.unread = sorted({one for _found, _files, unread, _missing in answers for one in unread})
    inventory.missing = answers[0][3]
    return inventory


def _in_file(file: File, needle: Needle, variables: Variables) -> tuple[list[Reference], Change | None]:
    """Return the uses in a file, and the file as it would be rewritten."""
    language = language_of(file.name, file.content[:_FIRST_LINE].decode("utf-8", "replace"))
    source = parsed(file.content) if language == "python" else None
    if source is None:
        return list(_in_text(file, language, needle)), None
    return _in_python(file, source, needle=needle, variables=variables)


def _wanted(needle: Needle) -> Callable[[str, bytearray, int], bool]:
    """Return what tells from the bytes of a file whether it is worth reading: a search for what each of its spellings holds."""
    prefix = needle.prefix.encode()
    path = needle.path
    patterns = needle.bytes_patterns()

    def wanted(name: str, buffer: bytearray, count: int) -> bool:
        if path is not None and buffer.find(path.part, 0, count) >= 0:
            if buffer.find(prefix, 0, count) >= 0 or path.may_be_in(buffer, count):
                return True
            if _may_be_python(name) and needle.may_be_composed(buffer[:count].decode("latin-1")):
                return True
        utf_16 = count > 1 and buffer[0] | 1 == 0xFF and buffer[1] | 1 == 0xFF
        return utf_16 or any(pattern.search(buffer, 0, count) for pattern in patterns)

    return wanted


def _may_be_python(name: str) -> bool:
    return name.endswith((".py", ".pyi", ".pyw")) or "." not in name


def _in_text(file: File, language: str, needle: Needle) -> Iterator[Reference]:
    """Yield the uses in a file that is not Python, or that this Python cannot parse."""
    text = text_of(file.content)
    shown = Shown(text)
    for number, line in enumerate(text.split("\n"), 1):
        for position, match in needle.in_line(line):
            yield _reference(file, number, shown, kind=line_kind(language, line, position), match=match)


def _reference(file: File, number: int, shown: Shown, *, kind: str, match: str, reason: str = "") -> Reference:
    return Reference(printable(file.path), number, shown.line(number), kind, printable(match), reason=reason)


def _in_python(
    file: File, source: Source, *, needle: Needle, variables: Variables
) -> tuple[list[Reference], Change | None]:
    composed = list(compositions(source, needle)) if variables or needle.may_be_composed(source.text) else []
    becoming = rewriting(source, needle, variables, composed) if variables else Rewriting(source.text)
    change = Change(file, becoming.text.encode(source.encoding)) if becoming.rewritten else None
    shown = Shown(source.text, LINE_END)
    found: list[Reference] = []
    seen: set[int] = set()
    for start, line in source.lines():
        for position, match in needle.in_line(line):
            literal = source.literal_at(start + position)
            kind = literal.kind if literal else line_kind("python", line, position)
            one = _reference(file, source.line_of(start), shown, kind=kind, match=match)
            if literal is not None:
                seen.add(literal.start)
                if match == needle.prefix:
                    reason = becoming.reasons.get(literal.start, "")
                    one = replace(one, rewritten=literal.start in becoming.rewritten, reason=reason)
            found.append(one)
    found += _composed(file, source, composed, needle=needle, seen=seen, shown=shown)
    return sorted(found, key=lambda one: one.line), change


def _composed(
    file: File, source: Source, composed: Sequence[Composition], *, needle: Needle, seen: set[int], shown: Shown
) -> Iterator[Reference]:
    """Yield the paths that are made of parts, none of which shows the whole."""
    if needle.path is None:
        return
    lines = {}
    for literal in source.literals:
        value = literal.value if literal.kind == "python_string" and literal.start not in seen else ""
        if needle.path.search(value):
            lines[literal.start] = source.line_of(literal.start)
    for one in composed:
        if not any(needle.path.search(text) for _identity, text in one.value.literals):
            lines[source.span(one.node)[0]] = one.node.lineno
    for number in lines.values():
        reason = "made of several parts"
        yield _reference(file, number, shown, kind="composed_path", match=needle.prefix, reason=reason)
