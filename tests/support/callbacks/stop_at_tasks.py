# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback by which a controller stops itself at the beginning of each task, before anything of the task is at work.

Who reads its output and stops it then comes too late on a busy machine.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: stop_at_tasks
type: notification
short_description: Stop the controller at the beginning of each task
description: The controller gets a SIGSTOP when a task begins, while the file that C(STOPS) names is there. A SIGCONT lets it go on.
author: The dsa110.contimg developers (@dsa110)
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Stops the controller."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "stop_at_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002, FBT001
        """Stop, after the callback that has shown the name of the task."""
        if os.path.exists(os.environ["STOPS"]):
            os.kill(os.getpid(), signal.SIGSTOP)
