#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``env_file``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: env_file
short_description: Set, remove and repoint assignments in a systemd EnvironmentFile
version_added: 0.1.0
description:
  - Edits the file as systemd reads it. Comments, blank lines, order and every other assignment survive byte for byte.
  - A name that is set is changed where it stands. One that stands there more than once is left only where it won.
  - What is written means the same to systemd and to a shell that sources the file.
  - Values of names that look like secrets (webhook, password, token, secret, credential, C(_KEY)), and every value that
    holds one of them, never appear in results or diffs.
  - Owner, group, mode, ACLs and extended attributes are kept. The file is replaced as a whole, so that a service finds the
    old one or the new one.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  path:
    description: The file. A symbolic link is followed only where only root and the running user can redirect it.
    type: path
    required: true
  values:
    description: Assignments, text or numbers. New names go to a marked block at the end of the file.
    type: dict
    default: {}
  directories:
    description:
      - Assignments of directories that give way to a more precise one. A name whose value is a path that O(repoint) leads to, or one below it,
        keeps it with its tail, once it is repointed. Any other value is replaced, and a missing name is added.
      - O(values) decides where it has the same name.
    type: dict
    default: {}
  secrets:
    description: Assignments whose values are never shown.
    type: dict
    default: {}
  absent:
    description: Names that are removed.
    type: list
    elements: str
    default: []
  repoint:
    description:
      - Where a value names one path, or a path below it, it is changed to name the other, also within a list or a URL. The
        longest path that matches decides.
      - What O(values) and O(secrets) set is taken as it is.
    type: list
    elements: dict
    default: []
    suboptions:
      from:
        description: The old path.
        type: str
        required: true
      to:
        description: The new path.
        type: str
        required: true
  expand:
    description:
      - Whether V(${NAME}) in a value, which systemd takes literally, is resolved from the same file as it will be.
      - A reference to a name that is not there, or to itself, stays.
    type: bool
    default: false
  restore_from:
    description:
      - An O(backup_dir) of earlier edits of this file, which are undone, the newest first, instead of an edit.
      - A file that was not changed since becomes byte for byte what it was, with its owner and mode; one that an edit has made goes.
        In any other file, the assignments that the edits changed become what they were. An assignment that was changed again since
        keeps its newer value and is named in RV(kept_names).
      - Of O(secrets), only the names count then.
    type: path
  backup_dir:
    description:
      - Where a copy, as private as the original, is kept before a change, and a note of what was changed, without a secret in clear.
    type: path
  create:
    description: Whether a missing file is made.
    type: bool
    default: false
  content:
    description: What a file that O(create) makes holds before it is edited. No place for a secret.
    type: str
    default: ""
  owner:
    description: User that owns the file. As found by default.
    type: str
  group:
    description: Group that owns the file. As found by default.
    type: str
  mode:
    description: Permissions as an octal string such as V('0640'). As found by default, V(0640) for a new file.
    type: raw
"""

EXAMPLES = r"""
- name: Point the services to the new state
  dsa110.contimg.env_file:
    path: /data/dsa110-contimg/ops/systemd/contimg.env
    values:
      PIPELINE_STATE_DIR: /data/dsa110-contimg/state
    repoint:
      - from: /stage/dsa110-contimg/state
        to: /data/dsa110-contimg/state
    backup_dir: /var/lib/dsa110-contimg-migration/backups

- name: Make the file of a new host, with a secret
  dsa110.contimg.env_file:
    path: /data/dsa110-contimg/ops/systemd/contimg.env
    values:
      PIPELINE_STATE_DIR: /data/dsa110-contimg/state
      HDF5_DB_PATH: ${PIPELINE_STATE_DIR}/hdf5.sqlite3
    secrets:
      SLACK_WEBHOOK_URL: "{{ vault_slack_webhook_url }}"
    expand: true
    create: true
    group: contimg

- name: Undo all edits of the move
  dsa110.contimg.env_file:
    path: /data/dsa110-contimg/ops/systemd/contimg.env
    restore_from: /var/lib/dsa110-contimg-migration/backups

- name: Drop a name that nothing reads any more
  dsa110.contimg.env_file:
    path: /data/dsa110-contimg/ops/systemd/contimg.env
    absent:
      - PRODUCTS_DB_PATH
"""

RETURN = r"""
assignments:
  description: All assignments as systemd reads them, secrets masked.
  returned: success
  type: dict
warnings:
  description: What systemd, a shell or git would do with this file that an operator may not expect.
  returned: when there are any
  type: list
  elements: str
backup_file:
  description: The copy of the file before the change, empty where none was made.
  returned: success
  type: str
kept_names:
  description: Names that somebody has changed since the edits, and whose newer values stay.
  returned: when O(restore_from) is given
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._env.file import exposed_secrets, run
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased


def main() -> None:
    """Edit or restore, and report."""
    pair = {"from": {"type": "str", "required": True}, "to": {"type": "str", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "values": {"type": "dict", "default": {}},
            "directories": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "absent": {"type": "list", "elements": "str", "default": []},
            "repoint": {"type": "list", "elements": "dict", "default": [], "options": pair},
            "expand": {"type": "bool", "default": False},
            "restore_from": {"type": "path"},
            "backup_dir": {"type": "path"},
            "create": {"type": "bool", "default": False},
            "content": {"type": "str", "default": ""},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "raw"},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    module.no_log_values.update(exposed_secrets(module.params))
    try:
        with error_context("edit the environment file", module.params["path"]), leased(
            module.params["run_id"], "env_file", check=module.check_mode
        ):
            result = run(module.params, check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
