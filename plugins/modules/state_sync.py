#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``state_sync``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: state_sync
short_description: Make a directory a faithful, verified, durable copy of another
version_added: 0.1.0
description:
  - Copies a tree with its databases, links, owners, modes, times, ACLs and extended attributes, and never changes the source.
  - A file appears at the destination whole or not at all. An interrupted copy is finished by the next run.
  - What stands at the destination and was not put there by this module is never replaced without a decision.
  - Refuses, before anything is touched, when both trees have a directory or a file in common (device and inode), and when something is
    mounted below one of them that is not excluded.
  - Refuses, before anything is touched, what it could not write - a destination that is mounted read-only, that this user may not write, that
    has not enough space or inodes, and immutable or append-only files and directories where something is to be made, replaced or linked.
    Check mode refuses the same in the same words.
  - A database and its log or journal are one thing. A stale log at the destination is removed before its database is replaced.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
options:
  src:
    description: The source, a directory. It is only read.
    type: path
    required: true
  dest:
    description: The destination, a directory that may not exist yet.
    type: path
    required: true
  exclude:
    description:
      - Globs of what is not copied. Without a slash they match a name at any depth, with one the path below O(src).
      - They apply to names in O(src). A file of O(rename) is copied also where a glob matches its new name or the directory of that.
      - Brackets take ranges and the classes of POSIX (V([[:digit:]])), those of the C locale. A bracket that cannot match, or is not closed, is refused.
    type: list
    elements: str
    default: []
  rename:
    description:
      - Single files, by path below O(src), that go to another path below O(dest). The log of a database goes with it.
      - A directory is refused, and so is a path below what is not a directory on either side.
    type: dict
    default: {}
  delete:
    description: Whether what the source lacks is removed from the destination. A database that the source never had stays.
    type: bool
    default: false
  live:
    description: Whether the source may change meanwhile. Nothing is claimed about such a copy, and no manifest is written.
    type: bool
    default: false
  passes:
    description:
      - How often a live copy is made at most, each time of what has changed meanwhile.
      - It ends sooner where a pass took less than five seconds, or copied no fewer bytes than the one before it.
    type: int
    default: 1
  verify:
    description: Whether each file is read back from the device of the destination and compared with what was read from the source.
    type: str
    choices: [checksum, none]
    default: checksum
  manifest:
    description:
      - Where the checksums are written, in the format of C(sha256sum) with paths below O(dest). Defaults to O(dest) with C(.sha256).
      - A file of the same name with C(.ledger) remembers what was copied.
    type: path
  on_conflict:
    description:
      - What to do with files at the destination that differ and that this module has not put there.
      - V(replace) needs O(backup_dir). A directory is not replaced with a file.
    type: str
    choices: [fail, keep, replace]
    default: fail
  decisions:
    description: The same by path below O(dest), V(keep) or V(replace).
    type: dict
    default: {}
  backup_dir:
    description:
      - Where a verified copy of what is replaced is kept. It is made where it is missing.
      - A place that cannot be used is refused, also when nothing is to be replaced.
    type: path
  allow_loss:
    description:
      - What the destination may fail to hold. The message of a refusal names it, with an entry of the source that has it.
      - V(flags) are inode flags, as C(chattr) sets them. The copy has C(A), C(C), C(S) and C(d) where the destination can hold them; C(D), C(a), C(i),
        C(j) and C(x) are lost anywhere.
      - V(nanoseconds) are fractions of a second and odd seconds, V(time) times before 1980 and after 2037, which some file systems clamp.
    type: list
    elements: str
    choices: [acl, flags, hardlink, mode, nanoseconds, owner, special, symlink, time, xattr]
    default: []
  workers:
    description: How many processes prepare files at the same time. They wait for the disk most of the time, so more than processors help.
    type: int
    default: 4
  bandwidth_limit:
    description: Bytes a second that are written at most. V(0) is no limit.
    type: int
    default: 0
  progress_file:
    description:
      - A file in which phase, files, bytes, rate and estimated time left are reported, as JSON, about twice a second. Empty is none.
    type: path
  require_quiesced:
    description: Whether the copy refuses to start while a process has a file of either tree open for writing.
    type: bool
    default: false
  reserve:
    description:
      - Bytes, by directory, that must be free besides what the copy needs. Directories on one file system are added up, the destination and
        O(backup_dir) included.
    type: dict
    default: {}
  retarget_links:
    description:
      - Whether the copy of a symbolic link that would lead elsewhere than into the new tree leads to the counterpart there. It would where the link
        names O(src) by its absolute path, leaves it by a relative one, or names a file of O(rename). The link of the source is not changed.
      - Otherwise links are copied as they are. Either way RV(links) names them.
      - A link of O(src) to a database out of the tree, or by its absolute path to one in the tree, is always refused, unless it is excluded.
    type: bool
    default: false
  owner:
    description: Owner of everything, instead of the source's. What earlier runs copied gets it, too.
    type: str
  group:
    description: Group of everything, instead of the source's. What earlier runs copied gets it, too.
    type: str
