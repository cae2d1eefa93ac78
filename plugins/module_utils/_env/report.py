# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be told of an EnvironmentFile: its assignments, differences and traps, without a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import REFERENCE, Edit, effective
from ansible_collections.dsa110.contimg.plugins.module_utils._env.grammar import Assignment, is_text, parse
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import MASK, is_secret_name, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Redactor", "difference", "is_secret", "warnings_about"]

# A shorter secret stands in too many other values by chance.
_SEARCHED = 4


def is_secret(name: bytes, edit: Edit) -> bool:
    """Return whether the value of a name must never be shown."""
    return name in edit.secret_names or is_secret_name(name.decode(errors="replace"))


def _holds_secret(value: bytes) -> bool:
    """Return whether a value is a secret by its own form, or names one: an address with a user, a command with a password."""
    text = value.decode(errors="replace")
    return redacted(text) != text


@dataclass(frozen=True)
class Redactor:
    """Hides secrets: the values of secret names, also where they stand within another value, and what is secret by its form."""

    edit: Edit
    secrets: frozenset[bytes]

    @classmethod
    def over(cls, edit: Edit, *contents: bytes) -> Redactor:
        """Return what hides the secrets of all these files."""
        found = (one for content in contents for one in parse(content) if is_secret(one.name, edit))
        return cls(edit, frozenset(one.value for one in found if len(one.value) >= _SEARCHED))

    def hides(self, name: bytes, value: bytes) -> bool:
        """Return whether a value of a name must not be shown."""
        return is_secret(name, self.edit) or _holds_secret(value) or any(secret in value for secret in self.secrets)

    def shown(self, name: bytes, value: bytes) -> str:
        """Return a value as it may be shown."""
        return MASK if self.hides(name, value) else printable(value)

    def assignments(self, content: bytes) -> dict[str, str]:
        """Return what a process gets of a file, as it may be shown."""
        values = effective(content)
        return {printable(name): self.shown(name, values[name]) for name in values}


def difference(before: bytes, after: bytes, redactor: Redactor) -> tuple[str, str]:
    """Return both sides of a diff, assignments only: comments may hold secrets, too. A changed secret is marked."""
    old = [one for one in parse(before) if one.valid]
    known: dict[bytes, set[bytes]] = {}
    for one in old:
        known.setdefault(one.name, set()).add(one.value)
    new = [one for one in parse(after) if one.valid]
    return (
        "".join(_line(one, redactor, changed=False) for one in old),
        "".join(_line(one, redactor, changed=one.value not in known.get(one.name, {one.value})) for one in new),
    )


def _line(one: Assignment, redactor: Redactor, *, changed: bool) -> str:
    note = " (changed)" if changed and redactor.hides(one.name, one.value) else ""
    return f"{printable(one.name)}={redactor.shown(one.name, one.value)}{note}\n"


def warnings_about(content: bytes) -> Iterator[str]:
    """Yield what an operator may not expect of systemd or bash, line by line and then name by name.

    A line is named by its number: one that systemd drops may be a piece of a secret.
    """
    for one in parse(content):
        line = 1 + content.count(b"\n", 0, one.start)
        if not is_text(one.name) or not is_text(one.value):
            yield f"line {line} holds what is not text in UTF-8, so systemd refuses the whole file"
        elif one.name.startswith(b"export "):
            yield f"line {line} begins with 'export': systemd drops it, bash does not"
        elif not one.valid:
            yield f"line {line} is no assignment to a valid name: systemd drops it"
    for name, value in effective(content).items():
        if REFERENCE.search(value):
            yield f"{printable(name)} refers to another variable, which systemd does not expand"
    for name in sorted(_ambiguous(content)):
        yield f"{printable(name)} stands under a comment that ends in a backslash: systemd sees it from version 254 on"


def _ambiguous(content: bytes) -> set[bytes]:
    old, new = effective(content), effective(content, joining_comments=False)
    return {name for name in {*old, *new} if old.get(name) != new.get(name)}
