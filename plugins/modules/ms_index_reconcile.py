#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``ms_index_reconcile``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ms_index_reconcile
short_description: Reconcile the index of measurement sets with the sets on disk
version_added: 0.1.0
description:
  - Removes rows of C(ms_index) whose measurement sets below O(roots) are gone, and registers sets that have no row.
  - Links are followed to see whether a set exists. A set that only a link leads to is not registered.
  - A row that is removed is in the verified copy of the database in O(backup_dir).
  - A missing or empty mount does not read as "everything was deleted"; see O(roots) and O(max_removed_fraction).
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  products_db:
    description: The products database.
    type: path
    required: true
  roots:
    description:
      - Directories below which measurement sets lie, directories ending in C(.ms). Each must exist.
      - One that holds no set although rows name some there fails the task, unless O(max_removed_fraction=1).
      - Rows of sets that lie elsewhere are left alone.
    type: list
    elements: path
    required: true
  max_removed_fraction:
    description: The part of the rows below O(roots) that may be removed at once. More fails the task before any change.
    type: float
    default: 0.2
  backup_dir:
    description: Where a verified copy of the database is kept before a row is removed, as M(dsa110.contimg.sqlite_backup) makes it.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Remove rows of deleted measurement sets and register those without a row
  dsa110.contimg.ms_index_reconcile:
    products_db: /data/dsa110-contimg/state/products.sqlite3
    roots: [/stage/dsa110-contimg/ms]
    backup_dir: /var/lib/dsa110-contimg-migration/backups
"""

RETURN = r"""
removed:
  description: Paths of the rows that were removed.
  returned: success
  type: list
  elements: str
behind_links:
  description:
    - Paths of rows whose way leads over a symbolic link behind which none of the known sets is. Its file system may not be mounted.
      The rows stay, unless O(max_removed_fraction=1).
  returned: success
  type: list
  elements: str
registered:
  description: Paths of the sets that were registered. Their C(start_mjd) is known where their name is a time.
  returned: success
  type: list
  elements: str
dependents:
  description: By table, how many rows name a removed set in C(ms_path). They stay.
  returned: success
  type: dict
known:
  description: How many rows lay below O(roots).
  returned: success
  type: int
backup_file:
  description: The copy of the database, in check mode where it would be. Empty where no row is removed.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.measurement_sets import reconcile
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased


def main() -> None:
    """Compare, write outside check mode, report."""
    module = AnsibleModule(
        argument_spec={
            "products_db": {"type": "path", "required": True},
            "roots": {"type": "list", "elements": "path", "required": True},
            "max_removed_fraction": {"type": "float", "default": 0.2},
            "backup_dir": {"type": "path", "required": True},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    run_id = options.pop("run_id")
    try:
        with error_context("reconcile ms_index", module.params["products_db"]), leased(
            run_id, "ms_index_reconcile", check=module.check_mode
        ):
            result = reconcile(**options, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
