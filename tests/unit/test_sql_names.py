# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every table that a statement names is qualified: a bare name that its own database lacks is that of an attached one."""

from __future__ import annotations

import ast
import pathlib
import re
from typing import Iterator

PLUGINS = pathlib.Path(__file__).parents[2] / "plugins"
_NAMED = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE(?: OR ABORT)?(?! SET)|DROP TABLE|DROP INDEX|DROP TABLE IF EXISTS|ALTER TABLE)\s+([^\s,()]+)"
)
#: A qualified name, a subquery that a function of ours gives, or the clause DO UPDATE SET.
_QUALIFIED = re.compile(r"(main|temp|src|dst|kept|there|\{(schema|alias)\})\.|\{source(_row)?\Z|SET\Z")
#: Statements that a diff shows and that never run, by file.
_SHOWN = {("_hdf5/plan.py", "{INDEX}"), ("_hdf5/unsplit_plan.py", "{INDEX}")}


def _texts(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of each string, an expression within it in braces."""
    tree = ast.parse(path.read_text())
    within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(_part(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            yield node.lineno, node.value


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.FormattedValue)
    return "{" + ast.unparse(node.value) + "}"


def test_every_table_of_a_statement_is_qualified() -> None:
    found = [
        (f"{path.parent.name}/{path.name}", line, name)
        for path in sorted(PLUGINS.rglob("*.py"))
        for line, text in _texts(path)
        for name in _NAMED.findall(text)
    ]
    assert len(found) > 50
    assert [one for one in found if not _QUALIFIED.match(one[2]) and (one[0], one[2]) not in _SHOWN] == []
