#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``container_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_info
short_description: Which containers use a path, and whether they could follow it
version_added: 0.1.0
description:
  - Asks podman and docker, those of them that are on the host, for containers, whether they run or not.
  - Does not ask podman where it has no storage yet (C(graphroot) of C(storage.conf)), since that would create one.
  - A container keeps the mounts, the environment and the command that it was created with. It can follow a path that moves only where
    its compose project can create it again.
  - As root, only root's containers of podman are found; processes of others are seen by M(dsa110.contimg.open_files_info) and
    M(dsa110.contimg.state_users_info).
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
options:
  names:
    description: Containers. One that does not exist is returned with the status V(not-found).
    type: list
    elements: str
    default: []
  using:
    description: Paths. Every container that shows or names one of them, or something below it, is returned too.
    type: list
    elements: path
    default: []
  leaving:
    description: Paths that containers are to leave, as O(dsa110.contimg.container_hold#module:leaving).
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Find every container that uses the old state directory
  dsa110.contimg.container_info:
    using: [/stage/dsa110-contimg/state]
    leaving: [/stage/dsa110-contimg/state]
"""

RETURN = r"""
containers:
  description:
    - By name C(engine), C(id), C(status), C(running), C(unit) (that runs it, if one does) and C(compose), the project that created it,
      with C(project), C(directory), C(files), C(environment_files) and C(service).
    - C(uses) says where one of O(using) stands, each with C(path), C(where) (V(mount), V(environment), V(command), or V(above) for a mount
      of a directory above it, which does not bind the container to it) and C(name), the place in the container or the variable.
    - C(named_in) are the compose files and environment files of its project that name one of O(leaving).
    - C(obstacle) says why it could not come back without O(leaving) after a stop. It is empty where it could.
  returned: success
  type: dict
unasked:
  description: By engine, why it could not be asked, for example since its daemon does not run.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import describe_containers
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context


def main() -> None:
    """Ask and report."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "using": {"type": "list", "elements": "path", "default": []},
            "leaving": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("look at the containers", "/"):
            result = describe_containers(module.params["names"], module.params["using"], module.params["leaving"])
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
