# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit files with their drop-ins, as text: what ``systemctl show`` does not tell, or not on every systemd."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["logs_of", "parse_unit_files", "specifiers_expanded"]

_CONTINUED = re.compile(r"\\\n(?:[ \t]*[#;].*\n)*")
_SPECIFIER = re.compile(r"%(.)")
# The last assignment wins; of every other setting they add up, and an empty one forgets those before.
_SINGLE = {
    "StandardInput", "StandardOutput", "StandardError", "WorkingDirectory", "PIDFile", "RootDirectory", "RootImage", "User",
    "Group", "Type", "Description", "Slice",
}  # fmt: skip
_TO_FILE = re.compile(r"(?:append|truncate|file):(/.*)\Z", re.DOTALL)


def parse_unit_files(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the settings of a unit by name, from its file and drop-ins in the order that systemd reads them.

    Facts: systemd.syntax(7). Sections are not told apart: no setting means something else in another one.
    """
    settings: dict[str, list[str]] = {}
    for text in texts:
        for line in _CONTINUED.sub(" ", text).splitlines():
            name, separator, value = line.strip().partition("=")
            if not separator or line.lstrip().startswith(("#", ";", "[")):
                continue
            name, value = name.rstrip(), value.strip()
            kept = [] if not value or name in _SINGLE else settings.get(name, [])
            settings[name] = [*kept, value] if value else kept
    return settings


def specifiers_expanded(value: str, unit: str) -> str:
    """Return a value in which the specifiers that name the unit are expanded; others stay. Facts: systemd.unit(5)."""
    stem, _dot, _kind = unit.rpartition(".")
    prefix, _at, instance = stem.partition("@")
    plain = {
        "n": unit,
        "N": stem,
        "p": prefix,
        "P": _unescaped(prefix),
        "i": instance,
        "I": _unescaped(instance),
        "%": "%",
    }
    return _SPECIFIER.sub(lambda found: plain.get(found.group(1), found.group()), value)


def _unescaped(name: str) -> str:
    path = name.replace("-", "/")
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda found: chr(int(found.group(1), 16)), path)


def logs_of(settings: dict[str, list[str]], unit: str) -> list[str]:
    """Return the files that a unit's output goes to, by ``append:``, ``truncate:`` or ``file:``."""
    values = [value for name in ("StandardOutput", "StandardError") for value in settings.get(name, [])]
    found = (_TO_FILE.match(specifiers_expanded(value, unit)) for value in values)
    return sorted({match.group(1) for match in found if match})
