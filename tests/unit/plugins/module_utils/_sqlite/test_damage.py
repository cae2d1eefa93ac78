# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of damaged input: a clear error with the path, never a hang, never a checksum; and of flipped bits."""

from __future__ import annotations

import os
import pathlib
import random
import tempfile

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum, describe
from ansible_collections.dsa110.contimg.plugins.module_utils._workers import forked
from ansible_collections.dsa110.contimg.tests.support.databases import sqlite_damage
from ansible_collections.dsa110.contimg.tests.support.faults.sqlite_flips import flip_and_judge


@pytest.mark.timeout(20)
@pytest.mark.parametrize("damage", sqlite_damage.KINDS.values(), ids=sqlite_damage.KINDS)
def test_damage_is_a_clear_error(tmp_path: pathlib.Path, damage: sqlite_damage.Damage) -> None:
    path = damage(tmp_path)
    with pytest.raises(ContimgError) as caught:
        describe(str(path), integrity="quick", workers=2)
    assert printable(str(path)) in caught.value.message
    assert caught.value.hint
    assert "Traceback" not in caught.value.message


def test_what_is_sound_is_no_error(tmp_path: pathlib.Path) -> None:
    assert describe(str(sqlite_damage.sound(tmp_path)), integrity="full")["integrity"] == "ok"


def test_a_truncation_at_any_page_is_an_error(tmp_path: pathlib.Path) -> None:
    path = sqlite_damage.sound(tmp_path)
    data = path.read_bytes()
    for size in range(sqlite_damage.PAGE, len(data), sqlite_damage.PAGE):
        path.write_bytes(data[:size])
        with pytest.raises(ContimgError):
            content_checksum(str(path))


def test_a_file_that_one_may_not_read_is_an_error() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        path = sqlite_damage.sound(pathlib.Path(directory))
        path.chmod(0)

        def unprivileged(_index: int) -> str:
            if os.geteuid() == 0:
                os.setuid(65534)
            with pytest.raises(ContimgError) as caught:
                describe(str(path))
            return caught.value.message

        messages = {message for _index, message in forked(unprivileged, 2, 2)}
    hint = "Nothing was changed. Name a database that can be read."
    assert messages == {f"{path}: could not open the database: Permission denied [errno 13]. {hint}"}


def test_every_flipped_bit_that_changes_content_is_caught(tmp_path: pathlib.Path) -> None:
    counts = flip_and_judge(tmp_path, flips=60, seed=random.Random().randrange(1 << 30))
    assert counts["missed"] == 0
    assert counts["changed"] + counts["refused"] > 0
    assert counts["alarmed for nothing"] == 0
