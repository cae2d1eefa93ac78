#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``unit_hold``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unit_hold
short_description: Stop units and hold them down, and start exactly what was running
version_added: 0.1.0
description:
  - Stops units, what triggers them (sockets, paths, timers) and what systemd stops with them (C(Requires=), C(BindsTo=), C(PartOf=)),
    and holds them so that no start request brings them back.
  - A hold lasts until it is released, or until a reboot. What was running is kept in O(hold_file), and in the drop-ins that hold.
  - Enablement is not touched. What had failed before stays failed, and need not come up.
  - What runs and could not be stopped or started again is refused before anything is stopped, all such units at once - transient and masked
    units, those whose unit file was removed or cannot be read any more, and those with C(RefuseManualStart=) or C(RefuseManualStop=).
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
  - dsa110.contimg.run.limit
options:
  names:
    description:
      - Units. A pattern (V(wk@*.service)) stands for the units that match it; where these are instances of a template, no other instance of it
        can be started either while the hold lasts.
    type: list
    elements: str
    required: true
  state:
    description: V(held) stops and holds. V(released) lets go and starts exactly what was running.
    type: str
    choices: [held, released]
    required: true
  hold_file:
    description: Where it is kept what was running. It exists while the units are held.
    type: path
    required: true
  timeout:
    description: Seconds that the units have to stop or to start. One that does not stop is named with its processes.
    type: int
    default: 90
  after_hold:
    description: In check mode with O(state=released), plan the release as if the units had just been held.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Stop the services and hold them down
  dsa110.contimg.unit_hold:
    names: [contimg-stream.service, contimg-api.service]
    state: held
    hold_file: /var/lib/dsa110-contimg-migration/hold.json
"""

RETURN = r"""
units:
  description:
    - By name C(was_active), C(was_enabled), C(was_failing), C(stopped) and C(started). With what is held only because it triggers
      one of them (C(is_trigger)) or is stopped together with it (C(is_dependent)).
  returned: success
  type: dict
limited:
  description: Whether a limit was armed, or would be without check mode.
  returned: when O(state=held)
  type: bool
stopped_at:
  description: When the first unit was stopped, in seconds since the epoch.
  returned: success
  type: float
started_at:
  description: When the last unit was started, in seconds since the epoch.
  returned: success
  type: float
logs:
  description: By file that the started units append to, its size in bytes before the start.
  returned: when O(state=released)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.hold_limit_unit import limited
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_units import run_hold


def main() -> None:
    """Hold or release, and report."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["held", "released"], "required": True},
            "hold_file": {"type": "path", "required": True},
            "timeout": {"type": "int", "default": 90},
            "limit": {"type": "int", "default": 0},
            "after_hold": {"type": "bool", "default": False},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("hold or release the units", module.params["hold_file"]), leased(
            module.params["run_id"], "unit_hold", check=module.check_mode
        ):
            result = limited(run_hold, module.params, "units", check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
