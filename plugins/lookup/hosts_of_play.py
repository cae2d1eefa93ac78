# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup ``hosts_of_play``."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hosts_of_play
short_description: The hosts of a play, or an error where nothing would be done
version_added: 0.1.0
author: The dsa110.contimg developers (@dsa110)
description:
  - Returns the pattern as it is, for C(hosts) of a play. Fails where Ansible would end without an error and without having done
    anything, because no host of the inventory matches.
  - Where a playbook of this collection is named on the command line, fails on options with which it would do nothing or begin in
    its middle. These are C(--limit) without any host of the pattern, C(--tags) and C(--start-at-task).
options:
  _terms:
    description: A pattern of hosts, or a list of patterns.
    required: true
"""

EXAMPLES = r"""
- name: Say hello to all hosts of a group that must not be empty
  hosts: "{{ query('dsa110.contimg.hosts_of_play', 'contimg') }}"
  tasks:
    - name: Say hello
      ansible.builtin.debug:
        msg: Hello
"""

RETURN = r"""
_list:
  description: The pattern, as one text.
  type: list
  elements: str
"""

import os
from typing import TYPE_CHECKING

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_PLAYBOOKS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))), "playbooks")


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    """What Ansible loads."""

    def run(
        self, terms: Sequence[str | Sequence[str]], variables: Mapping[str, Any] | None = None, **_options: object
    ) -> list[str]:
        """Return the pattern. Raises AnsibleError where the play would do nothing."""
        pattern = terms[0] if isinstance(terms[0], str) else ",".join(terms[0])
        asked = context.CLIARGS
        if asked.get("syntax"):
            return [pattern]
        hosts = self._hosts(pattern, variables)
        if not hosts:
            raise AnsibleError(
                f"No host of the inventory matches '{pattern}'. Name hosts of it with -e contimg_hosts=PATTERN."
            )
        if _is_named_itself(asked.get("args", ())):
            self._require_whole_play(pattern, hosts, asked, variables)
        return [pattern]

    def _hosts(self, pattern: str, variables: Mapping[str, Any] | None) -> set[str]:
        inventory = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader)
        found = set(inventory.run([pattern], variables=variables))
        # A host that no inventory names but Ansible knows.
        return found or ({pattern} & {"localhost", "127.0.0.1", "::1"})

    def _require_whole_play(
        self, pattern: str, hosts: set[str], asked: Mapping[str, Any], variables: Mapping[str, Any] | None
    ) -> None:
        limit, tags = asked.get("subset") or "", set(asked.get("tags") or ())
        if limit and "@" not in limit and not hosts & self._hosts(limit, variables):
            raise AnsibleError(
                f"--limit {limit}: none of its hosts matches '{pattern}', which matches {', '.join(sorted(hosts))}."
            )
        if tags and not tags & {"all", "untagged"}:
            raise AnsibleError(f"--tags {','.join(sorted(tags))}: this playbook has no tags. Run it without.")
        if asked.get("start_at_task"):
            hint = "Run it without: it reads how far the host is, and goes on there."
            raise AnsibleError(f"--start-at-task: this playbook cannot begin in its middle. {hint}")


def _is_named_itself(playbooks: Sequence[str]) -> bool:
    """Return whether the command line names playbooks of this collection, and not one that imports them."""
    return all(
        name.startswith("dsa110.contimg.") or os.path.dirname(os.path.realpath(name)) == _PLAYBOOKS
        for name in playbooks
    )
