# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the leave from an old state, on real trees."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils import _retire
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._manifest import manifest_line
from ansible_collections.dsa110.contimg.plugins.module_utils._retire import RetireOptions, retire, retire_options
from ansible_collections.dsa110.contimg.plugins.module_utils._retire_archive import archive_path, require_archived
from ansible_collections.dsa110.contimg.tests.support.mounts import run_within

if TYPE_CHECKING:
    import pathlib

FILES = {
    "db/products.sqlite3": b"products" * 999,
    "db/products.sqlite3-wal": b"log",
    "logs/old/a b\n.log": b"",
    "logs/link": b"",
    "x\udcff": b"y",
}
RENAME = {"db/products.sqlite3": "products.sqlite3"}


class Moved:
    """A state that has been moved, with everything that a move leaves behind."""

    def __init__(self, root: pathlib.Path) -> None:
        self.src, self.dest = root / "state", root / "new"
        self.archive = root / "state.tar.gz"
        self.tombstone = root / "state.retired"
        for name, content in FILES.items():
            if name == "logs/link":
                continue
            (self.src / name).parent.mkdir(parents=True, exist_ok=True)
            (self.src / name).write_bytes(content)
        os.link(self.src / "logs" / "old" / "a b\n.log", self.src / "logs" / "link")
        shutil.copytree(self.src, self.dest)
        for suffix in ("", "-wal"):
            (self.dest / "db" / f"products.sqlite3{suffix}").rename(self.dest / f"products.sqlite3{suffix}")
        digests = {os.fsencode(name.replace("db/", "")): hashlib.sha256(FILES[name]).hexdigest() for name in FILES}
        (root / "new.sha256").write_bytes(b"".join(manifest_line(*file) for file in sorted(digests.items())))
        self.moved_at = time.time() + 1

    def options(self, **more: Any) -> RetireOptions:
        """Return the options of the module, some of them other."""
        return retire_options(self.values(**more))

    def values(self, **more: Any) -> dict[str, Any]:
        """Return the parameters of the module, some of them other."""
        usual = {
            "src": str(self.src),
            "dest": str(self.dest),
            "manifest": None,
            "rename": RENAME,
            "moved_at": self.moved_at,
        }
        rest: dict[str, Any] = {
            "state": "archived",
            "archive": None,
            "compression": "gzip",
            "accept": [],
            "exclude": [],
            "tombstone": None,
        }
        return {**usual, **rest, "require_proof": False, **more}

    def retire(self, *, check: bool = False, **more: Any) -> dict[str, Any]:
        """Retire it."""
        return retire(self.options(**more), check=check)

    def here(self) -> set[str]:
        """Return every name of the old tree."""
        return {
            os.path.relpath(os.path.join(folder, name), self.src)
            for folder, dirs, files in os.walk(self.src)
            for name in (*dirs, *files)
        }


@pytest.fixture
def moved(tmp_path: pathlib.Path) -> Moved:
    """Return a moved state."""
    return Moved(tmp_path)


@pytest.mark.parametrize("state", ["archived", "removed"])
def test_what_the_manifest_knows_goes_and_a_note_stays(moved: Moved, state: str) -> None:
    before = moved.here()
    preview = moved.retire(check=True, state=state)
    assert moved.here() == before
    assert not moved.archive.exists()
    assert not moved.tombstone.exists()
    done = moved.retire(state=state)
    assert done == preview
    assert (done["changed"], done["files"], done["left"]) == (True, 5, [])
    assert not moved.src.exists()
    assert moved.archive.exists() == (state == "archived")
    note = json.loads(moved.tombstone.read_text())
    assert (note["moved_to"], note["done"]) == (str(moved.dest), True)
    again = moved.retire(state=state)
    assert again["changed"] is False
    assert {name: again[name] for name in ("files", "archive", "left")} == {
        name: done[name] for name in ("files", "archive", "left")
    }


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_archive_holds_every_file_with_its_metadata(moved: Moved, compression: str) -> None:
    database = moved.src / "db" / "products.sqlite3"
    database.chmod(0o640)
    os.utime(database, (1e9, 1e9))
    os.setxattr(database, "user.note", b"\xff\x00two")
    archive = moved.retire(compression=compression)["archive"]
    assert os.stat(archive).st_mode & 0o7777 == 0o600
    plain = subprocess.run([compression, "-dc", archive], check=True, capture_output=True).stdout
    (moved.src.parent / "plain.tar").write_bytes(plain)
    with tarfile.open(moved.src.parent / "plain.tar") as tar:
        content = {one.name: tar.extractfile(one).read() for one in tar if one.isreg()}  # type: ignore[union-attr]
        member = tar.getmember("state/db/products.sqlite3")
    assert content == {f"state/{name}": FILES[name] for name in FILES}
    assert (member.mode, member.mtime, member.uid) == (0o640, 1e9, os.getuid())
    out = moved.src.parent / "out"
    out.mkdir()
    subprocess.run(["tar", "--xattrs", "-xf", moved.src.parent / "plain.tar", "-C", out], check=True)
    assert os.getxattr(out / "state" / "db" / "products.sqlite3", "user.note") == b"\xff\x00two"


