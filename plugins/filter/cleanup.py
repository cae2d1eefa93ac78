# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``cleanup``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

DOCUMENTATION = r"""
name: cleanup
short_description: What enabling the clean-up timer does
version_added: 0.1.0
author: The dsa110.contimg developers (@dsa110)
description:
  - Judges whether a timer would delete data at once, by what M(dsa110.contimg.unit_info) has returned.
positional: timer
options:
  _input:
    description: The units that the timer triggers, by name.
    type: dict
    required: true
  timer:
    description: The timer.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Stop if the clean-up would delete data at once
  ansible.builtin.assert:
    that: not (services.units | dsa110.contimg.cleanup(timers.units['data-retention-cleanup.timer'])).deletes_now
"""

RETURN = r"""
_value:
  description:
    - C(runs) are the commands of the units, C(dry_run) their C(DRY_RUN) (of several that of the first one that deletes).
    - C(deletes_now) says whether one of them would run at once and delete.
  type: dict
"""


_REPORTS_ONLY = re.compile(r"(?i)(1|true|yes)$")


def cleanup_of(services: Mapping[str, Mapping[str, Any]], timer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what enabling a timer does; see the documentation.

    :param services: the units that the timer triggers, as ``unit_info`` returns them.
    :param timer: the timer, by the same.
    """
    values = [str(one["effective_environment"].get("DRY_RUN", "")) for one in services.values()]
    deleting = [value for value in values if not _REPORTS_ONLY.match(value)]
    dry_run = next(iter(deleting or values), "")
    return {
        "runs": "; ".join(command for one in services.values() for command in one["exec"]) or "nothing",
        "dry_run": dry_run,
        "deletes_now": bool(timer["would_fire_now"] and not _REPORTS_ONLY.match(dry_run)),
    }


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Return the filters of this file by name."""
        return {"cleanup": cleanup_of}
