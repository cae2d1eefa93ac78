# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``path_faults``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible.errors import AnsibleFilterError

from ansible_collections.dsa110.contimg.plugins.module_utils._plain_paths import KINDS
from ansible_collections.dsa110.contimg.plugins.module_utils._plain_paths import path_faults as faults_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DOCUMENTATION = r"""
name: path_faults
short_description: What is wrong with the paths of a description
version_added: 0.1.0
author: The dsa110.contimg developers (@dsa110)
description:
  - Returns a sentence for each path that is relative, has a second spelling (a trailing or double slash, C(.), C(..)), or holds
    what would be expanded or cannot be quoted. No path is looked up.
positional: kind
options:
  _input:
    description: By the name of a variable, the path or the list of paths that it holds. An empty path counts as none.
    type: dict
    required: true
  kind:
    description:
      - V(absolute) expects paths from the root directory, V(relative) places below another directory, and V(pattern) globs of paths
        from the root directory, which may hold V($).
    type: str
    choices: [absolute, relative, pattern]
    default: absolute
"""

EXAMPLES = r"""
- name: Stop if the state directory has a second spelling
  ansible.builtin.assert:
    that: "{'contimg_state_src': '/stage/dsa110-contimg/state'} | dsa110.contimg.path_faults == []"
"""

RETURN = r"""
_value:
  description: A clause for each path that is at fault, with the name of its variable. Empty where all are plain.
  type: list
  elements: str
"""


def path_faults(described: Mapping[str, str | Iterable[str]], kind: str = "absolute") -> list[str]:
    """Return what is wrong with paths. Raises AnsibleFilterError for a kind that is none."""
    if kind not in KINDS:
        raise AnsibleFilterError(f"path_faults: '{kind}' is none of {', '.join(KINDS)}")
    return faults_of(described, kind)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters of this file by name."""
        return {"path_faults": path_faults}
