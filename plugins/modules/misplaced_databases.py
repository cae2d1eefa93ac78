#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``misplaced_databases``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: misplaced_databases
short_description: Find databases where none belong, and quarantine those that hold nothing of their own
version_added: 0.1.0
description:
  - Services that start in another directory, or with a path like C(${PIPELINE_DB}) that stayed literal, make databases where none belong.
  - Each is compared by content with the real one of the same name. One without rows, or whose rows the real one has, is harmless.
  - One with rows of its own, or without a counterpart, is reported and left where it is.
  - One that a process has open is not moved, and neither is any other then. The comparison is made again, on the verified copy, while a
    lock keeps every connection away, and the lock is held until the database is gone. Stop the services first.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  databases:
    description: Paths of the real databases.
    type: list
    elements: path
    required: true
  places:
    description: Where none belongs, as paths or patterns as of a shell. What is not a database is ignored.
    type: list
    elements: str
    required: true
  quarantine_dir:
    description: Where harmless ones are moved to, with their sidecars, as a verified copy. Without it they are only reported.
    type: path
  require_proof:
    description: Whether it is an error that not every process's open files can be read, as it is without root.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Clear away what services have made in the wrong place
  dsa110.contimg.misplaced_databases:
    databases: [/data/dsa110-contimg/state/products.sqlite3]
    places:
      - /data/dsa110-contimg/src/state/products.sqlite3
      - /data/dsa110-contimg/$[{]*
    quarantine_dir: /var/lib/dsa110-contimg-migration/misplaced
"""

RETURN = r"""
databases:
  description:
    - Each that was found, with its C(path), its C(counterpart), its C(relation) to it (V(empty), V(identical), V(behind), V(ahead),
      V(diverged), V(other_schema) or V(unknown)) and the C(action), V(quarantine) or V(leave).
    - C(open_in) lists the processes that have one open that would be moved. In check mode this is no error, since they may be stopped
      before the run.
  returned: success
  type: list
  elements: dict
left:
  description: Paths of those that may hold rows of their own.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.misplaced import misplaced


def main() -> None:
    """Find, quarantine outside check mode, report."""
    module = AnsibleModule(
        argument_spec={
            "databases": {"type": "list", "elements": "path", "required": True},
            "places": {"type": "list", "elements": "str", "required": True},
            "quarantine_dir": {"type": "path"},
            "require_proof": {"type": "bool", "default": True},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    run_id = options.pop("run_id")
    try:
        with error_context("look for misplaced databases", next(iter(module.params["places"]), ".")), leased(
            run_id, "misplaced_databases", check=module.check_mode
        ):
            result = misplaced(**options, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