def test_what_the_manifest_does_not_know_stays_and_is_named(moved: Moved) -> None:
    (moved.src / "logs" / "new.log").write_text("written since")
    (moved.src / "link").symlink_to("db")
    os.mkfifo(moved.src / "db" / "fifo")
    (moved.src / "empty").mkdir()
    done = moved.retire()
    assert done["left"] == ["db/fifo", "link", "logs/new.log"]
    assert moved.here() == {"db", "db/fifo", "link", "logs", "logs/new.log"}
    assert moved.retire()["changed"] is False


def _change(moved: Moved) -> None:
    (moved.src / "x\udcff").write_bytes(b"z")


def _lose(moved: Moved) -> None:
    (moved.src / "x\udcff").unlink()


def _lose_there(moved: Moved) -> None:
    (moved.dest / "x\udcff").unlink()


def _differ_there(moved: Moved) -> None:
    (moved.dest / "x\udcff").write_bytes(b"z")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_change, r"state: no longer what the manifest says: x\\xff. Nothing was removed"),
        (_lose, r"state: no longer what the manifest says: x\\xff"),
        (_lose_there, r"new: neither there as it was copied nor changed since by the services: x\\xff"),
        (_differ_there, r"new: neither there as it was copied nor changed since by the services: x\\xff"),
    ],
)
def test_a_file_without_proof_stops_it_before_anything_goes(moved: Moved, spoil: Any, says: str) -> None:
    spoil(moved)
    before = moved.here()
    for check in (True, False):
        with pytest.raises(ContimgError, match=says):
            moved.retire(check=check)
    assert moved.here() == before
    assert not moved.tombstone.exists()
    assert not moved.archive.exists()


def test_services_may_have_changed_files_and_closed_logs_since(moved: Moved) -> None:
    (moved.dest / "products.sqlite3").write_bytes(b"more rows")
    os.utime(moved.dest / "products.sqlite3", (moved.moved_at + 9, moved.moved_at + 9))
    (moved.dest / "products.sqlite3-wal").unlink()
    (moved.dest / "x\udcff").unlink()
    assert moved.retire(accept=["x*"])["changed_since"] == 1


@pytest.mark.parametrize("action", ["open(sys.argv[1] + '/db/products.sqlite3')", "os.chdir(sys.argv[1])"])
def test_a_tree_in_use_is_not_touched(moved: Moved, action: str) -> None:
    before = moved.here()
    code = f"import os, sys, time; held = {action}; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, moved.src], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(ContimgError, match=rf"state: is still used by process {process.pid}"):
            moved.retire()
        process.kill()
    assert moved.here() == before


