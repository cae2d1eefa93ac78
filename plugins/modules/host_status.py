#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``host_status``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_status
short_description: What runs on a host of what has to run, and which holds keep it down
version_added: 0.1.0
description:
  - Asks systemd and the container engines whether units and containers run, with what a hold of them would stop too.
  - Called at the beginning of a run, it returns what runs, and what ran before a hold of the same run directory that was never released.
    Called at its end with RV(ran) of the first call as O(before), it returns what does not run any more.
  - Lists the holds of M(dsa110.contimg.unit_hold) and M(dsa110.contimg.container_hold) that belong to other runs.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
  - dsa110.contimg.move
  - dsa110.contimg.run
options:
  run_dir:
    description: The directory of the record. What its holds remember as running counts as having run.
    type: path
    required: true
  units:
    description: Units. Without units systemd is not asked.
    type: list
    elements: str
    default: []
  containers:
    description: Containers. Without containers no engine is asked.
    type: list
    elements: str
    default: []
  before:
    description: What ran before, as an earlier call returned it in RV(ran). Without it, what runs now.
    type: dict
  own_holds:
    description: The names of the hold files in O(run_dir) that belong to the calling playbook. Every other hold of the host is foreign.
    type: list
    elements: str
    default: []
  fail_on:
    description:
      - V(down) fails when anything that ran before does not run now.
      - V(foreign_holds) fails when the host has a hold that is not among O(own_holds).
    type: list
    elements: str
    choices: [down, foreign_holds]
    default: []
  src:
    description: The old state directory. With O(dest), the module returns RV(environment) and all that follows it as well.
    type: path
  dest:
    description: The new state directory.
    type: path
  env_files:
    description: Environment files that are looked through for the two state directories.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: See what runs, and refuse to work beside another run's hold
  dsa110.contimg.host_status:
    run_dir: /var/lib/dsa110-contimg-migration
    units: [contimg-stream.service, contimg-api.service]
    fail_on: [foreign_holds]
  register: found

- name: Stop if anything that ran then does not run now
  dsa110.contimg.host_status:
    run_dir: /var/lib/dsa110-contimg-migration
    before: "{{ found.ran }}"
    fail_on: [down]
"""

RETURN = r"""
units:
  description: By unit C(up), C(state) as systemd reports it, and C(ran), whether it has to run.
  returned: always
  type: dict
containers:
  description: The same by container.
  returned: always
  type: dict
ran:
  description: The names of C(units) and of C(containers) that have to run.
  returned: always
  type: dict
down:
  description: A clause for each of these that does not run, with its state.
  returned: always
  type: list
  elements: str
foreign_holds:
  description: A text for each hold of another run, with what it holds, its owner and how to release it.
  returned: always
  type: list
  elements: str
phase:
  description: The phase of the record in O(run_dir), empty for an untouched host.
  returned: always
  type: str
record:
  description: The record, as M(dsa110.contimg.migration_record) reads it for a move.
  returned: with O(move)
  type: dict
record_file:
  description: The path of the record.
  returned: with O(move)
  type: str
now:
  description: The time of the host when the task ran, in epoch seconds.
  returned: with O(move)
  type: float
environment:
  description:
    - By environment file the names of the assignments that name the C(old) and the C(new) state directory. Null for a file that does not
      exist.
  returned: with O(src) and O(dest)
  type: dict
processes:
  description: The same by service, of the environment that its main process was started with.
  returned: with O(src) and O(dest)
  type: dict
lines:
  description: How the host is, as lines for an operator. The phase, each unit and container, the environment files, which copy of the state
    counts, and the next command.
  returned: with O(src) and O(dest)
  type: list
  elements: str
next:
  description: The next command, as in the last of RV(lines).
  returned: with O(src) and O(dest)
  type: str
downtime:
  description: Seconds for which the services were down for the move, or for the way back of a host that has gone back. Null where the record
    has none.
  returned: with O(src) and O(dest)
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import require_owned
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import MOVE
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.status import look


def main() -> None:
    """Look and report."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "units": {"type": "list", "elements": "str", "default": []},
            "containers": {"type": "list", "elements": "str", "default": []},
            "before": {"type": "dict"},
            "own_holds": {"type": "list", "elements": "str", "default": []},
            "fail_on": {"type": "list", "elements": "str", "choices": ["down", "foreign_holds"], "default": []},
            "src": {"type": "path"},
            "dest": {"type": "path"},
            "env_files": {"type": "list", "elements": "path", "default": []},
            "move": MOVE,
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("look at the host", module.params["run_dir"]):
            if not module.check_mode:
                require_owned(module.params["run_id"])
            result = look(module.params)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
