# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the atomic replacement of small files, and of reading them."""

from __future__ import annotations

import ast
import json
import os
import pathlib
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    back_up,
    ensure_private_directory,
    expected,
    read_optional,
    read_regular,
    replace_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import read_manifest
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import read_record
from ansible_collections.dsa110.contimg.plugins.module_utils._references.backups import Backups
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_containers import (
    read_memory as read_containers,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import read_memory
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger
from ansible_collections.dsa110.contimg.tests.support.trees import ODD_KINDS, make_odd

if TYPE_CHECKING:
    from collections.abc import Callable


def test_replace_makes_and_replaces_with_the_asked_mode(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "file"
    for content, mode in ((b"one", 0o640), (b"two", 0o600)):
        replace_file(str(target), content, mode=mode)
        assert (target.read_bytes(), target.stat().st_mode & 0o7777) == (content, mode)
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_replace_leaves_the_old_content_and_no_debris(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def no_rename(*_args: object, **_options: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "rename", no_rename)
    with pytest.raises(ContimgError, match="could not write the file"):
        replace_file(str(target), b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_may_come_in_parts(tmp_path: pathlib.Path) -> None:
    replace_file(str(tmp_path / "file"), (bytes([number]) for number in range(3)))
    assert (tmp_path / "file").read_bytes() == b"\0\1\2"


def test_a_missing_directory_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ContimgError, match="errno 2"):
        replace_file(str(tmp_path / "none" / "file"), b"")


def test_private_directories_are_made_once(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "a" / "b"
    assert ensure_private_directory(str(directory)) is True
    assert ensure_private_directory(str(directory)) is False
    assert directory.stat().st_mode & 0o7777 == 0o700


def test_a_backup_keeps_content_mode_and_times(tmp_path: pathlib.Path) -> None:
    original = tmp_path / "contimg.env"
    original.write_bytes(b"SECRET=1\n")
    original.chmod(0o640)
    os.utime(original, ns=(1, 1_500_000_000_123_456_789))
    copy = back_up(str(original), str(tmp_path / "backups"))
    status = os.stat(copy)
    assert (tmp_path / "backups" / os.path.basename(copy)).read_bytes() == b"SECRET=1\n"
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o640, 1_500_000_000_123_456_789)


@pytest.mark.parametrize("kind", ODD_KINDS)
def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "name"
    make_odd(kind, path)
    what = "is a symbolic link, which is not followed" if "link" in kind else "is not a regular file"
    for read in (read_regular, read_optional):
        with pytest.raises(ContimgError, match=rf"name: {what}\. Do this\."):
            read(str(path), "read it", hint="Do this.")


#: Every reader of a file of ours, by what the file is called in the operator's words.
READERS: dict[str, Callable[[str], object]] = {
    "record.json": lambda path: read_record(os.path.dirname(path)),
    "hold.json": read_memory,
    "containers.json": read_containers,
    "state.sha256": read_manifest,
    "state.sha256.ledger": Ledger.read,
    "rewritten.json": lambda path: Backups(os.path.dirname(path)).written(),
    "contimg.env": lambda path: back_up(path, os.path.dirname(path) + "/backups"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["fifo", "socket", "dangling link", "link to a device"])
def test_no_reader_of_a_file_of_ours_reads_anything_else(tmp_path: pathlib.Path, name: str, kind: str) -> None:
    make_odd(kind, tmp_path / name)
    with pytest.raises(ContimgError, match=rf"{name}: is (not a regular file|a symbolic link)"):
        READERS[name](str(tmp_path / name))


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_claims_to_be_huge_is_not_read(tmp_path: pathlib.Path, name: str) -> None:
    with open(tmp_path / name, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ContimgError, match=rf"{name}: has 1099511627776 bytes, and at most \d+ are read"):
        READERS[name](str(tmp_path / name))


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b'{"units": []}', b"\xff", b'{"version": 1, "phase": []}'])
@pytest.mark.parametrize("name", ["record.json", "hold.json", "containers.json", "rewritten.json"])
def test_content_that_no_run_has_written_is_no_traceback(tmp_path: pathlib.Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ContimgError, match=rf"{name}: is (not the record|not a journal|no hold file)"):
        READERS[name](str(tmp_path / name))


def _unit(name: str) -> dict[str, object]:
    return {"units": {name: {"was_active": True, "was_enabled": True, "is_trigger": False}}, "stopped_at": 1.0}


def _container(name: str, **changed: object) -> dict[str, object]:
    compose = {"project": "p", "directory": "/d", "files": ["/d/f"], "environment_files": [], "service": "s"}
    found = {"engine": "podman", "was_running": True, "compose": {**compose, **changed.pop("compose", {})}, **changed}  # type: ignore[dict-item]
    return {"containers": {name: found}, "stopped_at": 1.0}


_MOVE = {"id": "", "src": "/a", "dest": "/b", "databases": {}, "exclude": []}
_RECORD = {"version": 2, "phase": "done", "since": "", "history": [], "move": _MOVE, "facts": {}, "former": []}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hold.json", _unit("--now")),
        ("hold.json", _unit("../../etc/a.service")),
        ("hold.json", {"units": {"a.service": {"was_active": "yes"}}, "stopped_at": 1.0}),
        ("containers.json", _container("a", engine="/tmp/planted")),
        ("containers.json", _container("--rm")),
        ("containers.json", _container("a", was_running=1)),
        ("containers.json", _container("a", compose={"service": "--build"})),
        ("containers.json", _container("a", compose={"files": [1]})),
        ("rewritten.json", {"files": {"a/../../b": ["0" * 64]}}),
        ("rewritten.json", {"files": {"/a": ["x"]}}),
        ("record.json", {**_RECORD, "former": [1]}),
        ("record.json", {**_RECORD, "move": {**_MOVE, "exclude": [1]}}),
        ("record.json", {**_RECORD, "move": {**_MOVE, "databases": {"a": {"src": [], "dest": 1}}}}),
    ],
)
def test_what_a_file_holds_is_data_and_never_an_option_or_a_program(
    tmp_path: pathlib.Path, name: str, content: dict[str, object]
) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ContimgError, match=rf"{name}: is (not the record|not a journal|no hold file)"):
        READERS[name](str(tmp_path / name))


