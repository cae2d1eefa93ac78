#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``hdf5_db_split``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hdf5_db_split
short_description: Move the HDF5 file index from the products database to a database of its own
version_added: 0.1.0
description:
  - Makes the HDF5 database where it does not exist, writes every row of C(hdf5_file_index) and the HDF5 storage locations to it,
    verifies them row by row, and only then drops the table from the products database.
  - Interrupted at any point, the next run finishes. An empty table in the products database is as good as none.
  - The table may lack C(stored), have some of the newer columns already, and have others, which are kept. C(subband_num) and the times
    are derived where they are missing. C(subband_num) stays NULL where no number is in the subband's code and the HDF5 database allows it.
  - What becomes of a row that lacks what the HDF5 database needs, for example a time, is decided by O(rejected).
  - Views, triggers and foreign keys that use the table stop the split too, unless O(keep_source=true).
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.proofs
  - dsa110.contimg.run
options:
  products_db:
    description: The products database.
    type: path
    required: true
  hdf5_db:
    description: The HDF5 database. A new one gets owner, group and mode of O(products_db).
    type: path
    required: true
  preview_from:
    description: Where check mode reads a database that does not exist yet, by the option's name.
    type: dict
    suboptions:
      products_db:
        description: Read instead of O(products_db).
        type: path
      hdf5_db:
        description: Read instead of O(hdf5_db).
        type: path
  repoint:
    description:
      - Old paths and what they become, as M(dsa110.contimg.database_paths) takes them. Check mode plans on rows in which it has rewritten
        them already; it changes them in private copies. A run takes the rows as they are, so rewrite them before it.
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
  keep_source:
    description: Whether the products database keeps its table.
    type: bool
    default: false
  on_conflict:
    description:
      - What to do with rows that differ from those of the HDF5 database. V(newest) goes by C(indexed_at), V(fail) names them.
      - Only what a row of products itself says can differ. Coordinates that only the HDF5 database has are kept.
    type: str
    choices: [fail, newest, keep]
    default: fail
  rejected:
    description:
      - What to do with rows that cannot satisfy the schema of the HDF5 database.
      - V(fail) names them and changes nothing. V(keep_in_products) leaves them in the table of the products database, which then stays, and
        moves the others. V(quarantine) exports them to O(backup_dir), as JSON lines that are read back, before they leave products.
      - With O(keep_source=true) no row leaves products, and none is exported.
    type: str
    choices: [fail, keep_in_products, quarantine]
    default: fail
  compare_groups:
    description: Whether the groups of the index (M(dsa110.contimg.hdf5_groups_info)) are compared, those of before with those of after.
    type: bool
    default: false
  prepare:
    description:
      - Whether the HDF5 database is only prepared, in O(prepared_dir), with the copy of the products database in O(backup_dir). Both databases
        are left as they are.
    type: bool
    default: false
  prepared_dir:
    description:
      - A directory of the run directory, which only the user of this task may write to. A new HDF5 database begins with what O(prepare) has made
        there, if O(proofs) say that it is the same since. It is copied, and its bytes are proved.
      - Where the products database is the same, too, the table is dropped then. Otherwise the rows that differ are written, and every row is
        proved. What cannot be used is made anew.
      - What is prepared is removed when the rows have left the products database.
    type: path
  backup_dir:
    description: Where a verified copy of the products database is kept before the split (mode 0600).
    type: path
  vacuum:
    description: Whether the space that the table leaves is given back to the file system, also by a later run.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Move the index of the input files out of the products
  dsa110.contimg.hdf5_db_split:
    products_db: /data/dsa110-contimg/state/products.sqlite3
    hdf5_db: /data/dsa110-contimg/state/hdf5.sqlite3
    backup_dir: /var/lib/dsa110-contimg-migration/backups
"""

RETURN = r"""
tables:
  description: By table, how many rows are C(moved), C(merged), in C(conflicts), C(derived) and C(rejected).
  returned: success
  type: dict
conflict_columns:
  description: In how many rows of the conflicts each column differs, where any does.
  returned: success
  type: dict
rejected_rows:
  description: The first rows that cannot satisfy the schema, each with the reason.
  returned: success
  type: list
  elements: str
rejected_file:
  description: The export of the rows of O(rejected=quarantine), empty where none was made.
  returned: success
  type: str
backup_file:
  description: The copy of the products database, empty where none was made.
  returned: success
  type: str
checksums:
  description: Content checksums of C(products) and C(hdf5) after the task.
  returned: success
  type: dict
"""

import functools

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import prepare, split, split_options
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import remembering


def main() -> None:
    """Plan, split outside check mode, report."""
    preview = {"products_db": {"type": "path"}, "hdf5_db": {"type": "path"}}
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "products_db": {"type": "path", "required": True},
            "hdf5_db": {"type": "path", "required": True},
            "preview_from": {"type": "dict", "options": preview},
            "repoint": {"type": "list", "elements": "dict", "default": [], "options": {"from": text, "to": text}},
            "keep_source": {"type": "bool", "default": False},
            "on_conflict": {"type": "str", "choices": ["fail", "newest", "keep"], "default": "fail"},
            "rejected": {"type": "str", "choices": ["fail", "keep_in_products", "quarantine"], "default": "fail"},
            "compare_groups": {"type": "bool", "default": False},
            "backup_dir": {"type": "path"},
            "vacuum": {"type": "bool", "default": False},
            "prepare": {"type": "bool", "default": False},
            "prepared_dir": {"type": "path"},
            "proofs": {"type": "path"},
            "run_id": {"type": "str", "default": ""},
        },
        required_if=[("prepare", True, ["prepared_dir"])],
        supports_check_mode=True,
    )
    check = module.check_mode
    try:
        with error_context("split the products database", module.params["products_db"]), leased(
            module.params["run_id"], "hdf5_db_split", check=check
        ):
            remember = functools.partial(remembering, module.params["proofs"], write=not check, warn=module.warn)
            work = prepare if module.params["prepare"] else split
            result = work(split_options(module.params, check=check), check=check, remember=remember)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
