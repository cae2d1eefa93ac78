# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the size that an archive is estimated to have."""

from __future__ import annotations

import hashlib
import os
import random
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import entry_at, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_archive import write_archive
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_plan import OldFile
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_room import (
    estimated_size,
    require_archive_room,
)

if TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("sampled", "others", "size"),
    [
        ([], [], 0),
        ([(1000, 0.5)], [], 500 + 256),
        ([(1000, 0.5), (1000, 0.1)], [500], 600 + 150 + 3 * 256),
        ([(0, 1.0)], [0], 512),
    ],
)
def test_what_was_not_sampled_compresses_like_the_rest(
    sampled: list[tuple[int, float]], others: list[int], size: int
) -> None:
    assert estimated_size(sampled, others) == size


def old_files(src: pathlib.Path) -> list[OldFile]:
    """Return the files of a directory as a plan has them."""

    with open_root(str(src)) as root:
        entries = [entry_at(root, os.fsencode(path.name)) for path in sorted(src.iterdir())]
    return [
        OldFile(one.path, hashlib.sha256((src / os.fsdecode(one.path)).read_bytes()).hexdigest(), one.status)
        for one in entries
    ]


def test_the_estimate_is_near_the_archive(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = tmp_path / "state"
    src.mkdir()
    some = random.Random(1)
    for number in range(20):
        noise = some.getrandbits(8 * 50_000).to_bytes(50_000, "little")
        (src / f"{number}.sqlite3").write_bytes((noise if number % 2 else b"x" * 50_000) + b"row of text\n" * 5_000)
    files = old_files(src)
    archive = tmp_path / "state.tar.gz"
    write_archive(str(archive), str(src), files, [b""])
    real, size = os.statvfs(tmp_path), archive.stat().st_size

    def with_free(blocks: int) -> None:
        monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((1, 1, 10**9, blocks, blocks, *real[5:])))

    with_free(round(size * 1.3))
    require_archive_room(str(archive), str(src), files)
    with_free(round(size * 0.8))
    with pytest.raises(ContimgError, match=r"has not enough space: .*Nothing was removed. Make room, or name another"):
        require_archive_room(str(archive), str(src), files)
