# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which literals of a Python file can be replaced by the environment, provably, and the file as it is then."""

from __future__ import annotations

import ast
import io
import posixpath
import tokenize
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._references.composed import dotted, is_environment_default
from ansible_collections.dsa110.contimg.plugins.module_utils._references.imports import Imports, os_for
from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import parsed
from ansible_collections.dsa110.contimg.plugins.module_utils._references.variables import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._references.composed import Composition
    from ansible_collections.dsa110.contimg.plugins.module_utils._references.python_source import Literal, Source
    from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Needle
    from ansible_collections.dsa110.contimg.plugins.module_utils._references.variables import Variables

__all__ = ["Rewriting", "rewriting"]

# Where a value is taken as it is, whatever gives it. Anywhere else it may be compared, sliced, formatted or taken for a type.
_FIELDS = {
    ast.Call: ("args",),
    ast.keyword: ("value",),
    ast.Assign: ("value",),
    ast.AnnAssign: ("value",),
    ast.NamedExpr: ("value",),
    ast.arguments: ("defaults", "kw_defaults"),
    ast.List: ("elts",),
    ast.Tuple: ("elts",),
    ast.Set: ("elts",),
    ast.Dict: ("values",),
    ast.Return: ("value",),
    ast.IfExp: ("body", "orelse"),
    ast.BoolOp: ("values",),
    ast.Lambda: ("body",),
}
# Calls that look for a text, or take it apart, instead of opening it.
_SEARCHING = frozenset((
    "replace", "startswith", "endswith", "removeprefix", "removesuffix", "strip", "lstrip", "rstrip", "split", "rsplit",
    "partition", "rpartition", "find", "rfind", "index", "rindex", "count", "sub", "subn", "match", "fullmatch", "search",
    "compile", "findall", "finditer", "relative_to", "is_relative_to", "translate", "encode", "format",
))  # fmt: skip
_TYPES = ("annotation", "returns", "slice", "pattern", "patterns", "type_params")


@dataclass(frozen=True)
class _Edit:
    """A literal, and the expression that comes in its place."""

    literal: Literal
    target: Target
    default_only: bool

    @property
    def needs_join(self) -> bool:
        return self.target.rest is not None and not self.default_only

    def text(self, imports: Imports, encoding: str) -> str:
        quote = '"' if imports.quotes(self.literal) == '"' else "'"
        path = _quoted(self.target.path, quote, encoding)
        if self.default_only:
            return path
        default = _quoted(self.target.variable.default, quote, encoding)
        value = f"{imports.getenv}({quote}{self.target.variable.name}{quote}, {default})"
        rest = self.target.rest
        return value if rest is None else f"{imports.join}({value}, {_quoted(rest, quote, encoding)})"


@dataclass(frozen=True)
class Rewriting:
    """What becomes of a file.

    :ivar text: the file as it will be; the same as before where nothing can be proved.
    :ivar rewritten: where the literals begin that are replaced.
    :ivar reasons: why another literal is not, by where it begins.
    """

    text: str
    rewritten: frozenset[int] = frozenset()
    reasons: Mapping[int, str] = field(default_factory=dict)


def rewriting(source: Source, needle: Needle, variables: Variables, composed: Sequence[Composition]) -> Rewriting:
    """Return a file with every literal replaced for which that is proved to change nothing else.

    :param composed: the paths that the file composes, see :func:`compositions`.
    """
    reasons: dict[int, str] = {}
    edits: list[_Edit] = []
    renamed = _renamed(composed, needle, variables)
    for literal in source.literals:
        if needle.path is not None and needle.path.search(source.text, literal.start, literal.end):
            target = _judged(source, literal, needle, variables, renamed)
            if isinstance(target, str):
                reasons[literal.start] = target
            else:
                edits.append(_Edit(literal, target, _is_own_default(source, literal, target)))
    imports = _with_imports(source, edits, reasons)
    kept = [edit for edit in edits if edit.literal.start not in reasons]
    if imports is None or not kept:
        return Rewriting(source.text, frozenset(), reasons)
    text = _edited(source, kept, imports)
    if not _proved(source, kept, imports, text):
        unproved = {edit.literal.start: "the result could not be proved" for edit in kept}
        return Rewriting(source.text, frozenset(), {**reasons, **unproved})
    return Rewriting(text, frozenset(edit.literal.start for edit in kept), reasons)


def _judged(
    source: Source, literal: Literal, needle: Needle, variables: Variables, renamed: Mapping[int, str]
) -> Target | str:
    """Return what a literal becomes, or why it has to stay."""
    if literal.kind != "python_string":
        return {"doc": "a text that stands alone", "f_string": "a formatted string"}[literal.kind]
    value = literal.value
    if not needle.names(value):
        return "a text or bytes that mention the path"
    if any(sign in value for sign in "{}%"):
        return "a template for a path"
    if not _is_one_token(source.text[literal.start : literal.end]):
        return "written as several strings"
    place = _place(source, literal.node)
    return place or renamed.get(id(literal.node)) or variables.target(value)


