# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is written to a ledger, and what a later run then knows as its own."""

from __future__ import annotations

import errno
import os
import pathlib
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import name_for, new_run
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Journal
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    NO_DIGEST,
    PLACED,
    PORTION,
    Ledger,
    LedgerEntry,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def made(path: pathlib.Path) -> Entry:
    path.write_text(path.name)
    return entry_of(b"a", os.stat(path))


def write(ledger: Ledger, records: Iterable[tuple[bytes, LedgerEntry]]) -> None:
    with Journal(ledger).step(records):
        pass


def known(entry: Entry, flags: int) -> list[tuple[bytes, LedgerEntry]]:
    return [(b"a", LedgerEntry(entry.identity, entry.identity, NO_DIGEST, flags))]


def test_what_any_killed_run_has_perhaps_put_there_is_ours(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "ledger")
    first, second, foreign = (made(tmp_path / name) for name in ("first", "second", "foreign"))
    ledger = Ledger.read(path)
    write(ledger, known(first, 0))
    write(ledger, known(second, 0))
    for one in (ledger, Ledger.read(path)):
        assert [one.is_ours(entry) for entry in (first, second, foreign)] == [True, True, False]


def test_what_has_been_replaced_since_is_not_ours(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "ledger")
    first, second = (made(tmp_path / name) for name in ("first", "second"))
    ledger = Ledger.read(path)
    write(ledger, known(first, 0))
    write(ledger, known(second, PLACED))
    for one in (ledger, Ledger.read(path)):
        assert [one.is_ours(entry) for entry in (first, second)] == [False, True]


def test_a_ledger_of_many_files_is_read_back_whole_and_goes_on(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, one)] = known(entry, PLACED)
    names = {b"%d" % number for number in range(2 * PORTION + 1)}
    ledger = Ledger.read(path)
    write(ledger, ((name, one) for name in sorted(names)))
    for _turn in range(2):
        Journal(ledger).finish(removed=[b"0", b"unknown"], replaced=[], ended=[])
        write(ledger, [(b"a", one)])
        ledger = Ledger.read(path)
        assert ledger.paths() == names - {b"0"} | {b"a"}
        assert ledger.get(b"a") == ledger.get(b"1") == one


def test_a_ledger_that_could_not_be_written_anew_goes_on(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, one)] = known(entry, PLACED)
    ledger = Ledger.read(path)
    write(ledger, ((name, one) for name in (b"a", b"b", b"c")))
    monkeypatch.setattr(os, "rename", failing_rename)
    with pytest.raises(ContimgError, match="could not write the file"):
        Journal(ledger).finish(removed=[b"a"], replaced=[], ended=[])
    write(ledger, known(entry, PLACED))
    assert Ledger.read(path).paths() == {b"a", b"b", b"c"}


