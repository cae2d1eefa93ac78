# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths as text: one notion of "below", and of where a path begins and ends within a line of any language.

A path stands in unit files, shell, compose files, crontabs, code, YAML, JSON, TOML, SQL and URLs. Code that looks for it, or
replaces it, asks this file. Facts: systemd.service(5) and systemd.exec(5) for the prefixes of commands and paths
(``@-:+!|``), systemd-escape(1), RFC 3986 for percent-encoding, RFC 8259 for ``\\/`` in JSON.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Mention", "PathText", "is_below", "known_names", "names_path", "replaced"]

# A character by its code: percent-encoded (``%%`` in units, ``\%`` in crontabs, ``%25`` where it was encoded twice), ``\x2d``,
# ``\u002d``, ``\055``; backslashes are doubled within JSON within JSON.
_CODE = re.compile(
    r"(?P<sign>\\{0,8}%(?:%|25)?|\\{1,8}(?:x|u00))(?P<byte>[0-9A-Fa-f]{2})|\\{1,8}u(?P<unicode>[0-9A-Fa-f]{4})"
    r"|(?P<backslashes>\\{1,8})(?P<octal>[0-3][0-7]{2})"
)
# The same, or an escape of one letter that stands for white space, for a NUL or for a place between words; or a character that
# means itself after a backslash.
_ESCAPE = re.compile(rf"{_CODE.pattern}|\\{{1,8}}(?:(?P<blank>[abefnrtvsAB0])|(?P<itself>/))")
_TOKEN = re.compile(rf"{_CODE.pattern}|\\{{0,8}}(?P<itself>[^\\])")

# What a path can follow: the start, or a character that is neither part of a name nor the end of an expression that yields a
# directory (``$(pwd)/x``, ``*/x``, ``~/x``; but a variable may be empty, as in ``${ROOT}/x``).
_OPEN = r"(?:\A|[^\w\udc80-\udcff./%\\)\]*?~\-])"
# What stands before a path, its escapes resolved.
_BEGINS = re.compile(
    rf"(?:{_OPEN}-?"  # a hyphen is systemd's prefix for "may be missing", and the shell's for a default (${{NAME:-/x}})
    rf"|{_OPEN}-[A-Za-z]"  # an option's letter: -v/x
    rf"|{_OPEN}%%?|[\"'](?:\*\*?|\.\*)|[\"'^(|]\.\*"  # LIKE '%/x', GLOB '*/x', a regular expression
    r"|\$\{[!#]?\w+(?:\[[^\]\s]{0,40}\])?(?::?[-?]|%%?)"  # ${NAME-/x}, ${NAME%/x}
    rf"|{_OPEN}(?<!\w:)-?(?:/\.{{0,2}})+"  # further slashes, and the root's own dots, mean nothing
    r"|[A-Za-z][\w+.\-]*:/{2}(?:/\.{0,2})*"  # a URL without a host: file:///x, sqlite:////x
    r"|(?i:file://(?:localhost|127\.0\.0\.1|\[::1\]))(?:/\.{0,2})*)\Z"
)
_DELIMITED = re.compile(r"(?<!\\)/\Z")  # s/\/x/y/
# What makes its last name a longer one: a character of names, also after full stops or backslashes; a specifier.
_GOES_ON = re.compile(
    r"[\w\udc80-\udcff~+@\-]|\.+(?:[\w\-]|%[A-Za-z])|\\{0,8}%%?(?=[0-9A-Za-z])"
    r"|\\{1,8}(?:[ _~+@\-]|:(?!/)|\.+\\{0,8}[\w\-])"
)
_ENDS = frozenset("\"#&'),/:;<=>?]|}`\x7f").union(map(chr, range(32)))  # also where it is written by its code
_REACH = 80  # characters before a path that decide whether it begins there
_UNIT_END = re.compile(
    r"(?P<below>(?:-[\w\\:.\-]{1,200}?)?)\.(?:(?P<mount>(?:auto)?mount)|path|scope|service|slice|socket|swap|target|timer)\b"
)
_IN_UNIT_NAME = re.compile(r"[\w\\\-.]\Z")


