# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold the limits that no linter knows: functions of at most 40 lines, a module's ``main`` of at most 45.

No package of ``module_utils`` imports from one above it. And no question to ``os.path`` whether something is there, which it
answers with no where it could not look: ``_fs/lookup`` has functions that raise then.
"""

from __future__ import annotations

import ast
import pathlib
import sys

FUNCTION_LINES = 40
MAIN_LINES = 45
UNSURE = ("exists", "lexists", "isdir", "isfile", "islink")
#: Where the answer decides about nothing but words, or what cannot be looked at is told from the rest.
MAY_BE_UNSURE = ("_host/git_index", "_sync/links", "_host/open_files", "_host/separate", "_systemd/client")
ROOT = pathlib.Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins" / "module_utils"
#: The packages of ``module_utils``, the lowest first. All stand on the files beside them.
LAYERS = (
    "_fs",
    "_host",
    "_env",
    "_sqlite",
    "_systemd",
    "_containers",
    "_services",
    "_hdf5",
    "_references",
    "_sync",
    "_migration",
)


def too_long(path: pathlib.Path, tree: ast.AST) -> list[str]:
    """Return a line for each function of a file that is longer than the house allows."""
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    found = []
    for node in functions:
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        allowed = MAIN_LINES if node.name == "main" else FUNCTION_LINES
        if lines > allowed:
            found.append(
                f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines, {allowed} are allowed"
            )
    return found


def unsure(path: pathlib.Path, tree: ast.AST) -> list[str]:
    """Return a line for each question of a plugin to ``os.path`` that swallows the error which is the answer."""
    if "plugins" not in path.relative_to(ROOT).parts[:1] or f"{path.parent.name}/{path.stem}" in MAY_BE_UNSURE:
        return []
    asked = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in UNSURE and ast.unparse(node.value) == "os.path"
    ]
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}: os.path.{node.attr} hides errors, ask _fs.lookup" for node in asked
    ]


def upward(path: pathlib.Path, tree: ast.AST) -> list[str]:
    """Return a line for each import of a file of ``module_utils`` from a package above its own."""
    if UTILS not in path.parents:
        return []
    imported = [
        (node.lineno, (node.module or "").partition(".plugins.module_utils.")[2])
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    ]
    own = height(path.relative_to(UTILS).parts[0])
    return [
        f"{path.relative_to(ROOT)}:{line}: {path.parent.name} imports from {name}, which is above it"
        for line, name in imported
        if height(name.partition(".")[0]) > own
    ]


def height(package: str) -> int:
    """Return the layer of a package, 0 for what stands beside the packages."""
    return LAYERS.index(package) + 1 if package in LAYERS else 0


def main() -> int:
    """Check every Python file below plugins, tests and the root; return the exit status."""
    files = [
        *ROOT.glob("*.py"),
        *ROOT.glob("plugins/**/*.py"),
        *ROOT.glob("tests/**/*.py"),
        *ROOT.glob("molecule/**/*.py"),
    ]
    kept = [path for path in sorted(files) if "output" not in path.parts]
    parsed = ((path, ast.parse(path.read_text())) for path in kept)
    findings = [line for one in parsed for rule in (too_long, unsure, upward) for line in rule(*one)]
    sys.stdout.write("".join(f"{line}\n" for line in findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
