# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What check mode shows a run does: the same plan, or the same refusal in the same words, before anything is written."""

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
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_within
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BOTH = """
import json, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
for check in (True, False):
    try:
        print(synchronize(options_from(json.loads(sys.argv[1])), check=check)["actions_digest"])
    except ContimgError as error:
        print(error.message)
"""
FLAGS = {"+i": "is immutable (chattr +i)", "+a": "is append-only (chattr +a)"}


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "src" / "d").mkdir(parents=True)
    (tmp_path / "src" / "file").write_text("one")
    (tmp_path / "src" / "d" / "deep").write_text("two")
    (tmp_path / "plain").write_text("not a directory")
    yield tmp_path
    subprocess.run(["chattr", "-R", "-f", "-ia", str(tmp_path)], check=False, capture_output=True)


def once(base: Path, *, check: bool, **values: Any) -> str | tuple[object, ...]:
    try:
        result = synchronize(options_from(sync_values(base, **values)), check=check)
    except ContimgError as error:
        return error.message
    return (result["changed"], result["actions_digest"], result["diff"])


def both(base: Path, **values: Any) -> str | tuple[object, ...]:
    """Return what check mode and a run say, which must be one thing; a run that succeeds leaves nothing to do."""
    preview = once(base, check=True, **values)
    run = once(base, check=False, **values)
    assert preview == run
    assert isinstance(run, str) or once(base, check=False, **values)[0] is False
    return run


def chattr(flag: str, *paths: Path) -> None:
    subprocess.run(["chattr", flag, *map(str, paths)], check=True)


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("place", ["src", "src/d", "src/file", "src/d/deep"])
def test_a_flag_of_the_source_is_refused_or_given_up(base: Path, flag: str, place: str) -> None:
    chattr(flag, base / place)
    assert f"flags ({'.' if place == 'src' else place[4:]}: chattr {flag}, which no copy has)" in both(base)
    assert not isinstance(both(base, allow_loss=["flags"]), str)


def change_file(src: Path) -> None:
    (src / "file").write_text("three")


def change_deep(src: Path) -> None:
    (src / "d" / "deep").write_text("three")


def change_mode(src: Path) -> None:
    (src / "file").chmod(0o600)


def change_mode_of_directory(src: Path) -> None:
    (src / "d").chmod(0o700)


def add_link(src: Path) -> None:
    os.link(src / "file", src / "d" / "other")


def add_later_link(src: Path) -> None:
    os.link(src / "file", src / "later")


def add_directory(src: Path) -> None:
    (src / "e").mkdir()


def remove_file(src: Path) -> None:
    (src / "file").unlink()


def remove_directory(src: Path) -> None:
    shutil.rmtree(src / "d")


def forget(src: Path) -> None:
    (src.parent / "dest.sha256").unlink()
    (src.parent / "dest.sha256.ledger").unlink()


def lose_manifest(src: Path) -> None:
    (src.parent / "dest.sha256").unlink()


