# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what counts as a use of a path, and of what is shown of a line."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Needle, Shown

STATE = "/stage/dsa110-contimg/state"
USES = [
    STATE,
    f"{STATE}/",
    f"{STATE}/db/x.sqlite3",
    f"'{STATE}'",
    f"see {STATE}.",
    f"{STATE}: {STATE}-old",
    f"A={STATE}",
    f"docker run -v{STATE}:/state",
    f"sqlite:///{STATE}/x",
    f"file://{STATE}/x",
    f"${{ROOT}}{STATE}",
    f"{STATE}*",
    f"<{STATE}>",
]
OTHERS = [
    f"{STATE}-old",
    f"{STATE}_old",
    f"{STATE}s",
    f"{STATE}.old/x",
    f"/mnt{STATE}",
    f"/mnt/{STATE}",
    f".{STATE}",
    f"https:/{STATE}",
    "/stage/dsa110-contimg/ms",
    "/stage/dsa110-contimg",
]


@pytest.mark.parametrize("line", USES)
def test_a_use_is_found(line: str) -> None:
    assert [match for _start, match in Needle(STATE).in_line(line)] == [STATE]


@pytest.mark.parametrize("line", OTHERS)
def test_another_path_is_no_use(line: str) -> None:
    assert list(Needle(STATE).in_line(line)) == []


def test_patterns_are_found_besides_the_path() -> None:
    needle = Needle(STATE, [r"\bhdf5_file_index\b", r"FROM \w+"])
    found = list(needle.in_line(f"SELECT * FROM hdf5_file_index -- {STATE}"))
    assert found == [(33, STATE), (14, r"\bhdf5_file_index\b"), (9, r"FROM \w+")]


@pytest.mark.parametrize(
    ("pattern", "content", "read"),
    [
        (r"\bhdf5_file_index\b", b"x hdf5_file_index", True),
        (r"\bhdf5_file_index\b", b"x", False),
        ("ingest|products", b"products", True),
        (r"FROM\s+x", b"nothing alike", True),  # only the lines can tell
    ],
)
def test_a_pattern_decides_what_is_read(pattern: str, content: bytes, *, read: bool) -> None:
    assert bool(Needle("", [pattern]).bytes_patterns()[0].search(content)) is read


@pytest.mark.parametrize(("prefix", "patterns"), [("state", []), ("/", []), ("/a/../b", []), ("", []), ("/a", ["("])])
def test_what_cannot_be_looked_for_is_refused(prefix: str, patterns: list[str]) -> None:
    with pytest.raises(ContimgError):
        Needle(prefix, patterns)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("  plain \n", "plain"),
        ("SMTP_PASSWORD='a b' # x", "SMTP_PASSWORD=******** # x"),
        ('{"api_token": "planted", "path": "/x"}', '{"api_token": ********, "path": "/x"}'),
        ("connect(password=planted, path='/x')", "connect(password=********, path='/x')"),
        ("url: smtp://me:planted@host/x", "url: smtp://********@host/x"),
        ("\udce9", "\\udce9"),
        ("x" * 400, "x" * 300 + "…"),
    ],
)
def test_a_line_is_shown_without_its_secrets(line: str, text: str) -> None:
    assert Shown(line).line(1) == text


def test_a_secret_that_spans_lines_is_not_shown_by_one_of_them() -> None:
    shown = Shown(f'API_TOKEN = """\n{STATE}/planted\n"""\nX = "{STATE}"\n')
    assert [shown.line(number) for number in range(1, 6)] == [
        "API_TOKEN = ********",
        "********",
        "********",
        f'X = "{STATE}"',
        "",
    ]
