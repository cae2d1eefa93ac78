# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory looks for in a line: a path at its boundaries, patterns; and the line as it may be shown."""

from __future__ import annotations

import functools
import posixpath
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import PathText, is_below
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import MASK, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Needle", "Shown", "shortened"]

_WORDS = re.compile(r"[\w \-/:,|]+", re.ASCII)
_LONGEST = 300
_JUDGED = 1 << 22  # characters of a file that are judged together


class Needle:
    """A path and patterns to look for.

    :param prefix: an absolute path, empty for none.
    :param patterns: regular expressions, matched line by line.
    :raises ContimgError: when the path is not absolute and normal, when a pattern is none, or when nothing is asked for.
    """

    def __init__(self, prefix: str, patterns: Sequence[str] = ()) -> None:
        self.prefix = prefix.rstrip("/")
        normal = posixpath.normpath(self.prefix) == self.prefix and self.prefix.startswith("/")
        if (prefix and not normal) or not (prefix or patterns):
            hint = "Nothing was touched. Name an absolute path other than / and without '..', or patterns."
            raise ContimgError("cannot be looked for", path=prefix, hint=hint)
        self.path = PathText(self.prefix) if prefix else None
        self._parts = _parts_of(self.prefix)
        self.patterns = [_compiled(pattern) for pattern in patterns]

    def may_be_composed(self, text: str) -> bool:
        """Return whether a program may compose the path of parts, each of which ends where a name in the path does.

        That takes a string which is a path above it, or its first name without a slash, and one with its last name.
        """
        return all(pattern.search(text) for pattern in self._parts)

    def in_line(self, line: str) -> Iterator[tuple[int, str]]:
        """Yield where a line has a match, and what matched: the path, or the pattern as it was given."""
        if self.path is not None:
            for mention in self.path.mentions(line):
                yield mention.start, self.prefix
        for pattern in self.patterns:
            for match in pattern.finditer(line):
                yield match.start(), pattern.pattern

    def bytes_patterns(self) -> list[re.Pattern[bytes]]:
        """Return the patterns for the bytes of a whole file: wherever a line matches, one of these does."""
        return [_over_bytes(pattern.pattern) for pattern in self.patterns]

    def names(self, value: str) -> bool:
        """Return whether a value is the path or a path below it."""
        return bool(self.prefix) and is_below(value, self.prefix)


def _parts_of(prefix: str) -> list[re.Pattern[str]]:
    """Return what a program must hold to compose a path, as far as characters tell."""
    names = prefix.strip("/").split("/")
    above = ["/" + "/".join(names[:count]) for count in range(1, len(names))]
    first = "|".join(map(re.escape, above))
    return [
        re.compile(rf"[\"'](?:(?:{first or '/'})/?[\"'{{]|{re.escape(names[0])}[\"'/])"),
        re.compile(rf"[\"'/]{re.escape(names[-1])}[\"'/\\{{]"),
    ]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ContimgError(f"'{pattern}' is not a regular expression: {error}", hint="Nothing was touched.") from error


def _over_bytes(pattern: str) -> re.Pattern[bytes]:
    """Return a pattern for bytes. One that is more than words and alternatives makes every file be read."""
    words = pattern.replace(r"\b", "")
    return re.compile(words.encode() if _WORDS.fullmatch(words) else b"")


class Shown:
    """The lines of a file as they may be shown: a secret may span several of them, so they are judged together.

    :param end: a regular expression for the end of a line.
    """

    def __init__(self, text: str, end: str = "\n") -> None:
        self._text = text
        self._end = end

    @functools.cached_property
    def _lines(self) -> list[str]:
        lines = re.split(self._end, self._text)
        together = len(self._text) <= _JUDGED
        masked = re.split(self._end, redacted(self._text)) if together else list(map(redacted, lines))
        return masked if len(masked) == len(lines) else [MASK] * len(lines)

    def line(self, number: int) -> str:
        """Return a line by its number, counted from 1; it is cut where it is long."""
        return shortened(self._lines[number - 1].strip())


def shortened(line: str) -> str:
    """Return a line that is cut where it is long, as text that can be printed."""
    line = line.encode("utf-8", "backslashreplace").decode()
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
