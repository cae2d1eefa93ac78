#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``migration_record``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_record
short_description: Read or advance the record of a host's move
version_added: 0.1.0
description:
  - The record is one JSON file that says where a host stands on its way from its old state directory to the new one.
  - Without O(phase) it is only read. A phase that cannot follow the present one is refused.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.move
  - dsa110.contimg.run
options:
  run_dir:
    description: The directory of the record. It is made, for its owner only, when the record is first written.
    type: path
    required: true
  phase:
    description: The phase that the host has reached.
    type: str
    choices: [presynced, held, proved, split, repointed, started, done, rolled_back, retiring, retired]
  facts:
    description: What later steps need to know. It is merged into the facts of the record; a null value removes a fact.
    type: dict
    default: {}
  record:
    description:
      - What an earlier task of the same play has returned in RV(record). A preview takes this record to O(phase), so that each task sees what
        the tasks before it would have recorded.
      - It counts in check mode with O(phase) only. Everything else is about the file.
    type: dict
    default: {}
  moments:
    description: Names of facts that are set to the present time of the host, where O(facts) does not give them. Epoch seconds.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Read where the host stands
  dsa110.contimg.migration_record:
    run_dir: /var/lib/dsa110-contimg-migration
  register: found

- name: Record that the host went back
  dsa110.contimg.migration_record:
    run_dir: /var/lib/dsa110-contimg-migration
    phase: rolled_back
    moments: [rolled_back_at]

- name: Read the record of a move, and stop if it is that of another one
  dsa110.contimg.migration_record:
    run_dir: /var/lib/dsa110-contimg-migration
    move:
      src: /stage/dsa110-contimg/state
      dest: /data/dsa110-contimg/state
      databases:
        - {name: products, src: [db/products.sqlite3], dest: products.sqlite3}
      exclude: ["*.pid"]
"""

RETURN = r"""
record:
  description: The record as it is after the task (in check mode, as it would be).
  returned: success
  type: dict
  contains:
    phase:
      description: Where the host stands, empty for an untouched host.
      type: str
    since:
      description: When it got there, UTC.
      type: str
    history:
      description: All phases, each with C(phase), C(at) and the C(run) that has taken the host there.
      type: list
      elements: dict
    move:
      description: What the move is (C(src), C(dest), C(databases), C(exclude)), with its C(id), that of its first run.
      type: dict
    facts:
      description: What later steps need to know.
      type: dict
    former:
      description: The facts of former attempts.
      type: list
      elements: dict
    version:
      description: The version of the record's format.
      type: int
record_file:
  description: The path of the record.
  returned: success
  type: str
now:
  description: The time of the host when the task ran, in epoch seconds. The clock of the controller may differ.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import MOVE, PHASES, run_record


def main() -> None:
    """Read or advance, and report."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "phase": {"type": "str", "choices": list(PHASES)},
            "move": MOVE,
            "facts": {"type": "dict", "default": {}},
            "record": {"type": "dict", "default": {}},
            "moments": {"type": "list", "elements": "str", "default": []},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("read or write the record", module.params["run_dir"]), leased(
            module.params["run_id"], "migration_record", check=module.check_mode
        ):
            result = run_record(module.params, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
