#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``state_retire``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state_retire
short_description: Archive or remove a state directory that has been moved
version_added: 0.1.0
description:
  - Removes, file by file, what the manifest of the copy knows, and leaves a tombstone in the run directory that says where the state went.
  - Never removes a tree. What the manifest does not know (links, sockets, files that were never copied) stays, and is named.
  - Refuses, before anything is removed, when a file is not what the manifest says, when a file is neither at the new place as it was
    copied nor changed there since by the services, or when a process uses the old tree.
  - A file that differs at the new place counts as changed by the services only if it is another one than the ledger of the copy knows (by
    inode, size and time), was written between O(moved_at) and now, and is not empty. A database, together with its WAL or journal, must
    also pass SQLite's quick check and hold at least the rows of O(baseline), or without these of the old database.
  - The record of the run directory, where there is one, is taken to phase V(retiring) just before the first file is removed.
  - Interrupted at any point, another run goes on. An archive that is complete is accepted if it holds every file with its content.
  - Refuses, before anything is removed, what it could not write or remove - an archive whose directory is missing or may not be written, another
    file in its place, immutable files and directories of the old state. Check mode refuses the same in the same words.
  - Refuses as well when both trees have a file in common (device and inode), or when something is mounted below one of them.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  src:
    description: The old state directory.
    type: path
    required: true
  dest:
    description: The new state directory. It is only read.
    type: path
    required: true
  manifest:
    description: The manifest of the copy, with its ledger beside it. Defaults to O(dest) with C(.sha256).
    type: path
  rename:
    description: Files, by path below O(src), that are called otherwise below O(dest), as O(dsa110.contimg.state_sync#module:rename).
    type: dict
    default: {}
  moved_at:
    description: When the services were stopped for the move, in seconds since the epoch. What was modified later, they have changed.
    type: float
    required: true
  state:
    description: V(archived) keeps a compressed tar, which is read back before the first file is removed. V(removed) keeps nothing.
    type: str
    choices: [archived, removed]
    default: archived
  archive:
    description:
      - Where the archive goes, beside O(src) by default. Its directory must exist.
      - What exists there must be a complete archive of O(src).
    type: path
  compression:
    description: V(auto) is zstd where the host has it, else gzip. The ending C(.zst) of O(archive) means zstd.
    type: str
    choices: [auto, zstd, gzip]
    default: auto
  accept:
    description: Globs of paths below O(dest) that need not be there, or may differ, for example logs that were rotated away.
    type: list
    elements: str
    default: []
  exclude:
    description: Globs of what was not copied, as given to M(dsa110.contimg.state_sync). Only there may other file systems be mounted.
    type: list
    elements: str
    default: []
  baseline:
    description:
      - The RV(dsa110.contimg.state_rows_info#module:rows) of O(dest) after the move.
      - Each database that could be read then must be there and hold at least these rows, also if the old tree never had it.
    type: dict
    default: {}
  names:
    description: The places below O(dest) of the databases of O(baseline) that are known by a name, as M(dsa110.contimg.state_rows_info) took them.
    type: dict
    default: {}
  run_dir:
    description:
      - The directory of the move's record. The tombstone is kept there as C(retired.json). It is made, for its owner only, where it is missing.
    type: path
    required: true
  require_proof:
    description: Whether it fails when the open files of other processes cannot be seen (root sees them).
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Archive the old state
  dsa110.contimg.state_retire:
    src: /stage/dsa110-contimg/state
    dest: /data/dsa110-contimg/state
    moved_at: 1795535830.5
    run_dir: /var/lib/dsa110-contimg-migration
"""

RETURN = r"""
files:
  description: Files that the manifest knows; those that went.
  returned: success
  type: int
bytes:
  description: Their bytes.
  returned: success
  type: int
changed_since:
  description: How many of them the services have changed at the new place since the move.
  returned: success
  type: int
left:
  description: What the manifest does not know, and therefore stays; at most 100 paths.
  returned: success
  type: list
  elements: str
left_total:
  description: How many of these there are.
  returned: success
  type: int
archive:
  description: Where the archive is, empty without one.
  returned: success
  type: str
tombstone:
  description: The file that says where the state went.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire import retire, retire_options


def main() -> None:
    """Retire and report."""
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "manifest": {"type": "path"},
            "rename": {"type": "dict", "default": {}},
            "moved_at": {"type": "float", "required": True},
            "state": {"type": "str", "choices": ["archived", "removed"], "default": "archived"},
            "archive": {"type": "path"},
            "compression": {"type": "str", "choices": ["auto", "zstd", "gzip"], "default": "auto"},
            "accept": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "baseline": {"type": "dict", "default": {}},
            "names": {"type": "dict", "default": {}},
            "run_dir": {"type": "path", "required": True},
            "require_proof": {"type": "bool", "default": True},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("retire the old state", module.params["src"]), leased(
            module.params["run_id"], "state_retire", check=module.check_mode
        ):
            result = retire(retire_options(module.params), check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
