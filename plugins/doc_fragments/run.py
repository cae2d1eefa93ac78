# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of modules that belong to a run: which one it is, and how long a hold outlives its signs of life."""

from __future__ import annotations


class ModuleDocFragment:
    """The option ``run_id``."""

    DOCUMENTATION = r"""
options:
  run_id:
    description:
      - The run to which the task belongs, as M(dsa110.contimg.host_lease) returned it.
      - If that run has lost the lease of the host, the module fails and changes nothing. No other run can take the lease over
        while it works.
      - Empty for a task that belongs to no run, which needs no lease. In check mode the lease does not matter.
    type: str
    default: ""
"""

    # A module that only reads, for long perhaps.
    READING = r"""
options:
  run_id:
    description:
      - The run to which the task belongs, as M(dsa110.contimg.host_lease) returned it.
      - If that run has lost the lease of the host, the module fails. While it works, no other run can take the lease over, and
        the limit of a hold (O(dsa110.contimg.unit_hold#module:limit)) does not pass.
      - Empty for a task that belongs to no run, which needs no lease. In check mode the lease does not matter.
    type: str
    default: ""
"""

    # A module that holds services.
    LIMIT = r"""
options:
  limit:
    description:
      - Seconds without a sign of life of the run, after which the host itself releases the hold and starts what ran. V(0) for no
        limit. A sign of life is a task of a run that is at work on the host, its beginning, and its end.
      - A transient timer of systemd keeps the limit. So there is one only on a host that systemd has booted, for root, and with
        O(run_id). Nothing is stopped where the timer cannot be set.
      - With O(state=released) the timer is ended when everything has been started, and what it needs is removed.
    type: int
    default: 0
"""
