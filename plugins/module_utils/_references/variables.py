# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variable of the environment stands for an old path, and what the path becomes."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import is_below

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Target", "Variable", "Variables"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"/[^\\\"'\x00-\x1f\x7f]*")
_UNTOUCHED = "Nothing was touched."


@dataclass(frozen=True)
class Variable:
    """A variable of the environment that says where an old path is now.

    :ivar old: the old path.
    :ivar name: the variable's name.
    :ivar default: the new path, for where the variable is unset.
    """

    old: str
    name: str
    default: str


@dataclass(frozen=True)
class Target:
    """What an old path becomes: the variable's value, and a rest below it (``None`` where the path is the variable's)."""

    variable: Variable
    rest: str | None

    @property
    def path(self) -> str:
        """The path where the variable is unset."""
        return self.variable.default if self.rest is None else posixpath.join(self.variable.default, self.rest)


class Variables:
    """The variables, of which the longest old path that matches decides.

    :raises ContimgError: when a path or a name is not usable in a program, or a default would be found again.
    """

    def __init__(self, variables: Sequence[Variable], prefix: str) -> None:
        self._all = sorted(variables, key=lambda one: -len(one.old))
        prefix = prefix.rstrip("/")
        for one in variables:
            if not _NAME.fullmatch(one.name):
                raise ContimgError(f"'{one.name}' is no name of a variable", hint=_UNTOUCHED)
            if any(not _PLAIN.fullmatch(path) or posixpath.normpath(path) != path for path in (one.old, one.default)):
                raise ContimgError(f"{one.name} needs absolute, normal paths without quotes", hint=_UNTOUCHED)
            if not is_below(one.old, prefix):
                raise ContimgError(f"is not below {prefix}, which is looked for", path=one.old, hint=_UNTOUCHED)
            if is_below(one.default, prefix):
                raise ContimgError(
                    f"lies below {prefix}, so it would be found again", path=one.default, hint=_UNTOUCHED
                )

    def __bool__(self) -> bool:
        return bool(self._all)

    def target(self, path: str) -> Target | str:
        """Return what an old path becomes, or why that is not known."""
        clean = path if path == "/" else path.rstrip("/")
        if posixpath.normpath(clean) != clean:
            return "the path is not normal"
        for one in self._all:
            if is_below(clean, one.old):
                rest = path[len(one.old) + 1 :] if path != one.old else None
                found = Target(one, rest)
                return self._parted(clean, found) if clean != one.old else found
        return "no variable stands for it"

    def _parted(self, path: str, target: Target) -> Target | str:
        """Return the target of a directory, unless what is known to lie in it goes elsewhere."""
        new = target.path.rstrip("/")
        apart = (one for one in self._all if is_below(one.old, path) and one.default != new + one.old[len(path) :])
        one = next(apart, None)
        return target if one is None else f"{one.old}, which lies in it, is renamed ({one.name})"
