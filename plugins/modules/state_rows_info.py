#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``state_rows_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state_rows_info
short_description: The rows of every database of a state directory, and how they have changed since a baseline
version_added: 0.1.0
description:
  - Counts and hashes the rows of every SQLite database below a directory, by content. Databases are found by their header.
  - With O(baseline), an earlier RV(rows), compares them with it. A database that is new since counts with all its rows.
  - Never writes, not even a C(-shm), also on a database in use.
  - A database that cannot be read does not fail the task; it is named in RV(unreadable), as is one that is gone.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
  - dsa110.contimg.run.reading
  - dsa110.contimg.proofs
options:
  path:
    description: The state directory.
    type: path
    required: true
  names:
    description:
      - The places below O(path) of databases that are known by a name. Any other is known by V(./) and its path.
      - A named one whose place is left out by O(exclude), or is a link, is read all the same.
    type: dict
    default: {}
  exclude:
    description: Globs of what is not looked at, as given to M(dsa110.contimg.state_sync).
    type: list
    elements: str
    default: []
  baseline:
    description: An earlier RV(rows) to compare with.
    type: dict
    default: {}
  workers:
    description:
      - How many processes read at the same time.
      - By default as many as there are processors, four at most.
    type: int
"""

EXAMPLES = r"""
- name: Count the rows of the new state
  dsa110.contimg.state_rows_info:
    path: /data/dsa110-contimg/state
    names:
      products: products.sqlite3
  register: baseline

- name: Look what has changed since
  dsa110.contimg.state_rows_info:
    path: /data/dsa110-contimg/state
    names:
      products: products.sqlite3
    baseline: "{{ baseline.rows }}"
"""

RETURN = r"""
rows:
  description: By name, C(tables) with C(rows) and C(checksum) of each table, and C(unreadable), the reason, where it could not be read.
  returned: success
  type: dict
growth:
  description: By name and table, rows C(before) and C(now), where they differ from O(baseline).
  returned: success
  type: dict
grown:
  description: C(name) and C(path) of each database in RV(growth).
  returned: success
  type: list
  elements: dict
new_rows:
  description: How many rows more than in O(baseline).
  returned: success
  type: int
fell_below:
  description: Tables of the O(names), as C(name.table), that hold fewer rows than in O(baseline).
  returned: success
  type: list
  elements: str
fell_below_elsewhere:
  description: The same of every other database, which may be one that is emptied now and then.
  returned: success
  type: list
  elements: str
digest:
  description:
    - Hash of every name and status of the directory, computed as RV(dsa110.contimg.manifest_info#module:digest).
    - Empty where the directory cannot be listed.
  returned: success
  type: str
differs_from_baseline:
  description: Whether any row differs from O(baseline).
  returned: success
  type: bool
unreadable:
  description:
    - By name, why a database cannot be read, or that it is gone. V(./) stands for O(path) itself.
    - One that could not be read either when O(baseline) was taken is left out.
  returned: success
  type: dict
remembered:
  description:
    - By path, since when what is known of a database holds, in UTC, for each that O(proofs) know and that was not read.
    - A database that is not in it was read now.
  returned: success
  type: dict
  sample: {"/data/dsa110-contimg/state/products.sqlite3": "2026-11-28T01:02:03Z"}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.rows import report
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import remembering


def main() -> None:
    """Count, compare, report."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "names": {"type": "dict", "default": {}},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "baseline": {"type": "dict", "default": {}},
            "workers": {"type": "int"},
            "proofs": {"type": "path"},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("count the rows", module.params["path"]), leased(
            module.params["run_id"], "state_rows_info", check=module.check_mode
        ), remembering(module.params["proofs"], write=not module.check_mode, warn=module.warn) as proofs:
            result = report(module.params, proofs)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
