# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of real trees with real databases; ``rsync`` and ``sha256sum`` are the judges."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import audit
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values

if TYPE_CHECKING:
    from pathlib import Path


def sync(base: Path, *, check: bool = False, **values: Any) -> dict[str, Any]:
    return synchronize(options_from(sync_values(base, **values)), check=check)


def judge(base: Path) -> str:
    command = ["rsync", "-aHAXnci", "--delete", f"{base}/src/", f"{base}/dest/"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def written(base: Path) -> list[tuple[int, ...]]:
    """What changes when a run writes; a look changes access times alone."""
    found = (os.stat(base / name) for name in ("dest", "dest.sha256", "dest.sha256.ledger"))
    return [(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) for status in found]


def write_rows(path: Path, count: int, *, hot: bool = False) -> None:
    """Add rows; ``hot`` leaves them in the log, as a killed writer does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode=wal');"
        "c.execute('CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY)');"
        "[c.execute('INSERT INTO t DEFAULT VALUES') for _ in range(int(sys.argv[2]))]; c.commit();"
    )
    end = "os._exit(0)" if hot else "c.close()"
    subprocess.run(["python3", "-c", script + end, str(path), str(count)], check=True)


def rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    src = tmp_path / "src"
    (src / "logs").mkdir(parents=True)
    (src / "logs" / "a.log").write_text("one\n")
    (src / "link").symlink_to("/etc/passwd")
    os.link(src / "logs" / "a.log", src / "hard")
    os.mkfifo(src / "fifo")
    with open(os.fsencode(src) + b"/two\nlines\xff\\", "wb") as file:
        file.write(b"awkward")
    with open(src / "sparse", "wb") as file:
        file.truncate(1 << 24)
    os.utime(src / "sparse", ns=(0, -12_345_678_901))
    (src / "sparse").chmod(0o640)
    (src / "logs").chmod(0o555)
    return tmp_path


def test_a_copy_is_faithful_and_a_second_run_changes_nothing(base: Path) -> None:
    preview = sync(base, check=True)
    assert not (base / "dest").exists()
    first = sync(base)
    assert judge(base) == ""
    assert (preview["diff"], preview["actions_digest"]) == (first["diff"], first["actions_digest"])
    assert (base / "dest" / "sparse").stat().st_blocks == 0
    before = written(base)
    assert sync(base)["changed"] is False
    assert written(base) == before


def test_many_names_of_a_file_leave_nothing_to_do(base: Path) -> None:
    for number in range(20):
        os.link(base / "src" / "hard", base / "src" / f"name-{number:02}")
    assert sync(base, delete=True)["changed"]
    assert not sync(base, delete=True)["changed"]
    for number in range(5, 20):
        (base / "src" / f"name-{number:02}").unlink()
    assert sync(base, delete=True)["changed"]
    assert not sync(base, delete=True)["changed"]


def test_the_manifest_is_one_of_sha256sum(base: Path) -> None:
    result = sync(base)
    subprocess.run(["sha256sum", "--quiet", "-c", "../dest.sha256"], cwd=base / "dest", check=True)
    report = audit(str(base / "src"), result["manifest"], rename={}, exclude=[], content=True)
    assert report["matches"] is True
    assert report["digest"] == result["source_digest"]


def test_a_live_pass_claims_nothing_and_the_final_one_copies_what_changed(base: Path) -> None:
    live = sync(base, live=True)
    assert live["stats"]["verified"] == 3  # against what was read, not against what the source holds by now
    assert not (base / "dest.sha256").exists()
    (base / "src" / "sparse").write_bytes(b"new")
    final = sync(base)
    assert final["stats"]["copied"] == 1
    assert judge(base) == ""
    assert sync(base)["changed"] is False


def test_an_attribute_that_changed_alone_is_copied(base: Path) -> None:
    sync(base)
    os.setxattr(base / "src" / "sparse", "user.note", b"1")
    os.setxattr(base / "src" / "logs", "user.note", b"2")
    assert sync(base)["stats"]["copied"] == 0
    assert judge(base) == ""


def test_rows_of_a_hot_log_arrive_under_the_new_name(base: Path) -> None:
    write_rows(base / "src" / "db" / "p.sqlite3", 5, hot=True)
    sync(base, rename={"db/p.sqlite3": "p.sqlite3"})
    assert sorted(path.name for path in (base / "dest").glob("p.sqlite3*")) == ["p.sqlite3", "p.sqlite3-wal"]
    assert rows(base / "dest" / "p.sqlite3") == 5


def test_rows_that_stand_only_in_a_log_of_the_destination_are_not_lost(base: Path) -> None:
    write_rows(base / "src" / "p.sqlite3", 5)
    (base / "dest").mkdir()
    (base / "dest" / "p.sqlite3").write_bytes((base / "src" / "p.sqlite3").read_bytes())
    write_rows(base / "dest" / "p.sqlite3", 2, hot=True)
    with pytest.raises(ContimgError, match=r"p\.sqlite3 \(the database there is ahead\)"):
        sync(base)
    assert rows(base / "dest" / "p.sqlite3") == 7


def test_a_kept_database_gets_no_log_of_the_source(base: Path) -> None:
    write_rows(base / "src" / "p.sqlite3", 5, hot=True)
    write_rows(base / "dest" / "p.sqlite3", 9)
    sync(base, decisions={"p.sqlite3": "keep"})
    assert not (base / "dest" / "p.sqlite3-wal").exists()
    assert rows(base / "dest" / "p.sqlite3") == 9


def test_a_replaced_database_is_backed_up_with_its_log(base: Path) -> None:
    write_rows(base / "src" / "p.sqlite3", 5)
    write_rows(base / "dest" / "p.sqlite3", 9, hot=True)
    os.chown(base / "dest" / "p.sqlite3", 65534, 1)
    os.setxattr(base / "dest" / "p.sqlite3", "user.note", b"1")
    sync(base, decisions={"p.sqlite3": "replace"}, backup_dir=str(base / "backups"))
    assert rows(base / "dest" / "p.sqlite3") == 5
    (backup,) = (base / "backups").glob("*/p.sqlite3")
    assert (backup.stat().st_uid, backup.stat().st_gid, os.getxattr(backup, "user.note")) == (65534, 1, b"1")
    assert rows(backup) == 9


def test_a_database_that_is_behind_is_replaced_with_its_log(base: Path) -> None:
    write_rows(base / "src" / "p.sqlite3", 5, hot=True)
    write_rows(base / "dest" / "p.sqlite3", 2, hot=True)
    sync(base)
    assert rows(base / "dest" / "p.sqlite3") == 5


def test_a_foreign_file_is_a_conflict_until_it_is_decided(base: Path) -> None:
    (base / "dest").mkdir()
    (base / "dest" / "sparse").write_text("mine")
    with pytest.raises(ContimgError, match="Nothing was touched"):
        sync(base)
    assert sorted(os.listdir(base / "dest")) == ["sparse"]
    assert sync(base, on_conflict="keep")["conflicts"] == ["sparse"]
    assert (base / "dest" / "sparse").read_text() == "mine"


@pytest.mark.parametrize(
    ("src", "dest", "message"),
    [
        ("absent", "dest", "the source does not exist"),
        ("src/sparse", "dest", "the source is not a directory"),
        ("src", "src", "is the same directory"),
        ("src", "alias", "is the same directory"),
        ("src", "src/below", "lies inside the source"),
        ("src/logs", "src", "lies inside the destination"),
    ],
)
def test_directories_that_cannot_be_meant_are_refused(base: Path, src: str, dest: str, message: str) -> None:
    (base / "alias").symlink_to("src")
    with pytest.raises(ContimgError, match=message):
        sync(base, src=str(base / src), dest=str(base / dest))


@pytest.mark.parametrize("name", ["rename", "fsync", "open"])
@pytest.mark.parametrize("ordinal", [1, 2, 3, 4, 5, 6])
def test_a_run_that_was_killed_is_finished_by_the_next(base: Path, name: str, ordinal: int) -> None:
    write_rows(base / "src" / "p.sqlite3", 5, hot=True)
    child = os.fork()
    if child == 0:
        real, calls = getattr(os, name), iter(range(1, 1000))

        def deadly(*arguments: Any, **keywords: Any) -> Any:
            if next(calls) == ordinal:
                os._exit(9)
            return real(*arguments, **keywords)

        setattr(os, name, deadly)
        sync(base, workers=1)
        os._exit(0)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 9
    (base / "src" / "p.sqlite3-shm").unlink()  # never copied
    sync(base)
    assert judge(base) == ""
    assert sync(base)["changed"] is False


def deep(top: Path) -> int:
    """Return the descriptor of a directory whose path is longer than the system takes at once; it is made if need be."""
    directory = os.open(top, os.O_RDONLY)
    for _level in range(20):
        with contextlib.suppress(FileExistsError):
            os.mkdir("d" * 250, dir_fd=directory)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    return directory


def test_a_path_may_be_longer_than_the_system_takes_at_once(base: Path) -> None:
    source = deep(base / "src")
    for name, content in (("a", b"one"), ("b", b"two")):
        with open(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=source), "wb") as file:
            file.write(content)
    os.symlink("a", "link", dir_fd=source)
    os.setxattr(f"/proc/self/fd/{source}", "user.note", b"1")
    assert sync(base)["stats"]["copied"] == 5
    assert sync(base)["changed"] is False
    target = deep(base / "dest")
    with open(os.open("b", os.O_TRUNC | os.O_WRONLY, dir_fd=target), "wb") as file:
        file.write(b"other")
    with pytest.raises(ContimgError, match="holds what this copy has not put there"):
        sync(base)
    sync(base, on_conflict="replace", backup_dir=str(base / "kept"))
    os.rename("a", "c", src_dir_fd=source, dst_dir_fd=source)
    sync(base, delete=True)
    assert sorted(os.listdir(target)) == ["b", "c", "link"]
    with open(os.open("b", os.O_RDONLY, dir_fd=target), "rb") as file:
        assert file.read() == b"two"
    assert os.getxattr(f"/proc/self/fd/{target}", "user.note") == b"1"
    assert [path.read_bytes() for path in (base / "kept").rglob("b")] == [b"other"]


def test_a_database_that_is_gone_is_removed_before_its_sidecars_in_one_order(base: Path) -> None:
    """Five databases: an order that is not asked for would not come about in all by chance."""
    names = [f"{number}.db{suffix}" for number in range(5) for suffix in ("", "-wal", "-journal")]
    for name in names:
        (base / "src" / name).write_bytes(b"")
    sync(base)
    for name in names:
        (base / "src" / name).unlink()
    done = sync(base, delete=True)
    removed = [action["path"] for action in done["actions"] if action["action"] == "remove"]
    assert removed == sorted(names, key=lambda name: (name[0], -names.index(name)), reverse=True)


def test_a_name_that_cannot_be_linked_later_is_copied(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "src" / "one").write_text("content")
    sync(base, allow_loss=["hardlink"])
    os.link(base / "src" / "one", base / "src" / "two")
    time.sleep(0.1)  # what has changed just now is not trusted

    def refusing(*_arguments: object, **_named: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refusing)
    sync(base, allow_loss=["hardlink"])
    assert (base / "dest" / "two").read_text() == "content"
    assert not sync(base, allow_loss=["hardlink"])["changed"]


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_no_file_is_backed_up_as_it_is(base: Path, kind: str) -> None:
    (base / "src" / "one").write_text("content")
    (base / "dest").mkdir()
    there = base / "dest" / "one"
    there.symlink_to("elsewhere") if kind == "link" else os.mkfifo(there, 0o640)
    os.utime(there, ns=(5, 5), follow_symlinks=False)
    before = os.lstat(there)
    sync(base, on_conflict="replace", backup_dir=str(base / "kept"))
    (backup,) = (base / "kept").glob("*/*")
    after = os.lstat(backup)
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert kind != "link" or os.readlink(backup) == "elsewhere"
    assert there.read_text() == "content"
