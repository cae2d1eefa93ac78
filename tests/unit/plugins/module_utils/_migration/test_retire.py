# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the retirement of an old state, on real trees that were really copied."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import proven_name
from ansible_collections.dsa110.contimg.plugins.module_utils._migration import retire, retire_archive, retire_note
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import advance, keep, read_record
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire import retire_options
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_archive import (
    archive_path,
    require_archived,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_note import DONE, REMOVING
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_with_overlay, run_within
from ansible_collections.dsa110.contimg.tests.support.hosts.moved_state import FILES, Moved
from ansible_collections.dsa110.contimg.tests.support.trees import ODD_KINDS, make_odd

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

COUNT = len(FILES) + 1  # one has two names
DIGESTS = {
    os.fsencode(name): hashlib.sha256(content).hexdigest() for name, content in {**FILES, "logs/link": b""}.items()
}


@pytest.fixture
def moved(tmp_path: pathlib.Path) -> Moved:
    """Return a moved state."""
    return Moved(tmp_path)


@pytest.mark.parametrize("state", ["archived", "removed"])
def test_what_the_manifest_knows_goes_and_a_tombstone_stays(moved: Moved, state: str) -> None:
    before = moved.here()
    preview = moved.retire(check=True, state=state)
    assert moved.here() == before
    assert os.listdir(moved.run_dir) == ["record.json"]
    assert not moved.archive.exists()
    done = moved.retire(state=state)
    assert done == preview
    assert (done["changed"], done["files"], done["left"]) == (True, COUNT, [])
    assert not moved.src.exists()
    assert moved.archive.exists() == (state == "archived")
    note = json.loads(moved.tombstone.read_text())
    assert (note["dest"], note["stage"], moved.phase) == (str(moved.dest), DONE, "retiring")
    moved.archive.unlink(missing_ok=True)  # it may be taken elsewhere
    again = moved.retire(state=state)
    assert again == {**{name: value for name, value in done.items() if name != "diff"}, "changed": False}
    assert sorted(path.name for path in moved.root.iterdir()) == ["new", "new.sha256", "new.sha256.ledger", "run"]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_archive_holds_every_file_with_its_metadata(moved: Moved, compression: str) -> None:
    database = moved.src / "db" / "products.sqlite3"
    database.chmod(0o640)
    os.utime(database, (1e9, 1e9))
    os.setxattr(database, "user.note", b"\xff\x00two")
    archive = moved.retire(compression=compression)["archive"]
    assert os.stat(archive).st_mode & 0o7777 == 0o600
    plain = subprocess.run([compression, "-dc", archive], check=True, capture_output=True).stdout
    (moved.root / "plain.tar").write_bytes(plain)
    with tarfile.open(moved.root / "plain.tar") as tar:
        content = {one.name: tar.extractfile(one).read() for one in tar if one.isreg()}  # type: ignore[union-attr]
        member = tar.getmember("state/db/products.sqlite3")
    assert content == {f"state/{name}": FILES.get(name, b"") for name in (*FILES, "logs/link")}
    assert (member.mode, member.mtime, member.uid) == (0o640, 1e9, os.getuid())
    out = moved.root / "out"
    out.mkdir()
    subprocess.run(["tar", "--xattrs", "-xf", moved.root / "plain.tar", "-C", out], check=True)
    assert os.getxattr(out / "state" / "db" / "products.sqlite3", "user.note") == b"\xff\x00two"


def test_what_the_manifest_does_not_know_stays_and_is_named(moved: Moved) -> None:
    (moved.src / "logs" / "new.log").write_text("written since")
    (moved.src / "link").symlink_to("db")
    os.mkfifo(moved.src / "db" / "fifo")
    (moved.src / "empty" / "excluded").mkdir(parents=True)
    done = moved.retire(exclude=["/empty/excluded/"])
    assert done["left"] == ["db/fifo", "link", "logs/new.log"]
    assert moved.here() == {"db", "db/fifo", "link", "logs", "logs/new.log", "empty", "empty/excluded"}
    with tarfile.open(moved.archive) as tar:  # also the directories that stay, for their owners and modes
        assert {"state/db", "state/logs", "state/empty/excluded"} <= {one.name for one in tar if one.isdir()}
    assert moved.retire(exclude=["/empty/excluded/"])["changed"] is False


def _change(moved: Moved) -> None:
    (moved.src / "x\udcff").write_bytes(b"z")


def _lose(moved: Moved) -> None:
    (moved.src / "x\udcff").unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_change, r"state: no longer what the manifest says: x\\xff \(has changed\)\. Nothing was removed"),
        (_lose, r"state: no longer what the manifest says: x\\xff \(is missing\)\. Nothing was removed"),
    ],
)
def test_an_old_file_without_proof_stops_it_before_anything_goes(
    moved: Moved, spoil: Callable[[Moved], None], says: str
) -> None:
    spoil(moved)
    refused(moved, says)


