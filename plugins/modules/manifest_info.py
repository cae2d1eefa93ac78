#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``manifest_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: manifest_info
short_description: Compare a tree with the manifest of its copy
version_added: 0.1.0
description:
  - Tells which files of a manifest that M(dsa110.contimg.state_sync) wrote are missing from a tree, differ, or are not in the manifest.
  - Returns a digest of every name and status of the tree, to the ctime, which shows whether anything has moved since.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
  - dsa110.contimg.run.reading
options:
  path:
    description: The root of the tree.
    type: path
    required: true
  manifest:
    description: The manifest, in the format of C(sha256sum).
    type: path
    required: true
  rename:
    description: Where files of this tree stand in the manifest, as given to M(dsa110.contimg.state_sync); for the source of a copy.
    type: dict
    default: {}
  exclude:
    description: Globs of what does not count, as given to M(dsa110.contimg.state_sync).
    type: list
    elements: str
    default: []
  content:
    description: Whether every file is read and hashed. Otherwise only its presence counts.
    type: bool
    default: false
  since:
    description: A moment, in seconds since the epoch. RV(touched) names what has changed later. Nothing is read for that.
    type: float
"""

EXAMPLES = r"""
- name: Look whether the old state is still what was copied
  dsa110.contimg.manifest_info:
    path: /stage/dsa110-contimg/state
    manifest: /data/dsa110-contimg/state.sha256
    rename:
      db/products.sqlite3: products.sqlite3
    content: true
"""

RETURN = r"""
missing:
  description: Files of the manifest that the tree lacks, at most 100.
  returned: success
  type: list
  elements: str
missing_total:
  description: How many these are.
  returned: success
  type: int
changed_files:
  description: Files whose content differs, at most 100. Empty without O(content).
  returned: success
  type: list
  elements: str
changed_files_total:
  description: How many these are.
  returned: success
  type: int
unknown:
  description: Files that the manifest does not know, at most 100. The C(-shm) of a database that it knows does not count, as it is never copied.
  returned: success
  type: list
  elements: str
unknown_total:
  description: How many these are.
  returned: success
  type: int
touched:
  description:
    - Paths whose status has changed after O(since), at most 100, C(.) for the root. A directory is among them only where nothing else in it is.
      Empty without O(since).
  returned: success
  type: list
  elements: str
touched_total:
  description: How many these are.
  returned: success
  type: int
kept:
  description:
    - Files that the manifest does not know since a decision kept what stood in their place at the destination, at most 100, with their
      sidecars. The list of such places stands beside the manifest, with the suffix C(.kept).
  returned: success
  type: list
  elements: str
kept_total:
  description: How many these are.
  returned: success
  type: int
files:
  description: Files in the manifest.
  returned: success
  type: int
digest:
  description: Hash of every name and status of the tree, computed as RV(dsa110.contimg.state_sync#module:source_digest).
  returned: success
  type: str
matches:
  description: Whether nothing is missing, differs or is unknown.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import audit
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased


def main() -> None:
    """Audit and report."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "manifest": {"type": "path", "required": True},
            "rename": {"type": "dict", "default": {}},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "content": {"type": "bool", "default": False},
            "since": {"type": "float"},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    run_id = options.pop("run_id")
    try:
        with error_context("compare the tree with its manifest", module.params["path"]), leased(
            run_id, "manifest_info", check=module.check_mode
        ):
            result = audit(options.pop("path"), options.pop("manifest"), **options)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
