# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of databases where none belong."""

from __future__ import annotations

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import proven_name
from ansible_collections.dsa110.contimg.plugins.module_utils._migration import misplaced as misplaced_module
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.misplaced import misplaced
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import (
    dump,
    file_row,
    make_products,
    snapshot,
)


@pytest.fixture
def real(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "state").mkdir()
    return make_products(tmp_path / "state" / "products.sqlite3", [file_row(number) for number in range(3)])


def looked(tmp_path: pathlib.Path, real: pathlib.Path, *, check: bool = False, move: bool = True) -> dict[str, Any]:
    places = [
        f"{tmp_path}/src/products.sqlite3",
        f"{tmp_path}/run/*",
        f"{tmp_path}/run/${{PIPELINE_DB}}",
        str(real),
        "/none/*",
    ]
    quarantine = str(tmp_path / "quarantine") if move else None
    return misplaced(databases=[str(real)], places=places, quarantine_dir=quarantine, require_proof=False, check=check)


def test_what_holds_nothing_of_its_own_is_quarantined_and_the_rest_is_left(
    tmp_path: pathlib.Path, real: pathlib.Path
) -> None:
    for directory in ("src", "run"):
        (tmp_path / directory).mkdir()
    copy = tmp_path / "src" / "products.sqlite3"
    shutil.copyfile(real, copy)
    content = dump(copy)
    copy.with_name("products.sqlite3-wal").touch()
    (tmp_path / "run" / "${PIPELINE_DB}").touch()
    own = make_products(tmp_path / "run" / "products.sqlite3", [file_row(99)])
    (tmp_path / "run" / "notes.txt").write_text("no database")
    before = snapshot(tmp_path)
    preview = looked(tmp_path, real, check=True)
    assert snapshot(tmp_path) == before
    result = looked(tmp_path, real)
    assert preview == result
    assert {
        pathlib.Path(one["path"]).parent.name + "/" + one["relation"]: one["action"] for one in result["databases"]
    } == {
        "src/identical": "quarantine",
        "run/empty": "quarantine",
        "run/diverged": "leave",
    }
    assert result["left"] == [str(own)]
    assert not copy.exists()
    assert not copy.with_name("products.sqlite3-wal").exists()
    assert own.exists()
    assert real.exists()
    kept = [path for path in (tmp_path / "quarantine").rglob("*") if path.is_file()]
    assert sorted(path.name for path in kept) == ["${PIPELINE_DB}", "products.sqlite3", "products.sqlite3-wal"]
    assert [dump(path) for path in kept if path.name == "products.sqlite3"] == [content]
    again = looked(tmp_path, real)
    assert (again["changed"], again["left"]) == (False, [str(own)])


def test_without_a_quarantine_they_are_only_reported(tmp_path: pathlib.Path, real: pathlib.Path) -> None:
    (tmp_path / "src").mkdir()
    shutil.copyfile(real, tmp_path / "src" / "products.sqlite3")
    before = snapshot(tmp_path)
    result = looked(tmp_path, real, move=False)
    assert (result["changed"], [one["action"] for one in result["databases"]]) == (False, ["leave"])
    assert snapshot(tmp_path) == before


def test_one_without_a_counterpart_is_left(tmp_path: pathlib.Path, real: pathlib.Path) -> None:
    (tmp_path / "run").mkdir()
    other = make_products(tmp_path / "run" / "other.sqlite3", [])
    assert looked(tmp_path, real)["left"] == [str(other)]


def test_a_link_to_the_real_one_is_none(tmp_path: pathlib.Path, real: pathlib.Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "products.sqlite3").symlink_to(real)
    assert looked(tmp_path, real)["databases"] == []
    assert real.exists()


def test_where_a_service_has_one_open_none_is_moved(tmp_path: pathlib.Path, real: pathlib.Path) -> None:
    for directory in ("run", "src"):
        (tmp_path / directory).mkdir()
    (tmp_path / "run" / "${PIPELINE_DB}").touch()
    shutil.copyfile(real, tmp_path / "src" / "products.sqlite3")
    program = "import sys; held = open(sys.argv[1], 'rb'); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(tmp_path / "src" / "products.sqlite3")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        service.stdout.readline()
        before = snapshot(tmp_path)
        preview = looked(tmp_path, real, check=True)
        with pytest.raises(ContimgError, match=rf"src/products.sqlite3: is open in process {service.pid} .*run again"):
            looked(tmp_path, real)
        assert snapshot(tmp_path) == before
        service.communicate()
    (named,) = [line for one in preview["databases"] for line in one["open_in"]]
    assert f"process {service.pid} " in named
    assert len([one for one in looked(tmp_path, real)["databases"] if one["action"] == "quarantine"]) == 2


def test_what_gets_rows_of_its_own_after_the_comparison_stays(
    tmp_path: pathlib.Path, real: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()
    path = tmp_path / "src" / "products.sqlite3"
    shutil.copyfile(real, path)

    def write(_path: str, **_named: object) -> None:
        connection = sqlite3.connect(str(path))
        connection.execute("INSERT INTO ms_index VALUES ('/late.ms', 'done')")
        connection.commit()
        connection.close()

    monkeypatch.setattr(misplaced_module, "require_unused", write)
    with pytest.raises(ContimgError, match="has changed meanwhile: it is now 'ahead' to the real one"):
        looked(tmp_path, real)
    assert "/late.ms" in "".join(dump(path))


def test_another_name_of_the_real_one_is_none(tmp_path: pathlib.Path, real: pathlib.Path) -> None:
    (tmp_path / "run").mkdir()
    os.link(real, tmp_path / "run" / "products.sqlite3")
    assert looked(tmp_path, real)["databases"] == []


def test_a_run_finishes_what_a_killed_one_has_begun(tmp_path: pathlib.Path, real: pathlib.Path) -> None:
    aside = tmp_path / "run" / os.fsdecode(proven_name(b"moved aside"))
    aside.mkdir(parents=True)
    (aside / "${PIPELINE_DB}").touch()
    assert [one["action"] for one in looked(tmp_path, real)["databases"]] == ["quarantine"]
    assert os.listdir(tmp_path / "run") == []


def test_a_directory_that_only_looks_like_one_of_a_killed_run_keeps_what_is_in_it(
    tmp_path: pathlib.Path, real: pathlib.Path
) -> None:
    theirs = tmp_path / "run" / ".contimg-aside-0123abcd"
    theirs.mkdir(parents=True)
    (theirs / "notes").touch()
    looked(tmp_path, real)
    assert (theirs / "notes").exists()
