#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``migration_phase``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_phase
short_description: Prove what a phase of a host's move says, and record the phase
version_added: 0.1.0
description:
  - Takes the record of a host (M(dsa110.contimg.migration_record)) to a phase that is worth nothing without a proof. The process that proves
    it records it, so nothing can happen to the host between the two.
  - If the proof fails, or the phase cannot follow the present one, the task fails and the record is as it was.
  - Check mode looks at nothing, and predicts the record.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.proofs
  - dsa110.contimg.run
options:
  run_dir:
    description: The directory of the record.
    type: path
    required: true
  phase:
    description:
      - The phase that the host has reached, with what is proved for it.
      - V(held) needs O(closed), V(proved) needs O(identical), V(split) needs O(rows), V(started) needs O(unchanged).
    type: str
    choices: [held, proved, split, started]
    required: true
  closed:
    description: No process may write to these files, by an open descriptor, a mapping or a lock. The fact C(proof) says whether all could be seen.
    type: dict
    suboptions:
      paths:
        description: Directories or files. One that does not exist is open in no process.
        type: list
        elements: path
        required: true
      complete:
        description: Whether it fails, too, that the open files of a process cannot be read.
        type: bool
        default: true
  identical:
    description: Databases that hold what their sources hold, row by row.
    type: list
    elements: dict
    suboptions:
      path:
        description: A database.
        type: path
        required: true
      compare_to:
        description: Its copy.
        type: path
        required: true
      integrity:
        description: The check of SQLite's own that the database has to pass.
        type: str
        choices: [none, quick, full]
        default: none
  rows:
    description: Databases whose rows are the baseline of later looks. They get into the facts C(baseline) and C(dest_digest).
    type: dict
    suboptions:
      path:
        description: The state directory, of which every database is read.
        type: path
        required: true
      names:
        description: By name of a database, its path below O(rows.path).
        type: dict
        default: {}
      exclude:
        description: Globs of what is not looked at.
        type: list
        elements: str
        default: []
  unchanged:
    description: A source that is to the ctime what was copied.
    type: dict
    suboptions:
      path:
        description: The source.
        type: path
        required: true
      manifest:
        description: The manifest of the copy.
        type: path
        required: true
      digest:
        description: The RV(dsa110.contimg.state_sync#module:source_digest) of the copy.
        type: str
        required: true
      exclude:
        description: Globs of what was not copied.
        type: list
        elements: str
        default: []
      rename:
        description: The O(dsa110.contimg.state_sync#module:rename) of the copy.
        type: dict
        default: {}
      since:
        description: Seconds since the epoch. What has changed after that is named where the source has changed.
        type: float
  facts:
    description: What later steps need to know besides, as O(dsa110.contimg.migration_record#module:facts).
    type: dict
    default: {}
  moments:
    description: The O(dsa110.contimg.migration_record#module:moments), which are taken after the proof.
    type: list
    elements: str
    default: []
  record:
    description: The O(dsa110.contimg.migration_record#module:record) that a preview has predicted.
    type: dict
    default: {}
  workers:
    description: How many processes read databases at the same time. By default as many as there are processors.
    type: int
"""

EXAMPLES = r"""
- name: Prove that no process writes to either state directory, and record that the host is held
  dsa110.contimg.migration_phase:
    run_dir: /var/lib/dsa110-contimg-migration
    phase: held
    closed:
      paths: [/stage/dsa110-contimg/state, /data/dsa110-contimg/state]
    moments: [held_at]
"""

RETURN = r"""
record:
  description: The record as M(dsa110.contimg.migration_record) returns it.
  returned: success
  type: dict
record_file:
  description: The path of the record.
  returned: success
  type: str
now:
  description: The time of the host after the proof, in epoch seconds.
  returned: success
  type: float
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
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.phase import PROOFS, run_phase
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import remembering

_PATH = {"type": "path", "required": True}
_NAMES = {"type": "list", "elements": "str", "default": []}
_BY_NAME = {"type": "dict", "default": {}}
_INTEGRITY = {"type": "str", "choices": ["none", "quick", "full"], "default": "none"}
_COMPLETE = {"type": "bool", "default": True}
_DIGEST = {"type": "str", "required": True}
_CLOSED = {"paths": {"type": "list", "elements": "path", "required": True}, "complete": _COMPLETE}
_IDENTICAL = {"path": _PATH, "compare_to": _PATH, "integrity": _INTEGRITY}
_ROWS = {"path": _PATH, "names": _BY_NAME, "exclude": _NAMES}
_SOURCE = {"path": _PATH, "manifest": _PATH, "digest": _DIGEST, "exclude": _NAMES, "rename": _BY_NAME}


def main() -> None:
    """Prove, record, and report."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "phase": {"type": "str", "choices": list(PROOFS), "required": True},
            "closed": {"type": "dict", "options": _CLOSED},
            "identical": {"type": "list", "elements": "dict", "options": _IDENTICAL},
            "rows": {"type": "dict", "options": _ROWS},
            "unchanged": {"type": "dict", "options": {**_SOURCE, "since": {"type": "float"}}},
            "facts": {"type": "dict", "default": {}},
            "moments": {"type": "list", "elements": "str", "default": []},
            "record": {"type": "dict", "default": {}},
            "workers": {"type": "int"},
            "proofs": {"type": "path"},
            "run_id": {"type": "str", "default": ""},
        },
        required_if=[("phase", phase, [option]) for phase, option in PROOFS.items()],
        supports_check_mode=True,
    )
    check, run_dir = module.check_mode, module.params["run_dir"]
    try:
        with error_context("prove and record a phase", run_dir), leased(
            module.params["run_id"], "migration_phase", check=check
        ), remembering(module.params["proofs"], write=not check, warn=module.warn) as proofs:
            result = run_phase(module.params, check=check, proofs=proofs)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
