# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``verify_findings``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

DOCUMENTATION = r"""
name: verify_findings
short_description: What is not as a move has proved it
version_added: 0.1.0
author: The dsa110.contimg developers (@dsa110)
description:
  - Returns a sentence for each difference that modules have found on a host that has been moved.
positional: src, dest
options:
  _input:
    description:
      - What was registered. C(old) and C(new) of M(dsa110.contimg.manifest_info), C(rows) of M(dsa110.contimg.state_rows_info),
        C(users) of M(dsa110.contimg.state_users_info), C(open) of M(dsa110.contimg.open_files_info).
      - The C(links) into the old state that are not known, and what was C(unread) for them.
      - C(prove), whether crontabs and mounts have to be seen completely.
    type: dict
    required: true
  src:
    description: The old state directory.
    type: str
    required: true
  dest:
    description: The new state directory.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what is not as it was proved
  ansible.builtin.debug:
    msg: "{{ seen | dsa110.contimg.verify_findings(contimg_state_src, contimg_state_dest) }}"
"""

RETURN = r"""
_value:
  description: The sentences, none where all is as it was proved.
  type: list
  elements: str
"""


def verify_findings(seen: Mapping[str, Any], src: str, dest: str) -> list[str]:
    """Return a sentence for each thing that is not as it was proved.

    :param seen: see the documentation; ``old`` has no results where the old tree was not looked at.
    """
    old, new, rows, users = seen["old"], seen["new"], seen["rows"], seen["users"]
    lines = users["users"]
    changed = ", ".join([*old.get("missing", ()), *old.get("changed_files", ()), *old.get("unknown", ())])
    known = "list them in contimg_known_references."
    links = (
        f"These symbolic links lead into {src}: {'; '.join(seen['links'])}. Let them point into {dest} (ln -sfn), or"
    )
    named = f"{src}: still named by {'; '.join(lines)}. Repoint them (contimg_env_files, contimg_unit_files), or"
    holders = ", ".join(json.dumps(one) for one in seen["open"]["holders"])
    found = [
        (not old.get("matches", True), f"{src}: no longer what the manifest says: {changed}"),
        (new["missing_total"], f"{dest}: missing: {', '.join(new['missing'])}"),
        (rows["fell_below"], f"Fewer rows than recorded: {', '.join(rows['fell_below'])}"),
        *((True, reason) for reason in rows["unreadable"].values()),
        (seen["links"], f"{links} {known}"),
        (seen["unread"], f"Not looked through for links: {'; '.join(seen['unread'])}"),
        (lines, f"{named} {known}"),
        (seen["prove"] and not users["complete"], "Not everything could be looked at: crontabs or mounts"),
        (holders, f"{src}: still open in {holders}"),
    ]
    return [sentence for applies, sentence in found if applies]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters of this file by name."""
        return {"verify_findings": verify_findings}
