# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A retirement that dies before any of its calls, or of which any call fails: no file is lost, and the next run finishes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.retire_cases import CASES, Removal, Retirement
from ansible_collections.dsa110.contimg.tests.support.faults.traced import sample

if TYPE_CHECKING:
    import pathlib

# How many points are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "3"))
ERRORS = [(error, lasting) for error in ("EIO", "ENOSPC", "EROFS") for lasting in (False, True)]
KINDS = [(name, *one) for name in CASES for one in ERRORS if name == "archived" or one[0] == "EIO"]


@pytest.mark.parametrize("name", CASES)
def test_a_retirement_killed_before_any_call_loses_nothing(tmp_path: pathlib.Path, name: str) -> None:
    case = CASES[name](tmp_path)
    assert len(case.points) > 900
    breaches = {call: found for call in sample(case.points, 4 * POINTS) if (found := case.kill(call))}
    assert breaches == {}


# Of the unit tests' sample four of them, once and lasting.
@pytest.mark.parametrize(("name", "error", "lasting"), KINDS[::3] if POINTS else KINDS)
def test_a_call_that_fails_is_never_taken_for_success(
    tmp_path: pathlib.Path, name: str, error: str, *, lasting: bool
) -> None:
    case = CASES[name](tmp_path)
    points = sample(case.points, 2 * POINTS)
    breaches = {call: found for call in points if (found := case.fail(call, error, lasting=lasting))}
    assert breaches == {}


# Mutants: one names its archive before it is complete, one notes nothing before it removes, one ignores what it cannot remove.
EARLY = """
import os
from ansible_collections.dsa110.contimg.plugins.module_utils._migration import retire_archive
_fill = retire_archive._fill
def fill(tar, root, *others):
    directory = os.path.dirname(os.readlink(f"/proc/self/fd/{root}"))
    (temporary,) = (name for name in os.listdir(directory) if name.startswith(".contimg-"))
    os.link(f"{directory}/{temporary}", f"{directory}/state.tar.gz")
    _fill(tar, root, *others)
retire_archive._fill = fill
"""
SILENT = """
from ansible_collections.dsa110.contimg.plugins.module_utils._migration import retire
retire._record_retiring = lambda options: None
_write = retire.write_note
retire.write_note = lambda run_dir, note: _write(run_dir, note) if note.stage == "done" else None
"""
IGNORES = """
import os
_unlink = os.unlink
def unlink(*arguments, **named):
    try:
        _unlink(*arguments, **named)
    except OSError:
        pass
os.unlink = unlink
"""


@pytest.mark.parametrize(
    ("kind", "mutant", "dies_at"), [(Retirement, EARLY, "flistxattr"), (Removal, SILENT, "unlinkat")]
)
def test_a_retirement_in_the_wrong_order_is_caught(
    tmp_path: pathlib.Path, kind: type[Retirement], mutant: str, dies_at: str
) -> None:
    case = kind(tmp_path, prelude=mutant)
    calls = [call for call in case.points if call.name == dies_at]
    assert len(calls) > 3
    assert case.kill(calls[-1])


def test_a_retirement_that_ignores_an_error_is_caught(tmp_path: pathlib.Path) -> None:
    case = Removal(tmp_path, prelude=IGNORES)
    removals = [call for call in case.points if call.name == "unlinkat"]
    assert any(case.fail(call, "EIO", lasting=False) for call in removals)