"""

EXAMPLES = r"""
- name: Copy what there is while services run
  dsa110.contimg.state_sync:
    src: /stage/dsa110-contimg/state
    dest: /data/dsa110-contimg/state
    live: true

- name: Copy the rest and prove it, with the services down
  dsa110.contimg.state_sync:
    src: /stage/dsa110-contimg/state
    dest: /data/dsa110-contimg/state
    rename:
      db/products.sqlite3: products.sqlite3
    require_quiesced: true
"""

RETURN = r"""
stats:
  description:
    - Counts of V(files) and V(bytes) in the source, of files V(copied), V(skipped), V(verified), V(removed) and V(kept), and the size of those
      copied, V(copied_bytes).
    - Of several O(passes), the first. So are the values below, but for RV(passes). C(changed) is that of all.
  returned: success
  type: dict
actions:
  description: The first 200 steps, each with C(action), C(path) and C(reason).
  returned: success
  type: list
  elements: dict
actions_total:
  description: How many steps there are.
  returned: success
  type: int
actions_digest:
  description: A hash of all steps. A preview and its run have the same.
  returned: success
  type: str
conflicts:
  description: What a decision kept at the destination, of which the manifest's neighbour C(.kept) has all. On failure, what waits for a decision.
  returned: always
  type: list
  elements: str
links:
  description:
    - The first 200 symbolic links of the source that do not simply lead into the new tree, each with C(path), C(target), C(leads_to),
      C(new_target) (what its copy says) and C(meaning) (what it means after the move, as a line of text).
    - C(kind) is V(old) where the unchanged copy leads into the old tree, V(outside) where both lead to the same place out of it, V(changed) where
      the unchanged copy leads to another place.
  returned: success
  type: list
  elements: dict
links_total:
  description: How many these are.
  returned: success
  type: int
manifest:
  description: The manifest.
  returned: success
  type: str
source_digest:
  description: Hash of every name and status of the source, to the ctime.
  returned: success
  type: str
passes:
  description: Each pass that was done, with the files V(copied), their V(bytes) and its V(duration) in seconds. Empty in check mode.
  returned: success
  type: list
  elements: dict
duration:
  description: Seconds.
  returned: success
  type: float
throughput:
  description: Bytes copied a second.
  returned: success
  type: int
identical:
  description: Whether the destination was a copy already.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import LOSSES
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.passes import synchronize_in_passes


def main() -> None:
    """Plan, apply outside check mode, report."""
    module = AnsibleModule(
        argument_spec={
            "src": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "rename": {"type": "dict", "default": {}},
            "delete": {"type": "bool", "default": False},
            "live": {"type": "bool", "default": False},
            "passes": {"type": "int", "default": 1, "no_log": False},
            "verify": {"type": "str", "choices": ["checksum", "none"], "default": "checksum"},
            "manifest": {"type": "path"},
            "on_conflict": {"type": "str", "choices": ["fail", "keep", "replace"], "default": "fail"},
            "decisions": {"type": "dict", "default": {}},
            "backup_dir": {"type": "path"},
            "allow_loss": {"type": "list", "elements": "str", "choices": list(LOSSES), "default": []},
            "workers": {"type": "int", "default": 4},
            "bandwidth_limit": {"type": "int", "default": 0},
            "progress_file": {"type": "path"},
            "require_quiesced": {"type": "bool", "default": False},
            "reserve": {"type": "dict", "default": {}},
            "retarget_links": {"type": "bool", "default": False},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "run_id": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        with error_context("copy", module.params["dest"]), leased(
            module.params["run_id"], "state_sync", check=module.check_mode
        ):
            result = synchronize_in_passes(options_from(module.params), check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
