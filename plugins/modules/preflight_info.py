#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``preflight_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: What would stop the move of a host later
version_added: 0.1.0
description:
  - Looks for what would otherwise be found only while the services are down, or after they have started again, and returns all of it.
  - Options are named like the variables of the role P(dsa110.contimg.contimg#role), without their prefix; what is returned names the variables.
  - Health URLs of units that run are asked, as the watch after the move asks them. Nothing is written to find out what can be.
  - With O(users), what M(dsa110.contimg.state_users_info) finds before a move is part of the result.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
options:
  state_src:
    description: The old state directory.
    type: path
    required: true
  state_dest:
    description: The new state directory, which may not exist yet.
    type: path
    required: true
  run_dir:
    description: Where record, holds and backups are kept.
    type: path
    required: true
  databases:
    description: The map of the databases, as M(dsa110.contimg.state_databases_info) takes it.
    type: list
    elements: dict
    default: []
  exclude:
    description: Globs of what is not copied.
    type: list
    elements: str
    default: []
  decisions:
    description: By name of a database, V(keep_dest) or V(take_source).
    type: dict
    default: {}
  vacuum:
    description: Whether the products database gives back the space that the HDF5 index leaves.
    type: bool
    default: false
  units:
    description: Units, or patterns of units, that are to be held.
    type: list
    elements: str
    default: []
  hold_file:
    description: The O(dsa110.contimg.unit_hold#module:hold_file) of the move.
    type: path
    required: true
  containers:
    description: Containers that are to be held.
    type: list
    elements: str
    default: []
  stop_timeout:
    description: Seconds that units have to stop, and to start again.
    type: int
    default: 300
  health_url:
    description: By unit or container, the URL that is asked.
    type: dict
    default: {}
  expect_open:
    description: By unit, names of databases.
    type: dict
    default: {}
  env_file:
    description: The environment file that is to be changed. Empty for none.
    type: str
    default: ""
  env_files:
    description: Further environment files that are to be changed.
    type: list
    elements: path
    default: []
  unit_files:
    description: Unit files that are to be changed.
    type: list
    elements: path
    default: []
  code_paths:
    description: Directories and files of code that are to be changed.
    type: list
    elements: path
    default: []
  patterns:
    description: By the name of a variable, its regular expressions.
    type: dict
    default: {}
  users:
    description: Whether what uses either state directory, and would go on with it, is looked for, too.
    type: bool
    default: false
  known:
    description: The O(dsa110.contimg.state_users_info#module:known) of what may go on.
    type: list
    elements: str
    default: []
  timer:
    description: The O(dsa110.contimg.state_users_info#module:timer) that the move enables at its end.
    type: str
    default: ""
  require_proof:
    description: Whether it stops the move that the open files, mounts or crontab of a process cannot be read.
    type: bool
    default: true
  fail_on:
    description: V(obstacles) fails when there are RV(obstacles), with RV(unlisted) and RV(findings) in the same message.
    type: list
    elements: str
    choices: [obstacles]
    default: []
"""

EXAMPLES = r"""
- name: Look for what would stop a move later
  dsa110.contimg.preflight_info:
    state_src: /stage/dsa110-contimg/state
    state_dest: /data/dsa110-contimg/state
    run_dir: /var/lib/dsa110-contimg-migration
    units: [contimg-api.service]
    hold_file: /var/lib/dsa110-contimg-migration/hold.json
    health_url:
      contimg-api.service: http://127.0.0.1:8010/health
  register: found
"""

RETURN = r"""
obstacles:
  description:
    - What would stop the move, a line for each, with the variable that it concerns and what to do.
    - Units that could not be stopped or started again, or that systemd knows by another name. Limits of units that O(stop_timeout) does not
      exceed. Health URLs that are none, belong to no listed unit, or do not answer though their unit runs. Databases to be open that are not
      in the map, or that exist nowhere. What the map gives twice, and databases of it that O(exclude) leaves out. Regular expressions
      that are not valid. What cannot be written, or lies in O(state_src). Too little room.
  returned: success
  type: list
  elements: str
findings:
  description: What an operator should know and what stops nothing, for example a URL that answers with an error before the move already, or a
    unit that fails.
  returned: success
  type: list
  elements: str
health:
  description: By unit, the HTTP status other than a success that its URL answers, for O(dsa110.contimg.unit_watch#module:health_status).
  returned: success
  type: dict
unlisted:
  description: What uses the directories, and the move would neither stop nor repoint, or that this cannot be known. A text with the variables
    to correct, empty where there is none.
  returned: success
  type: str
open:
  description: By state directory, the commands of the processes that have a file below it open. Empty without O(users).
  returned: success
  type: dict
reserve:
  description:
    - Bytes, by directory, that the move needs besides the copy, for O(dsa110.contimg.state_sync#module:reserve). Backups and records, the HDF5
      database, and private copies of databases in C($TMPDIR).
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.preflight import look
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import secrets_in


def main() -> None:
    """Look and report."""
    names = {"type": "list", "elements": "str", "default": []}
    paths = {"type": "list", "elements": "path", "default": []}
    by_name = {"type": "dict", "default": {}}
    module = AnsibleModule(
        argument_spec={
            "state_src": {"type": "path", "required": True},
            "state_dest": {"type": "path", "required": True},
            "run_dir": {"type": "path", "required": True},
            "databases": {"type": "list", "elements": "dict", "default": []},
            "exclude": names,
            "decisions": by_name,
            "vacuum": {"type": "bool", "default": False},
            "units": names,
            "hold_file": {"type": "path", "required": True},
            "containers": names,
            "stop_timeout": {"type": "int", "default": 300},
            "health_url": by_name,
            "expect_open": by_name,
            "env_file": {"type": "str", "default": ""},
            "env_files": paths,
            "unit_files": paths,
            "code_paths": paths,
            "patterns": by_name,
            "users": {"type": "bool", "default": False},
            "known": names,
            "timer": {"type": "str", "default": ""},
            "require_proof": {"type": "bool", "default": True},
            "fail_on": {"type": "list", "elements": "str", "choices": ["obstacles"], "default": []},
        },
        supports_check_mode=True,
    )
    module.no_log_values.update(*map(secrets_in, map(str, module.params["health_url"].values())))
    try:
        with error_context("look at the host", module.params["state_src"]):
            result = look(module.params)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
