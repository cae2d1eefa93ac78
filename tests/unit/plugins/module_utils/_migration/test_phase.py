# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A phase that needs a proof is recorded with it, and is not recorded without it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import (
    advance,
    keep,
    move_of,
    read_record,
    record_file,
)
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module

WAY = ["presynced", "held", "proved", "split", "repointed"]


class Case:
    """A host with a source, its copy and a record."""

    def __init__(self, root: Path) -> None:
        self.run_dir, self.src, self.dest = root / "run", root / "src", root / "dest"
        self.src.mkdir()
        with contextlib.closing(sqlite3.connect(self.src / "a.sqlite3", isolation_level=None)) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS x")
        copied = run_module("state_sync", {"src": str(self.src), "dest": str(self.dest)})
        self.digest, self.manifest = copied["source_digest"], copied["manifest"]

    def is_at(self, phase: str) -> None:
        """Have the host at a phase."""
        record = read_record(str(self.run_dir))
        move = move_of({"src": str(self.src), "dest": str(self.dest), "databases": [], "exclude": []})
        for one in WAY[: WAY.index(phase) + 1]:
            record = advance(record, one, {}, at=0, move=move)
        keep(str(self.run_dir), record)

    def asked(self, phase: str) -> dict[str, Any]:
        """Return the options for a phase."""
        pair = {"path": str(self.src / "a.sqlite3"), "compare_to": str(self.dest / "a.sqlite3")}
        proof: dict[str, dict[str, Any]] = {
            "held": {"closed": {"paths": [str(self.src)], "complete": False}},
            "proved": {"identical": [pair]},
            "split": {"rows": {"path": str(self.dest), "names": {"a": "a.sqlite3"}}},
            "started": {"unchanged": {"path": str(self.src), "manifest": self.manifest, "digest": self.digest}},
        }
        return {"run_dir": str(self.run_dir), "phase": phase, **proof[phase]}

    def break_proof(self, phase: str) -> str:
        """Make the proof of a phase impossible, and return what the error says of it."""
        place = self.dest if phase == "proved" else self.src
        with contextlib.closing(sqlite3.connect(place / "a.sqlite3", isolation_level=None)) as connection:
            connection.execute("INSERT INTO t VALUES (2)")
        return {"proved": "Not identical to its counterpart", "started": "changed after it was copied"}[phase]


@pytest.fixture(name="case")
def _case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize(
    ("before", "phase"), [("presynced", "held"), ("held", "proved"), ("proved", "split"), ("repointed", "started")]
)
def test_a_proved_phase_is_recorded_and_a_second_run_changes_nothing(case: Case, before: str, phase: str) -> None:
    case.is_at(before)
    asked = {**case.asked(phase), "moments": ["at"]}
    predicted = run_module("migration_phase", asked, check=True)
    assert (predicted["changed"], predicted["record"]["phase"]) == (True, phase)
    assert read_record(str(case.run_dir))["phase"] == before
    began = time.time()
    done = run_module("migration_phase", asked)
    assert done["changed"]
    assert began <= done["record"]["facts"]["at"] <= done["now"]
    assert read_record(str(case.run_dir)) == done["record"]
    again = run_module("migration_phase", {**asked, "moments": []})
    assert not again["changed"]


@pytest.mark.parametrize(("before", "phase"), [("held", "proved"), ("repointed", "started")])
def test_a_phase_that_is_not_proved_is_not_recorded(case: Case, before: str, phase: str) -> None:
    case.is_at(before)
    content = Path(record_file(str(case.run_dir))).read_bytes()
    words = case.break_proof(phase)
    with pytest.raises(ContimgError, match=words):
        run_module("migration_phase", case.asked(phase))
    assert Path(record_file(str(case.run_dir))).read_bytes() == content


def test_a_host_with_a_writer_is_not_recorded_as_held(case: Case) -> None:
    case.is_at("presynced")
    with (case.src / "log").open("w"):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.read(reader, 1)
            os._exit(0)
        try:
            with pytest.raises(ContimgError, match=f"process {child} .*still writes to the state"):
                run_module("migration_phase", case.asked("held"))
        finally:
            os.write(writer, b"x")
            os.waitpid(child, 0)
    assert read_record(str(case.run_dir))["phase"] == "presynced"


def test_the_rows_of_a_split_are_the_baseline_and_a_damaged_database_is_named(case: Case) -> None:
    case.is_at("proved")
    (case.dest / "b.sqlite3").write_bytes((case.dest / "a.sqlite3").read_bytes()[:4096] + b"x")
    facts = run_module("migration_phase", case.asked("split"))["record"]["facts"]
    assert facts["baseline"]["a"]["tables"]["t"]["rows"] == 1
    assert "unreadable" in facts["baseline"]["./b.sqlite3"]
    assert facts["dest_digest"]


def test_without_the_rows_of_a_database_of_the_map_the_split_is_not_recorded(case: Case) -> None:
    case.is_at("proved")
    (case.dest / "a.sqlite3").write_bytes(b"SQLite format 3\0")
    with pytest.raises(ContimgError, match=r"its rows are not known: .*a\.sqlite3"):
        run_module("migration_phase", case.asked("split"))
    assert read_record(str(case.run_dir))["phase"] == "proved"


def test_what_cannot_follow_is_refused_before_anything_is_looked_at(case: Case) -> None:
    case.is_at("presynced")
    asked = {**case.asked("split"), "rows": {"path": str(case.dest / "nowhere")}}
    with pytest.raises(ContimgError, match="'presynced' cannot be taken to 'split'"):
        run_module("migration_phase", asked)


def test_what_is_remembered_of_databases_is_not_read_again(case: Case) -> None:
    case.is_at("held")
    proofs = str(case.run_dir / "proofs.json")
    for path in (case.src, case.dest):
        for file in path.iterdir():
            os.utime(file, (1, 1))
    time.sleep(2.1)  # until a timestamp is no longer racy
    asked = {**case.asked("proved"), "proofs": proofs}
    assert not run_module("migration_phase", asked)["remembered"]
    assert len(run_module("migration_phase", asked)["remembered"]) == 2
