# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Symbolic links of a state: named before the move, retargeted on request, and looked for after it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from .conftest import Host, failure, fingerprint

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

NOW = {"contimg_backup_window_days": 0, "contimg_retire_state": "removed"}


class AllTasksBut(set[str]):
    """The tasks that a run is not to be killed at: all but those of one name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __contains__(self, task: object) -> bool:
        return self.name not in str(task)


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(name="elsewhere")
def _elsewhere(host: Host) -> pathlib.Path:
    directory = host.root / "stage" / "elsewhere"
    directory.mkdir()
    (directory / "x.txt").write_text("x")
    return directory


def mapped_database(host: Host, elsewhere: pathlib.Path) -> str:
    path = host.src / "db" / "products.sqlite3"
    path.rename(elsewhere / "products.sqlite3")
    path.symlink_to(elsewhere / "products.sqlite3")
    return "db/products.sqlite3: is reached through a symbolic link to"


def directory_of_mapped_databases(host: Host, elsewhere: pathlib.Path) -> str:
    shutil.move(host.src / "db", elsewhere / "db")
    (host.src / "db").symlink_to(elsewhere / "db")
    return "is reached through a symbolic link to"


def further_database(host: Host, elsewhere: pathlib.Path) -> str:
    shutil.copy(host.src / "ingest.sqlite3", elsewhere / "more.sqlite3")
    (host.src / "catalogs" / "more.sqlite3").symlink_to(elsewhere / "more.sqlite3")
    return "has databases that are symbolic links"


def database_of_the_destination(host: Host, _elsewhere: pathlib.Path) -> str:
    """What is kept there would be split: in the source."""
    host.dest.mkdir()
    (host.dest / "products.sqlite3").symlink_to(host.src / "db" / "products.sqlite3")
    host.variables["contimg_database_decisions"] = {"products": "keep_dest"}
    return "data/state/products.sqlite3: is reached through a symbolic link to"


@pytest.mark.parametrize(
    ("lay", "options"),
    [
        (mapped_database, []),
        (directory_of_mapped_databases, ["--check"]),
        (further_database, []),
        (further_database, ["--check"]),
        (database_of_the_destination, []),
    ],
)
def test_a_database_behind_a_link_stops_the_move_before_anything_is_touched(
    host: Host, elsewhere: pathlib.Path, lay: Callable[[Host, pathlib.Path], str], options: list[str]
) -> None:
    says = lay(host, elsewhere)
    before = [fingerprint(host.root / name) for name in ("stage", "data")]
    result = host.play("migrate", *options, contimg_retarget_links=True)
    assert result.returncode == 2, result.stdout
    assert says in result.stdout
    assert "Nothing was touched" in result.stdout
    assert [fingerprint(host.root / name) for name in ("stage", "data")] == before
    assert not host.run_dir.exists()


def test_links_into_the_old_state_are_named_before_and_after_the_move(host: Host, elsewhere: pathlib.Path) -> None:
    link = host.src / "logs" / "current"
    link.symlink_to(host.src / "logs" / "casa-20251002.log")
    (host.src / "shared").symlink_to(elsewhere)
    code = host.root / "data" / "code"
    (code / "skipped").mkdir(parents=True)
    for place in (code / "state", code / "skipped" / "state"):
        place.symlink_to(host.src)
    host.variables.update(
        contimg_code_paths=[str(code)], contimg_code_exclude=["skipped"], contimg_rewrite_database_paths=True
    )
    source = fingerprint(host.src)
    for options in (["--check"], []):
        moved = host.play("migrate", *options)
        assert moved.returncode == 0, failure(moved)
        assert (
            f"logs/current -> {host.src}/logs/casa-20251002.log: its copy still leads into the old tree" in moved.stdout
        )
        assert f"shared -> {elsewhere}: leads out of the tree" in moved.stdout
        assert "contimg_retarget_links: true points it to" in moved.stdout
    assert os.readlink(host.dest / "logs" / "current") == os.readlink(link)
    found = (f"{host.dest}/logs/current -> {host.src}/logs/casa-20251002.log", f"{code}/state -> {host.src}")
    for play, variables in (("verify", {}), ("audit", {}), ("retire", NOW)):
        refused = host.play(play, **variables)
        assert refused.returncode == 2, refused.stdout
        for line in found:
            assert line in refused.stdout, play
        assert f"{code}/skipped" not in refused.stdout
    assert fingerprint(host.src) == source

    corrected = host.dest / "logs" / "current"
    corrected.unlink()
    corrected.symlink_to(host.dest / "logs" / "casa-20251002.log")
    host.variables["contimg_known_references"] = [f"{code}/.*"]
    for play, variables in (("verify", {}), ("audit", {}), ("retire", NOW)):
        passed = host.play(play, **variables)
        assert passed.returncode == 0, failure(passed)
    assert corrected.read_bytes()


def test_links_are_retargeted_on_request(host: Host) -> None:
    link, copy = host.src / "logs" / "current", host.dest / "logs" / "current"
    link.symlink_to(host.src / "logs" / "casa-20251002.log")
    (host.src / "latest").symlink_to("db/products.sqlite3")
    source = fingerprint(host.src)
    host.variables["contimg_retarget_links"] = True
    for options in (["--check"], []):
        moved = host.play("migrate", *options)
        assert moved.returncode == 0, failure(moved)
        assert f"its copy points to {host.dest}/logs/casa-20251002.log" in moved.stdout
        assert "latest -> db/products.sqlite3: its copy points to products.sqlite3" in moved.stdout
    assert fingerprint(host.src) == source
    assert os.readlink(copy) == str(host.dest / "logs" / "casa-20251002.log")
    with sqlite3.connect(host.dest / "latest") as products:
        assert products.execute("SELECT count(*) FROM ms_index").fetchone()[0]
    products.close()
    assert "changed=0" in host.play("migrate").stdout
    assert host.play("verify").returncode == 0
    assert host.play("retire", **NOW).returncode == 0
    assert copy.read_bytes()


def test_links_are_retargeted_also_when_that_is_asked_of_a_run_that_goes_on(host: Host) -> None:
    (host.src / "logs" / "current").symlink_to(host.src / "logs" / "casa-20251002.log")
    assert host.die("migrate", AllTasksBut("Record that the host is being repointed"), every=1)
    assert host.record()["phase"] == "split"
    moved = host.play("migrate", contimg_retarget_links=True)
    assert moved.returncode == 0, failure(moved)
    assert os.readlink(host.dest / "logs" / "current") == str(host.dest / "logs" / "casa-20251002.log")


def test_a_split_alone_does_not_write_into_the_old_state(moved: Host) -> None:
    """Neither through the database itself nor through a directory that is a link."""
    source = fingerprint(moved.src)
    # As on a host without a record: that of this move is bound to another map of the databases, and would refuse first.
    elsewhere = str(moved.root / "another_run")
    refused = moved.play("split_hdf5", contimg_databases=_below_db(moved.variables, moved), contimg_run_dir=elsewhere)
    assert refused.returncode == 2, refused.stdout
    assert f"{moved.dest}/db is a symbolic link to {moved.src}/db" in words(refused.stdout)
    (moved.dest / "products.sqlite3").unlink()
    (moved.dest / "products.sqlite3").symlink_to(moved.src / "db" / "products.sqlite3")
    refused = moved.play("split_hdf5")
    assert refused.returncode == 2, refused.stdout
    assert "products.sqlite3 is a symbolic link to" in words(refused.stdout)
    assert fingerprint(moved.src) == source


def _below_db(_variables: object, host: Host) -> list[dict[str, object]]:
    shutil.rmtree(host.dest / "db", ignore_errors=True)
    (host.dest / "db").symlink_to(host.src / "db")
    return [
        {"name": name, "src": [f"db/{name}.sqlite3"], "dest": f"db/{name}.sqlite3", "required": False}
        for name in ("products", "hdf5")
    ]
