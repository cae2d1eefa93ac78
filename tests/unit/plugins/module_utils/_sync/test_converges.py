# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run does all that its options ask, whatever earlier runs did with other options; the next one has nothing to do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import audit
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_on_ramfs
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values

if TYPE_CHECKING:
    from pathlib import Path

ROOT_ALONE = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


def sync(base: Path, *, check: bool = False, **values: Any) -> dict[str, Any]:
    return synchronize(options_from(sync_values(base, **values)), check=check)


def converge(base: Path, **values: Any) -> dict[str, Any]:
    """Preview and run; the run does what the preview shows, and a further run nothing."""
    preview, run = sync(base, check=True, **values), sync(base, **values)
    assert (run["diff"], run["changed"]) == (preview["diff"], preview["changed"])
    again = sync(base, **values)
    assert (again["changed"], again["diff"]["after"]) == (False, "")
    assert run["changed"] == bool(run["diff"]["after"])
    return run


def owners(top: Path) -> set[tuple[int, int]]:
    found = (os.lstat(path) for path in [top, *top.rglob("*")])
    return {(status.st_uid, status.st_gid) for status in found}


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    directory = tmp_path / "src" / "sub"
    directory.mkdir(parents=True)
    (directory / "file").write_text("one\n")
    os.link(directory / "file", directory / "name")
    (directory / "link").symlink_to("file")
    os.mkfifo(directory / "fifo")
    (tmp_path / "src" / "alone").write_text("alone\n")
    (tmp_path / "src" / "renamed").write_text("renamed\n")
    with contextlib.closing(sqlite3.connect(directory / "a.sqlite3")) as connection:
        connection.execute("CREATE TABLE t (a)")
    return tmp_path


@ROOT_ALONE
def test_an_owner_that_is_asked_for_later_is_given_to_all_that_was_copied(base: Path) -> None:
    values = {"rename": {"renamed": "new/directory/renamed"}}
    converge(base, **values)
    for asked in ({"owner": "12"}, {"owner": "12", "group": "34"}, {"owner": "56", "group": "34"}, {}):
        run = converge(base, **values, **asked)
        assert run["changed"]
        assert run["stats"]["copied"] == 0
        assert owners(base / "dest") == {(int(asked.get("owner", 0)), int(asked.get("group", 0)))}


@ROOT_ALONE
def test_an_owner_that_is_asked_for_later_is_given_to_copies_of_links(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: Any, **_names: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    values = {"allow_loss": ["hardlink"]}
    time.sleep(0.1)  # what has changed as shortly before a pass is copied again
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refused)
        converge(base, **values)
        converge(base, **values, owner="12")
    assert owners(base / "dest") == {(12, 0)}


@pytest.mark.parametrize("new", ["new.txt", "out/new.txt", "out/deep/new.txt"])
@pytest.mark.parametrize("glob", ["new.*", "/out", "out/", "deep", "deep/new.txt", "*", "**"])
def test_a_glob_that_matches_the_new_name_of_a_file_copies_it_once(base: Path, new: str, glob: str) -> None:
    shutil.rmtree(base / "src" / "sub")
    (base / "src" / "keep").mkdir()
    values = {"rename": {"renamed": new}, "exclude": [glob]}
    copied = [] if glob in ("*", "**") else [base / "dest" / new]
    for delete in (False, True):
        converge(base, **values, delete=delete)
        assert [path for path in copied if not path.exists()] == []
    (base / "src" / "renamed").write_text("other\n")
    assert converge(base, **values)["stats"]["copied"] == len(copied)
    assert [path.read_text() for path in copied] == ["other\n"] * len(copied)
    for side, rename in (("src", {"renamed": new}), ("dest", {})):
        told = audit(str(base / side), f"{base}/dest.sha256", rename=rename, exclude=[glob], content=True)
        assert (told["matches"], told["missing"], told["unknown"]) == (True, [], [])


def test_what_an_excluded_directory_holds_besides_a_new_name_is_left_alone(base: Path) -> None:
    out = base / "dest" / "out"
    (out / "other").mkdir(parents=True)
    (out / "other" / "file").write_text("theirs\n")
    (out / "file").write_text("theirs\n")
    converge(base, rename={"renamed": "out/new"}, exclude=["/out"], delete=True)
    assert (out / "other" / "file").read_text() == (out / "file").read_text() == "theirs\n"
    assert (out / "new").read_text() == "renamed\n"


def test_a_foreign_file_of_a_new_name_is_a_conflict_though_a_glob_matches_it(base: Path) -> None:
    (base / "dest" / "out").mkdir(parents=True)
    (base / "dest" / "out" / "new").write_text("theirs\n")
    with pytest.raises(ContimgError, match="out/new"):
        sync(base, rename={"renamed": "out/new"}, exclude=["out"])
    assert (base / "dest" / "out" / "new").read_text() == "theirs\n"


