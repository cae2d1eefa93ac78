# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of temporary files: what a killed run has left goes, what others have made or a run still works at stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._fs import temporary
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import create_name
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import (
    name_for,
    new_run,
    proven_name,
    proves_itself,
    remove_left,
    run_of,
    temporary_directory,
    temporary_file,
)

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


def planted(directory: pathlib.Path) -> pathlib.Path:
    """Return the path of a name that proves itself, as somebody may make it who has read the code."""
    return directory / os.fsdecode(proven_name(b"temporary"))


def clear(directory: pathlib.Path) -> set[str]:
    """Remove what was left in a directory, and return what stays."""
    with open_directory(str(directory)) as opened:
        remove_left(opened)
    return set(os.listdir(directory))


def killed_after_making(directory: pathlib.Path, *, sidecars: bool = False) -> str:
    """Let a process die while it works at a temporary file; return the name."""
    child = os.fork()
    if not child:
        with open_directory(str(directory)) as opened, temporary_file(opened) as (name, descriptor):
            os.write(descriptor, b"SECRET=1")
            for suffix in (b"-wal", b"-shm", b"-journal") if sidecars else ():
                (directory / os.fsdecode(name + suffix)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    return next(name for name in os.listdir(directory) if not name.endswith(("-wal", "-shm", "-journal")))


def test_a_file_is_private_and_gone_after_an_error(tmp_path: pathlib.Path) -> None:
    with contextlib.suppress(KeyError), open_directory(str(tmp_path)) as directory, temporary_file(directory) as (
        name,
        file,
    ):
        assert os.fstat(file).st_mode & 0o7777 == 0o600
        assert os.listdir(tmp_path) == [os.fsdecode(name)]
        (tmp_path / os.fsdecode(name + b"-journal")).touch()
        raise KeyError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("sidecars", [False, True])
def test_what_a_killed_run_has_left_is_removed_by_the_next_one(tmp_path: pathlib.Path, sidecars: bool) -> None:  # noqa: FBT001
    left = killed_after_making(tmp_path, sidecars=sidecars)
    (tmp_path / "other").touch()
    with open_directory(str(tmp_path)) as directory, temporary_file(directory) as (name, _file):
        assert set(os.listdir(tmp_path)) == {"other", os.fsdecode(name)}
        assert os.fsdecode(name) != left


def test_what_sqlite_has_left_without_its_database_is_removed(tmp_path: pathlib.Path) -> None:
    left = killed_after_making(tmp_path, sidecars=True)
    (tmp_path / left).unlink()
    assert clear(tmp_path) == set()


def test_what_another_run_works_at_stays(tmp_path: pathlib.Path) -> None:
    with contextlib.suppress(KeyError), open_directory(str(tmp_path)) as directory, temporary_file(directory) as (
        name,
        _file,
    ):
        assert clear(tmp_path) == {os.fsdecode(name)}
        raise KeyError


def test_names_of_others_stay(tmp_path: pathlib.Path) -> None:
    names = {".contimg-", ".contimg-0123456789abcdef", os.fsdecode(name_for(new_run())), planted(tmp_path).name + "x"}
    names |= {f"{name[:-1]}{int(name[-1], 16) ^ 1:x}" for name in (planted(tmp_path).name for _try in range(3))}
    for name in names:
        (tmp_path / name).touch()
    assert clear(tmp_path) == names


def test_a_name_of_another_host_stays(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_host", lambda: b"another host")
    planted(tmp_path).touch()
    monkeypatch.undo()
    assert len(clear(tmp_path)) == 1


def plants(directory: pathlib.Path, outside: pathlib.Path) -> Iterator[pathlib.Path]:
    """Plant what is not a regular file under names that prove themselves, each leading to what must stay."""
    for step in (
        lambda path: path.symlink_to(outside),
        lambda path: path.symlink_to(outside.parent),
        lambda path: (path.mkdir(), (path / "precious").touch()),
        os.mkfifo,
        lambda path: (path.touch(), path.with_name(path.name + "-wal").mkdir()),
    ):
        path = planted(directory)
        step(path)
        yield path


def test_a_planted_look_alike_removes_nothing_but_itself(tmp_path: pathlib.Path) -> None:
    directory, outside = tmp_path / "directory", tmp_path / "outside" / "precious"
    for path in (directory, outside.parent):
        path.mkdir()
    directory.chmod(0o777)  # such a directory anybody may put there
    outside.write_text("word")
    stay = {path.name for path in plants(directory, outside)}
    os.link(outside, planted(directory))  # may go: it is a name in this directory
    left = clear(directory)
    assert stay <= left <= {*stay, *(f"{name}-wal" for name in stay)}
    assert outside.read_text() == "word"
    assert outside.stat().st_nlink == 1


def test_a_directory_that_a_killed_run_has_left_goes_where_no_other_user_writes(tmp_path: pathlib.Path) -> None:
    child = os.fork()
    if not child:
        with open_directory(str(tmp_path)) as parent, temporary_directory(parent) as (name, _directory):
            (tmp_path / os.fsdecode(name) / "half").write_text("word")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    [left] = os.listdir(tmp_path)
    for writable in (0o777, 0o1777, 0o770):
        tmp_path.chmod(writable)
        assert clear(tmp_path) == {left}
    tmp_path.chmod(0o700)
    assert clear(tmp_path) == set()


def test_a_directory_is_gone_after_an_error_and_stays_while_it_is_worked_at(tmp_path: pathlib.Path) -> None:
    with contextlib.suppress(KeyError), open_directory(str(tmp_path)) as parent:
        with temporary_directory(parent) as (name, _directory):
            (tmp_path / os.fsdecode(name) / "half").write_text("word")
            assert clear(tmp_path) == {os.fsdecode(name)}
            raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_file_that_others_lock_stays_and_stops_nothing(tmp_path: pathlib.Path) -> None:
    path = planted(tmp_path)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert clear(tmp_path) == {path.name}


def test_a_file_that_is_taken_for_a_dead_one_at_once_is_made_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    def removed_at_first(directory: int, name: bytes) -> int:
        descriptor = create_name(directory, name)
        made.append(name)
        if len(made) == 1:
            os.unlink(name, dir_fd=directory)
        return descriptor

    monkeypatch.setattr(temporary, "create_name", removed_at_first)
    with contextlib.suppress(KeyError), open_directory(str(tmp_path)) as directory, temporary_file(directory) as (
        name,
        _file,
    ):
        assert made[1:] == [name]
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_name_of_another_kind_stays(tmp_path: pathlib.Path) -> None:
    name = proven_name(b"moved aside")
    (tmp_path / os.fsdecode(name)).mkdir()
    assert clear(tmp_path) == {os.fsdecode(name)}
    assert [proves_itself(one, b"moved aside") for one in (name, proven_name(b"temporary"), name + b"-wal")] == [
        True,
        False,
        False,
    ]


def test_a_name_is_of_a_run_in_its_exact_form_only() -> None:
    run = new_run()
    name = name_for(run)
    assert [run_of(one) for one in (name, name + b"-wal", name + b"x", b"x" + name, b".contimg-", b"")] == [
        run,
        run,
        *(4 * [b""]),
    ]
    assert len(name) <= 50
