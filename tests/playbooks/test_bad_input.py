# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input gets a clear error from ``migrate`` before anything is touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.dsa110.contimg.tests.support.databases.hot_journals import interrupt_pair, plant
from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import within_mounts

from .conftest import ROOT, Host, failure, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable


def source_missing(host: Host) -> None:
    shutil.rmtree(host.src)


def destination_inside_source(host: Host) -> None:
    host.variables["contimg_state_dest"] = str(host.src / "new")


def source_inside_destination(host: Host) -> None:
    host.variables["contimg_state_dest"] = str(host.src.parent)


def destination_is_source_by_symlink(host: Host) -> None:
    host.dest.symlink_to(host.src)


def not_a_database(host: Host) -> None:
    (host.src / "ingest.sqlite3").write_text(
        "no database at all, but long enough to hold a header of one hundred bytes" * 3
    )


def damaged_database(host: Host) -> None:
    path = host.src / "db" / "products.sqlite3"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def database_in_two_places(host: Host) -> None:
    shutil.copy(host.src / "ingest.sqlite3", host.src / "db" / "ingest.sqlite3")


def database_nowhere(host: Host) -> None:
    (host.src / "ingest.sqlite3").unlink()


def row_that_cannot_be_split(host: Host) -> None:
    with sqlite3.connect(host.src / "db" / "products.sqlite3") as products:
        products.execute(
            "INSERT INTO hdf5_file_index (path, filename, group_id, subband_code, indexed_at)"
            " VALUES ('/x', 'x', 'no time', 'no band', 1)"
        )
    products.close()


def environment_file_missing(host: Host) -> None:
    host.env_file.unlink()


def unified_layout(host: Host) -> None:
    with sqlite3.connect(host.src / "pipeline.sqlite3") as unified:
        unified.execute("CREATE TABLE hdf5_files (path TEXT PRIMARY KEY)")
    unified.close()


def destination_shows_the_source(host: Host) -> None:
    (host.dest / "catalogs").mkdir(parents=True)
    host.inside = within_mounts([(host.src / "catalogs", host.dest / "catalogs")])


def file_system_below_the_source(host: Host) -> None:
    (host.src / "own").mkdir()
    host.inside = within_mounts([(None, host.src / "own")])


def hard_links_at_the_destination(host: Host) -> None:
    host.dest.mkdir()
    os.link(host.src / "ingest.sqlite3", host.dest / "ingest.sqlite3")


def not_enough_space(host: Host) -> None:
    host.dest.mkdir()
    mount = f'mount -t tmpfs -o size=200k tmpfs {host.dest} && exec "$@"'
    host.inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]


def what_would_be_found_while_services_are_down(host: Host) -> None:
    host.variables["contimg_run_dir"] = str(host.src / "run")
    host.variables["contimg_health_url"] = {"contimg-api.service": "http://127.0.0.1:1/"}
    host.variables["contimg_expect_open"] = {"contimg-stream.service": ["product"]}
    host.variables["contimg_watch_patterns"] = ["fine", "("]
    host.variables["contimg_code_patterns"] = ["["]


def environment_name_that_is_none(host: Host) -> None:
    host.variables["contimg_env_values"] = {"A B": "x"}


def trailing_slash(host: Host) -> None:
    host.variables["contimg_state_dest"] = f"{host.dest}/"


def misspelt(host: Host) -> None:
    host.variables.update(contimg_unit=["contimg-api.service"], contimg_exclude="*.pid")


def second_spellings(host: Host) -> None:
    host.variables["contimg_run_dir"] = os.path.relpath(host.run_dir)
    host.variables["contimg_env_files"] = [f"{host.env_file}", f"{host.dest}/../more.env"]
    host.variables["contimg_databases"] = [
        {"name": "ingest", "src": ["/ingest.sqlite3"], "dest": "ingest.sqlite3", "environment": []}
    ]


def unreadable_file(host: Host) -> None:
    """Root reads everything, but for what belongs to users whom its namespace does not know."""
    log = host.src / "logs" / "private.log"
    log.write_text("secret\n")
    log.chmod(0)
    if os.geteuid() == 0:
        os.chown(log, 65534, 65534)
        host.inside = ["unshare", "--map-root-user"]


def journal_that_names_a_file_elsewhere(host: Host) -> None:
    """As of a container that was killed within a commit, and calls the state by another path; or of a user with a plan."""
    plant(host.src / "ingest.sqlite3", host.env_file)


