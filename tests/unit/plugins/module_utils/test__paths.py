# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ``_paths``: tables over the languages in which a path stands."""

from __future__ import annotations

import json
import os
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._paths import PathText, is_below, names_path, replaced

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW = "/stage/dsa110-contimg/state", "/data/dsa110-contimg/state"

# A line with the old path, in which nothing else may change. {} stands for the path.
MENTIONS = {
    "unit": [
        "EnvironmentFile={}/contimg.env",
        "EnvironmentFile=-{}/contimg.env",
        "ReadWritePaths={}",
        "ReadWritePaths=-{} /other",
        "ReadWritePaths=/other -{}",
        "ReadWritePaths=+{}",
        "ReadWritePaths=-+{}",
        "BindPaths={}:/app/state",
        "BindPaths=/x:{}:rbind",
        "ExecStart=/usr/bin/python -m x --state {}",
        "ExecStart=/usr/bin/python -m x --state={}/db/x.sqlite3",
        "ExecStartPre={}/bin/x",
        "ExecStartPre=-{}/bin/x",
        "ExecStartPre=+{}/bin/x",
        "ExecStartPre=!!{}/bin/x",
        "ExecStartPre=:{}/bin/x",
        "ExecStartPre=@{}/bin/x x",
        "ExecStart=/bin/sh -c 'cd {} && exec x'",
        'Environment="A={}" B=1',
        "Environment=A={}",
        "StandardOutput=append:{}/logs/x.out",
        "WorkingDirectory=-{}",
        "AssertPathExists=!{}",
        "AssertPathExists=|!{}",
        "RequiresMountsFor={}",
    ],
    "shell": [
        "export A={}",
        'A="{}"',
        "A='{}/x'",
        ": ${{A:={}}}",
        'cd "${{A:-{}}}"',
        'cd "${{A-{}}}"',
        'cd "${{A:+{}}}"',
        "rsync -av {}/ /backup",
        "rsync -a host:{} .",
        "rsync -a user@host:{} .",
        "docker run -v{}:/x img",
        "docker run -v {}:/x img",
        "docker run --volume={}:/x img",
        "gcc -I{} -L{}",
        "[ -d {} ]",
        "[[ {} = x ]]",
        "test -e {}; ls {}|wc",
        "ls ${{ROOT}}{}",
        "cat <{} >{}/x 2>{}/y",
        "x=$(cat {}) && (cd {})",
        "find /{}",
        "IFS=: A=/x:{}:/y",
        "`ls {}`",
        "sed -i s#{}#/new#",
        "ls {}*",
    ],
    "compose": [
        "  - {}:/app/state:rw",
        "  - '{}:/x'",
        '  - "{}"',
        "  source: {}",
        "  A: {}",
        "  - A={}",
        "  [{}, /x]",
        "device: {}",
    ],
    "cron": ["*/5 * * * * root {}/x.sh", "@daily cd {} && x", "0 * * * * x >{}/log 2>&1", "A={}"],
    "python": [
        'A = "{}"',
        "A = r'{}/x'",
        'A = os.getenv("X", "{}")',
        'A = f"{}/{{name}}"',
        'A = "see\\n{} there"',
        'A = "see\\t{}"',
        'uri = "file:{}/x?mode=ro"',
        "# {}: the state",
        "x = ['{}']",
        'print("{}.")',
        'print("in {}, and")',
    ],
    "yaml": ["a: {}", "- {}", "a: '{}'", 'a: "{}"', "a: [{}]", "{{a: {}}}", "a: &b {}", "a: !x {}"],
    "json": ['{{"a": "{}"}}', '["{}","{}/x"]', '{{"a":"--x={}"}}'],
    "toml": ['a = "{}"', "a = '{}/x'", 'a = ["{}"]', '"{}" = 1'],
    "sql": [
        "INSERT INTO t VALUES ('{}/x');",
        "ATTACH '{}/x' AS y",
        "SELECT 1 WHERE p LIKE '{}%'",
        "SELECT 1 WHERE p LIKE '{}/%'",
        'ATTACH "file:{}/x?mode=ro" AS y',
    ],
    "url": [
        "DATABASE_URL=sqlite:///{}/x.sqlite3",
        "DATABASE_URL=sqlite+pysqlite:///{}",
        "A=file://{}",
        "A=file:{}",
        "A=unix:{}/sock",
        "A=http://host/?path={}&x=1",
        "A=http://host/?path={}#x",
    ],
    "text": ["{}", "{}/", "({})", "<{}>", "see {}.", "see {}: there", "{} is full", "a,{},b", "a;{};b", "=>{}"],
}
# Lines in which something else is named.
OTHERS = [
    "{}2",
    "{}-old",
    "{}_x",
    "{}.bak/x",
    "{}~",
    "{}é",
    "/mnt{}",
    "/mnt{}/x",
    "x{}",
    ".{}",
    "..{}",
    "$HOME{}",
    "$(pwd){}",
    "~{}",
    "*{}",
    "%h{}",
    "foo-{}",
    "https:/{}/x",
    "https://host{}",
    "ftp:/{}",
    "{}\\x20two",
    "{}\\ two",
    "{}%20two",
    "{}%2Dtwo",
    "{}%i",
]


