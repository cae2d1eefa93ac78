# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``host_lease`` does on the controller: it says who asks, and whether the controller of the run in the way has ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ansible.plugins.action import ActionBase

from ansible_collections.dsa110.contimg.plugins.plugin_utils._controller import has_ended, identity

if TYPE_CHECKING:
    from typing import Any


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Run the module, and once more where the lease is held for a process of this machine that has ended."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        super().run(tmp, task_vars)
        arguments = {**self._task.args, "controller": identity(os.getppid())}
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        holder = result.get("held_by")
        if result.get("failed") and holder and has_ended(holder["controller"]):
            arguments["take_over"] = holder["run_id"]
            result = self._execute_module(module_args=arguments, task_vars=task_vars)
        return result
