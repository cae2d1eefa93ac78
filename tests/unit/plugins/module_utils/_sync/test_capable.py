# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A destination that cannot hold the tree's metadata is refused before anything is copied: on real ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.inode_flags import flags_of, letters_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import (
    run_on_btrfs,
    run_on_old_ext4,
    run_on_ramfs,
    run_within,
)
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values, synchronized

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = """
import json, os, sys, time
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.inode_flags import flags_of, letters_of
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
values = json.loads(sys.argv[1])
def copied(**more):
    try:
        changed = [synchronize(options_from({**values, **more}), check=False)["changed"] for _run in range(2)]
        return {"changed": changed, "there": sorted(os.listdir(values["dest"]))}
    except ContimgError as error:
        return {**error.result(), "there": os.listdir(values["dest"])}
def preview(**more):
    try:
        return synchronize(options_from({**values, **more}), check=True)["changed"]
    except ContimgError as error:
        return error.result()["msg"]
    finally:
        assert not os.path.exists(values["dest"]) and not os.path.exists(values["dest"] + ".sha256.ledger")
allowed = sys.argv[2].split()
previews = [preview(), preview(allow_loss=allowed)]
print(json.dumps([*previews, copied(), copied(allow_loss=allowed)]))
"""


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    src = tmp_path / "src"
    src.mkdir()
    (src / "file").write_bytes(b"content")
    os.utime(src / "file", ns=(0, 0))
    os.utime(src, ns=(0, 0))
    (tmp_path / "old").mkdir()
    return tmp_path


def copied(
    base: Path, run: Callable[..., str], allowed: str, **changed: str
) -> tuple[dict[str, object], dict[str, object]]:
    """Copy to a file system: first with no loss allowed, then with some."""
    values = sync_values(base, dest=str(base / "old" / "dest"), **changed)
    shown, accepted, strict, tolerant = json.loads(run(base / "old", RUN, json.dumps(values), allowed))
    assert shown == strict.get("msg", True)
    assert accepted == tolerant.get("msg", True)
    return strict, tolerant


@pytest.mark.parametrize("run", [run_on_old_ext4, run_on_ramfs])
def test_what_the_tree_does_not_need_is_not_asked_for(base: Path, run: Callable[..., str]) -> None:
    strict, _again = copied(base, run, "")
    assert strict == {"changed": [True, False], "there": ["file"]}


def test_fractions_of_seconds_are_refused_or_given_up(base: Path) -> None:
    os.utime(base / "src" / "file", ns=(0, 1_500_000_000))
    strict, tolerant = copied(base, run_on_old_ext4, "nanoseconds")
    assert strict["msg"] == (
        f"{base}/old/dest: cannot hold what the source has: nanoseconds (file: the fraction of a second of its time). "
        "Nothing was copied. Accept the loss with allow_loss: [nanoseconds], or choose another destination."
    )
    assert strict["lost"] == ["nanoseconds"]
    assert strict["there"] == []
    assert tolerant == {"changed": [True, False], "there": ["file"]}


def test_attributes_and_acls_are_refused_or_given_up(base: Path) -> None:
    os.setxattr(base / "src" / "file", "user.note", b"1")
    subprocess.run(["setfacl", "-m", "u:1:r", str(base / "src")], check=True)
    strict, tolerant = copied(base, run_on_ramfs, "xattr acl")
    assert strict["lost"] == ["xattr", "acl"]
    assert "has: xattr (file: user.note), acl (.: system.posix_acl_access). Nothing" in str(strict["msg"])
    assert "allow_loss: [xattr, acl], or" in str(strict["msg"])
    assert tolerant == {"changed": [True, False], "there": ["file"]}