def nothing(_src: Path) -> None:
    pass


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize(
    ("place", "change", "named"),
    [
        ("dest", change_file, "{base}/dest"),
        ("dest", change_deep, "{base}/dest"),
        ("dest", add_directory, "{base}/dest"),
        ("dest/d", change_deep, "d"),
        ("dest/d", change_mode_of_directory, "d"),
        ("dest/d", remove_directory, "d"),
        ("dest/d/deep", remove_directory, "d/deep"),
        ("dest/file", change_file, "file"),
        ("dest/file", change_mode, "file"),
        ("dest/file", remove_file, "file"),
        ("dest/file", add_link, "file"),
        ("dest/file", add_later_link, "file"),
        ("dest/d/deep", change_file, ""),
        ("dest/file", nothing, ""),
        ("dest", nothing, ""),
        ("dest", forget, ""),
        ("dest", lose_manifest, ""),
        (".", lose_manifest, "{base}"),
        (".", forget, "{base}"),
        ("dest.sha256", change_file, "{base}/dest.sha256"),
        ("dest.sha256.ledger", change_file, "{base}/dest.sha256.ledger"),
    ],
)
def test_a_flag_of_the_destination_is_refused_where_it_is_in_the_way(
    base: Path, flag: str, place: str, change: Callable[[Path], None], named: str
) -> None:
    once(base, check=False)
    change(base / "src")
    chattr(flag, base / place)
    said = both(base, delete=True)
    if not named:
        assert not isinstance(said, str)
        return
    hint = "Nothing was touched. Make it writable, or choose another destination."
    assert said == f"{base}/dest: cannot be written: {named.format(base=base)} {FLAGS[flag]}. {hint}"


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flagged_file_that_may_be_copied_instead_of_linked_is_left_alone(base: Path, flag: str) -> None:
    once(base, check=False)
    add_later_link(base / "src")
    chattr(flag, base / "dest" / "file")
    time.sleep(0.1)  # what changed just before a pass is not taken for unchanged after it
    assert not isinstance(both(base, allow_loss=["hardlink"]), str)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"dest": "plain/x"}, "{base}/plain/x: cannot be made: {base}/plain is not a directory"),
        ({"dest": "plain/x/y"}, "{base}/plain/x/y: cannot be made: {base}/plain is not a directory"),
        ({"dest": "nowhere/x"}, "{base}/nowhere/x: cannot be made: {base}/nowhere is a symbolic link to nothing"),
        ({"dest": "plain"}, "{base}/plain: is not a directory"),
        ({"dest": "src/d"}, "{base}/src/d: lies inside the source {base}/src"),
        ({"dest": "plain/x", "manifest": "m"}, "{base}/plain/x: cannot be made: {base}/plain is not a directory"),
        ({"manifest": "plain/m"}, "{base}/plain/m.ledger: could not read the ledger: Not a directory [errno 20]"),
        ({"manifest": "none/m"}, "{base}/dest: cannot be written: {base}/none does not exist"),
        ({"manifest": "src/d"}, "{base}/dest: cannot be written: {base}/src/d is a directory"),
        ({"progress_file": "src/d"}, "{base}/src/d: cannot be written: {base}/src/d is a directory"),
        ({"progress_file": "plain/p"}, "{base}/plain/p: cannot be written: {base}/plain is not a directory"),
        ({"progress_file": "none/p"}, "{base}/none/p: cannot be written: {base}/none does not exist"),
        ({"exclude": ["[z-a]"]}, "[z-a]: is not a glob: the range z-a is empty"),
        ({"exclude": ["file", "[z-a]/"]}, "[z-a]/: is not a glob: the range z-a is empty"),
        ({"exclude": ["[[:nope:]]"]}, "[[:nope:]]: is not a glob: there is no class [:nope:]"),
    ],
)
def test_a_place_or_a_glob_that_cannot_be_meant_is_refused(base: Path, values: dict[str, Any], says: str) -> None:
    (base / "nowhere").symlink_to("nothing")
    places = {name: value if name == "exclude" else str(base / value) for name, value in values.items()}
    said = both(base, **places)
    assert isinstance(said, str)
    assert said.startswith(says.format(base=base) + ".")
    assert sorted(os.listdir(base)) == ["nowhere", "plain", "src"]


def test_a_class_of_characters_excludes_what_it_does_in_the_shell(base: Path) -> None:
    for name in ("a1.log", "a2.log", "ab.log"):
        (base / "src" / name).touch()
    both(base, exclude=["a[[:digit:]].log"])
    assert sorted(os.listdir(base / "dest")) == ["ab.log", "d", "file"]


def test_a_replacement_without_a_place_for_its_backup_is_refused(base: Path) -> None:
    (base / "dest").mkdir()
    (base / "dest" / "file").write_text("another's")
    said = both(base, on_conflict="replace")
    hint = "Nothing was replaced. Name a backup_dir, or decide to keep what is there."
    assert said == f"file: would be replaced without a backup. {hint}"


def test_a_destination_whose_name_is_too_long_is_refused(base: Path) -> None:
    said = both(base, dest=str(base / ("d" * 256)), manifest=str(base / "m"))
    assert isinstance(said, str)
    assert "d: cannot be written: " in said
    assert "has a name of more than 255 bytes. Nothing was touched." in said


@pytest.mark.parametrize("live", [True, False])
def test_files_beside_the_destination_that_cannot_be_written_are_refused_also_before_the_services_stop(
    base: Path, *, live: bool
) -> None:
    (base / "dest.sha256").mkdir()
    assert str(both(base, live=live)).startswith(f"{base}/dest: cannot be written: {base}/dest.sha256 is a directory.")
    (base / "dest.sha256").rmdir()
    (base / "dest.sha256.kept").mkdir()
    assert str(both(base, live=live)).startswith(f"{base}/dest.sha256.kept: is not a regular file.")
    assert not (base / "dest").exists()


@pytest.mark.parametrize("place", ["plain", "plain/x", "plain/x/y", "nowhere"])
@pytest.mark.parametrize("there", ["", "another's"])
def test_a_place_of_backups_that_cannot_be_used_is_refused(base: Path, place: str, there: str) -> None:
    (base / "nowhere").symlink_to("nothing")
    (base / "dest").mkdir()
    if there:
        (base / "dest" / "file").write_text(there)
    said = str(both(base, on_conflict="replace", backup_dir=str(base / place)))
    assert said.startswith(f"{base}/dest: cannot be written: {base}/{place} ")
    assert "Nothing was touched." in said
    assert os.listdir(base / "dest") == (["file"] if there else [])


