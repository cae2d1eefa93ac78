#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``hdf5_index``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hdf5_index
short_description: Index the HDF5 files of a directory
version_added: 0.1.0
description:
  - Brings C(hdf5_file_index) of an HDF5 database up to what stands in a directory and below it, in one transaction.
  - New files are added, changed ones (by modification time or size) updated, missing ones marked C(stored=0) and never deleted.
  - Coordinates of the first subband's files are read with h5py where the host has it, and otherwise left as they are.
    A file that needs more than 256 MiB of memory or ten seconds for that is indexed without them and named in RV(errors).
  - A directory without any HDF5 file of which the index knows some is taken for an unmounted file system and refused.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  hdf5_db:
    description: The HDF5 database.
    type: path
    required: true
  input_dir:
    description: The directory of files named like C(2025-10-02T00:12:00_sb00.hdf5).
    type: path
    required: true
  rescan:
    description: Whether files that have not changed are read again too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Index what the correlator has written
  dsa110.contimg.hdf5_index:
    hdf5_db: /data/dsa110-contimg/state/hdf5.sqlite3
    input_dir: /data/incoming
"""

RETURN = r"""
new:
  description: Files that the index did not know.
  returned: success
  type: int
updated:
  description: Files that have changed, or were missing.
  returned: success
  type: int
unchanged:
  description: Files that are what the index says.
  returned: success
  type: int
missing:
  description: Files that are gone and have just been marked so.
  returned: success
  type: int
misnamed:
  description: Files whose names tell no time or no subband. They are not indexed.
  returned: success
  type: int
errors:
  description: The first 20 of these, and of files whose content cannot be read, with the reason. In check mode no content is read.
  returned: success
  type: list
  elements: str
coordinates:
  description: From how many files coordinates were read, or why from none.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.index import index_files
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased


def main() -> None:
    """Compare, write outside check mode, report."""
    module = AnsibleModule(
        argument_spec={
            "hdf5_db": {"type": "path", "required": True},
            "input_dir": {"type": "path", "required": True},
            "rescan": {"type": "bool", "default": False},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = dict(module.params)
    run_id = options.pop("run_id")
    try:
        with error_context("index the files of the directory", module.params["input_dir"]), leased(
            run_id, "hdf5_index", check=module.check_mode
        ):
            result = index_files(**options, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
