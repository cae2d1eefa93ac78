# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the hold file and of the drop-ins of a hold, below directories of their own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._services import hold_file as hold_file_module
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import (
    Found,
    HoldState,
    forget,
    held_units,
    place_drop_in,
    read_memory,
    remove_drop_in,
    write_memory,
)

if TYPE_CHECKING:
    import pathlib


@pytest.fixture
def runtime(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return a directory that stands for /run/systemd/system."""
    monkeypatch.setattr(hold_file_module, "_RUNTIME", str(tmp_path / "system"))
    return tmp_path / "system"


def test_the_memory_survives_the_loss_of_either_place(runtime: pathlib.Path) -> None:
    hold_file = str(runtime.parent / "private" / "hold.json")
    units = {
        "a.service": Found(was_active=True, was_enabled=True, is_trigger=False),
        "a.socket": Found(was_active=False, was_enabled=False, is_trigger=True, was_failing=True),
    }
    memory = HoldState(units, 12.5)
    assert read_memory(hold_file) == HoldState()
    write_memory(hold_file, memory)
    for name in units:
        place_drop_in(name, hold_file, memory)
    assert read_memory(hold_file) == HoldState(units, 12.5, on_file=True)
    assert held_units(hold_file) == set(units)
    assert held_units(hold_file + ".other") == set()
    forget(hold_file)
    assert read_memory(hold_file) == memory
    for name in units:
        remove_drop_in(name)
        remove_drop_in(name)
    assert read_memory(hold_file) == HoldState()
    assert os.listdir(runtime) == []


def test_a_held_template_has_nothing_to_remember(runtime: pathlib.Path) -> None:
    hold_file = str(runtime.parent / "hold.json")
    units = {"wk@1.service": Found(was_active=True, was_enabled=False, is_trigger=False)}
    for name in ("wk@.service", "wk@1.service"):
        place_drop_in(name, hold_file, HoldState(units, 2.0))
    assert read_memory(hold_file) == HoldState(units, 2.0)
    assert held_units(hold_file) == {"wk@.service", "wk@1.service"}


def test_a_drop_in_holds_by_the_file_and_by_itself(runtime: pathlib.Path) -> None:
    memory = HoldState({"a.service": Found(was_active=True, was_enabled=True, is_trigger=False)}, 1.0)
    (runtime / "a.service.d").mkdir(parents=True)
    (runtime / "a.service.d" / "other.conf").touch()
    place_drop_in("a.service", "/var/100%/hold.json", memory)
    path = runtime / "a.service.d" / "90-contimg-hold.conf"
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# Held since 1970-01-01 00:00:01 UTC by a run of a move")
    assert "Without Ansible, when no run is at work" in lines[1]
    assert "# and /var/100%/hold.json, run 'systemctl daemon-reload'" in lines[2]
    assert lines[4:] == [
        "[Unit]",
        "AssertPathExists=!/var/100%%/hold.json",
        f"AssertPathExists=!{path}",
    ]
    assert path.stat().st_mode & 0o7777 == 0o644
    remove_drop_in("a.service")
    assert os.listdir(runtime / "a.service.d") == ["other.conf"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"units": {"a": 1}, "stopped_at": 1}', '{"units": []}'])
def test_a_file_that_is_no_hold_file_is_refused(runtime: pathlib.Path, content: str) -> None:
    path = runtime.parent / "hold.json"
    path.write_text(content)
    with pytest.raises(ContimgError, match=r"hold.json: is no hold file. Nothing was touched"):
        read_memory(str(path))
