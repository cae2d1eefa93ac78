# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the comparison of a tree with a manifest, which ``sha256sum`` has written."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import audit, parse_manifest, read_manifest

if TYPE_CHECKING:
    import pathlib


@pytest.mark.parametrize("name", [b"../x", b"/etc/passwd", b"a/../../x", b"a//x", b"", b"."])
def test_a_manifest_leads_nowhere_but_below_its_tree(tmp_path: pathlib.Path, name: bytes) -> None:
    (tmp_path / "manifest").write_bytes(b"0" * 64 + b"  ./" + name + b"\n")
    with pytest.raises(ContimgError, match="manifest: holds a line that no manifest has"):
        read_manifest(str(tmp_path / "manifest"))


@pytest.mark.parametrize("digest", [b"0" * 63 + b"g", b"0" * 63, b"F" * 64])
def test_a_digest_is_one(digest: bytes) -> None:
    with pytest.raises(ContimgError, match="holds a line that no manifest has"):
        parse_manifest(digest + b"  ./name\n")


def test_what_a_killed_service_leaves_beside_its_database_is_no_unknown_file(tmp_path: pathlib.Path) -> None:
    tree, manifest = tmp_path / "state", tmp_path / "manifest"
    tree.mkdir()
    connection = sqlite3.connect(tree / "old.sqlite3")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (i)")
    assert sorted(path.name for path in tree.iterdir()) == ["old.sqlite3", "old.sqlite3-shm", "old.sqlite3-wal"]
    listed = subprocess.run(
        ["sha256sum", "./old.sqlite3", "./old.sqlite3-wal"], cwd=tree, check=True, capture_output=True
    ).stdout
    manifest.write_bytes(listed.replace(b"./old", b"./new"))
    (tree / "stranger-shm").touch()
    found = audit(str(tree), str(manifest), rename={"old.sqlite3": "new.sqlite3"}, exclude=["stranger*"], content=True)
    assert (found["matches"], found["files"]) == (True, 2)
    found = audit(str(tree), str(manifest), rename={"old.sqlite3": "new.sqlite3"}, exclude=[], content=True)
    assert (found["matches"], found["unknown"]) == (False, ["stranger-shm"])
    connection.close()


def test_what_has_changed_since_a_moment_is_named_and_a_directory_only_where_nothing_in_it_is(
    tmp_path: pathlib.Path,
) -> None:
    tree, manifest = tmp_path / "state", tmp_path / "manifest"
    for name in ("a/grown.log", "a/same.log", "b/gone.log", "c/chmod.log"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    manifest.touch()
    time.sleep(0.05)
    moment = time.time()
    time.sleep(0.05)
    named: dict[str, Any] = {"rename": {}, "exclude": [], "content": False}
    assert audit(str(tree), str(manifest), since=moment, **named)["touched"] == []
    (tree / "a" / "grown.log").write_text("late")
    os.utime(tree / "a" / "grown.log", (0, 0))
    (tree / "b" / "gone.log").unlink()
    (tree / "c" / "chmod.log").chmod(0o600)
    (tree / "new").mkdir()
    found = audit(str(tree), str(manifest), since=moment, **named)
    assert found["touched"] == ["a/grown.log", "b", "c/chmod.log", "new"]
    assert found["touched_total"] == 4
    time.sleep(0.05)
    moment = time.time()
    time.sleep(0.05)
    (tree / "new").rmdir()
    assert audit(str(tree), str(manifest), since=moment, **named)["touched"] == ["."]
    assert audit(str(tree), str(manifest), **named)["touched"] == []