def shown_flags(path: Path) -> str:
    shown = subprocess.run(["lsattr", "-d", str(path)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return shown.split()[0].replace("-", "").replace("e", "")  # extents are the file system's own


def test_inode_flags_are_refused_or_given_up(base: Path) -> None:
    subprocess.run(["chattr", "+Ad", str(base / "src" / "file")], check=True)
    strict, tolerant = copied(base, run_on_ramfs, "flags")
    assert strict["lost"] == ["flags"]
    assert "has: flags (file: chattr +dA). Nothing was copied. Accept" in str(strict["msg"])
    assert str(strict["msg"]).endswith("allow_loss: [flags], or choose another destination.")
    assert tolerant == {"changed": [True, False], "there": ["file"]}


@pytest.mark.parametrize("letter", "ia")
def test_an_inode_flag_that_no_copy_has_is_refused_or_given_up(base: Path, letter: str) -> None:
    file = base / "src" / "file"
    subprocess.run(["chattr", f"+{letter}", str(file)], check=True)
    try:
        values = sync_values(base)
        hint = "Nothing was copied. Accept the loss with allow_loss: [flags], or clear it with chattr."
        message = f"has: flags (file: chattr +{letter}, which no copy has). {hint}"
        for check in (True, False):
            with pytest.raises(ContimgError, match=re.escape(message)):
                synchronize(options_from(values), check=check)
        assert synchronized({**values, "allow_loss": ["flags"]}) == "done"
        assert shown_flags(base / "dest" / "file") == ""
    finally:
        subprocess.run(["chattr", f"-{letter}", str(file)], check=True)


def test_inode_flags_are_copied_where_the_destination_holds_them(base: Path) -> None:
    kept = {base / "src": "A", base / "src" / "file": "SdA", base / "src" / "sub": "S"}
    (base / "src" / "sub").mkdir()
    for path, letters in kept.items():
        subprocess.run(["chattr", f"+{letters}", str(path)], check=True)
    values = sync_values(base)
    assert synchronized(values) == "done"
    assert [shown_flags(base / "dest" / path.relative_to(base / "src")) for path in kept] == list(kept.values())


def test_an_inode_flag_that_a_copy_lacks_is_added(base: Path) -> None:
    values = sync_values(base)
    assert synchronized(values) == "done"
    subprocess.run(["chattr", "+d", str(base / "src" / "file")], check=True)
    assert synchronized(values) == "done"
    assert shown_flags(base / "dest" / "file") == "d"
    assert not synchronize(options_from(values), check=True)["changed"]


@pytest.mark.parametrize("change", [b"", b"another"])
@pytest.mark.parametrize("accepted", [[], ["flags"]])
def test_a_flag_is_found_by_a_later_pass(base: Path, change: bytes, accepted: list[str]) -> None:
    file, values = base / "src" / "file", sync_values(base)
    if not accepted:
        assert synchronized(values) == "done"
    subprocess.run(["chattr", "+i", str(file)], check=True)
    try:
        if accepted:
            assert synchronized({**values, "allow_loss": accepted}) == "done"
        if change:
            (base / "src" / "other").write_bytes(change)
        for check in (True, False):
            with pytest.raises(ContimgError, match=re.escape("flags (file: chattr +i, which no copy has)")):
                synchronize(options_from(values), check=check)
        assert synchronized({**values, "allow_loss": ["flags"]}) == "done"
        assert not synchronize(options_from({**values, "allow_loss": ["flags"]}), check=True)["changed"]
    finally:
        subprocess.run(["chattr", "-i", str(file)], check=True)


def test_the_flag_of_a_file_that_is_kept_is_not_asked_for(base: Path) -> None:
    (base / "dest").mkdir()
    (base / "dest" / "file").write_bytes(b"another")
    subprocess.run(["chattr", "+i", str(base / "src" / "file")], check=True)
    try:
        assert synchronized(sync_values(base, decisions={"file": "keep"})) == "done"
    finally:
        subprocess.run(["chattr", "-i", str(base / "src" / "file")], check=True)


def test_one_flag_that_cannot_be_held_takes_no_other_with_it(base: Path) -> None:
    subprocess.run(["chattr", "+Sd", str(base / "src" / "file")], check=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as dest:  # which holds d alone
        values = sync_values(base, dest=f"{dest}/dest")
        with pytest.raises(ContimgError, match=re.escape("flags (file: chattr +Sd)")):
            synchronize(options_from(values), check=False)
        assert synchronized({**values, "allow_loss": ["flags"]}) == "done"
        with open(f"{dest}/dest/file", "rb") as file:
            assert letters_of(flags_of(file.fileno())) == "d"


NO_COPY_ON_WRITE = """
import sqlite3, subprocess
src = os.path.join(sys.argv[3], "src")
os.mkdir(src)
for name in ("file", "rows.sqlite3"):
    path = os.path.join(src, name)
    open(path, "w").close()
    subprocess.run(["chattr", "+C", path], check=True)
    with open(path, "w") as file:
        file.write("content" if name == "file" else "")
connection = sqlite3.connect(path)
connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1);")
os.mkdir(os.path.join(src, "compressed"))
subprocess.run(["btrfs", "property", "set", os.path.join(src, "compressed"), "compression", "zstd"], check=True)
time.sleep(0.1)
def is_so(name):
    return "C" in subprocess.check_output(["lsattr", os.path.join(values["dest"], name)], text=True).split()[0]
"""
REPLACED = """
for name in ("file", "rows.sqlite3"):
    shutil.copy2(os.path.join(src, name), os.path.join(src, "plain"))
    os.rename(os.path.join(src, "plain"), os.path.join(src, name))
time.sleep(0.1)
copied()
for name in ("file", "rows.sqlite3"):
    path = os.path.join(src, "new")
    open(path, "w").close()
    subprocess.run(["chattr", "+C", path], check=True)
    shutil.copyfile(os.path.join(src, name), path)
    shutil.copystat(os.path.join(src, name), path)
    os.rename(path, os.path.join(src, name))
path = os.path.join(src, "compressed", "file")
open(path, "w").close()
subprocess.run(["chattr", "-c", path], check=True)
subprocess.run(["chattr", "+C", path], check=True)
with open(path, "w") as file:
    file.write("content")
time.sleep(0.1)
"""
SHOWN = """
print(json.dumps([is_so(name) for name in ("file", "rows.sqlite3", *sys.argv[4:])]))
"""


def test_files_that_are_not_copied_on_write_stay_so(base: Path) -> None:
    values = sync_values(base, src=str(base / "old" / "src"), dest=str(base / "old" / "dest"))
    program = RUN.replace("def copied", f"{NO_COPY_ON_WRITE}def copied", 1) + SHOWN
    *_said, shown = run_on_btrfs(base / "old", program, json.dumps(values), "", base / "old").splitlines()
    assert json.loads(shown) == [True, True]


def test_files_that_become_so_are_copied_anew(base: Path) -> None:
    values = sync_values(base, src=str(base / "old" / "src"), dest=str(base / "old" / "dest"))
    program = RUN.replace("def copied", f"import shutil\n{NO_COPY_ON_WRITE}def copied", 1)
    program = program.replace(
        "allowed = ", f"{REPLACED}print(json.dumps([copied()]))\n{SHOWN}sys.exit()\nallowed = ", 1
    )
    said = run_on_btrfs(base / "old", program, json.dumps(values), "", base / "old", "compressed/file")
    again, shown = map(json.loads, said.splitlines()[-2:])
    assert again[0]["changed"] == [True, False]
    assert shown == [True, True, True]


@pytest.mark.parametrize("seconds", [-11_676_096_000, 2**31, 13_569_465_600])
def test_a_time_that_would_be_clamped_is_refused_or_given_up(base: Path, seconds: int) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as src:  # which keeps it
        shutil.copytree(base / "src", src, dirs_exist_ok=True)
        os.utime(os.path.join(src, "file"), (0, seconds))
        os.utime(src, (0, 0))
        strict, tolerant = copied(base, run_on_old_ext4, "time", src=src)
    assert f"has: time (file: its time, {seconds} seconds since 1970). Nothing" in str(strict["msg"])
    assert "allow_loss: [time], or" in str(strict["msg"])
    assert tolerant == {"changed": [True, False], "there": ["file"]}


@pytest.mark.parametrize("run", [run_on_old_ext4, run_on_ramfs])
def test_a_file_system_is_tried_for_what_the_tree_has_alone(base: Path, run: Callable[..., str]) -> None:
    (base / "src" / "file").chmod(0o4755)
    os.utime(base / "src" / "file", (0, 315_700_001))
    strict, _again = copied(base, run, "")
    assert strict == {"changed": [True, False], "there": ["file"]}


BTRFS = """
src = os.path.join(sys.argv[3], "src")
os.mkdir(src)
for name in ("plain", "compressed"):
    open(os.path.join(src, name), "w").close()
os.setxattr(os.path.join(src, "compressed"), "btrfs.compression", b"zlib")
time.sleep(0.1)  # what changed just before a pass is compared anew by the next one
"""


@pytest.mark.parametrize("within", [False, True])
def test_an_attribute_of_one_file_system_is_refused_on_another(base: Path, within: bool) -> None:  # noqa: FBT001
    dest = str(base / "old" / "dest" if within else base / "dest")
    values = sync_values(base, src=str(base / "old" / "src"), dest=dest)
    program = RUN.replace("def copied", f"{BTRFS}def copied", 1)
    said = json.loads(run_on_btrfs(base / "old", program, json.dumps(values), "xattr", base / "old"))
    shown, accepted, strict, tolerant = said
    if within:
        assert (shown, accepted, strict["changed"]) == (True, True, [True, False])
        return
    assert "cannot hold what the source has: xattr (compressed: btrfs.compression). Nothing was copied." in shown
    assert (accepted, strict["msg"]) == (True, shown)
    assert tolerant == {"changed": [True, False], "there": ["compressed", "plain"]}


PREVIEW = """
import json, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import run as sync
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
sync.require_unmounted = lambda *_arguments, **_named: None  # the mount stands for such a file system
try:
    print(json.dumps(sync.synchronize(options_from(json.loads(sys.argv[1])), check=True)["changed"]))
except ContimgError as error:
    print(json.dumps(error.message))
"""


@pytest.mark.parametrize("names", [("A", "a"), ("E\u0301", "\u00e9"), ("STRASSE", "stra\u00dfe")])
def test_names_that_a_destination_takes_for_one_are_refused(base: Path, names: tuple[str, str]) -> None:
    for name in names:
        (base / "src" / name).write_text(name)
    for name in ("there", "THERE"):
        (base / "old" / name).mkdir()
    values = sync_values(base, dest=str(base / "old"))
    folding = [
        (base / "old" / "there", base / "old" / "THERE")
    ]  # one directory, as a file system that folds case shows it
    said = json.loads(run_within(folding, PREVIEW, json.dumps(values)))
    what = "takes names for one that differ in upper and lower case alone, and the source has such"
    hint = "Nothing was copied. Rename or exclude one of them, or choose another destination."
    assert said == f"{base}/old: {what}: {names[0]} and {names[1]}. {hint}"
    assert synchronized(values) == "done"  # this one tells them apart
