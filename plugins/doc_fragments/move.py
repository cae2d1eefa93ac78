# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of every module that reads the record of a move: the description of the move."""

from __future__ import annotations


class ModuleDocFragment:
    """The option ``move``."""

    DOCUMENTATION = r"""
options:
  move:
    description:
      - What the move is. It is recorded when the move begins, and then required.
      - A record that belongs to a move that was described otherwise is refused, with both values. After a rollback it counts
        as that of an untouched host. Paths are compared in normalised form, places of a database and globs whatever their
        order is.
    type: dict
    suboptions:
      src:
        description: The source.
        type: path
        required: true
      dest:
        description: The destination.
        type: path
        required: true
      databases:
        description: The databases of the map. Of each C(name), C(src) and C(dest) count.
        type: list
        elements: dict
        required: true
      exclude:
        description: Globs of what is not copied.
        type: list
        elements: str
        required: true
"""
