# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the whole: trees that look like real pipelines are listed, patched, rewritten and put back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._references.run import run

if TYPE_CHECKING:
    import pathlib

OLD, NEW = "/stage/dsa110-contimg/state", "/data/dsa110-contimg/state"
VARIABLES = [
    {"from": OLD, "name": "PIPELINE_STATE_DIR", "default": NEW},
    {"from": f"{OLD}/db/products.sqlite3", "name": "PIPELINE_PRODUCTS_DB", "default": f"{NEW}/products.sqlite3"},
]
FILES = {
    "scripts/mosaic.py": f'''#!/usr/bin/env python
"""Make a mosaic. State: {OLD}."""
from pathlib import Path

PRODUCTS_DB = Path("{OLD}/db/products.sqlite3")
MS = Path("/stage/dsa110-contimg/ms")  # data, not {OLD}
LOGS = Path("/stage/dsa110-contimg") / "state" / "logs"
NAME = f"{OLD}/{{MS.name}}"
''',
    "scripts/two.py": "STATE = '/stage/dsa110-contimg' '/state'\n",
    "scripts/index.py": 'def find(db):\n    return db.execute("SELECT * FROM hdf5_file_index")\n',
    "scripts/old.py": f'print "{OLD}"\n',
    "scripts/copy.sh": f"#!/bin/bash\ncp {OLD}/x . # not {OLD}\n",
    "ops/a.service": f"[Service]\nExecStart=/bin/x {OLD}\n",
    "ops/contimg.env": f"STATE={OLD}\nAPI_TOKEN={OLD}planted\n",
    "ops/compose.yml": f"volumes: ['{OLD}:/state']\n",
    "ops/x.json": f'{{"state": "{OLD}"}}\n',
    "ops/rows.sql": f"-- {OLD}\nINSERT '{OLD}'\n",
    "docs/README.md": f"Look below `{OLD}`.\n",
    "docs/state.bin": f"\0{OLD}",
    ".git/config": OLD,
}


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a directory with files as pipelines have them."""
    for name, text in FILES.items():
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "checkout"


def call(tree: pathlib.Path, state: str = "audited", *, check: bool = False, **other: Any) -> dict[str, Any]:
    """Run the module's logic on a tree."""
    beside = tree.parent
    parameters: dict[str, Any] = {
        "paths": [str(tree)],
        "prefix": OLD,
        "patterns": [r"\bhdf5_file_index\b"],
        "variables": VARIABLES,
        "state": state,
        "patch_file": str(beside / "run" / "code.patch"),
        "backup_dir": str(beside / "run" / "backups"),
        "restore_from": None,
        "exclude": [],
        "known": [],
        **other,
    }
    return run(parameters, check=check)


def contents(tree: pathlib.Path) -> dict[str, bytes]:
    """Return every file of a tree."""
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


def test_every_use_is_listed_with_its_kind(tree: pathlib.Path) -> None:
    result = call(tree)
    found = [(os.path.relpath(one["file"], tree), one["line"], one["kind"]) for one in result["references"]]
    assert found == [
        ("docs/README.md", 1, "doc"),
        ("ops/a.service", 2, "unit"),
        ("ops/compose.yml", 1, "yaml"),
        ("ops/contimg.env", 1, "env"),
        ("ops/rows.sql", 1, "comment"),
        ("ops/rows.sql", 2, "text"),
        ("ops/x.json", 1, "json"),
        ("scripts/copy.sh", 2, "shell"),
        ("scripts/copy.sh", 2, "comment"),
        ("scripts/index.py", 2, "python_string"),
        ("scripts/mosaic.py", 2, "doc"),
        ("scripts/mosaic.py", 5, "python_string"),
        ("scripts/mosaic.py", 6, "comment"),
        ("scripts/mosaic.py", 7, "composed_path"),
        ("scripts/mosaic.py", 8, "f_string"),
        ("scripts/old.py", 1, "python"),
        ("scripts/two.py", 1, "composed_path"),
    ]
    totals = result["totals"]
    assert (totals["files"], totals["references"], totals["live"], totals["rewritten"]) == (12, 17, 12, 0)
    assert totals["matches"] == {OLD: 16, r"\bhdf5_file_index\b": 1}
    assert not result["changed"]


