#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``state_databases_info``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state_databases_info
short_description: Where the databases of a state directory stand on both sides, and which copy is the truth
version_added: 0.1.0
description:
  - Finds each database of a map in the source. A required one must stand at exactly one of its places.
  - Compares it by content with the database that stands at its place in the destination, and says what a move has to do with it.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
  - dsa110.contimg.run.reading
  - dsa110.contimg.proofs
options:
  src:
    description: The old state directory.
    type: path
    required: true
  dest:
    description: The new state directory, which may not exist yet.
    type: path
    required: true
  databases:
    description: The map.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name that decisions and reports use.
        type: str
        required: true
      src:
        description: Places below O(src).
        type: list
        elements: str
        required: true
      dest:
        description: The place below O(dest).
        type: str
        required: true
      environment:
        description: Environment names that point to the database.
        type: list
        elements: str
        default: []
      required:
        description: Whether it must stand in the source.
        type: bool
        default: true
      integrity:
        description: The check of this database, instead of O(integrity).
        type: str
        choices: [none, quick, full]
  decisions:
    description:
      - By name, V(keep_dest) or V(take_source), for a database at the destination that may hold what the source lacks.
      - It does not apply to a database that the destination lacks, nor to one of an earlier run that is as the earlier run left it.
    type: dict
    default: {}
  facts:
    description:
      - The facts of the record (M(dsa110.contimg.migration_record)) of an earlier run of the same move. C(placed) and C(split_made) say which
        databases it has put at the destination, or made there; C(left) and C(baseline), by name, their tables as it has left them;
        C(decisions) what was decided then, which O(decisions) overrides.
      - A database that is no longer as that run left it is judged like any other. Without O(relations) only C(decisions) counts.
    type: dict
    default: {}
  split_backups:
    description:
      - The O(dsa110.contimg.hdf5_db_split#module:backup_dir) of that run. A database that its split has made, and that O(facts) lack since
        the run was interrupted, is as it was if the split of one of these copies makes just the same.
    type: path
  relations:
    description: Whether both sides are compared by content. Otherwise a database at the destination counts as a copy.
    type: bool
    default: true
  integrity:
    description:
      - Whether SQLite's own check runs on the databases of the source. A damaged one fails the task.
      - Where it needs a function, collation, tokenizer or module of the program that uses the database, it is not made, and that is
        reported; nothing fails.
    type: str
    choices: [none, quick, full]
    default: none
  users:
    description: Users whose access to the databases of O(dest), which must exist then, is compared with that to those of O(src).
    type: list
    elements: str
    default: []
  fail_on:
    description:
      - V(undecided) fails when a database needs a decision, with RV(table).
      - V(lost_access) fails when any of O(users) could do less with a database of O(dest) than with that of O(src).
      - The results are returned all the same.
    type: list
    elements: str
    choices: [undecided, lost_access]
    default: []
"""

EXAMPLES = r"""
- name: Find the databases and compare both sides
  dsa110.contimg.state_databases_info:
    src: /stage/dsa110-contimg/state
    dest: /data/dsa110-contimg/state
    databases:
      - name: products
        src: [products.sqlite3, db/products.sqlite3]
        dest: products.sqlite3
    decisions:
      products: keep_dest
"""

RETURN = r"""
databases:
  description:
    - For each, C(name), C(src), C(dest), C(src_path), C(dest_path), C(relation) (of the destination to the source), C(action)
      (V(copy), V(replace), V(keep), V(remove), V(undecided) or V(absent)), C(exists) (at the destination), C(integrity)
      (V(ok), V(not checked), or why the check was not made), C(tables) that differ, and the C(newest) row of each side.
    - The action V(remove) is for one of an earlier run that the source lacks. Its C(checksum) is that of its content, for
      M(dsa110.contimg.sqlite_remove). Where it has changed since, it is undecided.
  returned: success
  type: list
  elements: dict
copies:
  description: The same for O(dsa110.contimg.database_paths#module:databases), each with C(path), C(preview_from) and C(replaced).
  returned: success
  type: list
  elements: dict
comparisons:
  description:
    - What is copied, for O(dsa110.contimg.sqlite_checksum#module:databases), each with its C(path) in the source, C(compare_to) at the
      destination, and the C(integrity) of the map, V(quick) where it has none.
  returned: success
  type: list
  elements: dict
read_paths:
  description: By name, where the rows are that the destination will have; its own place, or that of the source for what is copied.
  returned: success
  type: dict
rename:
  description: Databases that go to another place, for O(dsa110.contimg.state_sync#module:rename).
  returned: success
  type: dict
sync_decisions:
  description: What was decided, for O(dsa110.contimg.state_sync#module:decisions).
  returned: success
  type: dict
decided:
  description: The decisions that apply, those of O(facts) included.
  returned: success
  type: dict
left_by_split:
  description: What O(facts) say of the HDF5 database, by its name, for the record of the next run.
  returned: success
  type: dict
undecided:
  description: Names that need a decision.
  returned: success
  type: list
  elements: str
table:
  description: The same for an operator to read.
  returned: success
  type: str
lost_access:
  description:
    - What O(users) may do with a database of O(src) and not with that of O(dest), each with C(user), C(path) and C(lost)
      (of V(read), V(write) and V(make files beside)). Asked as that user, so of others than oneself by root only.
  returned: success
  type: list
  elements: dict
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
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.databases import report
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import remembering


def main() -> None:
    """Find, compare, report."""
    database = {
        "name": {"type": "str", "required": True},
        "src": {"type": "list", "elements": "str", "required": True},
        "dest": {"type": "str", "required": True},
        "environment": {"type": "list", "elements": "str", "default": []},
        "required": {"type": "bool", "default": True},
        "integrity": {"type": "str", "choices": ["none", "quick", "full"]},
    }
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "databases": {"type": "list", "elements": "dict", "required": True, "options": database},
            "decisions": {"type": "dict", "default": {}},
            "facts": {"type": "dict", "default": {}},
            "split_backups": {"type": "path"},
            "relations": {"type": "bool", "default": True},
            "integrity": {"type": "str", "choices": ["none", "quick", "full"], "default": "none"},
            "users": {"type": "list", "elements": "str", "default": []},
            "proofs": {"type": "path"},
            "fail_on": {"type": "list", "elements": "str", "choices": ["undecided", "lost_access"], "default": []},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("compare the databases", module.params["src"]), leased(
            module.params["run_id"], "state_databases_info", check=module.check_mode
        ), remembering(module.params["proofs"], write=not module.check_mode, warn=module.warn) as proofs:
            result = report(module.params, proofs)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
