# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of every language in which a path stands, for the tests of all that looks for it or replaces it."""

from __future__ import annotations

import json
import re
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
        "EnvironmentFile=-/.{}/x.env",
        "EnvironmentFile=/./{}/x.env",
        "EnvironmentFile=/..{}/x.env",
        "ExecStart=/usr/bin/x file://localhost{}/x",
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
        "x ${{A%{}}} ${{A%%{}/x}}",
        "x ${{A#{}}} ${{A##{}/x}}",
        "x ${{A[0]-{}}} ${{A?{}}} ${{!A-{}}}",
        "x=file://localhost{}/x",
        "find / -path '*{}/*'",
        "grep -E '^.*{}/x$' y",
        "printf '\\0{}\\0'",
        "grep -P '\\s{}\\b'",
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
        'A = "{}\\n"',
        "A = '{}\\x00'",
        "A = '\\x00{}'",
        "A = 'x\\u0020{}\\u2014x'",
        "A = '{}\\057x'",
        "A = '{}\\x2fx' + \"{}\\u002fx\"",
        'A = "\\"{}\\""',
        "A = '{}\\x27'",
        "execute(\"SELECT 1 WHERE p LIKE '%{}/%'\")",
        "execute(\"SELECT 1 WHERE p LIKE '%%{}%%'\")",
        'A = "file://localhost{}/x"',
    ],
    "yaml": ["a: {}", "- {}", "a: '{}'", 'a: "{}"', "a: [{}]", "{{a: {}}}", "a: &b {}", "a: !x {}"],
    "json": ['{{"a": "{}"}}', '["{}","{}/x"]', '{{"a":"--x={}"}}'],
    "toml": ['a = "{}"', "a = '{}/x'", 'a = ["{}"]', '"{}" = 1'],
    "sql": [
        "INSERT INTO t VALUES ('{}/x');",
        "ATTACH '{}/x' AS y",
        "SELECT 1 WHERE p LIKE '{}%'",
        "SELECT 1 WHERE p LIKE '{}/%'",
        "SELECT 1 WHERE p LIKE '%{}/%'",
        "SELECT 1 WHERE p LIKE '%%{}%%' OR p GLOB '*{}*'",
        "SELECT 1 WHERE p GLOB '*{}/*'",
        "INSERT INTO t VALUES ('file://localhost{}/x');",
        'ATTACH "file:{}/x?mode=ro" AS y',
    ],
    "url": [
        "DATABASE_URL=sqlite:///{}/x.sqlite3",
        "DATABASE_URL=sqlite+pysqlite:///{}",
        "A=file://{}",
        "A=file:{}",
        "A=file://localhost{}/x",
        "A=FILE://127.0.0.1{}/x",
        "A=git+file://localhost/{}/x",
        "A=file:///.{}",
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
    "{}.%i",
    "{}%%i",
    "{}%%20two",
    "{}\\%20two",
    "{}%%2Dtwo",
    "{}\\040two",
    "{}\\055two",
    "{}\\u0020three",
    "{}\\u002dthree",
    "{}\\u00e9",
    "{}\\xe9",
    "{}\\-x",
    "{}\\_x",
    "{}\\.bak",
    "{}\\:x",
    "\\x41{}",
    "\\u0041{}",
    "\\101{}",
    "%41{}",
    "%C3%A9{}",
    "http://localhost{}",
    "sftp://localhost{}",
    "file://host{}",
    "x/.{}",
    "x/./{}",
]


def _with_code(code: str) -> Callable[[str], str]:
    """Return what writes the signs of a path by their code."""
    return lambda path: "".join(one if one.isalnum() else code.format(ord(one)) for one in path)


def _with_sign(sign: str, code: str) -> Callable[[str], str]:
    return lambda path: path.replace(sign, code)


# A path in another spelling, in which it is replaced.
SPELLINGS: list[tuple[str, Callable[[str], str]]] = [
    ('"{}"', lambda path: json.dumps(path + "/x").strip('"').replace("/", "\\/")),
    ('{{"url":"file:\\/\\/{}"}}', lambda path: path.replace("/", "\\/")),
    ("http://host/?path={}", lambda path: urllib.parse.quote(path, safe="")),
    ("a=1%20{}", lambda path: urllib.parse.quote(path, safe="")),
    ("url=file%3A%2F%2F{}%2Fx", lambda path: urllib.parse.quote(path, safe="")),
    ("url=file%3a%2f%2f{}%2fx&b", lambda path: urllib.parse.quote(path, safe="").lower()),
    ("After={}.mount", lambda path: path.strip("/").replace("-", "\\x2d").replace("/", "-")),
    ("sed -i 's/{}/x/' y", _with_sign("/", "\\/")),
    ("perl -pe 's/^{}\\/x/y/'", re.escape),
    ("perl -pe 's/^{}\\/x/y/'", lambda path: re.escape(path).replace("/", "\\/")),
    ("x ${{A//{}/x}}", _with_sign("/", "\\/")),
    ("awk '/{}\\/x/'", _with_sign("/", "\\/")),
    ('{{"a": "{{\\"b\\": \\"{}\\"}}"}}', _with_sign("/", "\\\\/")),
    ("Environment=A=http://host/?path={}%%2Fx", _with_sign("/", "%%2F")),
    ("Environment=A=http://host/?path={}%%2fx", _with_code("%%{:02x}")),
    ("* * * * * curl http://host/?path={}\\%2Fx", _with_sign("/", "\\%2F")),
    ("* * * * * curl http://host/?a=x\\%20{}", _with_code("\\%{:02X}")),
    ("A=http://host/?path={}%252Fx", _with_sign("/", "%252F")),
    ("A=http://host{{?path={}%2Fx}}", _with_code("%{:02X}")),
    ("A=file://{}", _with_sign("-", "%2D")),
    ("ExecStart=/usr/bin/x {}", _with_sign("-", "\\x2d")),
    ("/dev/x {} ext4", _with_sign("-", "\\055")),
    ("A = '{}'", _with_code("\\x{:02x}")),
    ("A = '{}'", _with_code("\\u{:04x}")),
    ("A = '{}'", _with_code("\\{:03o}")),
]
# One that is found, and written plainly or in part when it is replaced.
LOOSE_SPELLINGS: list[tuple[str, Callable[[str], str]]] = [
    ("'{}'", lambda path: path.replace("/", "//")),
    ("'{}'", lambda path: path.replace("/", "/./").replace("/./", "/", 1)),
    ("EnvironmentFile=-{}", lambda path: path.replace("/", "//./")),
]
# Names of units that stand for the path. Another unit would have to exist for the new one, so they are found and stay.
NAMED = [
    "BindsTo=stage-dsa110\\x2dcontimg-state-db.mount",
    "After=x.service stage-dsa110\\x2dcontimg-state-db-x.automount",
    "Unit=x@stage-dsa110\\x2dcontimg-state.service",
    "Unit=x@-stage-dsa110\\x2dcontimg-state.service",
    "Wants=x@stage-dsa110\\x2dcontimg-state-db.timer",
    "systemctl start 'x@stage-dsa110\\x2dcontimg-state.service'",
]
# Names of units that stand for something else.
NOT_NAMED = [
    "BindsTo=stage-dsa110\\x2dcontimg-state\\x2dold.mount",
    "BindsTo=mnt-stage-dsa110\\x2dcontimg-state.mount",
    "Unit=stage-dsa110\\x2dcontimg-state.service",
    "Unit=x@stage-dsa110\\x2dcontimg-state2.service",
    "Unit=x@mnt-stage-dsa110\\x2dcontimg-state.service",
]
