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
  - Matches by inode, so bind mounts and other names of the same file are found too, and deleted files by where they lay.
  - On a host that is itself a container, the processes outside of it are not seen.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
  - dsa110.contimg.run.reading
options:
  paths:
    description: Directories or files. One that does not exist is held by no process.
    type: list
    elements: path
    required: true
  writers_only:
    description: Whether only processes that can write are returned.
    type: bool
    default: false
  watch_seconds:
    description:
      - How long the trees are watched for changes, for writers that hold nothing open between writes. V(0) is one look.
      - Meanwhile it looks again and again who has files open. In check mode it looks once.
    type: int
    default: 0
  fail_on:
    description:
      - V(holders) fails when any process is returned in RV(holders).
      - V(incomplete) fails when the open files of other processes cannot be read.
    type: list
    elements: str
    choices: [holders, incomplete]
    default: []
"""

EXAMPLES = r"""
- name: Look who writes to the state
  dsa110.contimg.open_files_info:
    paths: [/stage/dsa110-contimg/state]
    writers_only: true
    watch_seconds: 45

- name: Stop if any process writes to the state, or may do so unseen
  dsa110.contimg.open_files_info:
    paths: [/stage/dsa110-contimg/state]
    writers_only: true
    fail_on: [holders, incomplete]
"""

RETURN = r"""
holders:
  description:
    - For each process C(pid), C(command) (secrets masked), C(unit), C(user_unit) (of the systemd of a user), C(container), C(files)
      and C(mode). C(mode) is V(write) where it can write to a file, or holds a lock that keeps others from writing, else V(read).
  returned: success
  type: list
  elements: dict
inside:
  description: Processes that hold nothing open, but whose working directory, root or program (C(files)) lies there.
  returned: success
  type: list
  elements: dict
changes:
  description: What changed while it was watched, each with C(path) and C(what). Nothing where it looked once.
  returned: success
  type: list
  elements: dict
complete:
  description: False where the open files of other processes cannot be read, so that nothing is proved.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import require_none
from ansible_collections.dsa110.contimg.plugins.module_utils._host.watch import watch_trees


def main() -> None:
    """Look, as long as it was asked for, and report."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "writers_only": {"type": "bool", "default": False},
            "watch_seconds": {"type": "int", "default": 0},
            "fail_on": {"type": "list", "elements": "str", "choices": ["holders", "incomplete"], "default": []},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("look for open files", next(iter(module.params["paths"]), ".")), leased(
            module.params["run_id"], "open_files_info", check=module.check_mode
        ):
            found, changes = watch_trees(
                module.params["paths"],
                seconds=0 if module.check_mode else module.params["watch_seconds"],
                writers_only=module.params["writers_only"],
            )
            require_none(found, module.params["paths"], module.params["fail_on"])
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(
        changed=False,
        holders=[one.as_dict() for one in found.holders],
        inside=[one.as_dict() for one in found.inside],
        changes=changes,
        complete=found.complete,
    )


if __name__ == "__main__":
    main()
