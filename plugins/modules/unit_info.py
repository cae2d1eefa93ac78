#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``unit_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unit_info
short_description: What systemd knows of units
version_added: 0.1.0
description:
  - Returns state, triggers, user, environment sources, commands and logs of units, and finds the units that use a path.
  - For a timer, tells whether starting it would run its service at once.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
options:
  names:
    description:
      - Units. One that does not exist is returned with the load state V(not-found).
      - A pattern (V(wk@*.service)) stands for the units that match it, loaded or installed.
    type: list
    elements: str
    default: []
  hold_file:
    description:
      - The O(dsa110.contimg.unit_hold#module:hold_file) of a hold. A pattern then also stands for units that are held, since systemd does not
        list an instance that is down.
    type: path
  using:
    description:
      - Paths. Every unit that names one of them, or something below it, is returned too, by what systemd answers, its files, their
        drop-ins and its environment files, and by where these files stand. A disabled one, too, and a template, whose environment
        files are those of all its instances; not a unit of a user's own systemd.
    type: list
    elements: path
    default: []
  planned_environment:
    description:
      - Assignments that environment files are about to be given, by the path of the file. The C(effective_environment) of the units in
        O(names) is returned as it will be then. A value is taken as it is.
    type: dict
    default: {}
  planned_files:
    description:
      - Unit files and drop-ins in which the paths of O(planned_repoint) are about to be replaced, as M(dsa110.contimg.unit_file) does. The
        C(standard_output), C(standard_error) and C(logs) of the units in O(names) are returned as they will be then.
    type: list
    elements: path
    default: []
  planned_repoint:
    description: Paths that are moved to another one. Where several begin at one place the longest decides.
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
"""

EXAMPLES = r"""
- name: Find every unit that uses the old state directory
  dsa110.contimg.unit_info:
    using: [/stage/dsa110-contimg/state]
"""

RETURN = r"""
units:
  description:
    - By name, C(id), C(load_state), C(active_state), C(sub_state), C(unit_file_state), C(result), C(main_pid), C(n_restarts), C(type),
      C(triggers), C(triggered_by), C(user), C(group), C(exec), C(standard_output), C(standard_error), C(read_write_paths),
      C(working_directory), C(fragment_path) and C(drop_in_paths), as systemd names them.
    - C(environment) is that of the unit itself, C(effective_environment) what its processes get with the files of
      C(environment_files). Secrets are masked.
    - C(logs) are the files that it appends to. C(unexpanded_files) are files in its working directory that are named like a
      variable (V(${PIPELINE_DB})), since somebody took that for a path.
    - For a timer, C(next_elapse) is when it will run (if it is not active, when it would if it were started now), UTC.
      C(would_fire_now) tells whether C(enable --now) would run its service at once, C(would_fire_restarted) whether it would if it
      were stopped first, and C(would_fire_reason) why. A random delay is not counted.
    - C(unit_files) are its unit file and its drop-ins, C(changed_since_start) those of them and of its environment files that were
      changed at least a second after its main process had started, which therefore runs without the change.
    - C(left_logs) has by directive where C(standard_output) and C(standard_error) would have to go instead, if they go to an old path of
      O(planned_repoint).
    - C(uses) says where one of O(using) is named, each with C(path), C(where), for an environment C(name), and C(files), those of the
      unit's files that say so. C(listed) says whether O(names) asks for the unit.
  returned: success
  type: dict
now:
  description: The time of the host before systemd was asked, in epoch seconds.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._env.target import moves_of
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import asked_for, read_memory
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.units import describe_units


def main() -> None:
    """Ask and report."""
    path = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "hold_file": {"type": "path"},
            "using": {"type": "list", "elements": "path", "default": []},
            "planned_environment": {"type": "dict", "default": {}},
            "planned_files": {"type": "list", "elements": "path", "default": []},
            "planned_repoint": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"from": path, "to": path},
            },
        },
        supports_check_mode=True,
    )
    hold_file, now = module.params["hold_file"], time.time()
    moves = moves_of(module.params["planned_repoint"])
    try:
        with error_context("look at the units", module.params["hold_file"] or "/"):
            held = asked_for(read_memory(hold_file)) if hold_file else []
            units = describe_units(
                module.params["names"],
                module.params["using"],
                remembered=held,
                planned=module.params["planned_environment"],
                repointed=dict.fromkeys(module.params["planned_files"], moves),
                leaving=moves,
            )
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, units=units, now=now)


if __name__ == "__main__":
    main()
