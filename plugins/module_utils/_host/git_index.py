# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether git tracks a file, found without running git, which would run a foreign checkout's hooks as root."""

from __future__ import annotations

import os

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import read_regular

__all__ = ["tracking_checkout"]

# The flags before a name hold its length in their lowest bits (gitformat-index(5)).
_LENGTH = 0xFFF


def tracking_checkout(path: str) -> str:
    """Return the checkout whose index names a file, empty where there is none.

    An index of version 4, which shortens names, and one that cannot be read count as none.
    """
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    while not os.path.isfile(os.path.join(directory, ".git", "index")):
        if directory == os.path.dirname(directory):
            return ""
        directory = os.path.dirname(directory)
    try:
        index = read_regular(os.path.join(directory, ".git", "index"), "read the index", follow=True)
    except ContimgError:
        return ""
    return directory if _names(index, os.fsencode(os.path.relpath(path, directory))) else ""


def _names(index: bytes, name: bytes) -> bool:
    """Return whether an entry has exactly this name; the extended flags of version 3 may stand before it."""
    found = index.find(name + b"\0")
    while found >= 0:
        flags = (int.from_bytes(index[found - back : found - back + 2], "big") for back in (2, 4))
        if min(len(name), _LENGTH) in (one & _LENGTH for one in flags):
            return True
        found = index.find(name + b"\0", found + 1)
    return False
