# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what a ledger knows as its own."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import name_for, new_run
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree import Entry, entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    NO_DIGEST,
    PLACED,
    PORTION,
    Ledger,
    LedgerEntry,
)

if TYPE_CHECKING:
    import pathlib


def made(path: pathlib.Path) -> Entry:
    path.write_text(path.name)
    return entry_of(b"a", os.stat(path))


def known(entry: Entry, flags: int) -> list[tuple[bytes, LedgerEntry]]:
    return [(b"a", LedgerEntry(entry.identity, entry.identity, NO_DIGEST, flags))]


def test_what_any_killed_run_has_perhaps_put_there_is_ours(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "ledger")
    first, second, foreign = (made(tmp_path / name) for name in ("first", "second", "foreign"))
    ledger = Ledger(path)
    ledger.append(known(first, 0))
    ledger.append(known(second, 0))
    for one in (ledger, Ledger(path)):
        assert [one.is_ours(entry) for entry in (first, second, foreign)] == [True, True, False]


def test_what_has_been_replaced_since_is_not_ours(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "ledger")
    first, second = (made(tmp_path / name) for name in ("first", "second"))
    ledger = Ledger(path)
    ledger.append(known(first, 0))
    ledger.append(known(second, PLACED))
    for one in (ledger, Ledger(path)):
        assert [one.is_ours(entry) for entry in (first, second)] == [False, True]


def test_a_ledger_of_many_files_is_read_back_whole_and_goes_on(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, one)] = known(entry, PLACED)
    names = {b"%d" % number for number in range(2 * PORTION + 1)}
    ledger = Ledger(path)
    ledger.append((name, one) for name in sorted(names))
    for _turn in range(2):
        ledger.rewrite(removed=[b"0", b"unknown"], replaced=[])
        ledger.append([(b"a", one)])
        ledger = Ledger(path)
        assert ledger.paths() == names - {b"0"} | {b"a"}
        assert ledger.get(b"a") == ledger.get(b"1") == one


def test_a_ledger_that_could_not_be_written_anew_goes_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, one)] = known(entry, PLACED)
    ledger = Ledger(path)
    ledger.append((name, one) for name in (b"a", b"b", b"c"))
    monkeypatch.setattr(os, "rename", failing_rename)
    with pytest.raises(ContimgError, match="could not write the file"):
        ledger.rewrite(removed=[b"a"], replaced=[])
    ledger.append(known(entry, PLACED))
    assert Ledger(path).paths() == {b"a", b"b", b"c"}


def failing_rename(*_arguments: object, **_named: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_file_is_ours_with_the_time_that_it_was_about_to_get(tmp_path: pathlib.Path) -> None:
    before = made(tmp_path / "a")
    made(tmp_path / "model")
    os.utime(tmp_path / "model", (5, 5))
    model = entry_of(b"a", os.stat(tmp_path / "model"))
    ledger = Ledger(str(tmp_path / "ledger"))
    ledger.append(known(before, PLACED))
    os.utime(tmp_path / "a", (5, 5))
    after = entry_of(b"a", os.stat(tmp_path / "a"))
    assert not ledger.is_ours(after)
    ledger.append((path, one.intended(times_of=model)) for path, one in known(before, PLACED))
    assert (ledger.is_ours(after), ledger.is_ours(before)) == (True, True)


def test_what_was_about_to_be_put_there_is_known_when_the_ledger_is_written_anew(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    ledger = Ledger(path)
    ledger.append(known(entry, 0))
    ledger.rewrite(removed=[], replaced=[b"a"])
    assert Ledger(path).is_ours(entry)
    ledger.rewrite(removed=[b"a"], replaced=[])
    assert not Ledger(path).is_ours(entry)


def test_what_has_the_number_of_a_noted_run_is_left_by_it_until_the_run_has_ended(tmp_path: pathlib.Path) -> None:
    path, (run, other) = str(tmp_path / "ledger"), (new_run(), new_run())
    Ledger(path).begin(run)
    entry = made(tmp_path / "file")
    ours = b"a/" + name_for(run)
    folder = entry_of(ours, os.stat(tmp_path))
    ledger = Ledger(path)
    assert ledger.runs == {run}
    for name, left in ((ours, True), (ours + b"-wal", True), (ours + b"0", False), (b"a/" + name_for(other), False)):
        assert ledger.is_left(entry._replace(path=name)) is left
    assert not ledger.is_left(folder)
    ledger.rewrite(removed=[], replaced=[])
    assert Ledger(path).is_left(entry._replace(path=ours))
    ledger.rewrite(removed=[], replaced=[], ended=[run])
    assert (Ledger(path).runs, Ledger(path).is_left(entry._replace(path=ours))) == (set(), False)


def test_what_a_run_has_put_there_under_such_a_name_is_not_left_by_it(tmp_path: pathlib.Path) -> None:
    ledger, run = Ledger(str(tmp_path / "ledger")), new_run()
    ledger.begin(run)
    entry = made(tmp_path / "file")._replace(path=name_for(run))
    ledger.append([(entry.path, LedgerEntry(entry.identity, entry.identity, NO_DIGEST, 0))])
    assert not Ledger(ledger.path).is_left(entry)
