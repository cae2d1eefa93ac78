# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an archive has room: how large it becomes is estimated from samples of the largest files."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.space import Need, require_room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_plan import OldFile

__all__ = ["estimated_size", "require_archive_room"]

_SAMPLED = 16  # files
_SAMPLE = 256 << 10  # bytes, from the middle of a file
_HEADER = 256  # bytes that the header of a member takes about, compressed


def estimated_size(sampled: Sequence[tuple[int, float]], others: Sequence[int]) -> int:
    """Return about how many bytes an archive has.

    :param sampled: the size of each file that a sample was taken of, and what part of the sample is left when it is compressed.
    :param others: the sizes of all other files; they are taken to compress like the sampled ones.
    """
    whole = sum(size for size, _left in sampled)
    packed = sum(size * left for size, left in sampled)
    rest = sum(others) * (packed / whole if whole else 1.0)
    return round(packed + rest) + _HEADER * (len(sampled) + len(others))


def require_archive_room(archive: str, src: str, files: Sequence[OldFile]) -> None:
    """Check that an archive of files has room. Raises ContimgError."""
    by_size = sorted(files, key=lambda file: file.status.size, reverse=True)
    with error_context("estimate the size of the archive", src, "Nothing was removed."), open_root(src) as root:
        sampled = [(file.status.size, _left_of(root, file)) for file in by_size[:_SAMPLED]]
    size = estimated_size(sampled, [file.status.size for file in by_size[_SAMPLED:]])
    place = os.path.dirname(os.path.abspath(archive))
    hint = "Nothing was removed. Make room, or name another place for the archive."
    require_room([Need(place, "the archive, as samples of the files compress", size)], hint=hint)


def _left_of(root: int, file: OldFile) -> float:
    """Return what part of a sample is left when it is compressed."""
    with open_below(root, file.path) as descriptor:
        content = os.pread(descriptor, _SAMPLE, max(0, file.status.size - _SAMPLE) // 2)
    return min(1.0, len(zlib.compress(content)) / len(content)) if content else 1.0
