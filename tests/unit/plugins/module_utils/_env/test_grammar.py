# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the grammar. ``tests/faults/test_env_grammar.py`` asks systemd itself; what it answered stands here."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._env.grammar import format_value, is_text, parse


@pytest.mark.parametrize(
    ("content", "assignments"),
    [
        (b"", []),
        (b"A=1", [(b"A", b"1")]),
        (b"A=1\nA=2\n", [(b"A", b"1"), (b"A", b"2")]),
        (b" \t A = 1 \t\n", [(b"A", b"1")]),
        (b"A=\nB=2\n", [(b"A", b""), (b"B", b"2")]),
        (b"A=1\r\nB=2\rC=3", [(b"A", b"1"), (b"B", b"2"), (b"C", b"3")]),
        (b"# A=1\n ; B=2\nC=3 # no comment\n", [(b"C", b"3 # no comment")]),
        (b"no assignment\nA=1\n", [(b"A", b"1")]),
        (b"A=1=2\n", [(b"A", b"1=2")]),
        (b"A=\\x\\ \nB=a\\\nb\n", [(b"A", b"x "), (b"B", b"ab")]),
        (b"A=a \\\n\nB=1\n", [(b"A", b"a "), (b"B", b"1")]),
        (b"A='a\n\\$x' \nB=1\n", [(b"A", b"a\n\\$x"), (b"B", b"1")]),
        (b'A="\\"\\\\\\`\\$\\x\\\ny"\n', [(b"A", b'"\\`$\\xy')]),
        (b"A='a'\"b\"c d \n", [(b"A", b"abc d")]),
        (b"A=a'b'\n", [(b"A", b"a'b'")]),
        (b"A=${B}$B\n", [(b"A", b"${B}$B")]),
        (b"A='open\nB=1", [(b"A", b"open\nB=1")]),
        (b'A="open\\', [(b"A", b"open")]),
        (b"A=open\\", [(b"A", b"open")]),
    ],
)
def test_assignments_are_those_that_systemd_gives_a_process(
    content: bytes, assignments: list[tuple[bytes, bytes]]
) -> None:
    assert [(one.name, one.value) for one in parse(content)] == assignments
    assert all(one.valid for one in parse(content))


@pytest.mark.parametrize("content", [b"export A=1\n", b"=A\\=1\n", b"1A=1\n", b"A B=1\n", b"A-B=1\n", "É=1\n".encode()])
def test_a_name_that_systemd_drops_is_marked_and_hides_nothing_after_it(content: bytes) -> None:
    dropped, other = parse(content + b"B=2\n")
    assert (dropped.valid, other.valid, other.name) == (False, True, b"B")


def test_a_comment_that_ends_in_a_backslash_swallows_the_next_line_before_systemd_254() -> None:
    content = b"# old \\\nA=1\nB=2\n# in the \\ middle\nC=3\n"
    assert [one.name for one in parse(content)] == [b"B", b"C"]
    assert [one.name for one in parse(content, joining_comments=False)] == [b"A", b"B", b"C"]


def test_the_span_of_an_assignment_is_what_stands_between_the_white_space_before_it_and_the_end_of_its_line() -> None:
    content = b"# c\n  A = 'x\ny'z \r\nB=1"
    assert [content[one.start : one.end] for one in parse(content)] == [b"A = 'x\ny'z ", b"B=1"]


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (b"", True),
        ("é\U0010fffd".encode(), True),
        (b"\x01\x7f\n\t", True),
        (b"a\0", False),
        (b"\xff", False),
        (b"\xed\xa0\x80", False),
        ("\ufdd0".encode(), False),
        ("\ufdef".encode(), False),
        ("\ufffe".encode(), False),
        ("\U0010ffff".encode(), False),
        ("\ufdf0\ufffd".encode(), True),
    ],
)
def test_text_is_what_systemd_takes_for_it(value: bytes, *, accepted: bool) -> None:
    assert is_text(value) is accepted


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.sampled_from([b"", b"\n", b"\r\n"])
)
def test_a_value_comes_back_as_it_was_written(value: str, end: bytes) -> None:
    written = b"A=" + format_value(value.encode()) + end
    assert [(one.value, one.end) for one in parse(written)] == [(value.encode(), len(written) - len(end))]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_bash_reads_what_was_written(values: list[str]) -> None:
    accepted = [value.encode() for value in values if is_text(value.encode())]
    written = b"".join(b"A%d=%s\n" % (number, format_value(value)) for number, value in enumerate(accepted))
    script = ["bash", "--norc", "-c", "set -a; . /dev/stdin; env -0"]
    said = subprocess.run(script, input=written, check=True, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]})
    read = dict(pair.split(b"=", 1) for pair in said.stdout.split(b"\0")[:-1])
    assert [read[b"A%d" % number] for number in range(len(accepted))] == accepted


@pytest.mark.parametrize("value", [b"/data/state", b"a:b,c@d%e+f=g-h", b""])
def test_plain_values_are_written_without_quotes(value: bytes) -> None:
    assert format_value(value) == value
