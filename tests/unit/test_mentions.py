# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever looks for a path, or replaces it, does so in every line of one table: code, units, environments, crontabs, databases."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import (
    Compose,
    Container,
    _naming,
    uses_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._env import file as env_file
from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import effective
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.users import _Unread, cron_entries
from ansible_collections.dsa110.contimg.plugins.module_utils._references import run as path_references
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.paths import Moves, paths_in
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd import edit as unit_edit
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
    import pathlib

FILES = {
    "unit": "x.service", "shell": "x.sh", "compose": "compose.yml", "cron": "crontab", "python": "x.py", "yaml": "x.yaml",
    "json": "x.json", "toml": "x.toml", "sql": "x.sql", "url": "x.env", "text": "x.txt", "spelling": "x.txt", "other": "x.txt",
}  # fmt: skip
LINES = [(language, line.format(*[OLD] * 3)) for language, lines in MENTIONS.items() for line in lines]
LINES += [("spelling", line.format(spell(OLD))) for line, spell in SPELLINGS + LOOSE_SPELLINGS]
OTHER_LINES = [("other", line.format(OLD)) for line in OTHERS + NOT_NAMED]
MOVES = [{"from": OLD, "to": NEW}]


def is_comment(line: str) -> bool:
    """Return whether a line of the table is one that nothing reads."""
    return line.startswith("# ")


@pytest.fixture(name="tree")
def _tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a directory with a file for each line, which is named like a file of its language."""
    for number, (language, line) in enumerate(LINES + OTHER_LINES):
        path = tmp_path / "code" / str(number) / FILES[language]
        path.parent.mkdir(parents=True)
        path.write_text(f"{line}\n", errors="surrogateescape")
    return tmp_path / "code"


def audited(tree: pathlib.Path) -> dict[int, bool]:
    """Return which lines an audit finds, by their number, and whether each is live."""
    defaults: dict[str, Any] = {
        "patterns": [],
        "variables": [],
        "exclude": [],
        "known": [],
        "restore_from": None,
        "state": "audited",
    }
    result = path_references.run({**defaults, "paths": [str(tree)], "prefix": OLD}, check=False)
    return {int(one["file"].split("/")[-2]): one["live"] for one in result["references"]}


def test_an_audit_finds_every_line_and_no_other(tree: pathlib.Path) -> None:
    assert audited(tree) == {number: not is_comment(line) for number, (_language, line) in enumerate(LINES)}


def test_a_repointed_file_is_clean_and_other_paths_stay(tree: pathlib.Path) -> None:
    for number, (language, line) in enumerate(LINES + OTHER_LINES):
        path = tree / str(number) / FILES[language]
        result = unit_edit.run(
            {"path": str(path), "repoint": MOVES, "backup_dir": None, "restore_from": None}, check=False
        )
        assert result["changed"] is (number < len(LINES)), line
    assert audited(tree) == {}


@pytest.mark.parametrize("line", NAMED)
def test_another_unit_of_the_path_is_reported_and_not_renamed(line: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "0" / "x.service"
    path.parent.mkdir()
    path.write_text(f"{line}\n")
    values = {"path": str(path), "repoint": MOVES, "backup_dir": None, "restore_from": None}
    assert not unit_edit.run(values, check=False)["changed"]
    assert audited(tmp_path) == {0: True}


@pytest.mark.parametrize(("language", "line"), LINES + OTHER_LINES)
def test_a_value_of_an_environment_is_repointed(language: str, line: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.env"
    defaults: dict[str, Any] = {
        **dict.fromkeys(("backup_dir", "restore_from", "mode", "owner", "group")),
        "values": {},
        "directories": {},
        "secrets": {},
        "path": str(path),
        "content": "",
        "create": True,
        "expand": False,
        "absent": [],
        "repoint": [],
    }
    env_file.run({**defaults, "values": {"A": line}}, check=False)
    result = env_file.run({**defaults, "repoint": MOVES}, check=False)
    assert result["changed"] is (language != "other")
    assert (effective(path.read_bytes())[b"A"].decode() == line) is (language == "other")
    assert not env_file.run({**defaults, "repoint": MOVES}, check=False)["changed"]


def test_every_line_of_a_crontab_is_named(tmp_path: pathlib.Path) -> None:
    table = tmp_path / "crontab"
    table.write_text("".join(f"{line}\n" for _language, line in LINES + OTHER_LINES))
    found = [one["line"] for one in cron_entries([OLD], unread=_Unread(), tables=[str(table)])]
    assert found == [number for number, (_language, line) in enumerate(LINES, 1) if not is_comment(line)]
    table.write_text(f"#!{OLD}/bin/python\n#{OLD}\n")
    assert [one["line"] for one in cron_entries([OLD], unread=_Unread(), tables=[str(table)])] == [1]


@pytest.mark.parametrize(("language", "line"), LINES + OTHER_LINES)
def test_a_container_and_what_creates_it_are_named(language: str, line: str, tmp_path: pathlib.Path) -> None:
    container = Container("podman", "0", "x", "running", environment={"A": line}, command=line)
    expected = [] if language == "other" else ["environment", "command"]
    assert [use["where"] for use in uses_of(container, [OLD])] == expected
    (tmp_path / "compose.yml").write_text(f"{line}\n")
    compose = Compose("x", str(tmp_path), (str(tmp_path / "compose.yml"),), (), "x")
    assert bool(_naming(compose, [OLD])) is (language != "other")


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_every_value_of_a_database_is_counted(encoding: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        for number, (_language, line) in enumerate(LINES + OTHER_LINES):
            connection.execute(f"CREATE TABLE t{number} (a, b)")
            connection.execute(f"INSERT INTO t{number} VALUES (?, ?)", (line, line.encode()))
    connection.close()
    found = {(one.table, one.name): one.rows + one.mentions for one in paths_in(str(path), Moves([(OLD, NEW)]))}
    texts = {(f"t{number}", "a"): 1 for number in range(len(LINES))}
    assert {key: count for key, count in found.items() if key[1] == "a"} == texts
    # In a BLOB, which need not be text, a path has no boundary.
    assert {key for key in found if key[1] == "b"} >= {(table, "b") for table, _name in texts}
