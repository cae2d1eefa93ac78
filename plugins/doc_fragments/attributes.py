# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules of this collection share."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes and options that stand in more than one module."""

    # A module that changes the host.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the plan that a real run would apply.
    support: full
  diff_mode:
    description: Will return details on what has changed (or would change in C(check_mode)).
    support: full
  idempotent:
    description: A second run on unchanged input changes nothing and reports no change.
    support: full
  platform:
    description: Target operating system. Only Python's standard library and SQLite are needed there.
    platforms: linux
    support: full
  action_group:
    description: Part of the action group C(dsa110.contimg.contimg), for C(module_defaults).
    support: full
    membership:
      - dsa110.contimg.contimg
"""

    # A module that only reads: no byte, no C(-shm), no timestamp changes.
    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode); it never changes anything.
    support: full
  diff_mode:
    description: Never changes anything, so there is nothing to show.
    support: N/A
  idempotent:
    description: Never changes anything; it returns what it finds at the time.
    support: N/A
  platform:
    description: Target operating system. Only Python's standard library and SQLite are needed there.
    platforms: linux
    support: full
  action_group:
    description: Part of the action group C(dsa110.contimg.contimg), for C(module_defaults).
    support: full
    membership:
      - dsa110.contimg.contimg
"""