@pytest.mark.parametrize("state", ["archived", "removed"])
def test_an_interrupted_run_is_finished_by_the_next(moved: Moved, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink, calls = os.unlink, []

    def dies(path: Any, **options: Any) -> None:
        if "dir_fd" in options:
            calls.append(path)
            if len(calls) == 3:
                raise OSError(5, "Input/output error")
        unlink(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", dies)
        with pytest.raises(
            ContimgError, match=r"could not remove the old state: Input/output error.*the next run goes on"
        ):
            moved.retire(state=state)
    assert json.loads(moved.tombstone.read_text())["done"] is False
    done = moved.retire(state=state)
    assert (done["changed"], done["files"]) == (True, 5)
    assert not moved.src.exists()
    if state == "archived":
        require_archived(str(moved.archive), str(moved.archive), str(moved.src), _digests())


def _digests() -> dict[bytes, str]:
    return {os.fsencode(name): hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def test_a_file_that_changes_meanwhile_is_not_removed(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    write = _retire._write_note

    def meanwhile(*arguments: Any, **options: Any) -> None:
        (moved.src / "x\udcff").write_bytes(b"w")
        write(*arguments, **options)

    monkeypatch.setattr(_retire, "_write_note", meanwhile)
    with pytest.raises(ContimgError, match=r"x\\xff: has changed since it was read"):
        moved.retire()
    assert (moved.src / "x\udcff").read_bytes() == b"w"


@pytest.mark.parametrize("damage", ["cut", "flipped", "short"])
def test_a_damaged_archive_is_not_taken_for_a_good_one(moved: Moved, damage: str) -> None:
    (moved.src / "db" / "products.sqlite3").write_bytes(content := os.urandom(8000))
    digests = {**_digests(), b"db/products.sqlite3": hashlib.sha256(content).hexdigest()}
    files = {name: digest for name, digest in digests.items() if damage != "short" or name != b"x\xff"}
    path = moved.archive
    with tarfile.open(path, "w:gz") as tar:
        for name in files:
            tar.add(moved.src / os.fsdecode(name), f"state/{os.fsdecode(name)}")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    with pytest.raises(ContimgError, match=r"cannot be read back|could not read the archive back|does not hold"):
        require_archived(str(path), str(path), str(moved.src), digests)


def test_nothing_of_others_is_overwritten(moved: Moved) -> None:
    before = moved.here()
    moved.archive.write_bytes(b"precious")
    with pytest.raises(ContimgError, match=r"state.tar.gz: exists already. Nothing was removed"):
        moved.retire()
    moved.tombstone.write_text("precious")
    with pytest.raises(ContimgError, match=r"state.retired: is no tombstone of ours. Nothing was removed"):
        moved.retire(state="removed")
    with pytest.raises(ContimgError, match="would lie in the state that it archives"):
        replace_archive(moved)
    assert moved.archive.read_bytes() == b"precious"
    assert moved.here() == before


def replace_archive(moved: Moved) -> None:
    """Archive into the old state itself."""
    moved.tombstone.unlink()
    retire(replace(moved.options(), archive=str(moved.src / "db" / "a.tar")), check=False)


def test_the_compression_is_what_the_host_has(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    assert archive_path("", "/a/state/", "gzip") == "/a/state.tar.gz"
    assert archive_path("", "/a/state", "auto") == "/a/state.tar.zst"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert archive_path("", "/a/state", "auto") == "/a/state.tar.gz"
    for path, compression in (("", "zstd"), ("/b/x.tar.zst", "auto")):
        with pytest.raises(ContimgError, match="zstd is not on this host"):
            archive_path(path, "/a/state", compression)


@pytest.mark.parametrize("name", ["db/products.sqlite3", "logs/old/a b\n.log"])
def test_a_file_that_is_the_new_one_too_is_not_removed(moved: Moved, name: str) -> None:
    there = moved.dest / name.replace("db/", "")
    there.unlink()
    os.link(moved.src / name, there)
    before = moved.here()
    with pytest.raises(ContimgError, match=r"has files in common with .*Nothing was removed\. They are hard links"):
        moved.retire(state="removed")
    assert moved.here() == before


RETIRE = """
import json, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._retire import retire, retire_options

try:
    print(retire(retire_options(json.loads(sys.argv[1])), check=sys.argv[2] == "check")["files"], "files are retired")
except ContimgError as error:
    print(error.message)
"""


@pytest.mark.parametrize("mode", ["check", "run"])
@pytest.mark.parametrize(
    ("exclude", "says"), [([], "logs: is a mount"), (["/logs/"], "logs: is a mount that shows a part of")]
)
def test_a_directory_that_shows_the_old_one_is_no_place_where_it_was_moved_to(
    moved: Moved, mode: str, exclude: list[str], says: str
) -> None:
    options = moved.values(state="removed", exclude=exclude, rename={}, moved_at=0)
    before = moved.here()
    said = run_within([(moved.src / "logs", moved.dest / "logs")], RETIRE, json.dumps(options), mode)
    assert says in said
    assert "Nothing was removed." in said
    assert moved.here() == before
    assert not moved.tombstone.exists()
