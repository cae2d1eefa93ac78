# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar of EnvironmentFile against systemd itself, on thousands of files and values.

All of them with ``CONTIMG_FAULT_POINTS=0``, as in ``make faults``; the scenario ``references`` runs a sample.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import Edit, edited, effective, unproved
from ansible_collections.dsa110.contimg.plugins.module_utils._env.grammar import format_value, is_text, parse
from ansible_collections.dsa110.contimg.tests.support.hosts.systemd_oracle import Oracle

if TYPE_CHECKING:
    from collections.abc import Iterator

# A thousand of the cases asked for are this many.
PER_THOUSAND = 40 if int(os.environ.get("CONTIMG_FAULT_POINTS", "12")) else 1000
# What systemd itself puts into the environment of a process; the last three since 254 and later.
_OWN = {b"LANG", b"PATH", b"INVOCATION_ID", b"SYSTEMD_EXEC_PID", b"USER"}
_OWN |= {b"MEMORY_PRESSURE_WATCH", b"MEMORY_PRESSURE_WRITE"}
_PIECES = [
    b"A",
    b"B",
    b"_C1",
    b"export ",
    b"=",
    b"\n",
    b"\r",
    b"\\\n",
    b" ",
    b"\t",
    b"#",
    b";",
    b"'",
    b'"',
    b"\\",
    b"$",
    b"`",
]
_PIECES += [b"=", b"\n", b"A=", b"\nB=", b"x", b"1", b"/p", b"${A}", "é".encode(), b"\x01", b"\n# c", b"\x0b", b"\xa0"]
FILES = st.lists(st.sampled_from(_PIECES), max_size=24).map(b"".join)
VALUES = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(str.encode),
).filter(is_text)


def gather(strategy: st.SearchStrategy[bytes], count: int) -> list[bytes]:
    """Return ``count`` examples, so that one start of units judges many."""
    found: list[bytes] = []

    @settings(
        max_examples=max(1, count * PER_THOUSAND // 1000),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def remember(example: bytes) -> None:
        found.append(example)

    remember()
    return found


def read_by_us(content: bytes) -> dict[bytes, bytes] | None:
    """Return what a process gets of a file, ``None`` where systemd refuses the file."""
    assignments = parse(content)
    if not all(is_text(one.name) and is_text(one.value) for one in assignments):
        return None
    return {one.name: one.value for one in assignments if one.valid}


def own_removed(environment: dict[bytes, bytes] | None) -> dict[bytes, bytes] | None:
    """Return an environment without what systemd adds."""
    return None if environment is None else {name: environment[name] for name in environment if name not in _OWN}


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """Systemd, booted once."""
    with Oracle() as booted:
        yield booted


def test_files_are_read_as_systemd_reads_them(oracle: Oracle) -> None:
    files = gather(FILES, 5000)
    answers = map(own_removed, oracle.systemd(files))
    assert [(file, answer) for file, answer in zip(files, answers) if answer != read_by_us(file)] == []


def test_values_come_back_from_systemd_and_bash_as_they_were_written(oracle: Oracle) -> None:
    values = gather(VALUES, 3000)
    files = [b"A=" + format_value(value) + b"\n" for value in values]
    for answers in (oracle.systemd(files), oracle.bash(files)):
        read = [None if answer is None else answer.get(b"A") for answer in answers]
        assert [pair for pair in zip(values, read) if pair[0] != pair[1]] == []


def test_an_edit_of_any_file_means_to_systemd_what_was_asked(oracle: Oracle) -> None:
    edit = Edit(values={b"B": b"$new \\", b"D": b'"'}, absent=frozenset({b"_C1"}))
    files = [file for file in gather(FILES, 3000) if read_by_us(file) is not None]
    edits = [(file, edited(file, edit)) for file in files]
    proved = [(file, after) for file, after in edits if not unproved(file, after, edit)]
    assert len(proved) > 0.9 * len(edits)
    for (file, after), answer in zip(proved, map(own_removed, oracle.systemd([after for _file, after in proved]))):
        kept = {name: value for name, value in effective(file).items() if name not in edit.absent}
        assert answer == {**kept, **edit.values}, (file, after)
