# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the domain error and of its boundary."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import (
    ContimgError,
    error_context,
    printable,
    raise_all,
)

if TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a/b", "/a/b"),
        (b"/two\nlines\x1b", "/two\\x0alines\\x1b"),
        (b"/a/\xff", "/a/\\xff"),
        ("/a/\udcff", "/a/\\xff"),
        ("/ä", "/ä"),
    ],
)
def test_display_shows_every_name_as_plain_text(path: str | bytes, shown: str) -> None:
    assert printable(path) == shown


def test_a_message_names_path_event_and_next_step() -> None:
    error = ContimgError("is not a database", path=b"/x\xfe", hint="Name a database.", found="text")
    assert str(error) == "/x\\xfe: is not a database. Name a database."
    assert error.result() == {"msg": str(error), "path": "/x\\xfe", "found": "text"}


def test_a_system_error_keeps_its_own_file_and_errno(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ContimgError, match="could not open it") as caught, error_context("open it", "/elsewhere"):
        (tmp_path / "none").read_bytes()
    assert caught.value.path == str(tmp_path / "none")
    assert caught.value.details == {"errno": errno.ENOENT}


@pytest.mark.parametrize(
    ("name", "path", "told"),
    [
        ("b", "/a/b", r"^/a/b: .*\[errno 2\]\.$"),
        (b"b", b"a/b", r"^a/b: .*\[errno 2\]\.$"),
        (".new", "/a/b", r"^/a/b: .*\[errno 2\] at '\.new'\.$"),
    ],
)
def test_a_name_in_a_directory_that_is_held_does_not_stand_for_the_path(
    tmp_path: pathlib.Path, name: str | bytes, path: str | bytes, told: str
) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ContimgError, match=told), error_context("open it", path):
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def test_an_sqlite_error_names_the_database() -> None:
    with pytest.raises(ContimgError, match="/db: could not query: SQLite reports 'no such table: t'"):
        with error_context("query", "/db"):
            sqlite3.connect(":memory:").execute("select * from t")


def test_a_message_of_sqlite_that_is_no_text_is_shown() -> None:
    with pytest.raises(ContimgError, match=re.escape("SQLite reports 'malformed \\xff'")), error_context("read", "/a"):
        raise UnicodeDecodeError("utf-8", b"malformed \xff", 10, 11, "invalid start byte")


def test_several_errors_are_raised_as_one_that_names_all() -> None:
    raise_all([])
    first = ContimgError("did not start", path="a.service", hint="Correct the cause.")
    with pytest.raises(ContimgError) as one:
        raise_all([first])
    assert one.value is first
    with pytest.raises(ContimgError) as all_:
        raise_all(
            [first, ContimgError("did not start", path="b.service", hint="Correct the cause."), ContimgError("late")]
        )
    assert all_.value.message == "a.service: did not start; b.service: did not start; late. Correct the cause."
