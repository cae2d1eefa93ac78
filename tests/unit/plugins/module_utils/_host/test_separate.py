# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two trees that share a directory, a mount or a file are refused, on real mounts and hard links."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import entry_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import SharedFiles
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import run_with_overlay, run_within
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values

CHECK = """
import sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import require_separate, require_unmounted

src, dest, *exclude = sys.argv[1:]
try:
    require_separate(src, dest)
    require_unmounted(src, dest, exclude=exclude)
    print("apart")
except ContimgError as error:
    print(error.message)
"""
SYNC = """
import json, os, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import run as sync
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError

if sys.argv[2] == "late":  # a mount that comes while the copy is made
    real = sync.apply_steps
    def apply(*arguments):
        real(*arguments)
        assert os.system(f"mount --bind {sys.argv[3]}") == 0
    sync.apply_steps = apply
try:
    result = sync.synchronize(options_from(json.loads(sys.argv[1])), check=sys.argv[2] == "check")
    print("copied", result["stats"]["files"])
except ContimgError as error:
    print(error.message)
"""


@pytest.fixture(name="base")
def _base(tmp_path: pathlib.Path) -> pathlib.Path:
    base = tmp_path / "h"
    for name in ("src/db", "src/catalogs", "dest/db", "dest/catalogs", "elsewhere"):
        (base / name).mkdir(parents=True)
    (base / "src" / "db" / "x").write_text("the only copy")
    (base / "src" / "catalogs" / "y").write_text("y")
    (base / "file").touch()
    (base / "dest" / "file").touch()
    return base


@pytest.mark.parametrize(
    ("mounts", "exclude", "says"),
    [
        ([], [], "apart"),
        ([("src", "src"), ("dest", "dest")], [], "apart"),
        ([(None, "elsewhere")], [], "apart"),
        ([("src", "dest")], [], "dest: is the same directory as the source"),
        ([("src/db", "dest")], [], "dest: shows the same directories as the source"),
        ([(".", "dest")], [], "dest: shows the same directories as the source"),
        ([("dest/db", "src")], [], "dest: shows the same directories as the source"),
        ([("src/db", "dest/db")], [], "dest/db: is a mount that shows a part of"),
        ([("src/db", "dest/db")], ["/db/"], "dest/db: is a mount that shows a part of"),
        ([("src/db/x", "dest/file")], [], "dest/file: is a mount that shows a part of"),
        ([("dest", "src/db")], [], "src/db: is a mount that shows a part of"),
        ([(".", "src/db")], [], "src/db: is a mount that shows a part of"),
        ([(None, "src/catalogs")], [], "src/catalogs: is a mount below"),
        ([(None, "src/catalogs")], [], "(contimg_exclude: ['/catalogs/'])"),
        ([("elsewhere", "dest/catalogs")], [], "dest/catalogs: is a mount below"),
        ([("file", "dest/file")], [], "(contimg_exclude: ['/file'])"),
        ([(None, "src/catalogs"), ("elsewhere", "dest/catalogs")], ["/catalogs/"], "apart"),
        ([(None, "src/catalogs")], ["cat*"], "apart"),
        ([(None, "src/catalogs")], ["/db/"], "src/catalogs: is a mount below"),
        ([("file", "dest/file")], ["/file/"], "dest/file: is a mount below"),
        ([(None, "src/catalogs"), (None, "src")], [], "apart"),  # the second one hides the first
    ],
)
def test_what_is_mounted_between_or_below_two_trees(
    base: pathlib.Path, mounts: list[tuple[str | None, str]], exclude: list[str], says: str
) -> None:
    real = [(None if shown is None else base / shown, base / point) for shown, point in mounts]
    said = run_within(real, CHECK, base / "src", base / "dest", *exclude)
    assert says in said
    assert said == "apart" or "Nothing was touched." in said


def test_a_destination_that_does_not_exist_yet_lies_where_its_parent_does(base: pathlib.Path) -> None:
    said = run_within([(base / "src", base / "elsewhere")], CHECK, base / "src", base / "elsewhere" / "new" / "state")
    assert "new/state: shows the same directories as the source" in said


