#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``state_users_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state_users_info
short_description: What uses a path, and what of it a move neither stops nor repoints
version_added: 0.1.0
description:
  - Finds the units, containers, processes, crontabs and mounts that use a directory, whether they have it open now or not.
  - Returns a line for each use that a move of the directory would neither stop nor repoint, or after it for each use of the path that
    was left.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
options:
  paths:
    description: Directories or files.
    type: list
    elements: path
    required: true
  leaving:
    description: Those of O(paths) that the move leaves. What it stops may name the others, since it uses these afterwards.
    type: list
    elements: path
    default: []
  units:
    description:
      - Units that the move stops, or patterns for them. Without any, systemd is not asked, and no unit is found.
    type: list
    elements: str
    default: []
  hold_file:
    description: The O(dsa110.contimg.unit_hold#module:hold_file) of a hold, whose units a pattern stands for too.
    type: path
  containers:
    description: Containers that the move stops, and creates again where they are bound to O(leaving).
    type: list
    elements: str
    default: []
  timer:
    description: A timer that the move enables at its end. What it triggers may name the paths that are not left.
    type: str
    default: ""
  repointed:
    description: Files that the move repoints. What only they name is no use.
    type: list
    elements: path
    default: []
  known:
    description:
      - Regular expressions for whole names of units, containers, files, mount points and commands that may go on, and are left out of
        RV(users). A process that can write is returned in any case.
    type: list
    elements: str
    default: []
  moved:
    description:
      - Whether the move is done. Then RV(users) has each name of O(paths), also in units that are listed, and open files are not looked
        for.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Find what else uses the old state directory than the API
  dsa110.contimg.state_users_info:
    paths: [/stage/dsa110-contimg/state]
    leaving: [/stage/dsa110-contimg/state]
    units: [contimg-api.service]
    repointed: [/data/dsa110-contimg/ops/systemd/contimg.env]
    known: ["backup[.]service"]

- name: Find which units, containers, crontabs and mounts still name it
  dsa110.contimg.state_users_info:
    paths: [/stage/dsa110-contimg/state]
    units: [contimg-api.service]
    moved: true
"""

RETURN = r"""
users:
  description: A line for each use that O(known) does not match, secrets masked.
  returned: success
  type: list
  elements: str
notes:
  description:
    - Lines about what is unusual. Units that fail or are at work, files with a variable for a name, processes that work in a directory
      without a file open, engines that could not be asked.
  returned: success
  type: list
  elements: str
open:
  description: By path, the commands of the processes that have a file below it open. Empty where O(moved).
  returned: success
  type: dict
cron:
  description:
    - Lines of crontabs, and of scripts in C(/etc/cron.daily) and its like, that name a path, each with C(file), C(line) (its number),
      C(text) (secrets masked) and C(path). What a line runs elsewhere is not looked into.
  returned: success
  type: list
  elements: dict
mounts:
  description:
    - Mounts that show a path elsewhere, each with C(point), C(root) (what of the file system is mounted), and for one in another
      mount namespace C(pid), C(command), C(unit) and C(container) of a process there. C(pid) is V(0) for one of this host's own.
  returned: success
  type: list
  elements: dict
complete:
  description: False where a crontab, another process's mounts or, before the move, its open files cannot be read.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.users import look


def main() -> None:
    """Look and report."""
    names = {"type": "list", "elements": "str", "default": []}
    paths = {"type": "list", "elements": "path", "default": []}
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "leaving": paths,
            "units": names,
            "hold_file": {"type": "path"},
            "containers": names,
            "timer": {"type": "str", "default": ""},
            "repointed": paths,
            "known": names,
            "moved": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("look for users of the directories", next(iter(module.params["paths"]), ".")):
            result = look(module.params)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
