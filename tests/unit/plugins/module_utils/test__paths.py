# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ``_paths``: tables over the languages in which a path stands."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._paths import PathText, is_below, names_path, replaced
from ansible_collections.dsa110.contimg.tests.support.mentions import (
    LOOSE_SPELLINGS,
    MENTIONS,
    NAMED,
    NEW,
    NOT_NAMED,
    OLD,
    OTHERS,
    SPELLINGS,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("line", [line for lines in MENTIONS.values() for line in lines])
def test_mentions_are_found_and_replaced_and_nothing_else_is(line: str) -> None:
    written = line.format(*[OLD] * 3)
    assert names_path(written, OLD)
    assert replaced(written, [(OLD, NEW)]) == line.format(*[NEW] * 3)
    assert replaced(written, [(OLD + "/nothing", "/x")]) == written


@pytest.mark.parametrize("line", OTHERS + NOT_NAMED)
def test_other_paths_are_left_alone(line: str) -> None:
    written = line.format(OLD)
    assert not names_path(written, OLD)
    assert replaced(written, [(OLD, NEW)]) == written


@pytest.mark.parametrize("line", NAMED)
def test_another_unit_of_the_path_is_found_and_stays(line: str) -> None:
    assert names_path(line, OLD)
    assert not names_path(line, OLD + "/y")
    assert replaced(line, [(OLD, NEW)]) == line


@pytest.mark.parametrize(("line", "spell"), SPELLINGS + LOOSE_SPELLINGS)
def test_another_spelling_is_found(line: str, spell: Callable[[str], str]) -> None:
    assert names_path(line.format(spell(OLD)), OLD)
    assert not names_path(line.format(spell(OLD)), OLD + "/y")
    assert not names_path(replaced(line.format(spell(OLD)), [(OLD, NEW)]), OLD)


@pytest.mark.parametrize(("line", "spell"), SPELLINGS)
def test_a_path_is_replaced_in_its_spelling(line: str, spell: Callable[[str], str]) -> None:
    assert replaced(line.format(spell(OLD)), [(OLD, NEW)]) == line.format(spell(NEW))


def test_a_name_with_blanks_is_found_however_it_is_escaped() -> None:
    for spelled in ("/a b/c", "/a\\ b/c", "/a%20b/c", "/a\\x20b/c", "'/a b'/c"):
        assert names_path(f"x={spelled}", "/a b")
    assert not names_path("/a\\ b", "/a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=/a\\ b/y", "x=/n\\ é+/y"),
        ("x=/a%20b/y", "x=/n%20%C3%A9%2B/y"),
        ("x=/a\\x20b/y", "x=/n\\x20\\xc3\\xa9\\x2b/y"),
        ("x=/a\\040b/y", "x=/n\\040\\303\\251\\053/y"),
        ("x=\\u002fa\\u0020b/y", "x=\\u002fn\\u0020\\u00e9\\u002b/y"),
        ("x='/a b'/y", "x='/n é+'/y"),
    ],
)
def test_what_the_old_path_has_not_is_spelled_alike(text: str, expected: str) -> None:
    assert replaced(text, [("/a b", "/n é+")]) == expected


@pytest.mark.parametrize(
    "spelled", ["/é", "/%C3%A9", "%2f%c3%a9", "/\\xc3\\xa9", "/\\303\\251", "/\\u00e9", "/é\\u2014"]
)
def test_a_letter_beyond_ascii_is_found_by_its_code(spelled: str) -> None:
    assert names_path(f"x={spelled}", "/é")
    assert PathText("/é").may_be_in(bytearray(spelled.encode()), 100)
    assert replaced(f"x={spelled}/x", [("/é", "/x")]) in {"x=/x/x", "x=%2fx/x", "x=/x\\u2014/x"}


def test_the_longest_old_path_decides_and_nothing_is_moved_twice() -> None:
    moves = [("/a", "/a/b"), ("/a/db/x", "/n/x"), ("/c", "/a")]
    assert replaced("/a:/a/db/x:/a/db/y:/c/z", moves) == "/a/b:/n/x:/a/b/db/y:/a/z"


def test_bytes_that_are_not_text_survive() -> None:
    raw = b"A=\xff:/a\xff/x:/a"
    assert os.fsencode(replaced(os.fsdecode(raw), [("/a", "/b")])) == b"A=\xff:/a\xff/x:/b"


@pytest.mark.parametrize("unit", ["/", "\\", "\\/", "/.", "%2F", "%", "/a/b-", "a-b-", "/a/b\\", "/a/b%", "@a-b"])
def test_long_text_takes_no_long_time(unit: str) -> None:
    start = time.process_time()
    replaced(unit * 20000, [("/a/b", "/c")])
    PathText("/a/b").may_be_in(bytearray((unit * 20000).encode()), 20000 * len(unit))
    assert time.process_time() - start < 5


def test_a_place_in_a_longer_text_is_found_between_bounds() -> None:
    text = f"{OLD} {OLD}"
    assert [one.start for one in PathText(OLD).mentions(text)] == [0, len(OLD) + 1]
    assert [one.start for one in PathText(OLD).mentions(text, 1)] == [len(OLD) + 1]
    assert not PathText(OLD).search(text, 1, len(text) - 1)


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [("/a", "/a", True), ("/a/b", "/a", True), ("/ab", "/a", False), ("/a", "/a/b", False), ("/a", "/", True)],
)
def test_is_below(path: str, directory: str, expected: bool) -> None:  # noqa: FBT001
    assert is_below(path, directory) is expected
