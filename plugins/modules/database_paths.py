#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``database_paths``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_paths
short_description: Count and rewrite the paths inside the rows of SQLite databases
version_added: 0.1.0
description:
  - Counts, in each column, the texts that are an old path or lie below it. Databases are read without a trace.
  - Rewrites them on demand, in one transaction a database, all of them or none. Check mode makes the same changes in a private copy,
    so it finds the constraint, trigger or unknown function that would stop a run.
  - Values that only mention an old path are counted, never changed. Among them are longer texts, JSON, BLOBs, and what is indexed
    for searching in full text.
  - Definitions in the schema that name an old path (default values, generated columns, triggers, views) are counted as such mentions of
    the table C(sqlite_master), with a name like C(trigger NAME).
  - A full-text index of the rows of another table (C(content=)) that the change leaves behind is rebuilt in the same transaction. Triggers
    that keep it in step are left to do so.
  - What triggers change besides is returned as a warning. A trigger that keeps an old path, or writes one, stops the task.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  databases:
    description: The databases. One that does not exist is left out, and returned in RV(missing).
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The database.
        type: path
        required: true
      preview_from:
        description: What check mode reads instead, where O(databases[].path) is not there yet, or O(databases[].replaced).
        type: path
      replaced:
        description: Whether O(databases[].path) will have been replaced with a copy of O(databases[].preview_from) before a run rewrites it.
        type: bool
        default: false
  paths:
    description: Further databases, of which only the path is given.
    type: list
    elements: path
    default: []
  copies_pending:
    description: Whether the copies that O(databases[].replaced) announces are still to be made.
    type: bool
    default: true
  known:
    description:
      - Regular expressions for whole names of databases and columns, C(DATABASE) or C(DATABASE:TABLE.COLUMN), that may go on naming an old
        path. They are counted, and left out of RV(live_lines).
    type: list
    elements: str
    default: []
  repoint:
    description: Old paths and what they become. The longest old path that matches decides.
    type: list
    elements: dict
    required: true
    suboptions:
      from:
        description: The old path.
        type: str
        required: true
      to:
        description: The new path.
        type: str
        required: true
  state:
    description: V(audited) only counts, V(rewritten) changes what was counted.
    type: str
    choices: [audited, rewritten]
    default: audited
"""

EXAMPLES = r"""
- name: Count the rows that name the old state directory
  dsa110.contimg.database_paths:
    paths: [/data/dsa110-contimg/state/products.sqlite3]
    repoint:
      - from: /stage/dsa110-contimg/state
        to: /data/dsa110-contimg/state

- name: Rewrite them
  dsa110.contimg.database_paths:
    databases:
      - path: /data/dsa110-contimg/state/products.sqlite3
        preview_from: /stage/dsa110-contimg/state/db/products.sqlite3
    repoint:
      - from: /stage/dsa110-contimg/state
        to: /data/dsa110-contimg/state
    state: rewritten
"""

RETURN = r"""
columns:
  description:
    - For each column with such values C(database), C(table), C(name), C(rows) (of paths that are, or would be, rewritten) and
      C(mentions) (of other values that hold an old path, also within URLs and JSON, and escaped).
  returned: success
  type: list
  elements: dict
missing:
  description: The databases that do not exist.
  returned: success
  type: list
  elements: str
live_lines:
  description: A line for each of RV(columns) that O(known) does not match.
  returned: success
  type: list
  elements: str
totals:
  description: The sums, C(rows) and C(mentions), and C(live), the sum of both where O(known) does not match.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rewrite import run


def main() -> None:
    """Count, rewrite where that is asked, report."""
    text = {"type": "str", "required": True}
    database = {
        "path": {"type": "path", "required": True},
        "preview_from": {"type": "path"},
        "replaced": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            "databases": {"type": "list", "elements": "dict", "default": [], "options": database},
            "paths": {"type": "list", "elements": "path", "default": []},
            "copies_pending": {"type": "bool", "default": True},
            "known": {"type": "list", "elements": "str", "default": []},
            "repoint": {"type": "list", "elements": "dict", "required": True, "options": {"from": text, "to": text}},
            "state": {"type": "str", "choices": ["audited", "rewritten"], "default": "audited"},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context(
            "look for paths in the databases", next((one["path"] for one in module.params["databases"]), ".")
        ), leased(module.params["run_id"], "database_paths", check=module.check_mode):
            result = run(module.params, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
