# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine of a host, and its record on disk."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import (
    PHASES,
    advance,
    allowed,
    keep,
    move_of,
    read_record,
    record_file,
    run_record,
)

if TYPE_CHECKING:
    from pathlib import Path

MOVE: dict[str, Any] = {
    "src": "/stage/state",
    "dest": "/data/state",
    "databases": [
        {"name": "products", "src": ["products.sqlite3", "db/products.sqlite3"], "dest": "products.sqlite3"},
        {
            "name": "hdf5",
            "src": ["hdf5.sqlite3"],
            "dest": "hdf5.sqlite3",
            "required": False,
            "environment": ["HDF5_DB_PATH"],
        },
    ],
    "exclude": ["*.pid", "*.lock"],
}
WAY = ["", "presynced", "held", "proved", "split", "repointed", "started", "done"]


def taken_to(*phases: str) -> dict[str, Any]:
    """Return the record of a host that has gone through phases, one a day."""
    record = read_record("/nonexistent")
    for day, phase in enumerate(phases):
        record = advance(record, phase, {phase: day}, at=day * 86400, run=f"run-{day}", move=move_of(MOVE))
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
    record = advance(taken_to("presynced", "rolled_back"), "presynced", {"again": 1}, at=0, move=move_of(MOVE))
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
    assert sorted(os.listdir(run_dir)) == ["README", "record.json", "reserve"]


def test_a_record_gives_nothing_but_what_a_record_has(tmp_path: Path) -> None:
    record = taken_to("presynced")
    (tmp_path / "record.json").write_text(json.dumps({**record, "ansible_facts": {"a": 1}, "failed": True}))
    assert read_record(str(tmp_path)) == record


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"version": 1, "phase": "", "facts": {}}', '{"version": 2, "phase": "x", "facts": {}}'],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(ContimgError, match=r"record\.json: is not the record of a move\. Nothing was touched"):
        read_record(str(tmp_path))


def read_for(run_dir: Path, **other: Any) -> dict[str, Any]:
    """Read the record as a run does that describes the move otherwise."""
    values: dict[str, Any] = {
        "run_dir": str(run_dir),
        "phase": None,
        "facts": {},
        "moments": [],
        "run_id": "",
        "record": {},
        "move": {**MOVE, **other},
    }
    return run_record(values, check=False)


def database(name: str, *places: str, dest: str) -> dict[str, Any]:
    return {"name": name, "src": list(places), "dest": dest}


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"src": "/stage/state/", "dest": "/data//./state"},
        {"databases": list(reversed(MOVE["databases"]))},
        {
            "databases": [
                {**MOVE["databases"][0], "src": ["./db/products.sqlite3", "products.sqlite3"], "integrity": "none"},
                MOVE["databases"][1],
            ]
        },
        {"exclude": ["*.lock", "*.pid", "*.lock"]},
    ],
)
def test_the_same_move_in_other_words_is_the_same(tmp_path: Path, same: dict[str, Any]) -> None:
    keep(str(tmp_path), taken_to("presynced", "held"))
    assert read_for(tmp_path, **same)["record"] == read_record(str(tmp_path))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"src": "/stage/other"}, 'contimg_state_src was "/stage/state" and is "/stage/other" now'),
        ({"dest": "/data"}, 'contimg_state_dest was "/data/state" and is "/data" now'),
        ({"exclude": []}, 'contimg_exclude was ["*.lock", "*.pid"] and is [] now'),
        (
            {"databases": [MOVE["databases"][0], database("hdf5", "h", dest="h")]},
            'contimg_databases: hdf5 was {"src": ["hdf5.sqlite3"], "dest": "hdf5.sqlite3"} and is {"src": ["h"], "dest": "h"} now',
        ),
        (
            {"databases": [database("new", "n", dest="n"), *MOVE["databases"]], "dest": "/d"},
            'contimg_state_dest was "/data/state" and is "/d" now; '  # noqa: ISC004
            'contimg_databases: new was not there and is {"src": ["n"], "dest": "n"} now',
        ),
        ({"databases": MOVE["databases"][1:]}, '"dest": "products.sqlite3"} and is not there now'),
    ],
)
@pytest.mark.parametrize("phases", [WAY[1:2], WAY[1:4], WAY[1:], [*WAY[1:], "retiring"]])
def test_another_move_is_refused_with_both_values_and_the_ways_on(
    tmp_path: Path, phases: list[str], other: dict[str, Any], says: str
) -> None:
    keep(str(tmp_path), taken_to(*phases))
    with pytest.raises(ContimgError) as caught:
        read_for(tmp_path, **other)
    message = caught.value.message
    assert message.startswith(
        f"{tmp_path}/record.json: belongs to the move run-0, which is at phase '{phases[-1]}' and was"
    )
    assert f"{says}." in message
    assert "Nothing was touched." in message
    assert "Run again with the values of the record." in message
    assert ("dsa110.contimg.rollback" in message) == (phases[-1] != "retiring")


