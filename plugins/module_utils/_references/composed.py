# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that a Python file composes of parts, as far as its syntax tree shows the parts.

Followed are ``/`` and ``Path(…)`` of pathlib, ``joinpath``, ``os.path.join``, ``+`` of strings, f-strings, the defaults of
``os.getenv`` and ``os.environ.get``, and names and attributes that are bound exactly once in the file.
"""

from __future__ import annotations

import ast
import posixpath
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import children

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import Source
    from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Needle

__all__ = ["Composition", "Value", "compositions", "dotted", "is_environment_default"]

_PATHS = frozenset(("Path", "PurePath", "PosixPath", "PurePosixPath"))
_SAME = frozenset(("str", "fspath", "abspath", "realpath", "expanduser", "normpath"))
_DEEPEST = 60


@dataclass(frozen=True)
class Value:
    """What is known of a path.

    :ivar text: its beginning, or all of it.
    :ivar complete: whether it is all.
    :ivar literals: the strings that it was made of, each with the identity of its node.
    :ivar parts: how many values it was made of.
    """

    text: str
    complete: bool
    literals: tuple[tuple[int, str], ...]
    parts: int = 1


@dataclass(frozen=True)
class Composition:
    """An expression of several parts, and what is known of the path that it makes."""

    node: ast.expr
    value: Value


def compositions(source: Source, needle: Needle) -> Iterator[Composition]:
    """Yield every largest expression of more than one part that is the path, or lies under it."""
    composer = _Composer(source)
    pending: list[ast.AST] = [source.tree]
    while pending:
        node = pending.pop()
        value = None
        if isinstance(node, (ast.BinOp, ast.Call, ast.JoinedStr)):
            value = composer.value(node)
            if value is not None and value.parts > 1 and needle.names(posixpath.normpath(value.text)):
                yield Composition(node, value)
                continue
        if value is None or not value.complete:
            pending.extend(child for _name, child in children(node))


def dotted(node: ast.AST) -> str:
    """Return a name or attribute as it is written, ``os.path.join`` for example; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def is_environment_default(call: ast.AST) -> bool:
    """Return whether a call takes a variable of the environment, with its second argument as the default."""
    if not isinstance(call, ast.Call) or len(call.args) != 2 or call.keywords:
        return False
    name = dotted(call.func)
    return name.split(".")[-1] == "getenv" or name.endswith(("environ.get", "environ.setdefault"))


class _Composer:
    """Evaluates expressions, each once."""

    def __init__(self, source: Source) -> None:
        self.bound = _bound_once(source.nodes)
        self.known: dict[int, Value | None] = {}
        self.depth = 0

    def value(self, node: ast.AST) -> Value | None:
        """Return what is known of an expression, ``None`` where that is nothing."""
        if id(node) not in self.known:
            self.known[id(node)] = None  # for a name that is made of itself
            if self.depth < _DEEPEST:
                self.depth += 1
                self.known[id(node)] = self._value(node)
                self.depth -= 1
        return self.known[id(node)]

    def _value(self, node: ast.AST) -> Value | None:
        if isinstance(node, ast.Constant):
            return (
                Value(node.value, complete=True, literals=((id(node), node.value),))
                if isinstance(node.value, str)
                else None
            )
        if isinstance(node, ast.BinOp):
            return self._operation(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.JoinedStr):
            return self._added([one.value if isinstance(one, ast.FormattedValue) else one for one in node.values])
        bound = self.bound.get(dotted(node))
        return None if bound is None else self.value(bound)

    def _operation(self, node: ast.BinOp) -> Value | None:
        if isinstance(node.op, ast.Div):
            return self._joined([node.left, node.right])
        return self._added([node.left, node.right]) if isinstance(node.op, ast.Add) else None

    def _call(self, node: ast.Call) -> Value | None:
        name = dotted(node.func).split(".")[-1]
        if is_environment_default(node):
            return self.value(node.args[1])
        if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath":
            return self._joined([node.func.value, *node.args])
        if name in _PATHS or dotted(node.func).endswith("path.join"):
            return self._joined(node.args)
        return self.value(node.args[0]) if name in _SAME and len(node.args) == 1 else None

    def _joined(self, parts: Sequence[ast.expr]) -> Value | None:
        return self._together([self.value(part) for part in parts], "/")

    def _added(self, parts: Sequence[ast.expr]) -> Value | None:
        return self._together([self.value(part) for part in parts], "")

    def _together(self, parts: list[Value | None], sign: str) -> Value | None:
        """Return the known beginning of parts that follow each other, each at a slash or at once."""
        first, *others = parts or [None]
        if first is None:
            return None
        text, complete, literals, count = first.text, first.complete, first.literals, first.parts
        for part in others:
            if not complete:
                break
            if part is None:
                return Value(text + sign, complete=False, literals=literals, parts=count + 1)
            text = posixpath.join(text, part.text) if sign else text + part.text
            complete, literals, count = part.complete, literals + part.literals, count + part.parts
        return Value(text, complete=complete, literals=literals, parts=count)


def _bound_once(nodes: Sequence[ast.AST]) -> dict[str, ast.expr]:
    """Return the values of names and attributes that nothing else in the file binds."""
    values: dict[str, ast.expr] = {}
    bindings: Counter[str] = Counter()
    for node in nodes:
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            bindings[dotted(node)] += 1
        elif isinstance(node, ast.arg):
            bindings[node.arg] += 1
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            values[dotted(node.targets[0])] = node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            values[dotted(node.target)] = node.value
    return {name: value for name, value in values.items() if name and bindings[name] == 1}
