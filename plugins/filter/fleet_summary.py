# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``fleet_summary``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

DOCUMENTATION = r"""
name: fleet_summary
short_description: How the hosts of a play have ended
version_added: 0.1.0
author: The dsa110.contimg developers (@dsa110)
description:
  - Returns the hosts of a play by what has become of them, each with the seconds for which its services were down and what has
    failed, and the next command of each kind.
positional: _input, in_play
options:
  _input:
    description:
      - By host, how it has ended. C(phase), C(next), C(downtime) and C(down) are what M(dsa110.contimg.host_status) returns.
        C(phase) is C(unknown) where the host could not be looked at.
      - C(failed) is whether the play has failed there, and C(reason) is what has failed.
      - C(waiting) is true of a host that was left alone. Nothing stands for a host that has not ended.
    type: dict
    required: true
  in_play:
    description: The hosts that have neither failed nor become unreachable.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show how two hosts have ended
  ansible.builtin.debug:
    msg: "{{ {'one': {'phase': 'done', 'next': 'dsa110.contimg.verify audits the move', 'downtime': 5.5}, 'two': {}}
      | dsa110.contimg.fleet_summary(['one', 'two']) }}"
"""

RETURN = r"""
_value:
  description: Lines for an operator.
  type: list
  elements: str
"""

_MOVED = ("done", "retiring", "retired")
_KINDS = ("moved", "untouched", "rolled back", "unfinished", "waiting", "failed", "failed or unreachable")
_START = "dsa110.contimg.migrate, when the cause of the failures is corrected"
_LOST = "read the last message of each; dsa110.contimg.migrate goes on where the host stands"


def fleet_summary(hosts: Mapping[str, Mapping[str, Any]], in_play: Collection[str]) -> list[str]:
    """Return how the hosts of a play have ended; see the documentation."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, outcome in hosts.items():
        kind = _kind(outcome, in_play=name in in_play)
        groups.setdefault((kind, _next(outcome, kind)), []).append(f"{name}{_details(outcome)}")
    lines = []
    for (kind, following), names in sorted(groups.items(), key=lambda group: _KINDS.index(group[0][0])):
        lines += [f"{kind} ({len(names)}): {', '.join(names)}", f"  next: {following}"]
    return lines


def _kind(outcome: Mapping[str, Any], *, in_play: bool) -> str:
    if not outcome:
        return "waiting" if in_play else "failed or unreachable"
    phase, failed = outcome.get("phase", ""), outcome.get("failed", False)
    if outcome.get("waiting"):
        return "waiting"
    if outcome.get("down") or phase == "unknown" or (failed and phase not in ("", "rolled_back")):
        return "failed"
    if phase in _MOVED:
        return "moved"
    return {"": "untouched", "rolled_back": "rolled back"}.get(phase, "unfinished")


def _next(outcome: Mapping[str, Any], kind: str) -> str:
    if kind == "waiting":
        return _START
    return str(outcome.get("next") or _LOST)


def _details(outcome: Mapping[str, Any]) -> str:
    fields = []
    if outcome.get("downtime"):
        fields.append(f"its services were down for {outcome['downtime']} s")
    if outcome.get("down"):
        fields.append(f"DOWN: {'; '.join(outcome['down'])}")
    if outcome.get("failed"):
        fields.append(outcome.get("reason") or "failed")
    return f" ({', '.join(fields)})" if fields else ""


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters of this file by name."""
        return {"fleet_summary": fleet_summary}
