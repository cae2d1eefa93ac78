#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``hdf5_db_unsplit``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hdf5_db_unsplit
short_description: Copy the HDF5 file index from its own database back to the products database
version_added: 0.1.0
description:
  - The way back of M(dsa110.contimg.hdf5_db_split), for an application that looks for C(hdf5_file_index) in the products database.
  - Writes every row of the HDF5 database to the products database in one transaction, compares each before the commit, and changes
    nothing else there. The HDF5 database is kept as it is; a later split finds its rows equal and merges them.
  - Both databases are locked from the first row that is read to the commit. A run that is killed leaves the products database as it was,
    or with every row.
  - The table gets the columns that a products database has, those of the HDF5 database that are not of its schema, and those that only
    the HDF5 database has (C(subband_num), coordinates and others) where they say what cannot be derived again.
  - A table that products has already is kept, its rows too. An empty one in which the rows have no place is made anew.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  products_db:
    description: The products database.
    type: path
    required: true
  hdf5_db:
    description: The HDF5 database. It is only read.
    type: path
    required: true
  on_conflict:
    description: What to do with rows that differ from those of the products database. V(newest) goes by C(indexed_at), V(fail) names them.
    type: str
    choices: [fail, newest, keep]
    default: fail
  compare_groups:
    description:
      - Whether the groups of the index (M(dsa110.contimg.hdf5_groups_info)) are compared, those of the HDF5 database before with those of the
        products database after. Fewer files fail the task. So do other groups, where products had no rows of its own and none in conflict.
      - A run that has nothing to copy compares them, too, since an earlier one may have been interrupted before it did.
    type: bool
    default: false
  backup_dir:
    description: Where a verified copy of the products database is kept before the change (mode 0600).
    type: path
"""

EXAMPLES = r"""
- name: Copy the index of the input files back to the products
  dsa110.contimg.hdf5_db_unsplit:
    products_db: /data/dsa110-contimg/state/products.sqlite3
    hdf5_db: /data/dsa110-contimg/state/hdf5.sqlite3
    backup_dir: /var/lib/dsa110-contimg-migration/backups
"""

RETURN = r"""
tables:
  description:
    - Of C(hdf5_file_index), how many rows are C(moved), C(merged) (there already, and equal), in C(conflicts), and how many are the
      products database's C(own) and stay.
  returned: success
  type: dict
conflict_columns:
  description: In how many rows of the conflicts each column differs, where any does.
  returned: success
  type: dict
backup_file:
  description: The copy of the products database, empty where none was made.
  returned: success
  type: str
checksums:
  description: Content checksums of C(products) and C(hdf5) after the task.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit import unsplit
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.unsplit_plan import UnsplitOptions
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased


def main() -> None:
    """Plan, copy back outside check mode, report."""
    module = AnsibleModule(
        argument_spec={
            "products_db": {"type": "path", "required": True},
            "hdf5_db": {"type": "path", "required": True},
            "on_conflict": {"type": "str", "choices": ["fail", "newest", "keep"], "default": "fail"},
            "compare_groups": {"type": "bool", "default": False},
            "backup_dir": {"type": "path"},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    names = ("products_db", "hdf5_db", "on_conflict", "backup_dir", "compare_groups")
    try:
        with error_context("copy the index back into the products database", module.params["products_db"]), leased(
            module.params["run_id"], "hdf5_db_unsplit", check=module.check_mode
        ):
            result = unsplit(UnsplitOptions(*(module.params[name] for name in names)), check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
