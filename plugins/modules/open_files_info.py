#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``open_files_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: open_files_info
short_description: Which processes have files open below directories
version_added: 0.1.0
description:
  - Finds the processes that hold, map or lock files, in every namespace, with their systemd unit and container.
  - Matches by inode, so bind mounts and other names of the same file are found too.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
options:
  paths:
    description: Directories or files. One that does not exist is held by nobody.
    type: list
    elements: path
    required: true
  writers_only:
    description: Whether only processes that can write are returned.
    type: bool
    default: false
  watch_seconds:
    description: How long the trees are watched for changes, for writers that hold nothing open between writes. V(0) is one look.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Look who writes to the state
  dsa110.contimg.open_files_info:
    paths: [/stage/dsa110-contimg/state]
    writers_only: true
    watch_seconds: 45
"""

RETURN = r"""
holders:
  description: For each process C(pid), C(command), C(unit), C(container), C(files) and C(mode) (V(read) or V(write)).
  returned: success
  type: list
  elements: dict
changes:
  description: What changed meanwhile, each with C(path) and C(what).
  returned: success
  type: list
  elements: dict
complete:
  description: False where the open files of other processes cannot be read, so that nothing is proved.
  returned: success
  type: bool
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._open_files import find_holders, tree_changes, tree_moment


def main() -> None:
    """Look, wait, look again, report."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "writers_only": {"type": "bool", "default": False},
            "watch_seconds": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        before = tree_moment(module.params["paths"])
        if not module.check_mode:
            time.sleep(module.params["watch_seconds"])
        changes = tree_changes(before, tree_moment(module.params["paths"]))
        found = find_holders(module.params["paths"], writers_only=module.params["writers_only"])
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(
        changed=False, holders=[one.as_dict() for one in found.holders], changes=changes, complete=found.complete
    )


if __name__ == "__main__":
    main()
