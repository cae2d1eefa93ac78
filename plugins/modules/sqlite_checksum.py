#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``sqlite_checksum``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sqlite_checksum
short_description: Integrity and content checksum of SQLite databases
version_added: 0.1.0
description:
  - Returns a checksum of the content (schema and every row) of one database, or of every database in a directory.
  - The algorithm is described in C(docs/checksum.md) of the collection.
  - The checksum stays the same after C(VACUUM), a checkpoint, a change of page size or journal mode, and a copy.
  - Tells how a database relates to another one, by content and never by a timestamp.
  - Never writes, not even a C(-shm), also on a database in use.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
  - dsa110.contimg.run.reading
  - dsa110.contimg.proofs
options:
  path:
    description: A database, or a directory in which databases are found by their header. Required without O(databases).
    type: path
  databases:
    description: Several databases, each with what it is compared with and its own check, instead of O(path) and the options that belong to it.
    type: list
    elements: dict
    suboptions:
      path:
        description: As O(path).
        type: path
        required: true
      compare_to:
        description: As O(compare_to).
        type: path
      integrity:
        description: As O(integrity).
        type: str
        choices: [none, quick, full]
        default: none
  recurse:
    description: Whether databases below the directory's own directories are found too.
    type: bool
    default: false
  compare_to:
    description: A database, or a directory with databases of the same names, to compare with.
    type: path
  fail_on_difference:
    description: Whether the task fails when a database is not identical to its counterpart.
    type: bool
    default: false
  integrity:
    description:
      - Whether SQLite's own check runs first. A damaged database fails the task.
      - Where it needs a function, collation, tokenizer or module of the program that uses the database, it is not made, and that is
        reported; nothing fails.
    type: str
    choices: [none, quick, full]
    default: none
  tables:
    description: Whether rows and checksum of each table are returned.
    type: bool
    default: false
  workers:
    description:
      - How many processes read at the same time.
      - By default as many as there are processors, four at most.
    type: int
"""

EXAMPLES = r"""
- name: Prove that a copy holds what the original holds
  dsa110.contimg.sqlite_checksum:
    path: /stage/dsa110-contimg/state/db/products.sqlite3
    compare_to: /data/dsa110-contimg/state/products.sqlite3
    integrity: quick
    fail_on_difference: true

- name: Prove that of several copies
  dsa110.contimg.sqlite_checksum:
    databases:
      - path: /stage/dsa110-contimg/state/db/products.sqlite3
        compare_to: /data/dsa110-contimg/state/products.sqlite3
        integrity: full
      - path: /stage/dsa110-contimg/state/ingest.sqlite3
        compare_to: /data/dsa110-contimg/state/ingest.sqlite3
    fail_on_difference: true
"""

RETURN = r"""
databases:
  description: One entry for each database, in the order of O(databases) where that is given.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The database.
      type: str
    checksum:
      description: Checksum of schema and rows.
      type: str
      sample: contimg1:sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945
    file_checksum:
      description: SHA-256 of the main file alone.
      type: str
    journal_mode:
      description: V(wal) or V(rollback).
      type: str
    wal_bytes:
      description: Size of the write-ahead log in bytes.
      type: int
    page_count:
      description: Pages of the database.
      type: int
    page_size:
      description: Bytes a page.
      type: int
    integrity:
      description: V(ok), V(not checked), or C(not made) and why.
      type: str
    tables:
      description: Rows and checksum by table.
      type: dict
    relation:
      description:
        - V(identical), V(ahead), V(behind), V(diverged) or V(other_schema), as seen from it.
        - By schema and rows; the order of rows does not count.
      returned: with O(compare_to)
      type: str
identical:
  description: Whether every database is identical to its counterpart.
  returned: success
  type: bool
differences:
  description: By path, the relation and the tables that differ, with counts a side and the keys of the first rows.
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
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import remembering
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.report import report_all, require_identical


def main() -> None:
    """Report, and fail on a difference where that was asked for."""
    one = {
        "compare_to": {"type": "path"},
        "integrity": {"type": "str", "choices": ["none", "quick", "full"], "default": "none"},
    }
    several = {"path": {"type": "path", "required": True}, **one}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "databases": {"type": "list", "elements": "dict", "options": several},
            "recurse": {"type": "bool", "default": False},
            **one,
            "fail_on_difference": {"type": "bool", "default": False},
            "tables": {"type": "bool", "default": False},
            "workers": {"type": "int"},
            "proofs": {"type": "path"},
            "run_id": {"type": "str", "default": ""},
        },
        mutually_exclusive=[("path", "databases"), ("compare_to", "databases")],
        required_one_of=[("path", "databases")],
        supports_check_mode=True,
    )
    listed = module.params["databases"] or []
    try:
        with error_context(
            "read the databases", module.params["path"] or ", ".join(one["path"] for one in listed)
        ), leased(module.params["run_id"], "sqlite_checksum", check=module.check_mode), remembering(
            module.params["proofs"], write=not module.check_mode, warn=module.warn
        ) as proofs:
            result = report_all(module.params, proofs)
            if module.params["fail_on_difference"]:
                require_identical(result)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
