# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every changing module killed at its calls, and each of its calls failing, once or from then on.

The unit tests take a sample, ``make faults`` takes every point. The copy, the split and the retirement have suites of their own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.module_cases import CASES
from ansible_collections.dsa110.contimg.tests.support.faults.module_faults import ERRORS, Case
from ansible_collections.dsa110.contimg.tests.support.faults.traced import sample

if TYPE_CHECKING:
    import pathlib

# How many points are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "2"))
DECIDING = ("write", "pwrite64", "unlink", "unlinkat", "rename", "openat")
KINDS = [(error, lasting) for error in ERRORS for lasting in ("once", "lasting")]


def name_of(value: object) -> str | None:
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize("kind", CASES, ids=name_of)
def test_killed_before_any_call_the_next_run_finishes(tmp_path: pathlib.Path, kind: type[Case]) -> None:
    case = kind(tmp_path)
    assert len(case.points) > 20
    breaches = {call: found for call in sample(case.points, 4 * POINTS) if (found := case.kill(call))}
    assert breaches == {}


# Of the unit tests' sample one error of each module, in turn.
@pytest.mark.parametrize(
    ("kind", "error", "lasting"),
    [
        (kind, *one)
        for number, kind in enumerate(CASES)
        for one in (KINDS[number % 10 : number % 10 + 1] if POINTS else KINDS)
    ],
    ids=name_of,
)
def test_a_call_that_fails_is_never_taken_for_success(
    tmp_path: pathlib.Path, kind: type[Case], error: str, lasting: str
) -> None:
    case = kind(tmp_path)
    breaches = {
        call: found
        for call in sample(case.points, 4 * POINTS)
        if (found := case.fail(call, error, lasting=lasting == "lasting"))
    }
    assert breaches == {}


@pytest.mark.parametrize("kind", CASES, ids=name_of)
def test_a_success_survives_a_power_loss(tmp_path: pathlib.Path, kind: type[Case]) -> None:
    assert kind(tmp_path).unflushed() == []


#: A mutant that flushes nothing.
UNFLUSHED = """
import os
import ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection as connection
os.fsync = lambda _file: None
execute = connection.Connection.execute
def unflushed(self, sql, *arguments):
    if "BEGIN" in sql:
        for row in list(execute(self, "PRAGMA database_list")):
            execute(self, f"PRAGMA {os.fsdecode(row[1])}.synchronous = OFF")
    return execute(self, sql, *arguments)
connection.Connection.execute = unflushed
"""


@pytest.mark.parametrize("kind", CASES, ids=name_of)
def test_a_module_that_flushes_nothing_is_caught(tmp_path: pathlib.Path, kind: type[Case]) -> None:
    assert kind(tmp_path, prelude=UNFLUSHED).unflushed() != []


@pytest.mark.parametrize("kind", CASES, ids=name_of)
def test_a_module_that_is_wrong_on_purpose_is_caught(tmp_path: pathlib.Path, kind: type[Case]) -> None:
    """It writes to what is there, row by row, removes before it copies, or forgets what has to run."""
    case = kind(tmp_path, prelude=kind.mutant)
    assert any(case.kill(call) for call in case.points if call.name in DECIDING)
