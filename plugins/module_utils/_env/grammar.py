# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar of a systemd EnvironmentFile, read and written.

Facts: systemd.exec(5) and the behaviour of systemd itself (docs/env_file.md says how it was asked). Quotes are special only
where a value, or a part of it after a closing quote, begins. Nothing is expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Assignment", "format_value", "is_name", "is_text", "parse"]

_NEWLINE = b"\n\r"
_WHITESPACE = b" \t\n\r"
_COMMENT = b"#;"
_KEY_END = b"=\n\r"
_QUOTED_ESCAPES = b'"\\`$'
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*\Z")
_BARE = re.compile(rb"[A-Za-z0-9_./:,@%+=-]*\Z")


@dataclass(frozen=True)
class Assignment:
    """An assignment and where it stands.

    :ivar start: offset of its first byte, white space before it not included.
    :ivar end: offset behind its last byte, the line's end not included.
    :ivar valid: false for a name that systemd drops, such as ``export X``.
    """

    name: bytes
    value: bytes
    start: int
    end: int
    valid: bool


def is_name(name: bytes) -> bool:
    """Return whether systemd accepts a name of a variable."""
    return bool(_NAME.match(name))


def is_text(value: bytes) -> bool:
    """Return whether systemd accepts a name or value: UTF-8 without NUL and without Unicode's noncharacters.

    One that it does not accept, also under a name that it would drop, makes it refuse the whole file.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return False
    return not any(one == "\0" or "\ufdd0" <= one <= "\ufdef" or ord(one) & 0xFFFE == 0xFFFE for one in text)


def format_value(value: bytes) -> bytes:
    """Return a value that :func:`is_text` accepts as it has to stand in the file for systemd and bash to read it back."""
    if _BARE.match(value):
        return value
    return b'"' + re.sub(rb'(["\\`$])', rb"\\\1", value) + b'"'


def parse(content: bytes, *, joining_comments: bool = True) -> tuple[Assignment, ...]:
    """Return all assignments of a file in their order. The last of a repeated name wins.

    :param joining_comments: whether a comment that ends in a backslash swallows the next line, as before systemd 254.
    """
    return tuple(_Reader(content, joining_comments=joining_comments).read())


class _Reader:
    """Walks over the bytes of a file once."""

    def __init__(self, content: bytes, *, joining_comments: bool) -> None:
        self.content = content
        self.joining_comments = joining_comments
        self.position = 0
        self.found: list[Assignment] = []

    def read(self) -> list[Assignment]:
        while self.position < len(self.content):
            byte = self._peek()
            if byte in _WHITESPACE:
                self.position += 1
            elif byte in _COMMENT:
                self._skip_comment()
            else:
                self._line()
        return self.found

    def _peek(self) -> bytes:
        return self.content[self.position : self.position + 1]

    def _next(self) -> bytes:
        self.position += 1
        return self.content[self.position - 1 : self.position]

    def _skip_comment(self) -> None:
        while self.position < len(self.content):
            byte = self._next()
            if byte == b"\\" and (self.joining_comments or self._peek() not in _NEWLINE):
                self.position += 1
            elif byte in _NEWLINE:
                return

    def _line(self) -> None:
        """Read a line that is no comment. A name has one byte at least, so a line may begin with a ``=`` of the name."""
        start = self.position
        self.position += 1
        while self.position < len(self.content) and self._peek() not in _KEY_END:
            self.position += 1
        if self._peek() == b"=":
            name = self.content[start : self.position].rstrip(_WHITESPACE)
            self.position += 1
            value = self._value()
            self.found.append(Assignment(name, value, start, self.position, is_name(name)))

    def _value(self) -> bytes:
        """Read up to the end of the value, which a quote or a backslash may put on a later line."""
        value = bytearray()
        while self.position < len(self.content) and self._peek() not in _NEWLINE:
            byte = self._next()
            if byte == b"'":
                value += self._single_quoted()
            elif byte == b'"':
                value += self._double_quoted()
            elif byte not in _WHITESPACE:
                self.position -= 1
                return bytes(value + self._unquoted())
        return bytes(value)

    def _single_quoted(self) -> bytes:
        end = self.content.find(b"'", self.position)
        end = len(self.content) if end < 0 else end
        value = self.content[self.position : end]
        self.position = min(end + 1, len(self.content))
        return value

    def _double_quoted(self) -> bytes:
        value = bytearray()
        while self.position < len(self.content):
            byte = self._next()
            if byte == b'"':
                break
            value += byte if byte != b"\\" else self._escaped_in_quotes()
        return bytes(value)

    def _escaped_in_quotes(self) -> bytes:
        escaped = self._next()
        if escaped in (b"", b"\n"):
            return b""
        return escaped if escaped in _QUOTED_ESCAPES else b"\\" + escaped

    def _unquoted(self) -> bytes:
        """Read a value without quotes; only white space at its end that no backslash protects is dropped."""
        value, kept = bytearray(), 0
        while self.position < len(self.content) and self._peek() not in _NEWLINE:
            byte = self._next()
            if byte == b"\\":
                escaped = self._next()
                value += b"" if escaped in _NEWLINE else escaped
                kept = len(value)
            else:
                value += byte
                kept = kept if byte in _WHITESPACE else len(value)
        return bytes(value[:kept])
