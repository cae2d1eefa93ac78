# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python file as its syntax tree shows it: where its literals stand, to the character, and what kind each is."""

from __future__ import annotations

import ast
import bisect
import functools
import io
import re
import tokenize
import warnings
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeGuard

__all__ = ["LINE_END", "Literal", "Source", "children", "decoded", "parsed"]

# What Python's tokenizer takes for the end of a line; str.splitlines() knows more.
LINE_END = r"\r\n|\r|\n"
_LINE = re.compile(LINE_END)
# Template strings (Python 3.14) are read like f-strings.
_FORMATTED = tuple(getattr(ast, name) for name in ("JoinedStr", "TemplateStr") if hasattr(ast, name))
# Fields of every node that hold no node, or one that tells nothing by itself (how a name is used, which operator).
_BARE = frozenset(("attr", "ctx", "id", "kind", "level", "op", "ops", "type_comment", "type_ignores"))


class Literal(NamedTuple):
    """A string, bytes or formatted literal, with its pieces where it is written as several.

    :ivar start: offset of its first character.
    :ivar end: offset behind its last character.
    :ivar kind: ``python_string``, ``f_string`` or ``doc``, which is any string that stands alone as a statement.
    """

    node: ast.expr
    start: int
    end: int
    kind: str

    @property
    def value(self) -> str:
        """The text of a plain string; empty for bytes and for what is formatted."""
        value = self.node.value if isinstance(self.node, ast.Constant) else ""
        return value if isinstance(value, str) else ""


class Source:
    """A file that Python can parse.

    :ivar text: the file as Python's reader would see it, with its line ends as they are.
    :ivar encoding: by which ``text`` gives the bytes of the file again.
    :ivar literals: in their order.
    """

    def __init__(self, text: str, encoding: str, tree: ast.Module) -> None:
        self.text = text
        self.encoding = encoding
        self.tree = tree
        self._ascii = text.isascii()
        self._lines = [0, *(match.end() for match in _LINE.finditer(text))]
        self.literals = sorted(self._literals(), key=lambda literal: literal.start)
        self._starts = [literal.start for literal in self.literals]

    @functools.cached_property
    def parents(self) -> dict[int, tuple[ast.AST, str]]:
        """The node that holds a node, and the field that it holds it in, by the node's identity."""
        return {id(child): (node, name) for node in self.nodes for name, child in children(node)}

    @functools.cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node, each behind the one that holds it."""
        found: list[ast.AST] = [self.tree]
        for node in found:
            found.extend(child for _name, child in children(node))
        return found

    def _literals(self) -> Iterator[Literal]:
        """Yield the literals; what stands within a formatted one is left to it."""
        pending: list[ast.AST] = [self.tree]
        while pending:
            node = pending.pop()
            for _name, child in children(node):
                if _is_literal(child):
                    yield self._literal(child, node)
                elif not isinstance(child, ast.Name):
                    pending.append(child)

    def _literal(self, node: ast.expr, parent: ast.AST) -> Literal:
        kind = "python_string" if isinstance(node, ast.Constant) else "f_string"
        start, end = self.span(node)
        return Literal(node, start, end, "doc" if isinstance(parent, ast.Expr) else kind)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return where a node begins and ends, in characters."""
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0  # a parsed node has both
        return self._offset(node.lineno, node.col_offset), self._offset(end_line, end_column)

    def line_start(self, number: int) -> int:
        """Return the offset of a line, counted from 1; that behind the last line is the end of the text."""
        return self._lines[number - 1] if number <= len(self._lines) else len(self.text)

    def line_of(self, offset: int) -> int:
        """Return the number of the line that an offset stands in, counted from 1."""
        return bisect.bisect_right(self._lines, offset)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the offset and the text of each line."""
        for start, end in zip(self._lines, [*self._lines[1:], len(self.text)]):
            yield start, self.text[start:end]

    def _offset(self, line: int, column: int) -> int:
        """Return the offset of a node, whose column counts bytes of UTF-8."""
        start = self.line_start(line)
        if self._ascii:
            return start + column
        text = self.text[start : self.line_start(line + 1)]
        return start + len(text.encode("utf-8", "surrogatepass")[:column].decode())

    def literal_at(self, offset: int) -> Literal | None:
        """Return the literal that an offset stands in."""
        index = bisect.bisect_right(self._starts, offset) - 1
        found = self.literals[index] if index >= 0 else None
        return found if found is not None and offset < found.end else None


def children(node: ast.AST) -> list[tuple[str, ast.AST]]:
    """Return the nodes that a node holds, each with its field. Much faster than what the module ``ast`` has for it."""
    found: list[tuple[str, ast.AST]] = []
    for name in _fields(node._fields):
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [(name, child) for child in value if isinstance(child, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append((name, value))
    return found


@functools.lru_cache(maxsize=None)
def _fields(fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in fields if name not in _BARE)


def _is_literal(node: ast.AST) -> TypeGuard[ast.expr]:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (str, bytes))
    return isinstance(node, _FORMATTED)


def decoded(content: bytes) -> tuple[str, str] | None:
    """Return the text of a Python file and its encoding; ``None`` where it does not survive the way there and back.

    The encoding is UTF-8 or what a cookie in the first two lines says (PEP 263).
    """
    try:
        encoding, _lines = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = content.decode(encoding)
        return (text, encoding) if text.encode(encoding) == content else None
    except (SyntaxError, UnicodeError, LookupError):
        return None


def parsed(content: bytes) -> Source | None:
    """Return a Python file with its syntax tree, ``None`` where this Python cannot parse it."""
    found = decoded(content)
    if found is None:
        return None
    text, encoding = found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Source(text, encoding, ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
