# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the paths of a description have one spelling only.

Roles and modules compare paths as text, join them, and put them into unit files and regular expressions. So a path with a
second spelling (a trailing slash, ``..``) is refused before anything uses it.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["KINDS", "path_faults"]

#: A path from the root, a place below a state directory, or a pattern of paths from the root.
KINDS = ("absolute", "relative", "pattern")

_UNFIT = re.compile(r"[\x00-\x1f\x7f\"\\]")
_EXPANDED = re.compile(r"^~|\$")


def path_faults(described: Mapping[str, str | Iterable[str]], kind: str = "absolute") -> list[str]:
    """Return, as clauses, what is wrong with the paths of a description. An empty text stands for no path.

    :param described: paths by the name of the variable that holds them.
    :param kind: one of :data:`KINDS`.
    """
    pairs = (
        (name, path) for name, value in described.items() for path in ([value] if isinstance(value, str) else value)
    )
    found = ((name, path, _fault(path, kind)) for name, path in pairs if path)
    return [f"{name}: '{printable(path)}' {fault}" for name, path, fault in found if fault]


def _fault(path: str, kind: str) -> str:
    if _UNFIT.search(path):
        return "holds a control character, a double quote or a backslash"
    if kind == "relative":
        if path.startswith("/"):
            return "is absolute: write its place below the state directory"
    elif kind == "absolute" and _EXPANDED.search(path):
        return "holds '~' or '$', which are not expanded everywhere: write the whole path"
    elif not path.startswith("/"):
        return "is relative: write the whole path, from the root directory"
    if ".." in path.split("/"):
        return "holds '..', which a symbolic link can lead elsewhere: name the directory itself"
    return "" if kind == "pattern" else _second_spelling(path)


def _second_spelling(path: str) -> str:
    shortest = re.sub("^/+", "/", posixpath.normpath(path))
    if shortest in ("/", "."):
        return "names a whole file system or state directory: name what lies below it"
    return "" if path == shortest else f"is not the shortest spelling: write '{printable(shortest)}'"
