# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``variable_faults``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

DOCUMENTATION = r"""
name: variable_faults
short_description: Which variables of a description are misspelt, or hold a text in place of a list
version_added: 0.1.0
author: The dsa110.contimg developers (@dsa110)
description:
  - Returns a clause for each name that is no option, with the name of the option that is spelt most like it.
  - Returns a clause for each option that is a list, and not of C(raw) elements, and whose value is a text. A module would split it
    at its commas, a loop at each letter.
positional: options, known
options:
  _input:
    description: By its name, the value of each variable. What is no option may have any value.
    type: dict
    required: true
  options:
    description: The options of the role, as its argument specification has them.
    type: dict
    required: true
  known:
    description: Names that are right although they are no options.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Stop if a variable is misspelt
  ansible.builtin.assert:
    that: "{'contimg_units': ['contimg-api.service']} | dsa110.contimg.variable_faults({'contimg_units': {'type': 'list'}}) == []"
"""

RETURN = r"""
_value:
  description: A clause for each variable that is at fault, with its name. Empty where all are right.
  type: list
  elements: str
"""


def variable_faults(
    described: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]], known: Collection[str] = ()
) -> list[str]:
    """Return what is wrong with the variables of a description."""
    unknown = sorted(set(described) - set(options) - set(known))
    texts = sorted(name for name in set(described) & set(options) if _is_text_for_list(described[name], options[name]))
    return [
        *(
            f"{name}: no variable of this collection has this name{_likely(name, options)}; one of your own needs another prefix"
            for name in unknown
        ),
        *(f"{name}: holds a text, and takes a list" for name in texts),
    ]


def _likely(name: str, options: Mapping[str, Any]) -> str:
    likely = difflib.get_close_matches(name, options, n=1, cutoff=0)
    return f"; the nearest is {likely[0]}" if likely else ""


def _is_text_for_list(value: object, option: Mapping[str, Any]) -> bool:
    return option["type"] == "list" and option.get("elements") != "raw" and isinstance(value, str)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filters of this file by name."""
        return {"variable_faults": variable_faults}
