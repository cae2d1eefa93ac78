# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine of a host, and its record on disk."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._record import (
    PHASES,
    advance,
    allowed,
    keep,
    read_record,
    record_file,
)

if TYPE_CHECKING:
    from pathlib import Path

WAY = ["", "presynced", "held", "proved", "split", "repointed", "started", "done"]


def taken_to(*phases: str) -> dict[str, Any]:
    """Return the record of a host that has gone through phases, one a day."""
    record = read_record("/nonexistent")
    for day, phase in enumerate(phases):
        record = advance(record, phase, {phase: day}, at=day * 86400)
    return record


@pytest.mark.parametrize(("old", "new"), list(zip(WAY, WAY[1:])))
def test_a_host_goes_the_way_step_by_step(old: str, new: str) -> None:
    assert allowed(old, new)
    assert allowed(new, new)
    assert not allowed(old, "retired")


@pytest.mark.parametrize("phase", WAY[1:])
def test_it_can_go_back_from_everywhere(phase: str) -> None:
    assert allowed(phase, "rolled_back")


@pytest.mark.parametrize("phase", PHASES)
def test_nothing_follows_a_retired_host(phase: str) -> None:
    assert allowed("retired", phase) == (phase == "retired")


@pytest.mark.parametrize("phase", PHASES)
def test_there_is_no_way_back_once_files_may_be_gone(phase: str) -> None:
    assert allowed("done", "retiring")
    assert allowed("retiring", phase) == (phase in ("retiring", "retired"))


@pytest.mark.parametrize("phase", ["proved", "split", "repointed"])
def test_an_interrupted_move_may_prove_quiescence_again(phase: str) -> None:
    assert allowed(phase, "held")


def test_facts_gather_and_a_null_removes_one() -> None:
    record = advance(taken_to("presynced", "held"), "held", {"presynced": None}, at=0)
    assert record["facts"] == {"held": 1}
    assert [entry["phase"] for entry in record["history"]] == ["presynced", "held"]
    assert record["since"] == "1970-01-02T00:00:00Z"


def test_a_new_attempt_keeps_the_facts_of_the_former_apart() -> None:
    record = advance(taken_to("presynced", "rolled_back"), "presynced", {"again": 1}, at=0)
    assert record["facts"] == {"again": 1}
    assert record["former"] == [{"presynced": 0, "rolled_back": 1}]


def test_a_leap_is_refused_with_what_can_follow() -> None:
    with pytest.raises(
        ContimgError, match="'presynced' cannot be taken to 'done': what can follow is held, rolled_back"
    ):
        advance(taken_to("presynced"), "done", {}, at=0)


def test_a_record_is_read_as_it_was_kept_and_is_private(tmp_path: Path) -> None:
    run_dir = str(tmp_path / "made" / "run")
    record = taken_to("presynced")
    keep(run_dir, record)
    assert read_record(run_dir) == record
    assert os.stat(run_dir).st_mode & 0o777 == 0o700
    assert os.stat(record_file(run_dir)).st_mode & 0o777 == 0o600
    assert os.listdir(run_dir) == ["record.json"]


def test_a_record_gives_nothing_but_what_a_record_has(tmp_path: Path) -> None:
    record = taken_to("presynced")
    (tmp_path / "record.json").write_text(json.dumps({**record, "ansible_facts": {"a": 1}, "failed": True}))
    assert read_record(str(tmp_path)) == record


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"version": 2, "phase": "", "facts": {}}', '{"version": 1, "phase": "x", "facts": {}}'],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(ContimgError, match=r"record\.json: is not the record of a move\. Nothing was touched"):
        read_record(str(tmp_path))
