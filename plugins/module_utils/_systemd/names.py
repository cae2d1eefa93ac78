# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which units the names and patterns of an operator stand for, for example ``wk@*.service``."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import systemctl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "all_units",
    "installed_templates",
    "is_pattern",
    "is_template",
    "resolved_units",
    "templates_of",
    "units_of",
    "with_instance",
]


def is_pattern(name: str) -> bool:
    """Return whether a unit's name is a glob: the name of a unit holds none of these characters."""
    return any(character in name for character in "*?[")


def is_template(name: str) -> bool:
    """Return whether a name is that of a template, which itself never runs."""
    return "@." in name


def resolved_units(names: Sequence[str], *, remembered: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return by name the units that it stands for: itself, where it is a pattern those that match it, and for a template none.

    :param remembered: units that may be unknown to systemd by now, as an instance is that does not run.
    :raises ContimgError: when systemd cannot be asked. Without a pattern it is not asked.
    """
    known = {*remembered, *(all_units() if any(map(is_pattern, names)) else ())}
    plain = {name: [] if is_template(name) else [name] for name in names}
    return {name: sorted(fnmatch.filter(known, name)) if is_pattern(name) else plain[name] for name in names}


def all_units(*options: str) -> list[str]:
    """Return every unit that is loaded or could be: instances of templates, but no templates.

    :param options: what narrows both ``systemctl list-units`` and ``list-unit-files``.
    :raises ContimgError: when systemd cannot be asked.
    """
    return sorted(name for name in _listed(*options, loaded=True) if not is_template(name))


def installed_templates(*options: str) -> list[str]:
    """Return every template. Any of them can be started at any time, with an instance that systemd does not list before.

    :param options: what narrows ``systemctl list-unit-files``.
    :raises ContimgError: when systemd cannot be asked.
    """
    return sorted(filter(is_template, _listed(*options, loaded=False)))


def _listed(*options: str, loaded: bool) -> set[str]:
    options = ("--full", "--no-legend", *options)
    listed = systemctl("list-unit-files", *options)
    if loaded:
        listed += systemctl("list-units", "--all", "--plain", *options)
    return {line.split()[0] for line in listed.splitlines() if line.split()}


def with_instance(template: str, instance: str) -> str:
    """Return the unit that a template makes for an instance."""
    prefix, _at, kind = template.partition("@")
    return f"{prefix}@{instance}{kind}"


def units_of(resolved: Mapping[str, Sequence[str]]) -> list[str]:
    """Return all units of a resolution, each once, in the order in which they were asked for."""
    return list(dict.fromkeys(unit for units in resolved.values() for unit in units))


def templates_of(resolved: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the templates of those units that match a pattern."""
    instances = {unit for name, units in resolved.items() if is_pattern(name) for unit in units if "@" in unit}
    return sorted({f"{unit.partition('@')[0]}@.{unit.rpartition('.')[2]}" for unit in instances})