def is_below(path: str, directory: str) -> bool:
    """Return whether a path is a directory or lies below it, both written in their shortest form."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def known_names(expressions: Sequence[str]) -> re.Pattern[str]:
    """Return what matches a name that one of some regular expressions matches as a whole; without any, it matches nothing.

    :raises ContimgError: when they are no regular expressions.
    """
    try:
        return re.compile(f"(?:{'|'.join(expressions)})$" if expressions else r"(?!)")
    except re.error as error:
        hint = "Nothing was looked for. Correct contimg_known_references, or the option 'known'."
        raise ContimgError(f"'{'|'.join(expressions)}' is not a regular expression: {error}", hint=hint) from error


@dataclass(frozen=True)
class Mention:
    """Where a text has a path, and as what.

    :ivar kind: ``path``; ``unit``, the escaped name of its mount unit; ``named``, the name of an instance or of a mount below
        it: another unit would have to exist for the new path, so it is found but never replaced.
    """

    start: int
    end: int
    kind: str


class PathText:
    """A path that is looked for in text, at its boundaries and in each of its spellings.

    :param path: absolute and in its shortest form.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        names = path.strip("/").split("/")
        between = rf"{_spelled('/')}(?:\.?{_spelled('/')})*"  # a single dot between two slashes means nothing
        self._pattern = re.compile(_spelled("/") + between.join("".join(map(_spelled, name)) for name in names))
        escaped = re.escape(_unit_escaped(path)).replace(r"\\x", r"\\{1,8}x")
        self._unit_name = re.compile(escaped)
        self._over_bytes = [
            re.compile(pattern.encode(errors="surrogateescape")) for pattern in (self._pattern.pattern, escaped)
        ]
        #: What every spelling holds: the longest run of letters and digits.
        self.part = max(re.findall("[A-Za-z0-9]*", path), key=len).encode()

    def may_be_in(self, content: bytearray, count: int) -> bool:
        """Return whether the first bytes of a file may mention the path: quick, and never wrongly no."""
        return any(pattern.search(content, 0, count) for pattern in self._over_bytes)

    def mentions(self, text: str, start: int = 0, end: int | None = None) -> Iterator[Mention]:
        """Yield each mention of the path, or of what lies below it: first its paths, then names of units."""
        for found in self._pattern.finditer(text, start, len(text) if end is None else end):
            if _begins(text, found.start()) and not _goes_on(text, found.end()):
                yield Mention(found.start(), found.end(), "path")
        for found in self._unit_name.finditer(text, start, len(text) if end is None else end):
            kind = _kind_in_unit_name(text, found.start(), found.end())
            if kind:
                yield Mention(found.start(), found.end(), kind)

    def search(self, text: str, start: int = 0, end: int | None = None) -> bool:
        """Return whether a text mentions the path."""
        return next(self.mentions(text, start, end), None) is not None


def _spelled(character: str) -> str:
    """Return a pattern for a character of a path: as it is, after backslashes, or by its code. Letters and digits are as they are.

    Each of its branches begins with a character, which makes searches fast.
    """
    if character.isascii() and character.isalnum():
        return character
    data = character.encode(errors="surrogateescape")
    first, *more = (_hexadecimal(byte, 2) for byte in data)
    percent = rf"%(?:%|25)?{first}" + "".join(rf"\\{{0,8}}%(?:%|25)?{byte}" for byte in more)
    as_bytes = rf"x{first}" + "".join(rf"\\{{1,8}}x{byte}" for byte in more)
    octal = r"\\{1,8}".join(f"{byte:03o}" for byte in data)
    itself = re.escape(character)
    by_unicode = f"u{_hexadecimal(ord(character), 4)}"
    return rf"(?:{itself}|\\\\{{0,7}}(?:{itself}|{percent}|{as_bytes}|{octal}|{by_unicode})|{percent})"


def _hexadecimal(code: int, digits: int) -> str:
    """Return a pattern for a number in hexadecimal digits of either case."""
    return re.sub("[a-f]", lambda one: f"[{one[0]}{one[0].upper()}]", f"{code:0{digits}x}")


