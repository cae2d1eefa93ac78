# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the two directories that are the same for every run on a host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host.place import (
    lasting_place,
    open_place,
    volatile_place,
)

if TYPE_CHECKING:
    import pathlib


def test_the_places_differ_and_depend_on_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for user, volatile, lasting in (
        (0, "/run/dsa110-contimg", "/var/lib/dsa110-contimg"),
        (1000, "/tmp/dsa110-contimg-1000", "/var/tmp/dsa110-contimg-1000"),
    ):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert (volatile_place(), lasting_place()) == (volatile, lasting)


def test_a_place_is_made_for_its_owner_only_when_that_is_asked(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "place")
    with open_place(path, make=False) as none:
        assert none is None
    assert not os.path.exists(path)
    for _again in range(2):
        with open_place(path, make=True) as place:
            assert place is not None
            assert os.fstat(place).st_mode & 0o7777 == 0o700


def test_what_is_not_ours_alone_is_refused(tmp_path: pathlib.Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    file = tmp_path / "file"
    file.touch()
    for path, says in ((shared, "is writable by others"), (link, "could not open"), (file, "could not open")):
        with pytest.raises(ContimgError, match=f"{says}.*Nothing was touched"), open_place(str(path), make=True):
            pass
    if os.geteuid() == 0:
        other = tmp_path / "other"
        other.mkdir()
        os.chown(other, 65534, 65534)
        with pytest.raises(ContimgError, match="belongs to user 65534"), open_place(str(other), make=True):
            pass
