# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that the modules share which read databases as a whole."""

from __future__ import annotations


class ModuleDocFragment:
    """The option that names the file in which it is remembered what the databases hold."""

    DOCUMENTATION = r"""
options:
  proofs:
    description:
      - A file of the run directory in which checksums, rows, quick checks and newest rows of databases are remembered.
      - A database that is certainly the same since is not read again; C(docs/checksum.md) says when that is.
      - The result is the same as without it. An C(integrity) of V(full) is always made.
      - It is written (mode 0600) where its directory exists, but not in check mode, which only reads it.
        It is no state of the host, so writing it is no change.
      - One that is damaged, or of another version, counts as empty and is written anew.
        Where anything else has the name, nothing is remembered, and a warning says so.
    type: path
"""
