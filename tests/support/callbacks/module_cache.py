# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the playbooks of one test session share the modules that Ansible has assembled.

For each module that a play uses, Ansible searches the imports of the module and of its utils, and packs what it finds. Ansible
keeps the result in the temporary directory of one ``ansible-playbook``; with this callback it is in a directory of the session.
"""

from __future__ import annotations

import os

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: module_cache
type: aggregate
short_description: Share assembled modules between playbooks
description: Names the directory of assembled modules by C(CONTIMG_MODULE_CACHE).
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Link to the directory of the session before the first task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "module_cache"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Link to it."""
        super().__init__()
        os.symlink(os.environ["CONTIMG_MODULE_CACHE"], os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))
