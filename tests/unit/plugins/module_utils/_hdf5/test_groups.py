# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the groups of subbands, asked before a split and after it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.groups import _Window, groups_report
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import split
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    file_row,
    make_products,
    options_for,
    snapshot,
)

if TYPE_CHECKING:
    import pathlib

MINUTE = 1 / 1440


def at(number: int, minutes: float, **changed: object) -> dict[str, Any]:
    """Return a row of subband ``number``, some minutes after the first."""
    return file_row(number, timestamp_mjd=60950.0 + minutes * MINUTE, **changed)


def asked(path: pathlib.Path, **changed: Any) -> dict[str, Any]:
    return groups_report(
        **{"path": str(path), "start": None, "end": None, "tolerance": 60.0, "check_files": False, **changed}
    )


def test_groups_are_judged_by_their_subbands(tmp_path: pathlib.Path) -> None:
    rows = [
        *(at(number, number / 100) for number in range(16)),
        *(at(number + 16, 5) for number in range(13)),
        *(at(number + 32, 10) for number in range(3)),
        at(60, 10, stored=0),
        at(48, 11.01),
    ]
    found = asked(make_products(tmp_path / "p", rows))
    assert [(group["kind"], sum(group["ids"].values()), group["missing"]) for group in found["groups"]] == [
        ("complete", 16, []),
        ("semi_complete", 13, [13, 14, 15]),
        ("incomplete", 3, list(range(3, 16))),
        ("incomplete", 1, list(range(1, 16))),
    ]
    assert [found[name] for name in ("groups_total", "files", "complete", "semi_complete", "incomplete")] == [
        4,
        33,
        1,
        1,
        2,
    ]


def test_ids_within_a_minute_are_one_group(tmp_path: pathlib.Path) -> None:
    rows = [at(0, 0, group_id="a"), at(1, 1, group_id="b"), at(2, 1.001, group_id="b")]
    assert [group["ids"] for group in asked(make_products(tmp_path / "p", rows))["groups"]] == [
        {"a": 1, "b": 1},
        {"b": 1},
    ]
    assert asked(tmp_path / "p", tolerance=120.0)["groups_total"] == 1


def test_a_range_of_time_is_asked_in_utc(tmp_path: pathlib.Path) -> None:
    path = make_products(tmp_path / "p", [at(number, number * 60) for number in range(5)])
    found = asked(path, start="2025-10-02T01:00:00", end="2025-10-02T05:00:00+02:00")
    assert found["files"] == 3
    with pytest.raises(ContimgError, match="start 'soon' is no time"):
        asked(path, start="soon")


def test_files_are_looked_for_only_if_asked(tmp_path: pathlib.Path) -> None:
    there = tmp_path / "there.hdf5"
    there.touch()
    path = make_products(tmp_path / "p", [at(0, 0, path=str(there)), at(1, 0)])
    before = snapshot(tmp_path)
    assert [asked(path, check_files=check)["groups"][0]["on_disk"] for check in (True, False)] == [1, -1]
    assert snapshot(tmp_path) == before


def test_a_database_without_index_says_where_it_is(tmp_path: pathlib.Path) -> None:
    path = make_products(tmp_path / "p", [], further="DROP TABLE hdf5_file_index;")
    with pytest.raises(ContimgError, match=r"has no table hdf5_file_index\. After a split the HDF5 database has it"):
        asked(path)


def groups_by_the_rule(files: list[tuple[float, int]], tolerance: float) -> list[tuple[float, ...]]:
    """Return the times of the files of each group, found the slow way: around each file, of those that are not used."""
    used = [False] * len(files)
    found = []
    for position, (moment, _subband) in enumerate(files):
        if used[position]:
            continue
        near = [other for other in range(len(files)) if not used[other] and abs(files[other][0] - moment) <= tolerance]
        if 12 <= len({files[other][1] for other in near}) <= 16:
            found.append(tuple(files[other][0] for other in near))
            for other in near:
                used[other] = True
    return found


@pytest.mark.parametrize("seed", range(400))
def test_groups_are_those_of_the_rule(seed: int) -> None:
    chance = random.Random(seed)
    files = sorted(
        (float(start + chance.choice([0, 0, 1, 5, 30, 55, 60, 61])), subband)
        for start in chance.sample(range(0, 900, 30), chance.randint(1, 6))
        for subband in chance.sample(range(chance.choice([16, 16, 18])), chance.choice([1, 3, 11, 12, 15, 16]))
    )
    window = _Window(60.0)
    found = list(window.groups([(50000 + moment / 86400, subband, "g", "p") for moment, subband in files]))
    times = [tuple(float(round((file[0] - 50000) * 86400)) for file in group) for group in found]
    assert times == groups_by_the_rule(files, 60.0)
    assert sum(map(len, times)) + len(window.left) == len(files)
    assert [file[0] for file in window.left] == sorted(file[0] for file in window.left)


def test_a_stray_file_before_a_group_does_not_hide_it(tmp_path: pathlib.Path) -> None:
    rows = [at(3, 0), *(at(number + 16, 50 / 60) for number in range(16)), at(40, 1.7)]
    found = asked(make_products(tmp_path / "p", rows))
    assert [(group["kind"], sum(group["ids"].values())) for group in found["groups"]] == [
        ("complete", 17),
        ("incomplete", 1),
    ]
    stray = [at(3, 0), *(at(number + 16, 50 / 60 + number / 15) for number in range(16))]
    found = asked(make_products(tmp_path / "q", stray))
    assert found["complete"] == 1


def test_files_that_are_marked_as_gone_are_counted_apart(tmp_path: pathlib.Path) -> None:
    found = asked(make_products(tmp_path / "p", [at(number, 0, stored=0) for number in range(16)]))
    assert (found["files"], found["unfiltered"]["files"], found["unfiltered"]["complete"]) == (0, 16, 1)


NO_TIME = {"timestamp_iso": None}
ROWS = st.lists(
    st.builds(
        lambda number, mjd, iso, stored: file_row(number, timestamp_mjd=mjd, stored=stored, **({} if iso else NO_TIME)),
        st.integers(0, 100),
        st.sampled_from([None, 60950.0, 60950.01]),
        st.booleans(),
        st.sampled_from([0, 1, None]),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row["path"],
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(ROWS)
def test_the_answer_is_the_same_before_and_after_a_split(tmp_path: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    for name in ("p", "h"):
        (tmp_path / name).unlink(missing_ok=True)
    products = make_products(tmp_path / "p", rows)
    before = asked(products)
    split(options_for(products, tmp_path / "h"), check=False)
    assert asked(tmp_path / "h") == before
