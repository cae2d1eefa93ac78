# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two databases answer alike: a table of answers, and real databases."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.answers import (
    Answers,
    answers_of,
    differ,
    require_same_answers,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.groups import groups_report
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.split import split
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    file_row,
    make_products,
    options_for,
)

if TYPE_CHECKING:
    import pathlib


def answer(files: int, digest: str = "a", *, hidden: int = 0) -> Answers:
    """Return answers of so many files, and of files that are not stored besides."""
    return Answers(files, files + hidden, digest)


@pytest.mark.parametrize(
    ("after", "rejected", "exact", "wanted"),
    [
        (answer(10), 0, True, False),
        (answer(9), 0, False, True),
        (answer(9), 1, False, False),
        (answer(8), 1, False, True),
        (answer(10, "b"), 0, True, True),
        (answer(10, "b"), 0, False, False),
        (answer(12, "b"), 0, False, False),
    ],
)
def test_answers_differ(after: Answers, rejected: int, *, exact: bool, wanted: bool) -> None:
    assert differ(answer(10), after, rejected=rejected, exact=exact) is wanted


def test_answers_differ_in_what_is_not_stored() -> None:
    assert differ(answer(10, hidden=2), answer(10, hidden=1), rejected=0, exact=False)
    assert not differ(answer(10, hidden=2), answer(10, hidden=2), rejected=0, exact=True)


def test_a_split_answers_as_before_and_a_lost_row_is_named(tmp_path: pathlib.Path) -> None:
    products, hdf5 = tmp_path / "products.sqlite3", tmp_path / "hdf5.sqlite3"
    make_products(products, [file_row(number) for number in range(20)])
    before = answers_of(str(products))
    split(options_for(products, hdf5, compare_groups=True), check=False)
    sides: dict[str, Any] = {"source": str(products), "target": str(hdf5), "rejected": 0, "exact": True, "state": "So."}
    require_same_answers(before, **sides)
    with contextlib.closing(sqlite3.connect(hdf5)) as database:
        database.execute("DELETE FROM hdf5_file_index WHERE rowid = 1")
        database.commit()
    with pytest.raises(ContimgError, match=r"answers otherwise than .*: 19 files, 20 before"):
        require_same_answers(before, **sides)


def groups_of(path: pathlib.Path) -> str:
    """Return the groups of a database as text."""
    found = groups_report(path=str(path), start=None, end=None, tolerance=60, check_files=False)
    return json.dumps(found, sort_keys=True)


def test_what_makes_other_groups_makes_other_answers(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "products.sqlite3"
    make_products(path, [file_row(number) for number in range(20)])
    changes = ["timestamp_mjd = 60950.5", "subband_code = 'sb15'", "group_id = 'other'", "stored = 0"]
    answers, groups = {answers_of(str(path))}, {groups_of(path)}
    for change in changes:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute(f"UPDATE hdf5_file_index SET {change} WHERE rowid = 1")
        answers.add(answers_of(str(path)))
        groups.add(groups_of(path))
    assert len(answers) == len(groups) == 1 + len(changes)
