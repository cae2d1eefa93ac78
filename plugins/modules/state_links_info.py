#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``state_links_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state_links_info
short_description: Which symbolic links lead into a directory
version_added: 0.1.0
description:
  - Finds the symbolic links of directory trees that lead into other directories, by what they say or by where they really lead.
  - After a move such a link still uses the old tree, and leads nowhere when that is removed.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
  - dsa110.contimg.run.reading
options:
  paths:
    description: Directories that are looked through, and links. What does not exist has none.
    type: list
    elements: path
    required: true
  into:
    description: Directories that need not exist any more.
    type: list
    elements: path
    required: true
  exclude:
    description: Globs, as rsync takes them, of what is not looked at.
    type: list
    elements: str
    default: []
  known:
    description: Regular expressions for whole paths of links that may stay. They are left out of RV(lines).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Find the links of the new state that lead into the old one
  dsa110.contimg.state_links_info:
    paths: [/data/dsa110-contimg/state]
    into: [/stage/dsa110-contimg/state]
"""

RETURN = r"""
links:
  description: The links, sorted by path, each with C(path), C(target) (what it says) and C(leads_to) (where it really leads).
  returned: success
  type: list
  elements: dict
lines:
  description: A line for each of RV(links) that O(known) does not match.
  returned: success
  type: list
  elements: str
unread:
  description: Directories that could not be read, each with the reason.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.links import links_into


def main() -> None:
    """Look and report."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "into": {"type": "list", "elements": "path", "required": True},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "known": {"type": "list", "elements": "str", "default": []},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        with error_context("look for links", next(iter(module.params["paths"]), ".")), leased(
            module.params["run_id"], "state_links_info", check=module.check_mode
        ):
            links, unread = links_into(options["paths"], options["into"], exclude=options["exclude"])
            known = known_names(options["known"])
    except ContimgError as error:
        module.fail_json(**error.result())
    lines = [f"{link['path']} -> {link['target']}" for link in links if not known.match(link["path"])]
    module.exit_json(changed=False, links=links, lines=lines, unread=unread)


if __name__ == "__main__":
    main()
