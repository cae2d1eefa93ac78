#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``sqlite_backup``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sqlite_backup
short_description: Keep a verified copy of a database
version_added: 0.1.0
description:
  - Copies an SQLite database, with what stands in its write-ahead log, into one file, and compares both by their content.
  - The name of the copy tells its content, so a second run that finds the database as it was has nothing to do.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  path:
    description: The database. It is read without a trace.
    type: path
    required: true
  backup_dir:
    description: Where the copy is kept. The directory is made, for its owner only.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Keep what the new products database holds
  dsa110.contimg.sqlite_backup:
    path: /data/dsa110-contimg/state/products.sqlite3
    backup_dir: /var/lib/dsa110-contimg-migration/discarded
"""

RETURN = r"""
backup_file:
  description: The copy. In check mode, where it would be.
  returned: success
  type: str
checksum:
  description: The content checksum of both.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.backup import back_up_database, plan_backup


def main() -> None:
    """Plan, copy outside check mode, report."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "backup_dir": {"type": "path", "required": True},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("back up the database", module.params["path"]), leased(
            module.params["run_id"], "sqlite_backup", check=module.check_mode
        ):
            plan = plan_backup(module.params["path"], module.params["backup_dir"])
            if not module.check_mode:
                back_up_database(plan)
    except ContimgError as error:
        module.fail_json(**error.result())
    changed = not plan.exists
    module.exit_json(
        changed=changed,
        backup_file=plan.target,
        checksum=plan.checksum,
        diff={"before": "", "after": f"{plan.target}\n"} if changed else {},
    )


if __name__ == "__main__":
    main()
