# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths as text: one notion of "below", and of where a path begins and ends within a line of any language.

A path stands in unit files, shell, compose files, crontabs, code, YAML, JSON, TOML, SQL and URLs. Whoever looks for it, or
replaces it, asks this file. Facts: systemd.service(5) and systemd.exec(5) for the prefixes of commands and paths
(``@-:+!|``), systemd-escape(1), RFC 3986 for percent-encoding, RFC 8259 for ``\\/`` in JSON.
"""

from __future__ import annotations

import functools
import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Mention", "PathText", "is_below", "names_path", "replaced"]

# What stands between two names of a path: slashes (a single dot between two of them means nothing), or one that is escaped.
_FIRST = r"(?:/|\\/|%2[Ff])"
_SLASH = r"(?:/(?:\.?/)*|\\/|%2[Ff])"
# What a path can follow: the start, a character that is neither part of a name nor the end of an expression that yields a
# directory (``$(pwd)/x``, ``*/x``, ``~/x``; but a variable may be empty, as in ``${ROOT}/x``), or an escape sequence that
# stands for such a character.
_OPEN = (
    r"(?:\A|[^\w\udc80-\udcff./%\\)\]*?~\-]|\\(?:[abefnrtv]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})"
    r"|%(?:0[0-9A-Fa-f]|2[0267CcBb]|3[A-Fa-f]|5[Bb]))"
)
_BEGINS = re.compile(
    rf"(?:{_OPEN}-?"  # a hyphen is systemd's prefix for "may be missing", and the shell's for a default (${{NAME:-/x}})
    rf"|{_OPEN}-[A-Za-z]"  # an option's letter: -v/x
    rf"|\$\{{\w+-"  # ${{NAME-/x}}
    rf"|{_OPEN}(?<!\w:)-?{_FIRST}+"  # further slashes before it mean nothing
    rf"|[A-Za-z][\w+.\-]*(?::|%3[Aa]){_FIRST}{{2,}})\Z"  # a URL without a host: file:///x, sqlite:////x
)
# What makes its last name a longer one: a character of names, also after full stops; an escaped blank; a specifier.
_GOES_ON = re.compile(
    r"[\w\udc80-\udcff~+@\-]|\.+[\w\-]|\\(?: |x[0-9A-Fa-f]{2})"
    r"|%(?=[0-9A-Za-z])(?!0[0-9A-Fa-f]|2[23679CcFf]|3[ABDEFabdef]|5[Dd]|7[CDcd])"
)
_REACH = 80  # characters before a path that decide whether it begins there


def is_below(path: str, directory: str) -> bool:
    """Tell whether a path is a directory or lies below it, both written in their shortest form."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


@dataclass(frozen=True)
class Mention:
    """Where a text has a path, and how it is written there: ``plain``, ``percent``, ``json`` or ``unit`` (systemd-escape)."""

    start: int
    end: int
    spelling: str


class PathText:
    """A path that is looked for in text, at its boundaries and in each of its spellings.

    :param path: absolute and in its shortest form.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        names = path.strip("/").split("/")
        self._pattern = re.compile(_FIRST + _SLASH.join("".join(map(_spelled, name)) for name in names))
        escaped = "-".join("".join(map(_escaped_in_unit, name)) for name in names)
        self._unit_name = re.compile(rf"(?<![\w\\\-.]){re.escape(escaped)}(?=\.(?:mount|automount)\b)")
        self._over_bytes = [
            re.compile(pattern.encode(errors="surrogateescape"))
            for pattern in (self._pattern.pattern, re.escape(escaped))
        ]
        #: What every spelling holds: the longest run of letters and digits.
        self.part = max(re.findall("[A-Za-z0-9]*", path), key=len).encode()

    def may_be_in(self, content: bytearray, count: int) -> bool:
        """Tell whether the first bytes of a file may mention the path: quick, and never wrongly no."""
        return any(pattern.search(content, 0, count) for pattern in self._over_bytes)

    def mentions(self, text: str, start: int = 0, end: int | None = None) -> Iterator[Mention]:
        """Yield each mention of the path, or of what lies below it, in order."""
        for found in self._pattern.finditer(text, start, len(text) if end is None else end):
            if _begins(text, found.start()) and not _GOES_ON.match(text, found.end()):
                yield Mention(found.start(), found.end(), _spelling(found.group()))
        for found in self._unit_name.finditer(text, start, len(text) if end is None else end):
            yield Mention(found.start(), found.end(), "unit")

    def search(self, text: str, start: int = 0, end: int | None = None) -> bool:
        """Tell whether a text mentions the path."""
        return next(self.mentions(text, start, end), None) is not None


def _spelled(character: str) -> str:
    """Return a pattern for a character of a name: as it is, after a backslash, percent-encoded, or by its code."""
    if character.isalnum() or character in "_.-":
        return re.escape(character)
    encoded = urllib.parse.quote(character, safe="", errors="surrogateescape")
    codes = "".join(rf"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
    return rf"(?:\\?{re.escape(character)}|{encoded}|(?i:{codes}))"


def _escaped_in_unit(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in "_.:"):
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def _begins(text: str, start: int) -> bool:
    return bool(_BEGINS.search(text[max(0, start - _REACH) : start]))


def _spelling(found: str) -> str:
    if found.startswith("%"):
        return "percent"
    return "json" if found.startswith("\\/") else "plain"


@functools.lru_cache(maxsize=256)
def _compiled(path: str) -> PathText:
    return PathText(path.rstrip("/"))


def names_path(text: str, path: str) -> bool:
    """Tell whether a text mentions a path, or what lies below it, at the boundaries of both."""
    return _compiled(path).search(text)


def replaced(text: str, moves: Sequence[tuple[str, str]]) -> str:
    """Return a text in which old paths are replaced by new ones, each in the spelling that it has there.

    :param moves: old and new paths; where several old ones begin at one place the longest decides.
    """
    found = sorted(
        ((one.start, -one.end, one.spelling, new) for old, new in moves for one in _compiled(old).mentions(text)),
    )
    pieces, position = [], 0
    for start, negative_end, spelling, new in found:
        if start >= position:
            pieces += [text[position:start], _in_spelling(new, spelling)]
            position = -negative_end
    return "".join([*pieces, text[position:]])


def _in_spelling(path: str, spelling: str) -> str:
    if spelling == "percent":
        return urllib.parse.quote(path, safe="", errors="surrogateescape")
    if spelling == "json":
        return path.replace("/", "\\/")
    if spelling == "unit":
        return "-".join("".join(map(_escaped_in_unit, name)) for name in path.strip("/").split("/"))
    return path
