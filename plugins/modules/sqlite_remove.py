#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``sqlite_remove``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sqlite_remove
short_description: Remove a database whose content is known, and keep a verified copy
version_added: 0.1.0
description:
  - Removes an SQLite database with its sidecars, if its content has the checksum that is given and no process has it open.
  - SQLite's exclusive lock is held from before the copy to the end, so what was copied and compared is what is removed.
  - A symbolic link is not followed. An interrupted removal is undone by the next run, which then makes it.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  path:
    description: The database. Where there is none, there is nothing to do.
    type: path
    required: true
  checksum:
    description:
      - The content checksum that it must have, as M(dsa110.contimg.sqlite_checksum) returns it. Another one fails the task.
      - Without it nothing is removed, and only an interrupted removal is undone.
    type: str
    default: ""
  backup_dir:
    description: Where the verified copy is kept, with the sidecars, in a directory of its own.
    type: path
    required: true
  require_proof:
    description: Whether it is an error that not every process's open files can be read, as it is without root.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Remove the HDF5 database that a split has made and that no service has used
  dsa110.contimg.sqlite_remove:
    path: /data/dsa110-contimg/state/hdf5.sqlite3
    checksum: contimg1:sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    backup_dir: /var/lib/dsa110-contimg-migration/replaced
"""

RETURN = r"""
backup_file:
  description: The copy, empty where nothing was removed and in check mode.
  returned: success
  type: str
open_in:
  description: The processes that have the database open, in check mode. A run fails then.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.removal import remove_unchanged


def main() -> None:
    """Compare, remove outside check mode, report."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "checksum": {"type": "str", "default": ""},
            "backup_dir": {"type": "path", "required": True},
            "require_proof": {"type": "bool", "default": True},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    run_id = options.pop("run_id")
    try:
        with error_context("remove the database", module.params["path"]), leased(
            run_id, "sqlite_remove", check=module.check_mode
        ):
            result = remove_unchanged(**options, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