def test_a_line_for_each_live_use_leaves_out_known_files_and_other_patterns(tree: pathlib.Path) -> None:
    result = call(tree, known=[".*/scripts/.*", ".*[.]json"])
    assert [line.replace(f"{tree}/", "") for line in result["live_lines"]] == [
        f"ops/a.service:2 (unit): ExecStart=/bin/x {OLD}",
        f"ops/compose.yml:1 (yaml): volumes: ['{OLD}:/state']",
        f"ops/contimg.env:1 (env): STATE={OLD}",
        f"ops/rows.sql:2 (text): INSERT '{OLD}'",
    ]
    assert [os.path.basename(path) for path in result["live_files"]] == [
        "a.service",
        "compose.yml",
        "contimg.env",
        "rows.sql",
    ]
    assert result["totals"]["live"] == 4
    assert f"{tree}/scripts/index.py" not in call(tree)["live_files"]


def test_auditing_and_previews_change_nothing(tree: pathlib.Path) -> None:
    before = contents(tree.parent)
    for state in ("audited", "patched", "rewritten"):
        call(tree, state, check=True)
    call(tree)
    assert contents(tree.parent) == before


def test_the_patch_does_what_the_rewrite_does(tree: pathlib.Path) -> None:
    before = contents(tree)
    preview = call(tree, "patched", check=True)
    result = call(tree, "patched")
    assert preview == result
    assert contents(tree) == before
    assert os.stat(result["patch_file"]).st_mode & 0o777 == 0o600
    again = call(tree, "patched")
    assert not again["changed"]
    assert call(tree, "rewritten")["rewritten_files"] == [f"{tree}/scripts/mosaic.py"]
    rewritten = contents(tree)
    call(tree, restore_from=str(tree.parent / "run" / "backups"))
    assert contents(tree) == before
    subprocess.run(["git", "-C", result["patch_root"], "apply", result["patch_file"]], check=True)
    assert contents(tree) == rewritten
    emptied = call(tree, "patched")
    assert (emptied["changed"], emptied["patch_file"]) == (True, "")
    assert not os.path.exists(result["patch_file"])


