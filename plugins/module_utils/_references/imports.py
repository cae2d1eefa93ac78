# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a Python file can call ``os.getenv``: by which name it has ``os`` already, or where an import of it can go."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import Literal, Source

__all__ = ["Imports", "os_for"]

_NO_PLACE = "there is no place for 'import os' before it"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class Imports:
    """What to write for ``os.getenv`` and ``os.path.join``, and the import that this takes.

    :ivar name: the name at the beginning of both.
    :ivar line: the import to add, with the file's line end; empty where none is needed.
    :ivar offset: where it goes.
    :ivar index: which statement of the module it becomes.
    :ivar scopes: functions and classes that bind the name for themselves.
    """

    source: Source
    name: str
    getenv: str
    line: str = ""
    offset: int = 0
    index: int = 0
    scopes: frozenset[int] = field(default_factory=frozenset)

    @classmethod
    def unneeded(cls, source: Source) -> Imports:
        """Return what serves edits that call nothing."""
        return cls(source, "os", "os.getenv")

    @property
    def join(self) -> str:
        """How ``os.path.join`` is called."""
        return f"{self.name}.path.join"

    def hidden_from(self, node: ast.AST) -> str:
        """Return why the name does not mean ``os`` where a node stands, empty where it does."""
        while id(node) in self.source.parents:
            node, _name = self.source.parents[id(node)]
            if id(node) in self.scopes:
                return f"'{self.name}' is a local name there"
        return ""

    def quotes(self, literal: Literal) -> str:
        """Return the kind of quotes that a literal is written in."""
        return self.source.text[literal.end - 1]


@dataclass(frozen=True)
class _Binding:
    """A name that is bound somewhere.

    :ivar module: the module or member that an import binds it to, empty for anything but an import.
    """

    name: str
    module: str
    node: ast.AST


def os_for(source: Source, *, first: int, join: bool) -> Imports | str:
    """Return how code from an offset on reaches ``os``, or why it cannot.

    :param first: offset of the first use.
    :param join: whether ``os.path.join`` is needed too.
    """
    bindings = [binding for node in source.nodes for binding in _bindings(node)]
    stars = [binding.node for binding in bindings if binding.name == "*"]
    if any(star not in source.tree.body for star in stars):
        return "an import of '*' may bind any name"
    for found in _imported(source, bindings, first=first, join=join):
        starts_late = all(_line(star) < _line(found.node) for star in stars)
        if starts_late and _is_only(found, bindings):
            getenv = found.name if found.module == "os.getenv" else f"{found.name}.getenv"
            return Imports(source, found.name, getenv, scopes=_scopes(source, found.name, bindings))
    return _added(source, bindings, stars, first=first)


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def _bindings(node: ast.AST) -> Iterator[_Binding]:
    """Yield the names that a node binds, wherever it stands."""
    if isinstance(node, ast.Import):
        for one in node.names:
            yield _Binding(
                one.asname or one.name.split(".")[0], one.name if one.asname else one.name.split(".")[0], node
            )
    elif isinstance(node, ast.ImportFrom):
        for one in node.names:
            yield _Binding(one.asname or one.name, f"{node.module}.{one.name}", node)
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield _Binding(node.id, "", node)
    elif isinstance(node, ast.arg):
        yield _Binding(node.arg, "", node)
    elif not isinstance(node, ast.alias):
        for field_name in ("name", "rest"):  # functions, classes, exceptions, patterns
            if isinstance(getattr(node, field_name, None), str):
                yield _Binding(getattr(node, field_name), "", node)


def _imported(source: Source, bindings: list[_Binding], *, first: int, join: bool) -> Iterator[_Binding]:
    """Yield the imports of the module itself that stand before the first use, ``os`` before ``getenv`` alone."""
    top = {id(statement): source.span(statement)[1] for statement in source.tree.body}
    for module in ["os"] if join else ["os", "os.getenv"]:
        for binding in bindings:
            if binding.module == module and top.get(id(binding.node), first + 1) <= first:
                yield binding


def _is_only(found: _Binding, bindings: list[_Binding]) -> bool:
    return all(one.module == found.module for one in bindings if one.name == found.name)


def _scopes(source: Source, name: str, bindings: list[_Binding]) -> frozenset[int]:
    """Return the functions and classes that bind a name for themselves, which hides it also before they do."""
    return frozenset(_scope(source, binding.node) for binding in bindings if binding.name == name)


def _scope(source: Source, node: ast.AST) -> int:
    """Return the identity of the innermost function or class that a node stands in, or of the module."""
    while id(node) in source.parents:
        node, _name = source.parents[id(node)]
        if isinstance(node, _SCOPES):
            return id(node)
    return 0


def _added(source: Source, bindings: list[_Binding], stars: list[ast.AST], *, first: int) -> Imports | str:
    """Return an import before the first statement that may stand behind it."""
    if any(one.name == "os" and one.module != "os" for one in bindings):
        return "'os' is another name in this file"
    body = source.tree.body
    index = 1 + max((number for number, one in enumerate(body) if _comes_first(number, one, stars)), default=-1)
    if index == len(body):
        return _NO_PLACE
    following = body[index]
    line = min([following.lineno, *(one.lineno for one in getattr(following, "decorator_list", []))])
    offset = source.line_start(line)
    shares_line = index > 0 and body[index - 1].end_lineno == line
    if offset > first or shares_line or source.text[offset].isspace():
        return _NO_PLACE
    end = _line_end(source)
    gap = "" if isinstance(following, (ast.Import, ast.ImportFrom)) else end
    scopes = _scopes(source, "os", bindings)
    return Imports(source, "os", "os.getenv", f"import os{end}{gap}", offset, index, scopes)


def _comes_first(number: int, statement: ast.stmt, stars: list[ast.AST]) -> bool:
    """Return whether an import has to stand behind a statement."""
    future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
    return future or statement in stars or (number == 0 and _is_docstring(statement))


def _line_end(source: Source) -> str:
    """Return how the first line of a file ends."""
    line = source.text[: source.line_start(2)]
    return line[len(line.rstrip("\r\n")) :] or "\n"


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