def interrupted_over_two_databases(host: Host) -> None:
    """In databases that are not in the map, which only the copy looks at."""
    interrupt_pair(host.src / "pair", "delete")


def row_that_a_constraint_forbids(host: Host) -> None:
    with contextlib.closing(sqlite3.connect(host.src / "ingest.sqlite3", isolation_level=None)) as ingest:
        ingest.executescript("CREATE TABLE further(a); INSERT INTO further VALUES(NULL); PRAGMA writable_schema = 1")
        ingest.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE further(a NOT NULL)' WHERE name = 'further'")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (source_missing, ["stage/state", "exist"]),
        (destination_inside_source, ["inside"]),
        (source_inside_destination, ["inside"]),
        (destination_is_source_by_symlink, ["same"]),
        (not_a_database, ["ingest.sqlite3", "not a"]),
        (damaged_database, ["products.sqlite3"]),
        (database_in_two_places, ["ingest", "db/ingest.sqlite3"]),
        (database_nowhere, ["ingest", "db/ingest.sqlite3"]),
        (row_that_cannot_be_split, ["/x"]),
        (environment_file_missing, ["contimg.env"]),
        (destination_shows_the_source, ["data/state/catalogs: is a mount that shows a part of", "umount"]),
        (file_system_below_the_source, ["stage/state/own: is a mount below", "contimg_exclude: ['/own/']"]),
        (hard_links_at_the_destination, ["has files in common with", "ingest.sqlite3"]),
        (not_enough_space, ["data/state", "not enough space"]),
        (unreadable_file, ["logs/private.log", "cannot be read"]),
        (unified_layout, ["pipeline.sqlite3"]),
        (
            what_would_be_found_while_services_are_down,
            [
                "stage/state/run lies in contimg_state_src",
                "contimg_health_url: contimg-api.service is none of contimg_units",
                "contimg_expect_open: contimg-stream.service is none of contimg_units",
                "contimg_expect_open: 'product'",
                "contimg_watch_patterns: '('",
                "contimg_code_patterns: '['",
            ],
        ),
        (environment_name_that_is_none, ["A B"]),
        (
            journal_that_names_a_file_elsewhere,
            ["ingest.sqlite3", "contimg.env, lies outside of its directory", "start its service"],
        ),
        (interrupted_over_two_databases, ["pair/a.db: is part of an interrupted transaction", "start its service"]),
        (row_that_a_constraint_forbids, ["ingest.sqlite3", "its own schema forbids", "integrity: none"]),
        (trailing_slash, ["contimg_state_dest: '", "/data/state/' is not the shortest spelling: write '"]),
        (
            misspelt,
            [
                "contimg_unit: no variable of this collection has this name; the nearest is contimg_units",
                "contimg_exclude: holds a text, and takes a list",
                "Correct contimg_unit, contimg_exclude and run again",
            ],
        ),
        (
            second_spellings,
            [
                "contimg_run_dir: '",
                "is relative",
                "contimg_env_files: '",
                "holds '..'",
                "contimg_databases: '/ingest.sqlite3' is absolute",
                "Correct contimg_run_dir, contimg_env_files, contimg_databases and run again",
            ],
        ),
    ],
)
def test_bad_input_is_named_before_anything_is_touched(
    host: Host, spoil: Callable[[Host], None], says: list[str]
) -> None:
    spoil(host)
    (host.root / "inventory.json").touch()
    before = {name: fingerprint(host.root / name) for name in ("stage", "data")}
    result = host.play("migrate")
    assert result.returncode == 2, result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert any(words in result.stdout for words in ("Nothing was touched", "It was not changed", "Nothing was changed"))
    for word in says:
        assert word in result.stdout
    assert {name: fingerprint(host.root / name) for name in ("stage", "data")} == before
    assert not os.path.exists(host.run_dir)


def test_the_check_of_a_single_database_can_be_left_out(host: Host) -> None:
    row_that_a_constraint_forbids(host)
    defaults = DataLoader().load_from_file(str(ROOT / "roles" / "contimg" / "defaults" / "main.yml"))
    databases = [
        {**one, "integrity": "none"} if one["name"] == "ingest" else one for one in defaults["contimg_databases"]
    ]
    for options in (["--check"], []):
        result = host.play("migrate", *options, contimg_databases=databases)
        assert result.returncode == 0, failure(result)
