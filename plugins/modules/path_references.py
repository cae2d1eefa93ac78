#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``path_references``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: path_references
short_description: Find the uses of a path in code, units and environment files, and rewrite those that can be proved
version_added: 0.1.0
description:
  - Reads every text file of trees and lists each use of a path, or of patterns, with its file, line and kind. Binary files,
    links and version control are left out.
  - A path counts at its boundaries only. Below C(/stage/state), C(/stage/state/x) is a use, C(/stage/state-old) is none.
  - In Python files, paths that are composed of parts are found where the syntax tree shows the parts.
  - Python strings that are the path, or lie below it, can be replaced by C(os.getenv), where the syntax tree proves
    that nothing else changes. The result compiles, and gives the new path where the variable is unset. Everything else is
    reported with the reason.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  paths:
    description: Directories or files. One that does not exist is warned of, and returned in RV(missing).
    type: list
    elements: path
    default: []
  prefix:
    description: The old path, absolute.
    type: str
  patterns:
    description: Regular expressions of Python that are looked for in each line, such as C(\bhdf5_file_index\b).
    type: list
    elements: str
    default: []
  known:
    description: Regular expressions for whole paths of files. What these name is listed, and counts as not live.
    type: list
    elements: str
    default: []
  variables:
    description: What old paths become. The longest O(variables[].from) that matches decides.
    type: list
    elements: dict
    default: []
    suboptions:
      from:
        description: The old path, O(prefix) or below it.
        type: str
        required: true
      name:
        description: The variable of the environment that holds the new path.
        type: str
        required: true
      default:
        description: The new path, for where the variable is unset.
        type: str
        required: true
  state:
    description:
      - V(audited) only lists.
      - V(patched) writes what V(rewritten) would do as one unified diff, for C(git apply). No file of O(paths) changes.
      - V(rewritten) edits the files.
    type: str
    choices: [audited, patched, rewritten]
    default: audited
  patch_file:
    description: Where the diff goes, readable by its owner only. Without anything to rewrite, that of an earlier run is removed.
    type: path
  backup_dir:
    description: Where files are kept as they were, with a note of what they became, before the first of them changes.
    type: path
  restore_from:
    description:
      - An O(backup_dir) of an earlier run, whose files are put back. Nothing is looked for then.
      - A file that somebody has changed since stays as it is, and is warned of.
    type: path
  exclude:
    description: Globs, as rsync takes them, of what is not looked at.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: List what still names the old state directory, or asks the products database for the index
  dsa110.contimg.path_references:
    paths: [/data/dsa110-contimg/scripts, /data/dsa110-contimg/backend]
    prefix: /stage/dsa110-contimg/state
    patterns: ['\bhdf5_file_index\b']

- name: Write a patch that takes the paths from the environment
  dsa110.contimg.path_references:
    paths: [/data/dsa110-contimg/scripts]
    prefix: /stage/dsa110-contimg/state
    variables:
      - from: /stage/dsa110-contimg/state
        name: PIPELINE_STATE_DIR
        default: /data/dsa110-contimg/state
      - from: /stage/dsa110-contimg/state/db/products.sqlite3
        name: PIPELINE_PRODUCTS_DB
        default: /data/dsa110-contimg/state/products.sqlite3
    state: patched
    patch_file: /var/lib/dsa110-contimg-migration/code.patch

- name: Put rewritten files back
  dsa110.contimg.path_references:
    restore_from: /var/lib/dsa110-contimg-migration/backups/code-7
"""

RETURN = r"""
references:
  description: The uses, at most 5,000. What is assigned to a name that looks like a secret is masked.
  returned: unless O(restore_from) is given
  type: list
  elements: dict
  contains:
    file:
      description: The file.
      type: str
    line:
      description: The line, counted from 1.
      type: int
    text:
      description: The line without its indentation, cut after 300 characters.
      type: str
    kind:
      description:
        - V(python_string), V(f_string), V(composed_path), V(python) (a name, or a file that this Python cannot parse), V(shell),
          V(unit), V(env), V(yaml), V(json), V(text), V(doc) or V(comment).
      type: str
    match:
      description: O(prefix), or the one of O(patterns) that matched.
      type: str
    live:
      description: False for V(doc) and V(comment), which nothing executes, and in files that O(known) matches.
      type: bool
    rewritten:
      description: Whether it was, or is in the patch, rewritten.
      type: bool
    reason:
      description: Why a use in Python is not rewritten.
      type: str
live_lines:
  description: A line for each of RV(references) that is live and names O(prefix).
  returned: unless O(restore_from) is given
  type: list
  elements: str
live_files:
  description: The files of RV(live_lines).
  returned: unless O(restore_from) is given
  type: list
  elements: str
totals:
  description: The number of C(files) looked at, of C(references), C(live) and C(rewritten) ones, and of each of C(kinds) and C(matches).
  returned: unless O(restore_from) is given
  type: dict
missing:
  description: The O(paths) that do not exist.
  returned: unless O(restore_from) is given
  type: list
  elements: str
unread:
  description: What could not be looked at, with the reason. Where this is not empty, RV(totals) prove nothing.
  returned: unless O(restore_from) is given
  type: list
  elements: str
patch_file:
  description: The patch, empty where there is nothing to rewrite.
  returned: unless O(restore_from) is given
  type: str
patch_root:
  description: Where to apply it, C(git -C PATCH_ROOT apply PATCH_FILE). The checkout, or the directory that holds all files.
  returned: unless O(restore_from) is given
  type: str
rewritten_files:
  description: The files that were edited.
  returned: unless O(restore_from) is given
  type: list
  elements: str
restored_files:
  description: The files that were put back.
  returned: when O(restore_from) is given
  type: list
  elements: str
kept_files:
  description: The files that somebody has changed since, which stay as they are.
  returned: when O(restore_from) is given
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._references.run import run


def main() -> None:
    """Look, write what is asked for, report."""
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "prefix": {"type": "str"},
            "patterns": {"type": "list", "elements": "str", "default": []},
            "known": {"type": "list", "elements": "str", "default": []},
            "variables": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"from": text, "name": text, "default": text},
            },
            "state": {"type": "str", "choices": ["audited", "patched", "rewritten"], "default": "audited"},
            "patch_file": {"type": "path"},
            "backup_dir": {"type": "path"},
            "restore_from": {"type": "path"},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "run_id": {"type": "str", "default": ""},
        },
        required_if=[("state", "patched", ["patch_file"]), ("state", "rewritten", ["backup_dir"])],
        supports_check_mode=True,
    )
    try:
        with error_context(
            "look for uses of the path", module.params["restore_from"] or next(iter(module.params["paths"]), ".")
        ), leased(module.params["run_id"], "path_references", check=module.check_mode):
            result = run(module.params, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