def _place(source: Source, node: ast.AST) -> str:
    """Return why a value must stay where it stands, empty where it may go."""
    parent, name = source.parents[id(node)]
    if isinstance(parent, ast.BinOp):
        if not isinstance(parent.op, ast.Div):
            return "part of a concatenation"
    elif name not in _FIELDS.get(type(parent), ()):
        return "not a value that may come from elsewhere"
    call = source.parents[id(parent)][0] if isinstance(parent, ast.keyword) else parent
    if isinstance(call, ast.Call) and _called(call) in _SEARCHING:
        return "looked for, not opened"
    while id(node) in source.parents:
        node, name = source.parents[id(node)]
        if name in _TYPES:
            return "part of a type or pattern"
    return ""


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else dotted(call.func)


def _is_one_token(text: str) -> bool:
    """Return whether a literal is written as one string, within one line."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return False
    return sum(token.type == tokenize.STRING for token in tokens) == 1 and len(text.splitlines()) == 1


def _renamed(composed: Sequence[Composition], needle: Needle, variables: Variables) -> dict[int, str]:
    """Return the literals from which the file composes paths that would then be wrong, with the reason."""
    found: dict[int, str] = {}
    for one in composed:
        path = posixpath.normpath(one.value.text)
        target = variables.target(path)
        for identity, text in one.value.literals:
            base = variables.target(text) if needle.names(text) else ""
            if isinstance(base, Target):
                rest = path[len(text.rstrip("/")) :]
                if isinstance(target, str) or target.path.rstrip("/") != base.path.rstrip("/") + rest:
                    found[identity] = f"line {one.node.lineno} makes a path of it that is renamed"
    return found


def _is_own_default(source: Source, literal: Literal, target: Target) -> bool:
    """Return whether a literal is the default of the very variable that would stand for it."""
    call, _name = source.parents[id(literal.node)]
    if not is_environment_default(call) or not isinstance(call, ast.Call) or literal.node is not call.args[1]:
        return False
    name = call.args[0]
    return isinstance(name, ast.Constant) and name.value == target.variable.name


def _with_imports(source: Source, edits: list[_Edit], reasons: dict[int, str]) -> Imports | None:
    """Return how the edits reach ``os``, and note those that cannot."""
    calling = [edit for edit in edits if not edit.default_only]
    if not calling:
        return Imports.unneeded(source)
    first = min(edit.literal.start for edit in calling)
    imports = os_for(source, first=first, join=any(edit.needs_join for edit in calling))
    for edit in calling:
        reason = imports if isinstance(imports, str) else imports.hidden_from(edit.literal.node)
        if reason:
            reasons[edit.literal.start] = reason
    return Imports.unneeded(source) if isinstance(imports, str) else imports


def _edited(source: Source, edits: list[_Edit], imports: Imports) -> str:
    pieces = [(edit.literal.start, edit.literal.end, edit.text(imports, source.encoding)) for edit in edits]
    if imports.line and any(not edit.default_only for edit in edits):
        pieces.append((imports.offset, imports.offset, imports.line))
    text, position = [], 0
    for start, end, new in sorted(pieces):
        text += [source.text[position:start], " " if _glued(source.text, start, end) else "", new]
        position = end
    return "".join([*text, source.text[position:]])


def _glued(text: str, start: int, end: int) -> bool:
    """Return whether a literal stands right behind a word, as in ``return"/stage"``."""
    return end > start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_")


def _quoted(text: str, quote: str, encoding: str) -> str:
    """Return a string literal in the quotes of the one that it replaces, in characters that the file can hold."""
    written = repr(text)
    try:
        written.encode(encoding)
    except UnicodeError:
        written = ascii(text)
    plain = written[1:-1] == text and quote not in text
    return f"{quote}{text}{quote}" if plain else written


def _proved(source: Source, edits: list[_Edit], imports: Imports, text: str) -> bool:
    """Return whether the new file is the old one with the literals replaced and the import added, and nothing else."""
    try:
        after = parsed(text.encode(source.encoding))
        before = parsed(source.text.encode(source.encoding))
        return after is not None and before is not None and _is_as_asked(before, after, edits, imports)
    except (UnicodeError, RecursionError):
        return False


def _is_as_asked(before: Source, after: Source, edits: list[_Edit], imports: Imports) -> bool:
    wanted = {edit.literal.start: edit.text(imports, before.encoding) for edit in edits}
    new = {
        id(literal.node): ast.parse(wanted[literal.start], mode="eval").body
        for literal in before.literals
        if literal.start in wanted
    }
    expected = before.tree
    _Replaced(new).visit(expected)
    if imports.line and any(not edit.default_only for edit in edits):
        expected.body.insert(imports.index, ast.parse("import os").body[0])
    return len(new) == len(edits) and ast.dump(expected) == ast.dump(after.tree)


class _Replaced(ast.NodeTransformer):
    """A tree with some of its nodes replaced."""

    def __init__(self, new: Mapping[int, ast.AST]) -> None:
        self.new = new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new[id(node)] if id(node) in self.new else self.generic_visit(node)