def test_the_files_that_runs_write_are_read(tmp_path: pathlib.Path) -> None:
    for name, content in (("hold.json", _unit("a@1-2.service")), ("containers.json", _container("podman:a_b"))):
        (tmp_path / name).write_text(json.dumps(content))
        assert READERS[name](str(tmp_path / name)).stopped_at == 1.0  # type: ignore[attr-defined]


def test_only_what_is_not_there_counts_as_nothing(tmp_path: pathlib.Path) -> None:
    assert read_optional(str(tmp_path / "none"), "read it") is None
    (tmp_path / "file").write_bytes(b"content")
    assert read_optional(str(tmp_path / "file"), "read it") == b"content"
    with pytest.raises(ContimgError, match=r"could not read it: Not a directory \[errno 20\]"):
        read_optional(str(tmp_path / "file" / "below"), "read it")


def test_a_link_is_followed_where_that_is_asked(tmp_path: pathlib.Path) -> None:
    make_odd("link", tmp_path / "name")
    assert read_regular(str(tmp_path / "name"), "read it", follow=True) == b"beside\n"


@pytest.mark.parametrize(("value", "kind"), [(True, int), (1, bool), ("1", int), (None, dict), ([], dict)])
def test_a_value_of_another_type_is_none_that_a_run_has_written(value: object, kind: type) -> None:
    with pytest.raises(TypeError):
        expected(value, kind)


#: Files that a path alone leads to: of the kernel, of the system, and in a directory of this process alone.
_BY_PATH = {
    "_hdf5/header.py": "'/proc/self/statm'",
    "_host/detached.py": "'/proc/self/comm'",
    "_host/mounts.py": "/proc/",
    "_host/open_files.py": "f'",
    "_host/processes.py": "path",
    "_host/writers.py": "f'/proc/",
    "_sqlite/readonly.py": "target",
    "_sync/database.py": "checkpointed",
    "_fs/temporary.py": "_MACHINE",
}


def test_every_file_is_opened_by_a_descriptor_or_by_the_one_helper() -> None:
    found = []
    for file in (pathlib.Path(__file__).parents[5] / "plugins" / "module_utils").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        for call in calls:
            by_path = not isinstance(call.args[0], ast.Call) if call.args else False
            if isinstance(call.func, ast.Name) and call.func.id == "open" and by_path:
                found.append((f"{file.parent.name}/{file.name}", ast.unparse(call.args[0])))
    assert found
    assert [one for one in found if one[0] not in _BY_PATH or _BY_PATH[one[0]] not in one[1]] == []


def test_what_is_read_keeps_its_access_time(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    os.utime(
        path, ns=(1, 2)
    )  # older than its content, so that a read would move it on any file system that keeps access times
    assert read_regular(str(path), "read it") == b"content"
    assert os.stat(path).st_atime_ns == 1