def hot_copy(path: Path, mode: str) -> None:
    """Put a database there whose last transaction stands in its WAL, or is rolled back by its journal."""
    other = path.with_name("other")
    with contextlib.closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
        if mode == "wal":
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE t SET a = randomblob(100000)")
        connection.execute("INSERT INTO t SELECT a FROM t")
        if mode == "wal":
            connection.execute("COMMIT")
        suffix = "-wal" if mode == "wal" else "-journal"
        for end in ("", suffix):
            shutil.copyfile(f"{other}{end}", f"{path}{end}")
    other.unlink()
    assert os.path.getsize(f"{path}{suffix}")


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("rename", [{}, {"sub/b.sqlite3": "b.sqlite3"}])
def test_a_log_that_is_removed_at_the_source_leaves_the_source_s_database(
    base: Path, mode: str, rename: dict[str, str]
) -> None:
    database = base / "src" / "sub" / "b.sqlite3"
    hot_copy(database, mode)
    converge(base, rename=rename)
    (log,) = (path for path in database.parent.glob("b.sqlite3-*") if not path.name.endswith("-shm"))
    log.unlink()
    converge(base, rename=rename)
    copy = base / "dest" / rename.get("sub/b.sqlite3", "sub/b.sqlite3")
    assert copy.read_bytes() == database.read_bytes()
    assert not list(copy.parent.glob("b.sqlite3-*"))


def test_a_log_that_came_at_the_destination_alone_leaves_the_source_s_database(base: Path) -> None:
    database = base / "src" / "sub" / "b.sqlite3"
    hot_copy(database, "wal")
    os.unlink(f"{database}-wal")
    converge(base)
    hot_copy(base / "log", "wal")
    shutil.copyfile(base / "log-wal", base / "dest" / "sub" / "b.sqlite3-wal")
    with contextlib.suppress(ContimgError):  # a WAL that does not fit holds no row, or it holds one: a conflict
        converge(base)
        assert (base / "dest" / "sub" / "b.sqlite3").read_bytes() == database.read_bytes()
        return
    converge(base, on_conflict="replace", backup_dir=str(base / "backups"))
    assert (base / "dest" / "sub" / "b.sqlite3").read_bytes() == database.read_bytes()


@pytest.mark.parametrize("first", [{"live": True}, {"verify": "none"}])
def test_a_run_that_proves_alone_names_what_it_does(base: Path, first: dict[str, Any]) -> None:
    sync(base, **first)
    run = converge(base)
    assert (run["changed"], run["identical"], run["actions"]) == (True, True, [])
    assert (f"manifest {base}/dest.sha256 (is written anew)\n" in run["diff"]["after"]) == ("live" in first)
    assert ("verify alone" in run["diff"]["after"]) == ("verify" in first)


def test_a_manifest_that_is_gone_is_in_the_diff(base: Path) -> None:
    converge(base)
    (base / "dest.sha256").unlink()
    assert converge(base)["diff"]["after"] == f"manifest {base}/dest.sha256 (is written anew)\n"


LATER = """
import json, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
values = json.loads(sys.argv[1])
def run(check, *allowed):
    try:
        return synchronize(options_from({**values, "allow_loss": allowed}), check=check)["changed"]
    except ContimgError as error:
        return error.result()["msg"]
accepted = [run(False, "xattr", "acl"), run(False, "acl", "xattr")]
print(json.dumps([*accepted, run(True, "xattr"), run(False, "xattr"), run(True), run(False)]))
"""


def test_a_loss_that_is_no_longer_accepted_is_refused(base: Path) -> None:
    os.setxattr(base / "src" / "alone", "user.note", b"1")
    subprocess.run(["setfacl", "-m", "u:1:r", str(base / "src" / "sub")], check=True)
    (base / "old").mkdir()
    values = sync_values(base, dest=str(base / "old" / "dest"), rename={"sub/file": "new/file"})
    time.sleep(0.1)  # what has changed as shortly before a pass is compared by content once more
    first, again, *refused = json.loads(run_on_ramfs(base / "old", LATER, json.dumps(values)))
    assert (first, again) == (True, False)
    for message, lost in zip(refused, ("acl", "acl", "xattr, acl", "xattr, acl")):
        assert f"Accept the loss with allow_loss: [{lost}]" in str(message)


def test_a_loss_that_did_not_happen_leaves_nothing_to_do(base: Path) -> None:
    os.setxattr(base / "src" / "alone", "user.note", b"1")
    converge(base, allow_loss=["xattr", "acl", "special", "symlink"])
    assert not converge(base)["changed"]
    os.removexattr(base / "dest" / "alone", "user.note")
    assert converge(base)["changed"]
    assert os.getxattr(base / "dest" / "alone", "user.note") == b"1"


def test_a_special_file_that_was_lost_is_made_once_its_loss_is_not_accepted(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: Any, **_names: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "mknod", refused)
        converge(base, allow_loss=["special"])
    assert not os.path.lexists(base / "dest" / "sub" / "fifo")
    assert converge(base)["changed"]
    assert os.path.lexists(base / "dest" / "sub" / "fifo")
