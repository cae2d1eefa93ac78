# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Globs as regular expressions over bytes: those of rsync for paths, those of the shell for single names.

Facts: rsync(1) "PATTERN MATCHING RULES", glob(7). A bracket lists characters, ranges and classes (``[[:digit:]]``), those of
the C locale. A bracket that matches nothing is refused: it is a typing error, and what it was meant to exclude would be copied.
"""

from __future__ import annotations

import functools
import os
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["name_expression", "path_expression", "require_globs"]

_MEMBER = rb"(?:\[:[^]:[]*:\]|\\.|[^\\])"
_INSIDE = rb"(?:\[:[^]:[]*:\]|\\.|[^]\\])"
_TOKEN = re.compile(rb"\\.|\*\*|\*|\?|\[(?:[!^]|(?![!^]))" + _MEMBER + _INSIDE + rb"*\]|[^\\*?[]+|.", re.DOTALL)
_ITEM = re.compile(
    rb"(?P<bad>(?:\\.|[^\\])-\[[.:=])|\[:(?P<name>[^]:[]*):\]|(?P<open>\[[.:=])"
    rb"|(?P<low>\\.|[^\\])(?:-(?P<high>\\.|[^\\]))?",
    re.DOTALL,
)
_CLASSES = {
    b"alnum": rb"0-9A-Za-z",
    b"alpha": rb"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": rb"0-9",
    b"graph": rb"\x21-\x7e",
    b"lower": rb"a-z",
    b"print": rb"\x20-\x7e",
    b"punct": rb"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    b"space": rb"\t-\r ",
    b"upper": rb"A-Z",
    b"xdigit": rb"0-9A-Fa-f",
}
_WITHIN_NAMES = {b"**": rb".*", b"*": rb"[^/]*", b"?": rb"[^/]"}
_ANYWHERE = {b"**": rb".*", b"*": rb".*", b"?": rb"."}


def require_globs(globs: Iterable[str]) -> None:
    """Check globs before anything is done. Raises ContimgError naming the first that is none, and why."""
    for glob in globs:
        path_expression((glob,))


@functools.lru_cache(maxsize=None)
def path_expression(globs: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return what matches a path, which begins with ``/``, by any of some globs as rsync takes them.

    :raises ContimgError: naming a glob that is none.
    """
    return re.compile(b"|".join(map(_path, globs)), re.DOTALL)


@functools.lru_cache(maxsize=None)
def name_expression(globs: tuple[str, ...]) -> re.Pattern[bytes]:
    """Return what matches a text by any of some globs as fnmatch(3) takes them; ``*`` does not stop at a ``/``.

    :raises ContimgError: naming a glob that is none.
    """
    return re.compile(b"|".join(_translated(os.fsencode(glob), glob, _ANYWHERE) for glob in globs), re.DOTALL)


def _path(glob: str) -> bytes:
    body = os.fsencode(glob)
    start = b"/" if body.startswith(b"/") else b".*/"
    whole, body = (b"(?:/.*)?", body[:-4]) if body.endswith(b"/***") else (b"", body)
    return start + _translated(body.strip(b"/"), glob, _WITHIN_NAMES) + whole


def _translated(body: bytes, glob: str, wildcards: dict[bytes, bytes]) -> bytes:
    return b"".join(_token(token, glob, wildcards) for token in _TOKEN.findall(body))


def _token(token: bytes, glob: str, wildcards: dict[bytes, bytes]) -> bytes:
    if token in wildcards:
        return wildcards[token]
    if token == b"[":
        raise _refused(glob, "it has a '[' that no ']' closes")
    if token.startswith(b"["):
        negated = token[1:2] in (b"!", b"^")
        members = b"".join(_item(item, glob) for item in _ITEM.finditer(token[1 + negated : -1]))
        not_slash = b"(?!/)" if wildcards is _WITHIN_NAMES else b""
        return not_slash + (b"[^" if negated else b"[") + members + b"]"
    return re.escape(token[1:] if token.startswith(b"\\") and len(token) > 1 else token)


def _item(item: re.Match[bytes], glob: str) -> bytes:
    name = item["name"]
    if name is not None:
        if name not in _CLASSES:
            raise _refused(glob, f"there is no class [:{os.fsdecode(name)}:]")
        return _CLASSES[name]
    if item["bad"] or item["open"]:
        raise _refused(glob, f"'{os.fsdecode(item[0])}' in a bracket is not supported")
    low, high = (_code(item[side] or item["low"]) for side in ("low", "high"))
    if high < low:
        raise _refused(glob, f"the range {os.fsdecode(item[0])} is empty")
    return b"\\x%02x-\\x%02x" % (low, high)


def _code(character: bytes) -> int:
    return character[-1]


def _refused(glob: str, why: str) -> ContimgError:
    hint = "Nothing was touched. Correct the glob; '\\[' is the character itself."
    return ContimgError(f"is not a glob: {why}", path=glob, hint=hint)
