# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the index of measurement sets against what is on disk."""

from __future__ import annotations

import pathlib
import shutil
import sqlite3
from typing import Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5 import measurement_sets
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.measurement_sets import reconcile
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite import backup
from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import rows_of, snapshot

SETS = 10


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "ms"
    for number in range(SETS):
        (directory / "day" / f"2025-10-02T00:{number:02d}:00.ms" / "SUB.ms").mkdir(parents=True)
    return directory


@pytest.fixture
def products(tmp_path: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "products.sqlite3"
    connection = sqlite3.connect(str(path))
    connection.executescript(
        "CREATE TABLE ms_index (path TEXT PRIMARY KEY, start_mjd REAL, status TEXT, imagename TEXT);"
        "CREATE TABLE images (id INTEGER PRIMARY KEY, ms_path TEXT);"
    )
    for found in sorted(root.glob("day/*.ms")):
        connection.execute("INSERT INTO ms_index VALUES (?, 1.0, 'done', 'i')", (str(found),))
        connection.execute("INSERT INTO images (ms_path) VALUES (?)", (str(found),))
    connection.execute("INSERT INTO ms_index VALUES ('/elsewhere/one.ms', 1.0, 'done', 'i')")
    connection.commit()
    connection.close()
    return path


def reconciled(
    products: pathlib.Path, root: pathlib.Path, *, fraction: float = 0.2, check: bool = False
) -> dict[str, Any]:
    return reconcile(
        products_db=str(products),
        roots=[str(root)],
        max_removed_fraction=fraction,
        backup_dir=str(products.parent / "backups"),
        check=check,
    )


def test_rows_of_sets_that_are_gone_leave_and_new_sets_are_registered(
    tmp_path: pathlib.Path, products: pathlib.Path, root: pathlib.Path
) -> None:
    gone, new = root / "day" / "2025-10-02T00:03:00.ms", root / "2025-10-02T06:00:00.ms"
    shutil.rmtree(gone)
    new.mkdir()
    (root / "odd.ms").mkdir()
    before = snapshot(tmp_path)
    preview = reconciled(products, root, check=True)
    assert snapshot(tmp_path) == before
    result = reconciled(products, root)
    assert preview == result
    assert (result["removed"], result["registered"]) == ([str(gone)], [str(new), str(root / "odd.ms")])
    assert (result["dependents"], result["known"]) == ({"images": 1}, SETS)
    rows = {row["path"]: row for row in rows_of(products, "ms_index")}
    assert len(rows) == SETS + 2
    assert str(gone) not in rows
    assert "/elsewhere/one.ms" in rows
    assert (rows[str(new)]["start_mjd"], rows[str(new)]["status"]) == (60950.25, "converted")
    assert rows[str(root / "odd.ms")]["start_mjd"] is None
    assert len(rows_of(products, "images")) == SETS
    assert len(rows_of(pathlib.Path(result["backup_file"]), "ms_index")) == SETS + 1
    assert not reconciled(products, root)["changed"]


@pytest.mark.parametrize(
    ("gone", "fraction", "refused"), [(2, 0.2, False), (3, 0.2, True), (3, 0.3, False), (10, 0.99, True)]
)
def test_more_than_the_fraction_is_refused(
    products: pathlib.Path,
    root: pathlib.Path,
    gone: int,
    fraction: float,
    refused: bool,  # noqa: FBT001
) -> None:
    for found in sorted(root.glob("day/*.ms"))[:gone]:
        shutil.rmtree(found)
    if not refused:
        assert len(reconciled(products, root, fraction=fraction)["removed"]) == gone
        return
    with pytest.raises(ContimgError, match="Nothing was touched"):
        reconciled(products, root, fraction=fraction)
    assert len(rows_of(products, "ms_index")) == SETS + 1


def test_an_empty_or_missing_root_does_not_mean_that_all_is_deleted(products: pathlib.Path, root: pathlib.Path) -> None:
    shutil.rmtree(root / "day")
    with pytest.raises(ContimgError, match=r"holds no measurement set, the index knows 10 there.*mounted"):
        reconciled(products, root)
    root.rmdir()
    with pytest.raises(ContimgError, match="is not a directory"):
        reconciled(products, root, fraction=1.0)
    root.mkdir()
    assert len(reconciled(products, root, fraction=1.0)["removed"]) == SETS


def test_another_database_is_refused(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    path = tmp_path / "other.sqlite3"
    connection = sqlite3.connect(str(path))
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    with pytest.raises(ContimgError, match="has no table ms_index"):
        reconciled(path, root)


def test_a_set_behind_a_link_exists_and_is_not_registered_a_second_time(
    tmp_path: pathlib.Path, products: pathlib.Path, root: pathlib.Path
) -> None:
    (root / "day").rename(tmp_path / "other disk")
    (root / "day").symlink_to(tmp_path / "other disk")
    (root / "day" / "2025-10-02T00:03:00.ms").rename(tmp_path / "single.ms")
    (root / "day" / "2025-10-02T00:03:00.ms").symlink_to(tmp_path / "single.ms")
    (root / "again").symlink_to(root / "day")
    (root / "2025-10-03T00:00:00.ms").mkdir()
    result = reconciled(products, root)
    assert (result["removed"], result["registered"]) == ([], [str(root / "2025-10-03T00:00:00.ms")])
    assert (result["behind_links"], result["backup_file"]) == ([], "")
    shutil.rmtree(root / "day" / "2025-10-02T00:05:00.ms")
    assert reconciled(products, root)["removed"] == [str(root / "day" / "2025-10-02T00:05:00.ms")]


@pytest.mark.parametrize("target", ["missing", "empty", "a loop"])
def test_rows_behind_a_link_that_leads_to_no_set_stay_and_are_named(
    tmp_path: pathlib.Path, products: pathlib.Path, root: pathlib.Path, target: str
) -> None:
    shutil.rmtree(root / "day")
    (root / "2025-10-03T00:00:00.ms").mkdir()
    (tmp_path / "empty").mkdir()
    (root / "day").symlink_to(root / "day" if target == "a loop" else tmp_path / target)
    result = reconciled(products, root)
    assert (result["removed"], len(result["behind_links"])) == ([], SETS)
    assert len(rows_of(products, "ms_index")) == SETS + 2
    assert len(reconciled(products, root, fraction=1.0)["removed"]) == SETS


def test_what_cannot_be_looked_at_is_not_gone(products: pathlib.Path, root: pathlib.Path) -> None:
    connection = sqlite3.connect(str(products))
    connection.execute("INSERT INTO ms_index (path) VALUES (?)", (f"{root}/{'x' * 300}.ms",))
    connection.execute("INSERT INTO ms_index (path) VALUES (CAST(? AS TEXT))", (bytes(root) + b"/\xff.ms",))
    connection.commit()
    connection.close()
    with pytest.raises(ContimgError, match=r"could not look for the measurement set.*errno 36.*Nothing was touched"):
        reconciled(products, root)
    connection = sqlite3.connect(str(products))
    connection.execute("DELETE FROM ms_index WHERE length(path) > 300")
    connection.commit()
    connection.close()
    assert not reconciled(products, root)["changed"]


@pytest.mark.parametrize("change", ["the row", "the set"])
def test_what_changes_after_the_copy_was_made_is_not_removed(
    products: pathlib.Path,
    root: pathlib.Path,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = root / "day" / "2025-10-02T00:03:00.ms"
    shutil.rmtree(gone)
    back_up = backup.back_up_database

    def backed_up(plan: Any) -> str:
        path = back_up(plan)
        if change == "the set":
            gone.mkdir()
        else:
            connection = sqlite3.connect(str(products))
            connection.execute("UPDATE ms_index SET status = 'moved' WHERE path = ?", (str(gone),))
            connection.commit()
            connection.close()
        return path

    monkeypatch.setattr(measurement_sets, "back_up_database", backed_up)
    with pytest.raises(ContimgError, match=r"changed meanwhile.*It is as it was\. Run again"):
        reconciled(products, root)
    assert str(gone) in {row["path"] for row in rows_of(products, "ms_index")}