@pytest.mark.parametrize("decided", [{"on_conflict": "replace"}, {"decisions": {"db": "replace", "db-wal": "replace"}}])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("content", ["", "inside"])
def test_a_directory_in_the_place_of_a_database_is_not_replaced(
    base: Path, decided: dict[str, Any], suffix: str, content: str
) -> None:
    for root, row in (("src", 1), ("dest", 2)):
        (base / root).mkdir(exist_ok=True)
        if root == "src" or suffix:
            with contextlib.closing(sqlite3.connect(base / root / "db")) as connection:
                connection.executescript(f"CREATE TABLE t (a); INSERT INTO t VALUES ({row})")
    (base / "dest" / f"db{suffix}").mkdir()
    if content:
        (base / "dest" / f"db{suffix}" / content).touch()
    said = str(both(base, **decided, backup_dir=str(base / "replaced")))
    assert said.startswith(f"{base}/dest: holds what this copy has not put there: db{suffix} (is a directory).")
    assert said.endswith("A directory is not replaced: move it away.")
    assert not (base / "replaced").exists()


def test_a_directory_in_the_place_of_a_file_is_not_replaced(base: Path) -> None:
    (base / "dest" / "file").mkdir(parents=True)
    said = str(both(base, on_conflict="replace", backup_dir=str(base / "replaced")))
    assert said.startswith(
        f"{base}/dest: holds what this copy has not put there: file (is a directory). Nothing was touched."
    )


RENAMED = [
    ({"d": "e"}, "d: is in rename, and is a directory: only single files are renamed"),
    ({"d": "d/e"}, "d: is in rename, and is a directory: only single files are renamed"),
    ({"empty": "e"}, "empty: is in rename, and is a directory: only single files are renamed"),
    ({"file": "d"}, "d: two files of the source go here, d and file"),
    ({"d/deep": "file/deep"}, "file/deep: cannot be made: file is not a directory"),
    ({"d/deep": "link/deep"}, "link/deep: cannot be made: link is not a directory"),
    ({"file": "theirs/file"}, "theirs/file: cannot be made: theirs is not a directory"),
    ({"file": "lead/a/b"}, "lead/a/b: cannot be made: lead is not a directory"),
    ({"file": "/x"}, "/x: is in rename, and is not a path below dest in its shortest form"),
    ({"file": "../x"}, "../x: is in rename, and is not a path below dest in its shortest form"),
    ({"file": "e/"}, "e/: is in rename, and is not a path below dest in its shortest form"),
    ({"file": ""}, ": is in rename, and is not a path below dest in its shortest form"),
    ({"./file": "e"}, "./file: is in rename, and is not a path below src in its shortest form"),
]


@pytest.mark.parametrize("pass_", ["first", "second"])
@pytest.mark.parametrize(("rename", "says"), RENAMED, ids=[str(rename) for rename, _says in RENAMED])
def test_a_rename_that_cannot_be_done_is_refused(base: Path, rename: dict[str, str], says: str, pass_: str) -> None:
    (base / "src" / "empty").mkdir()
    (base / "src" / "link").symlink_to("d")
    if pass_ == "second":  # what an earlier pass has settled is judged as well
        once(base, check=False)
    (base / "dest").mkdir(exist_ok=True)
    (base / "dest" / "theirs").write_text("another's")
    (base / "dest" / "lead").symlink_to("theirs")
    before = sorted(map(str, base.rglob("*")))
    assert str(both(base, rename=rename)).startswith(f"{says}. Nothing was touched.")
    assert sorted(map(str, base.rglob("*"))) == before


def test_a_file_is_renamed_below_the_name_of_another_that_is_renamed(base: Path) -> None:
    assert not isinstance(both(base, rename={"file": "other", "d/deep": "file/deep"}), str)
    assert (base / "dest" / "other").read_text() == "one"
    assert (base / "dest" / "file" / "deep").read_text() == "two"


@pytest.mark.parametrize(
    ("mounts", "says"),
    [
        ([("dest", "src/d")], "{base}/src/d: is a mount that shows a part of {base}/dest"),
        ([("src", "dest/d")], "{base}/dest/d: is a mount that shows a part of {base}/src"),
        ([("dest", "src")], "{base}/dest: is the same directory as the source {base}/src"),
        ([(None, "src/d")], "{base}/src/d: is a mount below {base}/src"),
        ([(None, "dest/d")], "{base}/dest/d: is a mount below {base}/dest"),
    ],
)
def test_a_mount_within_either_tree_is_refused(base: Path, mounts: list[tuple[str | None, str]], says: str) -> None:
    (base / "dest" / "d").mkdir(parents=True)
    mounted = [(None if shown is None else base / shown, base / point) for shown, point in mounts]
    preview, run = run_within(mounted, BOTH, json.dumps(sync_values(base))).splitlines()
    assert preview == run
    assert preview.startswith(says.format(base=base))


@pytest.mark.parametrize(("src", "dest"), [("src", "src/d"), ("dest/d", "dest")])
def test_a_root_that_is_mounted_inside_the_other_is_refused(base: Path, src: str, dest: str) -> None:
    (base / "dest" / "d").mkdir(parents=True)
    values = sync_values(base, src=str(base / src), dest=str(base / dest))
    mounted = [(None, base / max(src, dest, key=len))]
    preview, run = run_within(mounted, BOTH, json.dumps(values)).splitlines()
    assert preview == run
    assert "lies inside the" in preview
