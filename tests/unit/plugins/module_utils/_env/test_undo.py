# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random files, edits, and changes of others in between: an undo takes back what the edits wrote, and nothing else."""

from __future__ import annotations

import pathlib
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import Edit, edited, effective, unproved
from ansible_collections.dsa110.contimg.plugins.module_utils._env.undo import Journal, State, undo

NAMES = st.sampled_from([b"A", b"B", b"C", b"D", b"E"])
VALUES = st.sampled_from([b"1", b"/stage/x", b"two words", b"it's", b"", b"a\\b"])
LINES = st.one_of(
    st.tuples(NAMES, st.sampled_from([b"1", b"'/stage/x'", b'"two words"', b"a\\\\b", b"''x", b"x # y"])).map(
        b"=".join
    ),
    st.sampled_from([b"# note", b"", b"; note", b"no assignment", b"  # indented"]),
)
FILES = st.lists(LINES, max_size=8).map(lambda lines: b"".join(line + b"\n" for line in lines))
EDITS = st.builds(
    Edit,
    values=st.dictionaries(NAMES, VALUES, max_size=3),
    repoint=st.sampled_from([(), ((b"/stage", b"/data"),)]),
    absent=st.frozensets(NAMES, max_size=1),
).filter(lambda edit: not edit.absent & set(edit.values))
OWNERSHIP = (0o640, 0, 0)


def state(content: bytes) -> State:
    """Return a file with a content."""
    return State(content, OWNERSHIP)


@settings(max_examples=300, deadline=None)
@given(content=FILES, edits=st.lists(st.tuples(EDITS, EDITS), min_size=1, max_size=3), calm=st.booleans())
def test_an_undo_takes_back_the_edits_and_keeps_what_others_have_changed(
    content: bytes, edits: list[tuple[Edit, Edit]], *, calm: bool
) -> None:
    now, last = content, {}  # the last value that an edit wrote
    original: dict[bytes, bytes | None] = {}  # what was there before the first edit
    seen: dict[bytes, set[bytes | None]] = {}  # every value that a name had just before or after an edit of it
    with tempfile.TemporaryDirectory() as directory:
        for number, (ours, theirs) in enumerate(edits):
            after = edited(now, ours)
            assert not unproved(now, after, ours)
            backup = pathlib.Path(directory, f"file.{number}")
            backup.write_bytes(now)
            Journal(directory).note("/file", str(backup), before=state(now), after=state(after))
            old, new = effective(now), effective(after)
            for name in {name for name in {*old, *new} if old.get(name) != new.get(name)}:
                original.setdefault(name, old.get(name))
                last[name] = new.get(name)
                seen.setdefault(name, set()).update((old.get(name), new.get(name)))
            now = after if calm else edited(after, theirs)
        undone = undo(Journal(directory).notes("/file"), state(now))
        again = undo(Journal(directory).notes("/file"), undone.state)
    assert undone.state.content is not None
    if calm:
        assert (undone.state.content, undone.kept) == (content, ())
    values, found = effective(undone.state.content), effective(now)
    for name in {*values, *found} - set(last):
        assert values.get(name) == found.get(name)  # no edit of ours concerned it
    for name, wrote in last.items():
        if found.get(name) == wrote:
            assert values.get(name) == original[name] or name in undone.kept
        elif found.get(name) not in seen[name]:
            assert values.get(name) == found.get(name)
            assert name in undone.kept
    assert (effective(again.state.content or b""), again.kept) == (values, undone.kept)


def test_a_value_that_somebody_has_put_back_is_theirs(tmp_path: pathlib.Path) -> None:
    """It is what an older edit wrote, but the newest one has removed the name: to undo once more changes nothing."""
    journal = Journal(str(tmp_path))
    for number, (before, after) in enumerate([(b"", b"A=/old\n"), (b"A=1\n", b"")]):
        backup = tmp_path / f"file.{number}"
        backup.write_bytes(before)
        journal.note("/file", str(backup), before=state(before), after=state(after))
    undone = undo(journal.notes("/file"), state(b"A=/old\n"))
    assert (undone.state.content, undone.kept) == (b"A=/old\n", (b"A",))
    assert undo(journal.notes("/file"), undone.state) == undone


def test_an_edit_that_was_noted_and_not_made_does_not_hide_the_one_before(tmp_path: pathlib.Path) -> None:
    journal = Journal(str(tmp_path))
    for number, (before, after) in enumerate([(b"A=1\n", b"A=2\n"), (b"A=2\n", b"A=3\n")]):
        backup = tmp_path / f"file.{number}"
        backup.write_bytes(before)
        journal.note("/file", str(backup), before=state(before), after=state(after))
    undone = undo(journal.notes("/file"), state(b"A=2\nB=theirs\n"))
    assert (undone.state.content, undone.kept) == (b"A=1\nB=theirs\n", ())
