# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of editing: what an edit concerns changes as asked, and no other byte does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import (
    Edit,
    edited,
    effective,
    repointed,
    unproved,
    wanted,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

BLOCK = b"# BEGIN dsa110.contimg\n%s# END dsa110.contimg\n"
STATE = ((b"/stage/state", b"/data/state"),)
SET_A = Edit(values={b"A": b"new"})
NO_A = Edit(absent=frozenset({b"A"}))
EXPAND = Edit(expand=True)

CASES = {
    "nothing asked": (b"# c\n\nA=1\n", Edit(), b"# c\n\nA=1\n"),
    "set where it stands": (b"# c\n A = 1 # x\nB=2", SET_A, b"# c\n A=new\nB=2"),
    "set to what it is": (b"A = 'new' \n", SET_A, b"A = 'new' \n"),
    "set with CRLF": (b"A=1\r\nB=2\r\n", SET_A, b"A=new\r\nB=2\r\n"),
    "set over many lines": (b"A='x\ny'\\\nz\nB=1\n", SET_A, b"A=new\nB=1\n"),
    "set what is repeated": (b"A=1\n# c\nA=2\nB=1\n", SET_A, b"# c\nA=new\nB=1\n"),
    "set what is repeated and wins": (b"A=1\nA=new\n", SET_A, b"A=new\n"),
    "set beside what systemd drops": (b"export A=1\n", SET_A, b"export A=1\n" + BLOCK % b"A=new\n"),
    "new in an empty file": (b"", SET_A, BLOCK % b"A=new\n"),
    "new without a last newline": (b"B=1", SET_A, b"B=1\n" + BLOCK % b"A=new\n"),
    "new in the block": (BLOCK % b"B=1\n" + b"C=1\n", SET_A, BLOCK % b"B=1\nA=new\n" + b"C=1\n"),
    "new behind an open quote": (b"B='x", SET_A, b"B=x\n" + BLOCK % b"A=new\n"),
    "new behind a last backslash": (b"B=x\\\n", SET_A, b"B=x\n" + BLOCK % b"A=new\n"),
    "removed": (b"# a\n  A=1\nB=2\n", NO_A, b"# a\nB=2\n"),
    "removed with CRLF": (b"A=1\r\nB=2\r\n", NO_A, b"B=2\r\n"),
    "removed at the end": (b"B=2\nA='1", NO_A, b"B=2\n"),
    "removed each time": (b"A=1\nB=2\nA=3\n", NO_A, b"B=2\n"),
    "removed with the block": (b"B=1\n" + BLOCK % b"A=1\n", NO_A, b"B=1\n"),
    "an empty block that was there": (BLOCK % b"" + b"B=1\n", NO_A, BLOCK % b"" + b"B=1\n"),
    "repointed": (
        b'A="/stage/state/x y" \nB=/stage/state\n',
        Edit(repoint=STATE),
        b'A="/data/state/x y"\nB=/data/state\n',
    ),
    "repointed within a value": (
        b"A=sqlite:////stage/state/x\nB=-v/stage/state:/x:/stage/state-2\nC=/mnt/stage/state\n",
        Edit(repoint=STATE),
        b"A=sqlite:////data/state/x\nB=-v/data/state:/x:/stage/state-2\nC=/mnt/stage/state\n",
    ),
    "repointed but set": (b"A=1\n", Edit(values={b"A": b"/stage/state"}, repoint=STATE), b"A=/stage/state\n"),
    "a loser is not repointed": (b"A=/stage/state\nA=1\n", Edit(repoint=STATE), b"A=/stage/state\nA=1\n"),
    "expanded": (b"A=${B}/${C}\nB=b\nC='$c'\n", EXPAND, b"A=\"b/\\$c\"\nB=b\nC='$c'\n"),
    "expanded through others": (b"A=${B}\nB=${C}\nC=c\n", EXPAND, b"A=c\nB=c\nC=c\n"),
    "expanded to itself": (b"A=x:${A}\n", EXPAND, b"A=x:${A}\n"),
    "expanded to nothing": (b"A=${NONE}\n", EXPAND, b"A=${NONE}\n"),
    "expanded as it will be": (
        b"A=${B}/x\n",
        Edit(values={b"B": b"/data"}, expand=True),
        b"A=/data/x\n" + BLOCK % b"B=/data\n",
    ),
    "expanded and repointed": (
        b"A=${B}/x\nB=/stage/state\n",
        Edit(repoint=STATE, expand=True),
        b"A=/data/state/x\nB=/data/state\n",
    ),
}


