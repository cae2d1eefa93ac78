# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of every module that changes a host: the run to which it belongs."""

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