def test_a_rewritten_script_runs(tree: pathlib.Path) -> None:
    call(tree, "rewritten")
    code = "import mosaic; print(mosaic.PRODUCTS_DB)"
    env = {"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}
    for given, expected in (({}, f"{NEW}/products.sqlite3"), ({"PIPELINE_PRODUCTS_DB": "/x/y"}, "/x/y")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tree / "scripts",
            env={**env, **given},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def test_rewriting_keeps_owner_mode_and_attributes_and_converges(tree: pathlib.Path) -> None:
    script = tree / "scripts/mosaic.py"
    os.chmod(script, 0o755)
    os.setxattr(script, "user.note", b"kept")
    assert call(tree, "rewritten", check=True)["diff"] == call(tree, "rewritten")["diff"]
    assert os.stat(script).st_mode & 0o7777 == 0o755
    assert os.getxattr(script, "user.note") == b"kept"
    after = contents(tree.parent)
    assert not call(tree, "rewritten")["changed"]
    assert contents(tree.parent) == after


def test_going_back_keeps_what_somebody_else_has_changed(tree: pathlib.Path) -> None:
    backups = str(tree.parent / "run" / "backups")
    (tree / "scripts/three.py").write_text(f'import os\nX = "{OLD}"\n')
    call(tree, "rewritten")
    with open(tree / "scripts/mosaic.py", "a") as file:
        file.write("# later\n")
    changed = (tree / "scripts/mosaic.py").read_bytes()
    preview = call(tree, restore_from=backups, check=True)
    result = call(tree, restore_from=backups)
    assert preview == result
    assert result["restored_files"] == [f"{tree}/scripts/three.py"]
    assert result["kept_files"] == [f"{tree}/scripts/mosaic.py"]
    assert (tree / "scripts/mosaic.py").read_bytes() == changed
    assert not call(tree, restore_from=backups)["changed"]


def test_backups_are_kept_before_the_first_file_changes(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(tree)
    (tree.parent / "run").mkdir()
    (tree.parent / "run" / "backups").write_text("no directory")
    with pytest.raises(ContimgError):
        call(tree, "rewritten")
    assert contents(tree) == before


def test_a_link_is_not_followed(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text(f'X = "{OLD}"\n')
    (tree / "scripts/link.py").symlink_to(outside)
    assert "outside" not in str(call(tree, "rewritten"))
    assert outside.read_text() == f'X = "{OLD}"\n'


def test_a_single_file_can_be_rewritten(tree: pathlib.Path) -> None:
    path = tree / "scripts/mosaic.py"
    assert call(tree, "rewritten", paths=[str(path)])["rewritten_files"] == [str(path)]
    assert call(tree, restore_from=str(tree.parent / "run" / "backups"))["restored_files"] == [str(path)]


def test_a_file_name_of_255_bytes_is_rewritten_and_put_back(tree: pathlib.Path) -> None:
    path = tree / ("x" * 252 + ".py")
    path.write_text(f'STATE = "{OLD}"\n')
    before = path.read_bytes()
    assert str(path) in call(tree, "rewritten", backup_dir=str(tree.parent / "backups"))["rewritten_files"]
    assert path.read_bytes() != before
    call(tree, restore_from=str(tree.parent / "backups"))
    assert path.read_bytes() == before


def test_secrets_are_masked_in_what_is_shown(tree: pathlib.Path) -> None:
    (tree / "scripts/mosaic.py").write_text(f'API_TOKEN = "planted"\nX = "{OLD}"; PASSWORD = "planted"\n')
    (tree / "ops/contimg.env").write_text(f"API_TOKEN={OLD}/planted\n")
    near = f'import os\n\nPASSWORD = "planted"\nA = 1\nX = "{OLD}"\nB = 1\nAPI_KEY = """\nplanted\n"""\n'
    (tree / "scripts/near.py").write_text(near)
    (tree / "scripts/span.py").write_text(f'API_TOKEN = """\nplanted\n{OLD}/planted\n"""\n')
    result = call(tree, "patched")
    assert "planted" not in str(result)
    # A file whose patch would show a secret is left out of it; where a secret is further away, it has less context.
    patch = (tree.parent / "run/code.patch").read_text()
    assert "planted" not in patch
    assert [line for line in patch.splitlines() if line.startswith("+++")] == ["+++ b/scripts/near.py"]
    assert [one["reason"] for one in result["references"] if one["file"].endswith("mosaic.py")] == [
        "a patch would show a secret beside it"
    ]
    assert result["totals"]["rewritten"] == 1
    assert f"{tree}/scripts/mosaic.py: is not in the patch, which would show a secret of it" in result["warnings"]
    subprocess.run(["git", "-C", result["patch_root"], "apply", result["patch_file"]], check=True)
    assert 'os.getenv("PIPELINE_STATE_DIR"' in (tree / "scripts/near.py").read_text()
    rewritten = call(tree, "rewritten")
    assert rewritten["rewritten_files"] == [f"{tree}/scripts/mosaic.py"]
    assert "planted" not in str(rewritten)


def test_what_is_missing_is_warned_of(tree: pathlib.Path) -> None:
    result = call(tree, paths=[str(tree / "scripts"), str(tree / "none")])
    assert result["missing"] == [f"{tree}/none"]
    assert result["warnings"] == [f"{tree}/none: does not exist, so nothing was looked for there"]
