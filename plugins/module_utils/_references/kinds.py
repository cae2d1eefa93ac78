# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kind of use a line of a file is: by the file's name or first line, and by where comments begin in its language."""

from __future__ import annotations

import re

__all__ = ["DEAD", "KINDS", "language_of", "line_kind"]

#: Every kind of a use.
KINDS = (
    "python_string", "f_string", "composed_path", "python", "shell", "unit", "env", "yaml", "json", "text", "doc", "comment",
)  # fmt: skip
#: The kinds that nothing executes.
DEAD = frozenset(("doc", "comment"))

_NAMES = (
    (re.compile(r"\.(py|pyi|pyw)$"), "python"),
    (re.compile(r"\.(sh|bash|zsh|ksh|bats)$|^\.(bash|zsh)?(rc|_profile|_aliases|profile)$"), "shell"),
    (re.compile(r"\.(service|socket|timer|path|mount|automount|target|slice|scope|swap)(\.in|\.j2)?$"), "unit"),
    (re.compile(r"\.env(\.[\w.-]+)?$|^env(\.[\w.-]+)?$|\.environment$"), "env"),
    (re.compile(r"\.ya?ml(\.j2)?$"), "yaml"),
    (re.compile(r"\.(json|jsonl|ipynb|geojson)$"), "json"),
    (re.compile(r"\.(md|mdx|rst|adoc|tex)$|^(README|CHANGELOG|CHANGES|LICENSE|NOTES|TODO)(\.txt)?$"), "doc"),
)
_SECTION = re.compile(r"^\[(Unit|Service|Timer|Socket|Path|Install)\]\s*$", re.MULTILINE)
_SHEBANG = re.compile(r"#!.*?\b(python|bash|zsh|ksh|dash|sh)[\d.]*\b")
_LINE_COMMENTS = {
    "shell": ("#",),
    "yaml": ("#",),
    "unit": ("#", ";"),
    "env": ("#", ";"),
    "text": ("#", "//", "--", ";"),
    "python": ("#",),
}
# An option, or the slashes of the path itself: no comment.
_BEGINS_OTHERWISE = re.compile(r"--\w|/+\Z")
# In these a comment may begin behind other words of the line.
_INLINE = frozenset(("shell", "yaml", "python"))


def language_of(name: str, start: str) -> str:
    """Return the language of a file: ``python``, ``shell``, ``unit``, ``env``, ``yaml``, ``json``, ``doc`` or ``text``.

    :param start: the beginning of its text, which tells where the name does not.
    """
    for pattern, language in _NAMES:
        if pattern.search(name):
            return language
    shebang = _SHEBANG.match(start)
    if shebang:
        return "python" if shebang.group(1) == "python" else "shell"
    return "unit" if name.endswith(".conf") and _SECTION.search(start) else "text"


def line_kind(language: str, line: str, position: int) -> str:
    """Return the kind of a use at a position of a line of a file that is not Python, or not Python that can be parsed."""
    marks = _LINE_COMMENTS.get(language, ())
    if line.startswith("#!"):  # the interpreter
        return language
    if marks and line.lstrip().startswith(marks) and not _BEGINS_OTHERWISE.match(line[:position].lstrip()):
        return "comment"
    if language in _INLINE and _in_comment(line, position):
        return "comment"
    return language


def _in_comment(line: str, position: int) -> bool:
    """Return whether a ``#`` before a position begins a comment: behind white space, outside quotes."""
    quote = ""
    for index, one in enumerate(line[:position]):
        if quote:
            quote = "" if one == quote and line[index - 1] != "\\" else quote
        elif one in "\"'":
            quote = one
        elif one == "#" and (index == 0 or line[index - 1].isspace()):
            return True
    return False
