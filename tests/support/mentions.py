# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of every language in which a path stands, for the tests of all that looks for it or replaces it."""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING

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


SPELLINGS: list[tuple[str, Callable[[str], str]]] = [
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
