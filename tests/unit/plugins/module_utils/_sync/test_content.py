# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the copying of content: whole, holes as holes, past the page cache and through it."""

from __future__ import annotations

import hashlib
import os
import random
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._sync.content import DataCopier

if TYPE_CHECKING:
    import pathlib

_MIB = 1 << 20
# Stretches of data, as start and end, and the size: around the limits of a page, a large file and a block.
CONTENTS = {
    "empty": ([], 0),
    "a byte": ([(0, 1)], 1),
    "a small file": ([(0, _MIB - 1)], _MIB - 1),
    "a large file": ([(0, _MIB)], _MIB),
    "an odd end": ([(0, _MIB + 1)], _MIB + 1),
    "an odd end after whole blocks": ([(0, 8 * _MIB + 4097)], 8 * _MIB + 4097),
    "a hole at the end": ([(0, 2 * _MIB + 5)], 3 * _MIB + 7),
    "a hole before an odd end": ([(5 * _MIB, 6 * _MIB + 3)], 6 * _MIB + 3),
    "a small file of holes": ([(65_536, 65_539)], 262_144),
    "nothing but a hole": ([], 9 * _MIB + 1),
    "many holes": ([(at, at + 4096) for at in range(0, 4 * _MIB, 65_536)], 4 * _MIB + 123),
}


def make(path: pathlib.Path, stretches: list[tuple[int, int]], size: int) -> bytes:
    """Make a file with holes and return its content."""
    chance = random.Random(size)
    with path.open("wb") as file:
        file.truncate(size)
        for start, end in stretches:
            file.seek(start)
            file.write(chance.randbytes(end - start))
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()


@pytest.mark.parametrize("past_the_cache", [True, False])
@pytest.mark.parametrize("name", CONTENTS)
def test_content_is_copied_whole_and_holes_as_holes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, *, past_the_cache: bool
) -> None:
    if not past_the_cache:
        monkeypatch.setattr(os, "O_DIRECT", 0)
    content = make(tmp_path / "source", *CONTENTS[name])
    told: list[int] = []
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("xb+", buffering=0) as target:
        with DataCopier(told.append) as data:
            digest = data.copy(source.fileno(), target.fileno(), os.stat(source.fileno()))
            os.fsync(target.fileno())
            data.read_ahead(target.fileno(), anew=True)
            found = data.read_back(target.fileno(), len(content))
    assert digest == found == hashlib.sha256(content).digest()
    assert (tmp_path / "target").read_bytes() == content
    assert os.stat(tmp_path / "target").st_blocks <= os.stat(tmp_path / "source").st_blocks


def test_what_is_longer_than_it_was_is_found_on_the_way_back(tmp_path: pathlib.Path) -> None:
    content = make(tmp_path / "target", [(0, 2 * _MIB + 1)], 2 * _MIB + 1)
    with (tmp_path / "target").open("rb+", buffering=0) as target, DataCopier(lambda _count: None) as data:
        assert data.read_back(target.fileno(), len(content) - 1) != hashlib.sha256(content[:-1]).digest()