def failing_rename(*_arguments: object, **_named: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_file_is_ours_with_the_time_that_it_was_about_to_get(tmp_path: pathlib.Path) -> None:
    before = made(tmp_path / "a")
    made(tmp_path / "model")
    os.utime(tmp_path / "model", (5, 5))
    model = entry_of(b"a", os.stat(tmp_path / "model"))
    ledger = Ledger.read(str(tmp_path / "ledger"))
    write(ledger, known(before, PLACED))
    os.utime(tmp_path / "a", (5, 5))
    after = entry_of(b"a", os.stat(tmp_path / "a"))
    assert not ledger.is_ours(after)
    write(ledger, ((path, one.intended(times_of=model)) for path, one in known(before, PLACED)))
    assert (ledger.is_ours(after), ledger.is_ours(before)) == (True, True)


def test_what_was_about_to_be_put_there_is_known_when_the_ledger_is_written_anew(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    ledger = Ledger.read(path)
    write(ledger, known(entry, 0))
    Journal(ledger).finish(removed=[], replaced=[b"a"], ended=[])
    assert Ledger.read(path).is_ours(entry)
    Journal(ledger).finish(removed=[b"a"], replaced=[], ended=[])
    assert not Ledger.read(path).is_ours(entry)


def test_what_has_the_number_of_a_noted_run_is_left_by_it_until_the_run_has_ended(tmp_path: pathlib.Path) -> None:
    path, (run, other) = str(tmp_path / "ledger"), (new_run(), new_run())
    Journal(Ledger.read(path)).begin(run)
    entry = made(tmp_path / "file")
    ours = b"a/" + name_for(run)
    directory = entry_of(ours, os.stat(tmp_path))
    ledger = Ledger.read(path)
    assert ledger.runs == {run}
    for name, left in ((ours, True), (ours + b"-wal", True), (ours + b"0", False), (b"a/" + name_for(other), False)):
        assert ledger.is_left(entry._replace(path=name)) is left
    assert not ledger.is_left(directory)
    Journal(ledger).finish(removed=[], replaced=[], ended=[])
    assert Ledger.read(path).is_left(entry._replace(path=ours))
    Journal(ledger).finish(removed=[], replaced=[], ended=[run])
    assert (Ledger.read(path).runs, Ledger.read(path).is_left(entry._replace(path=ours))) == (set(), False)


def test_what_a_run_has_put_there_under_such_a_name_is_not_left_by_it(tmp_path: pathlib.Path) -> None:
    ledger, run = Ledger.read(str(tmp_path / "ledger")), new_run()
    Journal(ledger).begin(run)
    entry = made(tmp_path / "file")._replace(path=name_for(run))
    write(ledger, [(entry.path, LedgerEntry(entry.identity, entry.identity, NO_DIGEST, 0))])
    assert not Ledger.read(ledger.path).is_left(entry)


def test_an_intent_is_written_before_the_step_and_a_note_at_its_end(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, placed)] = known(entry, PLACED)
    journal = Journal(Ledger.read(path))
    with journal.step(known(entry, 0)) as note:
        during = Ledger.read(path)
        assert (during.is_ours(entry), during.get(b"a")) == (True, None)
        note(b"a", placed)
        assert Ledger.read(path).get(b"a") is None
        assert journal.known(b"a") == placed
    assert Ledger.read(path).get(b"a") == placed


def test_a_step_that_fails_notes_nothing_and_leaves_its_intent(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, placed)] = known(entry, PLACED)
    try:
        with Journal(Ledger.read(path)).step(known(entry, 0)) as note:
            note(b"a", placed)
            raise InterruptedError
    except InterruptedError:
        pass
    after = Ledger.read(path)
    assert (after.is_ours(entry), after.get(b"a")) == (True, None)


def test_what_is_noted_of_a_long_step_is_written_in_portions(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, placed)] = known(entry, PLACED)
    with Journal(Ledger.read(path)).step() as note:
        for number in range(PORTION + 1):
            note(b"%d" % number, placed)
        assert len(Ledger.read(path).paths()) == PORTION
    assert len(Ledger.read(path).paths()) == PORTION + 1


def test_a_step_within_a_step_writes_what_was_noted_by_both(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, placed)] = known(entry, PLACED)
    journal = Journal(Ledger.read(path))
    with journal.step() as note:
        note(b"a", placed)
        with journal.step() as inner:
            inner(b"b", placed)
        assert Ledger.read(path).paths() == {b"a", b"b"}


def test_what_is_expected_is_known_and_not_written(tmp_path: pathlib.Path) -> None:
    path, entry = str(tmp_path / "ledger"), made(tmp_path / "file")
    [(_path, placed)] = known(entry, PLACED)
    journal = Journal(Ledger.read(path))
    journal.expect(b"a", placed)
    with journal.step():
        pass
    assert (journal.known(b"a"), Ledger.read(path).get(b"a")) == (placed, None)


def test_only_the_journal_writes_a_ledger() -> None:
    writers = ("replace_file", "sync_directory", "O_WRONLY", "O_CREAT")
    directory = pathlib.Path(__file__).parents[5] / "plugins" / "module_utils" / "_sync"
    ledger = (directory / "ledger.py").read_text()
    assert [word for word in writers if word in ledger] == []
    named = [path.name for path in directory.glob("*.py") if "packed_block" in path.read_text()]
    assert sorted(named) == ["journal.py", "ledger.py"]
