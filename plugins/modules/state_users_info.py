#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``state_users_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state_users_info
short_description: Which crontabs and mounts use a path
version_added: 0.1.0
description:
  - Finds what uses a directory without having it open now. Units are found by M(dsa110.contimg.unit_info), processes that have files
    open by M(dsa110.contimg.open_files_info).
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
options:
  paths:
    description: Directories or files.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Look which crontabs and mounts use the old state
  dsa110.contimg.state_users_info:
    paths: [/stage/dsa110-contimg/state]
"""

RETURN = r"""
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
  description: False where a crontab or another process's mounts cannot be read.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.users import users_of


def main() -> None:
    """Look and report."""
    module = AnsibleModule(
        argument_spec={"paths": {"type": "list", "elements": "path", "required": True}},
        supports_check_mode=True,
    )
    try:
        with error_context("look for users of the directories", next(iter(module.params["paths"]), ".")):
            result = users_of(module.params["paths"])
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
