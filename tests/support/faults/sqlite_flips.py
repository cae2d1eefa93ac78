# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One-bit flips in a copy of a database, each judged by reading its content in another way."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.tests.support.databases.sqlite_cases import make, reference_checksum

if TYPE_CHECKING:
    import pathlib

__all__ = ["flip_and_judge"]

_SETTINGS = "PRAGMA page_size = 1024;"


def flip_and_judge(directory: pathlib.Path, *, flips: int, seed: int) -> Counter[str]:
    """Flip ``flips`` bits, one at a time; count what each did to the content, and whether the checksum saw it.

    ``refused`` is an error, ``changed`` another content and checksum, ``same`` the same of both; ``missed`` and ``alarmed
    for nothing`` are what must not be.
    """
    chance = random.Random(seed)
    path = make(directory / "flipped.db", before=_SETTINGS)
    data = path.read_bytes()
    original = content_checksum(str(path))
    assert original == reference_checksum(path)
    return Counter(_judged(path, data, chance.randrange(len(data) * 8), original) for _flip in range(flips))


def _judged(path: pathlib.Path, data: bytes, bit: int, original: str) -> str:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)
    try:
        ours = content_checksum(str(path))
    except ContimgError:
        return "refused"
    content = _content(path)
    if ours == original:
        return "same" if content == original else "missed"
    return "changed" if content != original else "alarmed for nothing"


def _content(path: pathlib.Path) -> str:
    try:
        return reference_checksum(path)
    except (sqlite3.Error, UnicodeDecodeError, KeyError, LookupError) as error:
        return f"cannot be read: {error}"