@pytest.mark.parametrize(("before", "edit", "after"), CASES.values(), ids=CASES)
def test_an_edit_changes_what_it_concerns(before: bytes, edit: Edit, after: bytes) -> None:
    assert edited(before, edit) == after
    assert edited(after, edit) == after
    assert unproved(before, after, edit) == set()


MARKS = [b"A=", b"B", b"C=", b"\nA=", b"\n", b"\r\n", b" ", b"#", b";", b"'", b'"', b"\\", b"\\\n", b"${A}", b"${C}"]
WORDS = [b"/stage/state", b"/x", b"=", b"BEGIN dsa110.contimg\n", b"# END dsa110.contimg\n", b"export ", b"\xff"]
FILES = st.lists(st.sampled_from([*MARKS, *WORDS]), max_size=20).map(b"".join)
NAMES = st.sampled_from([b"A", b"B", b"C", b"D"])
EDITS = st.builds(
    Edit,
    values=st.dictionaries(NAMES, st.sampled_from([b"", b"1", b" ${A}\\", b"/stage/state", b"'\n#"])),
    absent=st.frozensets(st.just(b"E")),
    repoint=st.sampled_from([(), STATE]),
    expand=st.booleans(),
)


@given(FILES, EDITS)
def test_what_is_proved_means_what_was_asked_and_stays(before: bytes, edit: Edit) -> None:
    after = edited(before, edit)
    if not unproved(before, after, edit):
        assert effective(after) == wanted(effective(before), edit)
        assert edited(after, edit) == after


@given(FILES)
def test_comments_and_other_lines_survive(before: bytes) -> None:
    """After a quote or a backslash a line may be part of a value: what stands before the first one is a line."""
    certain = re.split(rb"['\"\\]", before)[0].rpartition(b"\n")[0]
    kept = [line for line in certain.splitlines() if b"=" not in line]
    after = edited(before, Edit(values={b"D": b"1"}))
    if not unproved(before, after, Edit(values={b"D": b"1"})):
        assert set(kept) <= set(after.splitlines())


@pytest.mark.parametrize(
    ("before", "edit", "names"),
    [
        (b"# c \\\nA=/stage/state\n", Edit(repoint=STATE), {b"A"}),
        (b"# c \\\nA=1\n", NO_A, {b"A"}),
        (b"# c \\\nA=1\n", SET_A, set()),
        (b"B='\n# END dsa110.contimg\n'\n", SET_A, {b"A", b"B"}),
    ],
)
def test_an_edit_that_not_every_systemd_reads_alike_is_not_proved(before: bytes, edit: Edit, names: set[bytes]) -> None:
    assert unproved(before, edited(before, edit), edit) == names


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"/stage/state", b"/data/state"),
        (b"/stage/state/", b"/data/state/"),
        (b"/stage/state/db/p", b"/data/p"),
        (b"/stage/state/db/x", b"/data/state/db/x"),
        (b"/stage/state-old/x", b"/stage/state-old/x"),
        (b"/stage/ms", b"/stage/ms"),
        (b"x/stage/state", b"x/stage/state"),
    ],
)
def test_paths_are_moved_at_their_boundary_and_the_longest_decides(value: bytes, expected: bytes) -> None:
    assert repointed(value, [*STATE, (b"/stage/state/db/p", b"/data/p")]) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"".join(b"A%d=${A%d}\n" % (number, number + 1) for number in range(60)) + b"A60=x\n", "A0 refers to others"),
        (
            b"".join(b"A%d=%s\n" % (number, b"${A%d}" % (number + 1) * 9) for number in range(9)) + b"A9=x\n",
            "expand to more",
        ),
    ],
    ids=["too deep", "too long"],
)
def test_references_that_grow_without_bounds_are_an_error(content: bytes, message: str) -> None:
    with pytest.raises(ContimgError, match=message):
        edited(content, EXPAND)
