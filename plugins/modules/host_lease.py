#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``host_lease``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_lease
short_description: Let only one run at a time change a host
version_added: 0.1.0
description:
  - Takes the one lease of a host for a run, and gives it back. The lease is in C(/run/dsa110-contimg), whatever the variables of the play
    are; that of a user other than root is in C(/tmp/dsa110-contimg-UID). A reboot ends it.
  - The modules that change something take RV(run_id) as O(dsa110.contimg.state_sync#module:run_id). Each looks whether the run still has the
    lease, and keeps the lease locked while it works.
  - A lease has no expiry. One whose run has ended without giving it back is taken over at once if this controller has run it and its
    process has ended. Whether the process of another controller has ended is the operator's to know, who names the run in O(take_over).
  - It reports no change. The lease is bookkeeping that ends with the run.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
options:
  state:
    description:
      - V(taken) takes the lease for a new run. It fails when another run has it, or while a step of one is at work. In check mode nothing is
        taken.
      - V(owned) fails when the run has lost it, and changes nothing.
      - V(released) gives it back. A run that has lost it changes nothing.
    type: str
    choices: [taken, owned, released]
    required: true
  playbook:
    description: What the id of the run begins with.
    type: str
    default: run
  run_id:
    description: The run that has the lease. With O(state=taken) it does not matter.
    type: str
    default: ""
  take_over:
    description: With O(state=taken), the id of a run that loses the lease by this.
    type: str
    default: ""
  controller:
    description: Who runs the play, and the process that does. The action plugin sets it.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Take the host for this run
  dsa110.contimg.host_lease:
    state: taken
    playbook: migrate
  register: lease

- name: Give the host back
  dsa110.contimg.host_lease:
    state: released
    run_id: "{{ lease.run_id }}"
"""

RETURN = r"""
run_id:
  description: The id of the new run, empty in check mode.
  returned: when O(state=taken)
  type: str
owned:
  description: Whether the run had the lease.
  returned: when O(state=owned) or O(state=released)
  type: bool
held_by:
  description: The lease of the run in the way, with C(run_id), C(since) in seconds since the epoch and C(controller).
  returned: when O(state=taken) fails because of another run
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import run_lease


def main() -> None:
    """Take or release, and report."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["taken", "owned", "released"], "required": True},
            "playbook": {"type": "str", "default": "run"},
            "run_id": {"type": "str", "default": ""},
            "take_over": {"type": "str", "default": ""},
            "controller": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("take or release the lease of this host", "/run"):
            result = run_lease(module.params, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