def test_facts_of_a_move_that_went_back_do_not_count_for_another_one(tmp_path: Path) -> None:
    keep(str(tmp_path), taken_to("presynced", "held", "rolled_back"))
    assert read_for(tmp_path)["record"]["facts"] == {"presynced": 0, "held": 1, "rolled_back": 2}
    found = read_for(tmp_path, dest="/data/other")
    assert (found["record"]["phase"], found["record"]["facts"]) == ("rolled_back", {})
    assert not found["changed"]
    values = {
        "run_dir": str(tmp_path),
        "phase": "presynced",
        "facts": {},
        "moments": [],
        "run_id": "run-9",
        "record": {},
    }
    new = run_record({**values, "move": {**MOVE, "dest": "/data/other"}}, check=False)["record"]
    assert (new["move"]["id"], new["move"]["dest"]) == ("run-9", "/data/other")
    assert new["former"] == [{"presynced": 0, "held": 1, "rolled_back": 2}]


def test_a_move_keeps_its_id_and_each_step_names_its_run(tmp_path: Path) -> None:
    record = taken_to("presynced", "held", "proved")
    assert record["move"] == {**move_of(MOVE), "id": "run-0"}
    assert [entry["run"] for entry in record["history"]] == ["run-0", "run-1", "run-2"]
    with pytest.raises(ContimgError, match="a move begins without its description"):
        advance(read_record(str(tmp_path)), "presynced", {}, at=0)
    with pytest.raises(ContimgError, match="holds a database without its name"):
        move_of({**MOVE, "databases": [{"name": "a"}]})


def test_a_moment_is_taken_here_where_the_facts_do_not_give_it(tmp_path: Path) -> None:
    values = {
        "run_dir": str(tmp_path),
        "phase": "presynced",
        "facts": {"a": 1.5},
        "moments": ["a", "b"],
        "run_id": "",
        "record": {},
        "move": MOVE,
    }
    before = time.time()
    result = run_record(values, check=False)
    assert before <= result["now"] <= time.time()
    assert result["record"]["facts"] == {"a": 1.5, "b": result["now"]}


def test_a_preview_goes_on_from_the_record_that_it_has_predicted(tmp_path: Path) -> None:
    """A run reads the file, whatever it is given, and so does a preview that only reads."""
    values: dict[str, Any] = {"run_dir": str(tmp_path), "moments": [], "run_id": "run-1", "move": MOVE, "record": {}}
    record = run_record({**values, "phase": "presynced", "facts": {"placed": ["a"]}}, check=True)["record"]
    next_one = {**values, "phase": "held", "facts": {"proof": True}, "record": record}
    predicted = run_record(next_one, check=True)
    assert (predicted["record"]["phase"], predicted["changed"]) == ("held", True)
    assert predicted["record"]["facts"] == {"placed": ["a"], "proof": True}
    assert not list(tmp_path.iterdir())
    assert run_record({**next_one, "phase": None}, check=True)["record"]["phase"] == ""
    with pytest.raises(ContimgError, match="'untouched' cannot be taken to 'held'"):
        run_record(next_one, check=False)
    with pytest.raises(ContimgError, match="is not a record as this module returns it"):
        run_record({**next_one, "record": {"phase": "presynced"}}, check=True)
