# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``audit_table``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

DOCUMENTATION = r"""
name: audit_table
short_description: What an audit has found, as a table
version_added: 0.1.0
author: The dsa110.contimg developers (@dsa110)
description:
  - Returns the lines of a table for an operator, a line for each kind of use of a path.
positional: prefix
options:
  _input:
    description: What M(dsa110.contimg.path_references) has returned.
    type: dict
    required: true
  prefix:
    description: The path, as it was given to that module.
    type: str
    required: true
  rows:
    description: What M(dsa110.contimg.database_paths) has returned.
    type: dict
    required: true
  users:
    description: The C(users) that M(dsa110.contimg.state_users_info) has returned.
    type: list
    elements: str
    required: true
  links:
    description: The C(lines) that M(dsa110.contimg.state_links_info) has returned.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what names the old path
  ansible.builtin.debug:
    msg: "{{ found | dsa110.contimg.audit_table('/stage/dsa110-contimg/state', rows=rows, users=used.users, links=links.lines) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

_NAMED = 3
_LISTED = 20


def audit_table(
    found: Mapping[str, Any], prefix: str, *, rows: Mapping[str, Any], users: Sequence[str], links: Sequence[str]
) -> list[str]:
    """Return a line for each kind of use of a path, then the uses of other patterns, and what was looked at.

    :param found: what ``path_references`` has returned.
    :param prefix: the path.
    :param rows: what ``database_paths`` has returned.
    :param users: the lines of ``state_users_info``.
    :param links: those of ``state_links_info``.
    """
    uses = [one for one in found["references"] if one["match"] == prefix]
    totals = rows["totals"]
    missing = ", ".join(found["missing"]) or "none"
    return [
        f"{'kind':<16} {'uses':>6} {'live':>6}  where",
        *(
            _line_of(kind, [one for one in uses if one["kind"] == kind])
            for kind in sorted({one["kind"] for one in uses})
        ),
        _row("unit or job", len(users), len(users), users[:_NAMED]),
        _row("database row", totals["rows"] + totals["mentions"], totals["live"], rows["live_lines"][:_NAMED]),
        _row("symbolic link", len(links), len(links), links[:_NAMED]),
        *_patterns([one for one in found["references"] if one["match"] != prefix]),
        f"{found['totals']['files']} files looked at; not there: {missing}",
    ]


def _row(kind: str, uses: int, live: int, where: Sequence[str]) -> str:
    return f"{kind:<16} {uses:6d} {live:6d}  {', '.join(where)}"


def _line_of(kind: str, uses: Sequence[Mapping[str, Any]]) -> str:
    files = list(dict.fromkeys(one["file"] for one in uses))
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return _row(kind, len(uses), sum(one["live"] for one in uses), files[:_NAMED]) + more


def _patterns(uses: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for match in sorted({one["match"] for one in uses}):
        matched = [one for one in uses if one["match"] == match]
        lines.append(f"{match}: {len(matched)} uses")
        lines += [f"  {one['file']}:{one['line']} ({one['kind']})" for one in matched[:_LISTED]]
    return lines


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters of this file by name."""
        return {"audit_table": audit_table}
