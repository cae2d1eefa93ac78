#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``container_hold``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_hold
short_description: Stop containers, and let exactly those that were running come back
version_added: 0.1.0
description:
  - Stops containers of podman or docker and remembers which of them were running.
  - Lets them come back. Those that are bound to a path that was left (by a mount, their environment or their command) are created again by
    their compose project (C(up --force-recreate)), with the files that it has then; the others are started as they are.
  - An engine has no way to forbid a start, so who starts a container meanwhile is not kept from it.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
  - dsa110.contimg.run.limit
options:
  names:
    description: Containers, in the order in which they are started. They are stopped the other way round.
    type: list
    elements: str
    required: true
  state:
    description: V(held) stops. V(released) lets exactly what was running come back.
    type: str
    choices: [held, released]
    required: true
  hold_file:
    description: Where it is kept what was running, until it runs again.
    type: path
    required: true
  leaving:
    description:
      - Paths that the containers must leave. With O(state=held) a container that could not is refused before anything is stopped.
      - With O(state=released) one that is bound to them is created again. One that did not run is created, and not started.
    type: list
    elements: path
    default: []
  timeout:
    description: Seconds that a container has to stop or to start. After them its engine kills it.
    type: int
    default: 90
  after_hold:
    description: In check mode with O(state=released), plan the release as if the containers had just been held.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Stop the dashboard
  dsa110.contimg.container_hold:
    names: [contimg-dashboard]
    state: held
    hold_file: /var/lib/dsa110-contimg-migration/containers.json
    leaving: [/stage/dsa110-contimg/state]
"""

RETURN = r"""
containers:
  description: By name C(engine), C(was_running), C(stopped) and C(started).
  returned: success
  type: dict
created:
  description: Names of those that were created again.
  returned: when O(state=released)
  type: list
  elements: str
limited:
  description: Whether a limit was armed, or would be without check mode.
  returned: when O(state=held)
  type: bool
stopped_at:
  description: When the first was stopped, in seconds since the epoch.
  returned: success
  type: float
started_at:
  description: When the last was started, in seconds since the epoch.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.hold_limit_unit import limited
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_containers import run_container_hold


def main() -> None:
    """Hold or release, and report."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["held", "released"], "required": True},
            "hold_file": {"type": "path", "required": True},
            "leaving": {"type": "list", "elements": "path", "default": []},
            "timeout": {"type": "int", "default": 90},
            "limit": {"type": "int", "default": 0},
            "after_hold": {"type": "bool", "default": False},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("hold or release the containers", module.params["hold_file"]), leased(
            module.params["run_id"], "container_hold", check=module.check_mode
        ):
            result = limited(run_container_hold, module.params, "containers", check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