def _unit_escaped(path: str) -> str:
    """Return a path as systemd-escape writes it."""
    return "-".join("".join(map(_escaped_in_unit, name)) for name in path.strip("/").split("/"))


def _escaped_in_unit(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in "_.:"):
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def _kind_in_unit_name(text: str, start: int, end: int) -> str:
    """Return what an escaped path is as a part of the name of a unit, empty for nothing that names the path."""
    rest = _UNIT_END.match(text, end)
    if not rest:
        return ""
    before = text[max(0, start - 2) : start]
    if before.endswith(("@", "@-")):
        return "named"
    if not rest["mount"] or _IN_UNIT_NAME.search(before):
        return ""
    return "named" if rest["below"] else "unit"


def _begins(text: str, start: int) -> bool:
    before = text[max(0, start - _REACH) : start]
    if text[start] == "\\" and _DELIMITED.search(before):
        return True
    return bool(_BEGINS.search(_ESCAPE.sub(_before_a_path, before)))


def _before_a_path(found: re.Match[str]) -> str:
    return "\n" if found["blank"] else found["itself"] or _of_code(found)


def _of_code(found: re.Match[str]) -> str:
    """Return the character of a code. A byte that is only a part of one counts as a letter."""
    if found["unicode"]:
        return chr(int(found["unicode"], 16))
    code = int(found["byte"], 16) if found["byte"] else int(found["octal"], 8)
    return chr(code) if code < 128 or (found["sign"] or "").endswith("u00") else "x"


def _goes_on(text: str, end: int) -> bool:
    found = _CODE.match(text, end)
    if not found:
        return bool(_GOES_ON.match(text, end))
    character = _of_code(found)
    return character not in _ENDS and (character.isascii() or character.isalnum())


@functools.lru_cache(maxsize=256)
def _compiled(path: str) -> PathText:
    return PathText(path.rstrip("/"))


def names_path(text: str, path: str) -> bool:
    """Return whether a text mentions a path, or what lies below it, at the boundaries of both."""
    return _compiled(path).search(text)


def replaced(text: str, moves: Sequence[tuple[str, str]]) -> str:
    """Return a text in which old paths are replaced by new ones, each in the spelling that it has there.

    :param moves: old and new paths; where several old ones begin at one place the longest decides.
    """
    found = sorted(
        (one.start, -one.end, one.kind, new)
        for old, new in moves
        for one in _compiled(old).mentions(text)
        if one.kind != "named"
    )
    pieces, position = [], 0
    for start, negative_end, kind, new in found:
        if start >= position:
            written = text[start:-negative_end]
            pieces += [text[position:start], _unit_escaped(new) if kind == "unit" else _respelled(new, written)]
            position = -negative_end
    return "".join([*pieces, text[position:]])


def _respelled(path: str, written: str) -> str:
    """Return a path in the spelling that another one has in a text.

    What is escaped there is escaped here. Where something is written by its code, so is all that a URL would have to encode.
    """
    spelled: dict[str, str] = {}
    code = None
    for token in _TOKEN.finditer(written):
        code = code or (None if token["itself"] else token)
        character = token["itself"] or _of_code(token)
        if token["itself"] or not character.isalnum():
            spelled.setdefault(character, token.group())
    return "".join(spelled.get(one) or (one if code is None or _is_plain(one) else _by_code(one, code)) for one in path)


def _is_plain(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "_.-~/")


def _by_code(character: str, like: re.Match[str]) -> str:
    """Return the code of a character, in the form of another code."""
    data = character.encode(errors="surrogateescape")
    if like["octal"]:
        return "".join(f"{like['backslashes']}{byte:03o}" for byte in data)
    if like["unicode"] or like["sign"].endswith("u00"):
        return f"{like.group()[:-4]}{ord(character):04x}" if ord(character) < 1 << 16 else character
    form = "02X" if like["sign"][-1] != "x" and like["byte"] == like["byte"].upper() else "02x"
    return "".join(f"{like['sign']}{byte:{form}}" for byte in data)