SPELLINGS = [
    ('"{}"', lambda path: json.dumps(path + "/x").strip('"').replace("/", "\\/")),
    ('{{"url":"file:\\/\\/{}"}}', lambda path: path.replace("/", "\\/")),
    ("http://host/?path={}", lambda path: urllib.parse.quote(path, safe="")),
    ("a=1%20{}", lambda path: urllib.parse.quote(path, safe="")),
    ("url=file%3A%2F%2F{}%2Fx", lambda path: urllib.parse.quote(path, safe="")),
    ("url=file%3a%2f%2f{}%2fx&b", lambda path: urllib.parse.quote(path, safe="").lower()),
    ("'{}'", lambda path: path.replace("/", "//")),
    ("'{}'", lambda path: path.replace("/", "/./").replace("/./", "/", 1)),
    ("After={}.mount", lambda path: path.strip("/").replace("-", "\\x2d").replace("/", "-")),
]


@pytest.mark.parametrize("line", [line for lines in MENTIONS.values() for line in lines])
def test_mentions_are_found_and_replaced_and_nothing_else_is(line: str) -> None:
    written = line.format(*[OLD] * 3)
    assert names_path(written, OLD)
    assert replaced(written, [(OLD, NEW)]) == line.format(*[NEW] * 3)
    assert replaced(written, [(OLD + "/nothing", "/x")]) == written


@pytest.mark.parametrize("line", OTHERS)
def test_other_paths_are_left_alone(line: str) -> None:
    written = line.format(OLD)
    assert not names_path(written, OLD)
    assert replaced(written, [(OLD, NEW)]) == written


@pytest.mark.parametrize(("line", "spell"), SPELLINGS)
def test_another_spelling_is_found(line: str, spell: Callable[[str], str]) -> None:
    assert names_path(line.format(spell(OLD)), OLD)
    assert not names_path(line.format(spell(OLD)), OLD + "/y")
    assert not names_path(replaced(line.format(spell(OLD)), [(OLD, NEW)]), OLD)


@pytest.mark.parametrize(("line", "spell"), SPELLINGS[:6:2])
def test_an_encoded_path_is_replaced_in_its_encoding(line: str, spell: Callable[[str], str]) -> None:
    assert replaced(line.format(spell(OLD)), [(OLD, NEW)]) == line.format(spell(NEW))


def test_a_name_with_blanks_is_found_however_it_is_escaped() -> None:
    for spelled in ("/a b/c", "/a\\ b/c", "/a%20b/c", "/a\\x20b/c", "'/a b'/c"):
        assert names_path(f"x={spelled}", "/a b")
    assert not names_path("/a\\ b", "/a")


def test_the_longest_old_path_decides_and_nothing_is_moved_twice() -> None:
    moves = [("/a", "/a/b"), ("/a/db/x", "/n/x"), ("/c", "/a")]
    assert replaced("/a:/a/db/x:/a/db/y:/c/z", moves) == "/a/b:/n/x:/a/b/db/y:/a/z"


def test_bytes_that_are_not_text_survive() -> None:
    raw = b"A=\xff:/a\xff/x:/a"
    assert os.fsencode(replaced(os.fsdecode(raw), [("/a", "/b")])) == b"A=\xff:/a\xff/x:/b"


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