def refused(moved: Moved, says: str, **options: Any) -> None:
    """Check that nothing goes, in check mode neither, and what is said."""
    before, there = moved.here(), sorted(moved.root.iterdir())
    for check in (True, False):
        with pytest.raises(ContimgError, match=says):
            moved.retire(check=check, **options)
    assert (moved.here(), sorted(moved.root.iterdir())) == (before, there)
    assert (moved.phase, moved.tombstone.exists()) == ("done", False)


@pytest.mark.parametrize("action", ["open(sys.argv[1] + '/db/products.sqlite3')", "os.chdir(sys.argv[1])"])
def test_a_tree_in_use_is_not_touched(moved: Moved, action: str) -> None:
    code = f"import os, sys, time; held = {action}; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, moved.src], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        refused(moved, rf"state: is still used by process {process.pid}")
        process.kill()


def stop_at(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, number: int, error: BaseException) -> None:
    """Let the n-th call of a function fail."""
    real, calls = getattr(module, name), []

    def dies(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == number:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, dies)


@pytest.mark.parametrize("state", ["archived", "removed"])
def test_an_interrupted_run_is_finished_by_the_next(moved: Moved, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        stop_at(patched, retire, "_remove_file", 3, OSError(5, "Input/output error"))
        with pytest.raises(
            ContimgError, match=r"could not remove the old state: Input/output error.*the next run goes on"
        ):
            moved.retire(state=state)
    assert (json.loads(moved.tombstone.read_text())["stage"], moved.phase) == (REMOVING, "retiring")
    done = moved.retire(state=state)
    size = sum(map(len, FILES.values()))
    assert (done["changed"], done["files"], done["bytes"]) == (True, COUNT, size)
    assert not moved.src.exists()
    if state == "archived":
        require_archived(str(moved.archive), str(moved.src), DIGESTS)


def test_an_archive_that_was_complete_when_the_run_died_is_accepted(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_at(patched, retire, "write_note", 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            moved.retire()
    inode = moved.archive.stat().st_ino
    assert len(moved.here()) > COUNT
    assert moved.retire(check=True)["changed"]
    assert moved.retire()["archive"] == str(moved.archive)
    assert (moved.archive.stat().st_ino, moved.src.exists()) == (inode, False)


@pytest.mark.parametrize("state", ["archived", "removed"])
def test_what_a_killed_run_has_left_of_an_archive_is_removed_and_nothing_that_looks_alike(
    moved: Moved, state: str
) -> None:
    left = moved.root / os.fsdecode(proven_name(b"temporary"))
    alike = moved.root / ".contimg-0123456789abcdef-0123456789abcdef"
    for path in (left, alike):
        path.write_bytes(b"half")
    moved.retire(state=state)
    assert not left.exists()
    assert alike.read_bytes() == b"half"


def test_an_archive_that_lacks_a_file_never_gets_its_name(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    fill, before = retire_archive._fill, moved.here()

    def forgets(tar: Any, root: int, top: bytes, files: Any, directories: Any) -> None:
        fill(tar, root, top, files[:-1], directories)

    monkeypatch.setattr(retire_archive, "_fill", forgets)
    with pytest.raises(ContimgError, match=r"state\.tar\.gz: does not hold 1 files as they were"):
        moved.retire()
    assert sorted(path.name for path in moved.root.iterdir()) == [
        "new",
        "new.sha256",
        "new.sha256.ledger",
        "run",
        "state",
    ]
    assert moved.here() == before


def test_a_lost_archive_stops_what_has_begun(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        stop_at(patched, retire, "_remove_file", 3, OSError(5, "Input/output error"))
        with pytest.raises(ContimgError):
            moved.retire()
    elsewhere = moved.root / "elsewhere.tar.gz"
    moved.archive.rename(elsewhere)
    before = moved.here()
    with pytest.raises(ContimgError, match=r"state\.tar\.gz: is not there, and files .* are removed already\. Nothing"):
        moved.retire()
    with tarfile.open(moved.archive, "w:gz", dereference=True) as tar:  # without what is removed already
        tar.add(moved.src, "state")
    with pytest.raises(ContimgError, match="exists already, and does not hold 2 files as they were"):
        moved.retire()
    moved.archive.write_bytes(elsewhere.read_bytes()[:-99])
    with pytest.raises(ContimgError, match=r"exists already, and .* It is the only copy of what is removed already"):
        moved.retire()
    assert moved.here() == before
    assert moved.retire(archive=str(elsewhere))["archive"] == str(elsewhere)
    assert not moved.src.exists()


def test_files_that_are_in_no_archive_are_not_claimed_to_be(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        stop_at(patched, retire, "_remove_file", 3, OSError(5, "Input/output error"))
        with pytest.raises(ContimgError):
            moved.retire(state="removed")
    with pytest.raises(ContimgError, match=r"state: 2 files are removed already and in no archive\. Nothing more"):
        moved.retire()
    assert moved.retire(state="removed")["archive"] == ""
    assert moved.retire()["archive"] == ""


def test_a_file_that_changes_meanwhile_is_not_removed(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    write = retire_note.write_note

    def meanwhile(*arguments: Any, **options: Any) -> None:
        (moved.src / "x\udcff").write_bytes(b"w")
        write(*arguments, **options)

    monkeypatch.setattr(retire, "write_note", meanwhile)
    with pytest.raises(ContimgError, match=r"x\\xff: has changed (since it was read|while it was archived)"):
        moved.retire()
    with pytest.raises(ContimgError, match="no longer what the manifest says"):
        moved.retire()
    assert (moved.src / "x\udcff").read_bytes() == b"w"


@pytest.mark.parametrize("compression", ["gz", "zst"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "short", "empty", "text"])
def test_a_damaged_archive_is_not_taken_for_a_good_one(moved: Moved, damage: str, compression: str) -> None:
    (moved.src / "x\udcff").write_bytes(content := os.urandom(8000))
    digests = {**DIGESTS, b"x\xff": hashlib.sha256(content).hexdigest()}
    digests.pop(b"logs/link")  # tar would store it as a link
    path, plain = moved.root / f"state.tar.{compression}", moved.root / "plain.tar"
    with tarfile.open(plain, "w") as tar:
        for name in digests if damage != "short" else list(digests)[:-1]:
            tar.add(moved.src / os.fsdecode(name), f"state/{os.fsdecode(name)}")
    program = "gzip" if compression == "gz" else "zstd"
    path.write_bytes(subprocess.run([program, "-c", plain], check=True, capture_output=True).stdout)
    if damage == "short":
        with pytest.raises(ContimgError, match="does not hold 1 files as they were: "):
            require_archived(str(path), str(moved.src), digests)
        return
    require_archived(str(path), str(moved.src), digests)
    data = path.read_bytes()
    half = len(data) // 2
    flipped = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
    path.write_bytes({"cut": data[:half], "flipped": flipped, "empty": b"", "text": b"text\n"}[damage])
    with pytest.raises(ContimgError, match=r"cannot be read back|could not read|does not hold|zstd failed"):
        require_archived(str(path), str(moved.src), digests)


def test_nothing_of_others_is_overwritten(moved: Moved) -> None:
    moved.archive.write_bytes(b"precious")
    refused(moved, r"state\.tar\.gz: exists already, and cannot be read back.*Nothing was removed\. Move it away")
    refused(moved, "would lie in the state that it archives", archive=str(moved.src / "db" / "a.tar"))
    assert moved.archive.read_bytes() == b"precious"
    moved.tombstone.write_text("precious")
    with pytest.raises(ContimgError, match=r"retired\.json: is not a tombstone\. Nothing was removed"):
        moved.retire(state="removed")
    assert moved.tombstone.read_text() == "precious"


@pytest.mark.parametrize("name", ["tombstone", "archive", "ledger"])
@pytest.mark.parametrize("kind", ODD_KINDS)
def test_what_is_not_a_regular_file_is_neither_read_nor_waited_for(moved: Moved, name: str, kind: str) -> None:
    path: pathlib.Path = getattr(moved, name)
    path.unlink(missing_ok=True)
    make_odd(kind, path)
    before = moved.here()
    with pytest.raises(ContimgError, match=rf"{path.name}: .*is (not a regular file|a symbolic link)"):
        moved.retire()
    assert moved.here() == before


TOMBSTONE = {
    "version": 1,
    "src": "",
    "dest": "",
    "manifest": "",
    "stage": DONE,
    "archive": "",
    "result": {"files": 1, "bytes": 1, "changed_since": 0, "left_total": 0, "left": []},
}


def forged(moved: Moved, **more: Any) -> None:
    """Leave a tombstone that no run has written."""
    places = {"src": str(moved.src), "dest": str(moved.dest)}
    moved.tombstone.write_text(json.dumps({**TOMBSTONE, **places, **more}))


def test_a_tombstone_that_claims_that_it_is_done_is_no_proof(moved: Moved) -> None:
    result = {**TOMBSTONE["result"], "ansible_facts": {"a": 1}, "failed": False}  # type: ignore[dict-item]
    forged(moved, done=True, result=result, ansible_facts={"b": 1}, changed=False)
    before = moved.here()
    preview = moved.retire(check=True)
    assert (preview["changed"], moved.here()) == (True, before)
    done = moved.retire()
    assert done == preview
    assert set(done) == {
        *("changed", "files", "bytes", "changed_since", "left", "left_total", "archive", "tombstone", "diff")
    }
    assert done["files"] == COUNT
    require_archived(str(moved.archive), str(moved.src), DIGESTS)
    assert not moved.src.exists()


def test_a_tombstone_excuses_no_missing_file_while_the_record_says_that_none_was_removed(moved: Moved) -> None:
    forged(moved, stage=REMOVING)
    _lose(moved)
    with pytest.raises(ContimgError, match=r"no longer what the manifest says: x\\xff \(is missing\)"):
        moved.retire()


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2},
        {"stage": "gone"},
        {"result": {}},
        {"result": {**TOMBSTONE["result"], "files": "1"}},  # type: ignore[dict-item]
        {"result": {**TOMBSTONE["result"], "left": [1]}},  # type: ignore[dict-item]
        {"archive": ["/a"]},
    ],
)
def test_a_tombstone_is_checked_field_by_field(moved: Moved, wrong: dict[str, Any]) -> None:
    forged(moved, **wrong)
    with pytest.raises(ContimgError, match=r"retired\.json: is not a tombstone"):
        moved.retire()


def test_the_tombstone_and_the_record_of_another_move_stop_it(moved: Moved) -> None:
    forged(moved, src="/other")
    with pytest.raises(ContimgError, match=r"is the tombstone of /other, which moved to .*contimg_run_dir"):
        moved.retire()
    moved.tombstone.unlink()
    record = read_record(str(moved.run_dir))
    keep(str(moved.run_dir), {**record, "move": {**record["move"], "dest": "/other"}})
    with pytest.raises(ContimgError, match=r"record\.json: is the record of a move with dest /other, not .*new\. Noth"):
        moved.retire()


@pytest.mark.parametrize("phase", ["presynced", "started", "rolled_back"])
def test_the_old_state_of_a_host_that_has_not_moved_is_not_retired(moved: Moved, phase: str) -> None:
    record = read_record(str(moved.run_dir))
    keep(str(moved.run_dir), {**record, "phase": phase})
    before = moved.here()
    with pytest.raises(ContimgError, match=rf"record\.json: this host is at phase '{phase}', so its old state is not"):
        moved.retire()
    assert moved.here() == before


def test_a_host_that_goes_back_while_the_archive_is_written_keeps_its_state(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = retire_archive.write_archive

    def meanwhile(*arguments: Any) -> None:
        write(*arguments)
        keep(str(moved.run_dir), advance(read_record(str(moved.run_dir)), "rolled_back", {}, at=0))

    monkeypatch.setattr(retire, "write_archive", meanwhile)
    before = moved.here()
    with pytest.raises(ContimgError, match="'rolled_back' cannot be taken to 'retiring'"):
        moved.retire()
    assert moved.here() == before


def test_the_record_says_that_there_is_no_way_back_before_the_first_file_goes(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, phases = retire._remove_file, []

    def watched(*arguments: Any) -> None:
        phases.append(moved.phase)
        remove(*arguments)

    monkeypatch.setattr(retire, "_remove_file", watched)
    moved.retire()
    assert set(phases) == {"retiring"}


def test_a_tree_that_is_missing_is_retired_only_if_a_run_has_removed_it(moved: Moved) -> None:
    away = moved.src.rename(moved.root / "away")
    for stage in ("", REMOVING):
        if stage:
            forged(moved, stage=stage)
        with pytest.raises(
            ContimgError, match=r"state: does not exist\. Nothing was removed\. Is its file system mount"
        ):
            moved.retire()
    moved.src.write_text("a file")
    with pytest.raises(ContimgError, match=r"state: is not a directory\. Nothing was removed"):
        moved.retire()
    moved.src.unlink()
    moved.tombstone.unlink()
    away.rename(moved.src)
    moved.retire()
    assert moved.retire()["changed"] is False


def test_a_lost_tombstone_does_not_stop_what_the_record_says_has_begun(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_at(patched, retire, "_remove_file", 3, OSError(5, "Input/output error"))
        with pytest.raises(ContimgError):
            moved.retire()
    moved.tombstone.unlink()
    assert moved.retire()["files"] == COUNT
    assert not moved.src.exists()


def test_a_run_directory_without_a_record_is_enough(moved: Moved) -> None:
    shutil.rmtree(moved.run_dir)
    assert moved.retire()["files"] == COUNT
    assert os.listdir(moved.run_dir) == ["retired.json"]


def test_a_pipe_that_cannot_be_closed_is_not_waited_for(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a compression that never comes to its end, since its input stays open."""
    kept: list[int] = []

    def finish(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        kept.append(os.dup(process.stdin.fileno()))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(retire_archive, "_finish", finish)
    ends_it = threading.Timer(60, lambda: os.close(kept.pop()))
    ends_it.start()
    with pytest.raises(ContimgError, match="Input/output error"):
        moved.retire(compression="zstd")
    ends_it.cancel()
    os.close(kept.pop())
    assert moved.src.exists()


def test_what_zstd_says_is_reported(moved: Moved, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bin" / "zstd"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho 'error 70 : Write error : No space left on device' >&2\nexit 70\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    before = moved.here()
    with pytest.raises(ContimgError, match=r"state\.tar\.zst: zstd failed: error 70 .* No space left on device"):
        moved.retire(compression="zstd")
    assert moved.here() == before
    assert not (moved.root / "state.tar.zst").exists()


def test_the_compression_is_what_the_host_has(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    assert archive_path("", "/a/state/", "gzip") == "/a/state.tar.gz"
    assert archive_path("", "/a/state", "auto") == "/a/state.tar.zst"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert archive_path("", "/a/state", "auto") == "/a/state.tar.gz"
    for path, compression in (("", "zstd"), ("/b/x.tar.zst", "auto")):
        with pytest.raises(ContimgError, match="zstd is not on this host"):
            archive_path(path, "/a/state", compression)


@pytest.mark.parametrize(
    "baseline",
    [
        {"products": None},
        {"products": {"tables": {"t": {}}}},
        {"./a": {"tables": {"t": {"rows": "x"}}}},
        {"a": {"tables": {}}},
    ],
)
def test_a_baseline_is_what_state_rows_info_returned(moved: Moved, baseline: dict[str, Any]) -> None:
    with pytest.raises(ContimgError, match="the baseline is none"):
        retire_options({**moved.values(), "baseline": baseline})


@pytest.mark.parametrize("name", ["db/products.sqlite3", "logs/old/a b\n.log"])
def test_a_file_that_is_the_new_one_too_is_not_removed(moved: Moved, name: str) -> None:
    there = moved.dest / name.replace("db/", "")
    there.unlink()
    os.link(moved.src / name, there)
    refused(moved, r"has files in common with .*Nothing was removed\. They are hard links", state="removed")


RETIRE = """
import json, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire import retire, retire_options

try:
    done = retire(retire_options(json.loads(sys.argv[1])), check=sys.argv[2] == "check")
    print(done["files"], "files are retired", "now" if done["changed"] else "already")
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
    options = moved.values(state="removed", exclude=exclude)
    before = moved.here()
    said = run_within([(moved.src / "logs", moved.dest / "logs")], RETIRE, json.dumps(options), mode)
    assert says in said
    assert "Nothing was removed." in said
    assert moved.here() == before
    assert not moved.tombstone.exists()


@pytest.mark.parametrize("mode", ["check", "run"])
def test_an_overlay_of_the_old_state_is_no_place_where_it_was_moved_to(moved: Moved, mode: str) -> None:
    before = moved.here()
    options = moved.values(state="removed")
    said = run_with_overlay(moved.src, moved.dest, RETIRE, json.dumps(options), mode)
    assert "has files in common with" in said
    assert "Nothing was removed." in said
    assert moved.here() == before


def test_an_old_state_that_is_a_mount_point_stays_as_an_empty_directory(moved: Moved) -> None:
    shown = moved.root / "shown"
    shown.mkdir()
    options = moved.values(state="removed", src=str(shown))
    record = read_record(str(moved.run_dir))
    keep(str(moved.run_dir), {**record, "move": {**record["move"], "src": str(shown)}})
    for when in ("now", "already"):
        said = run_within([(moved.src, shown)], RETIRE, json.dumps(options), "run")
        assert said == f"{COUNT} files are retired {when}"
    assert moved.here() == set()
    assert json.loads(moved.tombstone.read_text())["stage"] == DONE
