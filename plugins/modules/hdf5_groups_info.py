#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``hdf5_groups_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hdf5_groups_info
short_description: Groups of subbands that an index of HDF5 files holds
version_added: 0.1.0
description:
  - Asks a products or an HDF5 database what mosaicking asks, which groups there are, which are complete and which subbands are missing.
  - Groups are found as the application finds them. Around each file in turn, the files that no group has yet are a group if they
    have at least 12 subbands; else they may be found again around a later file. What remains is reported as incomplete.
  - Files that the index knows to be gone (C(stored=0)) do not count, except in C(unfiltered). The same rows give the same answer
    before and after a split.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
  - dsa110.contimg.run.reading
options:
  path:
    description: The database with the table C(hdf5_file_index).
    type: path
    required: true
  start:
    description: The first moment, ISO 8601 in UTC.
    type: str
  end:
    description: The last moment, ISO 8601 in UTC.
    type: str
  tolerance:
    description: Seconds before and after a file within which others belong to it.
    type: float
    default: 60
  check_files:
    description: Whether each file is looked for on disk.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ask which groups of a night can be made a mosaic
  dsa110.contimg.hdf5_groups_info:
    path: /data/dsa110-contimg/state/hdf5.sqlite3
    start: 2025-10-02T00:00:00
    end: 2025-10-03T00:00:00
    check_files: true
"""

RETURN = r"""
groups:
  description:
    - The first 1000 groups by time. Each has C(ids) (files by group id), C(mjd) of its first file, the C(missing) subbands,
      its C(kind) (V(complete), V(semi_complete) or V(incomplete)) and C(on_disk), the files that exist, V(-1) where they were not looked for.
  returned: success
  type: list
  elements: dict
groups_total:
  description: How many groups there are.
  returned: success
  type: int
groups_digest:
  description: SHA-256 of all groups. Two databases with the same digest give the same answer.
  returned: success
  type: str
files:
  description: How many files the groups have.
  returned: success
  type: int
complete:
  description: How many groups have all 16 subbands.
  returned: success
  type: int
semi_complete:
  description: How many have 12 to 15.
  returned: success
  type: int
incomplete:
  description: How many have fewer.
  returned: success
  type: int
unfiltered:
  description:
    - C(groups_total), C(groups_digest), C(files), C(complete), C(semi_complete) and C(incomplete) over all files of the index,
      whatever C(stored) says. The deployed indexer writes C(stored=0) into every row.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.groups import groups_report
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased


def main() -> None:
    """Ask, report."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "start": {"type": "str"},
            "end": {"type": "str"},
            "tolerance": {"type": "float", "default": 60},
            "check_files": {"type": "bool", "default": False},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    run_id = options.pop("run_id")
    try:
        with error_context("read the groups of the HDF5 database", module.params["path"]), leased(
            run_id, "hdf5_groups_info", check=module.check_mode
        ):
            result = groups_report(**options)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