@pytest.mark.parametrize("mode", ["check", "run"])
def test_a_copy_is_not_proved_against_the_source_itself(base: pathlib.Path, mode: str) -> None:
    values = json.dumps(sync_values(base))
    said = run_within([(base / "src" / "db", base / "dest" / "db")], SYNC, values, mode)
    assert "dest/db: is a mount that shows a part of" in said
    assert not list(base.glob("dest.sha256*"))


def test_a_mount_that_comes_during_a_copy_keeps_it_from_being_proved(base: pathlib.Path) -> None:
    bind = f"{base / 'src' / 'db'} {base / 'dest' / 'db'}"
    said = run_within([], SYNC, json.dumps(sync_values(base, on_conflict="replace")), "late", bind)
    assert "dest/db: is a mount that shows a part of" in said
    assert "The copy is not proved" in said
    assert not (base / "dest.sha256").exists()


def test_an_excluded_mount_is_neither_copied_nor_verified(base: pathlib.Path) -> None:
    mounts = [(None, base / "src" / "catalogs"), (base / "elsewhere", base / "dest" / "catalogs")]
    said = run_within(mounts, SYNC, json.dumps(sync_values(base, exclude=["/catalogs/"])), "run")
    assert said == "copied 1"
    assert (base / "dest" / "db" / "x").read_text() == "the only copy"
    assert [line.split()[1] for line in (base / "dest.sha256").read_text().splitlines()] == ["./db/x"]


@pytest.mark.parametrize("mode", ["check", "run"])
@pytest.mark.parametrize(("lower", "point"), [("src", "dest"), ("dest", "src")])
def test_an_overlay_of_one_tree_is_no_copy_of_it(base: pathlib.Path, lower: str, point: str, mode: str) -> None:
    """There a file of the one has another device number in the other."""
    for name in ("db/x", "catalogs/y"):
        (base / "dest" / name).write_bytes((base / "src" / name).read_bytes())
    said = run_with_overlay(base / lower, base / point, SYNC, json.dumps(sync_values(base)), mode)
    assert "has files in common with" in said
    assert "catalogs/y (there catalogs/y), db/x (there db/x)" in said
    assert "Nothing was touched." in said
    assert not list(base.glob("dest.sha256*"))


def test_an_overlay_of_other_files_is_as_good_as_any_file_system(base: pathlib.Path) -> None:
    (base / "dest" / "file").unlink()
    said = run_with_overlay(base / "elsewhere", base / "dest", SYNC, json.dumps(sync_values(base)), "run")
    assert said == "copied 2"
    assert (base / "dest-upper" / "db" / "x").read_text() == "the only copy"


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(("here", "there"), [("db/x", "db/x"), ("db/x", "db/other"), ("catalogs/y", "db/x")])
def test_a_hard_link_between_both_trees_is_no_copy(base: pathlib.Path, here: str, there: str, *, check: bool) -> None:
    os.link(base / "src" / here, base / "dest" / there)
    before = os.stat(base / "src" / here)
    options = options_from(sync_values(base, on_conflict="replace"))
    with pytest.raises(ContimgError, match="has files in common with") as caught:
        synchronize(options, check=check)
    assert f"{there} (there {here})" in caught.value.message
    assert "Nothing was touched. They are hard links." in caught.value.message
    assert os.stat(base / "src" / here) == before
    (base / "dest" / there).unlink()
    synchronize(options, check=False)
    assert os.stat(base / "src" / here).st_ino != os.stat(base / "dest" / here).st_ino


def test_hard_links_within_one_tree_are_its_own_business(base: pathlib.Path) -> None:
    os.link(base / "src" / "db" / "x", base / "src" / "z")
    options = options_from(sync_values(base, on_conflict="replace"))
    synchronize(options, check=False)
    assert not synchronize(options, check=False)["changed"]
    assert (base / "dest" / "z").stat().st_nlink == 2


def test_a_file_that_is_seen_under_its_own_path_is_shared_whatever_its_link_count(base: pathlib.Path) -> None:
    entry = entry_of(b"db/x", os.stat(base / "src" / "db" / "x"))
    shared = SharedFiles()
    shared.add(entry, entry)
    with pytest.raises(ContimgError, match=r"Find what shows .* there \(findmnt\)"):
        shared.require_none("/src", "/dest")
