#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``unit_file``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unit_file
short_description: Repoint paths in a unit file, drop-in or compose file, with a way back line by line
version_added: 0.1.0
description:
  - Replaces paths wherever they stand in the file, at their boundaries and in each spelling. Every other byte stays.
  - The name of an instance, or of a mount below the path, stays (C(x@stage-state.service)), since a unit of the new name need not
    exist. M(dsa110.contimg.path_references) reports it.
  - Owner, group, mode, ACLs and extended attributes are kept. The file is replaced as a whole, so that systemd finds the old one
    or the new one. It does not reload systemd.
  - An edit is undone line by line, and a line that somebody has changed since stays.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  path:
    description: The file. A symbolic link is followed only where only root and the running user can redirect it.
    type: path
    required: true
  repoint:
    description: Paths that are moved to another one. Where several begin at one place the longest decides.
    type: list
    elements: dict
    default: []
    suboptions:
      from:
        description: The old path.
        type: str
        required: true
      to:
        description: The new path.
        type: str
        required: true
  backup_dir:
    description: Where a copy is kept before a change, and a note of what was replaced.
    type: path
  restore_from:
    description:
      - An O(backup_dir) of earlier edits of this file, which are undone, the newest first, instead of an edit.
      - A line that was changed again since keeps its newer text and is named in RV(kept_lines). A file that is gone comes back as it was.
    type: path
"""

EXAMPLES = r"""
- name: Repoint a unit file
  dsa110.contimg.unit_file:
    path: /etc/systemd/system/contimg-stream.service
    repoint:
      - from: /stage/dsa110-contimg/state
        to: /data/dsa110-contimg/state
    backup_dir: /var/lib/dsa110-contimg-migration/backups

- name: Undo that
  dsa110.contimg.unit_file:
    path: /etc/systemd/system/contimg-stream.service
    restore_from: /var/lib/dsa110-contimg-migration/backups
"""

RETURN = r"""
kept_lines:
  description: The settings of the lines that somebody has changed since the edits, and which stay as they are.
  returned: when O(restore_from) is given
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.edit import run


def main() -> None:
    """Edit or restore, and report."""
    pair = {"from": {"type": "str", "required": True}, "to": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "repoint": {"type": "list", "elements": "dict", "default": [], "options": pair},
            "backup_dir": {"type": "path"},
            "restore_from": {"type": "path"},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("edit the unit file", module.params["path"]), leased(
            module.params["run_id"], "unit_file", check=module.check_mode
        ):
            result = run(module.params, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
