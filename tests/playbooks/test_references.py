# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What still names the old path on a host without units: code, further files, rows of databases; audited, moved, put back."""

from __future__ import annotations

import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import failure
from .test_links import AllTasksBut

if TYPE_CHECKING:
    import pathlib

    from .conftest import Host


@pytest.fixture(name="code")
def _code(host: Host) -> pathlib.Path:
    """Code, a further environment file and a unit file of a host, and its database with a path in a row."""
    code = host.root / "data" / "code"
    code.mkdir()
    (code / "imaging.py").write_text(
        f'from pathlib import Path\n\nSTATE = Path("{host.src}")\nPRODUCTS = "{host.src}/db/products.sqlite3"\n'
        'QUERY = "SELECT * FROM hdf5_file_index"\n'
    )
    (code / "more.env").write_text(f"A={host.src}/logs/a.log\n# {host.src}\n")
    (code / "x.service").write_text(f"[Service]\nExecStart=/bin/x {host.src}/db/products.sqlite3 {host.src}-old\n")
    with sqlite3.connect(host.src / "db" / "products.sqlite3") as products:
        products.execute(
            "INSERT INTO storage_locations (location_type, base_path, registered_at) VALUES ('logs', ?, 0)",
            (f"{host.src}/logs",),
        )
    products.close()
    host.variables["contimg_code_paths"] = [str(code)]
    host.variables["contimg_env_files"] = [str(code / "more.env")]
    return code


def base_paths(host: Host) -> list[Any]:
    """Return the paths in the moved products database."""
    connection = sqlite3.connect(host.dest / "products.sqlite3")
    try:
        return [
            row[0] for row in connection.execute("SELECT base_path FROM storage_locations WHERE location_type = 'logs'")
        ]
    finally:
        connection.close()


def test_a_patch_is_written_and_code_and_rows_are_left_alone(host: Host, code: pathlib.Path) -> None:
    script, further = (code / "imaging.py").read_bytes(), (code / "more.env").read_bytes()
    audit = host.play("audit")
    assert audit.returncode == 2
    assert "database row" in audit.stdout, audit.stdout
    assert not host.run_dir.exists()
    preview = host.play("migrate", "--check", "--diff")
    assert f'+STATE = Path(os.getenv("PIPELINE_STATE_DIR", "{host.dest}"))' in preview.stdout, preview.stdout
    assert not host.run_dir.exists()
    assert host.die("migrate", AllTasksBut("record that the units start on the new state"), every=1)
    assert host.record()["phase"] == "repointed"
    (host.run_dir / "code.patch").unlink()  # as where the run before was asked to rewrite the code
    moved = host.play("migrate")
    assert moved.returncode == 0, failure(moved)
    before_the_stop, _stop, after_it = preview.stdout.partition("quiesce : ")
    for task in ("Find the code that names the old state directory", "Count the paths inside the databases"):
        assert task in before_the_stop
        assert task not in after_it
    assert (code / "imaging.py").read_bytes() == script
    assert base_paths(host) == [f"{host.src}/logs"]
    assert (code / "more.env").read_text() == f"A={host.dest}/logs/a.log\n# {host.src}\n"
    still = host.play("audit")
    assert still.returncode == 2
    assert "products.sqlite3: storage_locations.base_path: " in still.stdout
    assert f"{code}/imaging.py:3 (python_string)" in still.stdout
    subprocess.run(["git", "apply", str(host.run_dir / "code.patch")], cwd=code, check=True)
    assert f'Path(os.getenv("PIPELINE_STATE_DIR", "{host.dest}"))' in (code / "imaging.py").read_text()
    assert host.play("rollback").returncode == 0
    assert (code / "more.env").read_bytes() == further


def test_what_is_asked_for_follows_and_goes_back(host: Host, code: pathlib.Path) -> None:
    asked: dict[str, object] = {"contimg_rewrite_code": True, "contimg_rewrite_database_paths": True}
    before = {path: path.read_bytes() for path in code.iterdir()}
    assert host.play("migrate", "--check", "--diff", **asked).returncode == 0
    assert {path: path.read_bytes() for path in code.iterdir()} == before
    moved = host.play("migrate", **asked)
    assert moved.returncode == 0, failure(moved)
    assert base_paths(host) == [f"{host.dest}/logs"]
    program = "import imaging; print(imaging.STATE, imaging.PRODUCTS)"
    run = subprocess.run(["python3", "-B", "-c", program], cwd=code, check=True, capture_output=True, text=True, env={})
    assert run.stdout == f"{host.dest} {host.dest}/products.sqlite3\n"
    audit = host.play("audit", contimg_known_references=[f"{code}/x.service"])
    assert audit.returncode == 0, failure(audit)
    assert "hdf5_file_index" in audit.stdout
    assert host.play("audit").returncode == 2  # the unit file
    assert "changed=0" in host.play("migrate", **asked).stdout
    back = host.play("rollback")
    assert back.returncode == 0, failure(back)
    assert {path: path.read_bytes() for path in code.iterdir()} == before
    assert host.play("migrate", **asked).returncode == 0


def test_rows_that_cannot_be_rewritten_stop_a_second_move_before_it_begins(host: Host, code: pathlib.Path) -> None:
    del code
    asked: dict[str, object] = {"contimg_rewrite_database_paths": True}
    assert host.play("migrate", **asked).returncode == 0
    assert host.play("rollback").returncode == 0
    with sqlite3.connect(host.src / "db" / "products.sqlite3") as products:  # the destination has the row rewritten
        products.execute(
            "INSERT INTO storage_locations (location_type, base_path, registered_at) VALUES ('logs', ?, 0)",
            (f"{host.dest}/logs",),
        )
    products.close()
    for options in (["--check"], []):
        stopped = host.play("migrate", *options, **asked)
        assert stopped.returncode == 2, stopped.stdout
        assert (
            f"{host.src}/db/products.sqlite3: storage_locations.base_path cannot take the new paths" in stopped.stdout
        )
        assert "Copy while the services run" not in stopped.stdout


def test_a_secret_that_changes_later_reaches_a_host_that_has_moved(host: Host, code: pathlib.Path) -> None:
    before = host.env_file.read_bytes()
    assert host.play("migrate").returncode == 0
    secret: dict[str, object] = {"contimg_env_secrets": {"ALERT_WEBHOOK": "planted-anew"}}
    preview = host.play("migrate", "--check", "--diff", "-vvv", **secret)
    assert "ALERT_WEBHOOK=******** (changed)" in preview.stdout
    changed = host.play("migrate", "-vvv", **secret)
    assert "changed=1 " in changed.stdout, changed.stdout
    assert "ALERT_WEBHOOK=planted-anew\n" in host.env_file.read_text()
    # A file that is listed only now is repointed, and put back, too.
    listed: dict[str, object] = {**secret, "contimg_unit_files": [str(code / "x.service")]}
    unit = (code / "x.service").read_bytes()
    assert host.play("migrate", **listed).returncode == 0
    assert f"{host.dest}/products.sqlite3 {host.src}-old" in (code / "x.service").read_text()
    assert "changed=0 " in host.play("migrate", **listed).stdout
    assert "planted" not in preview.stdout + changed.stdout + (host.run_dir / "record.json").read_text()
    assert host.play("rollback").returncode == 0
    assert (host.env_file.read_bytes(), (code / "x.service").read_bytes()) == (before, unit)


def test_a_directory_of_the_environment_keeps_its_tail(host: Host) -> None:
    text = host.env_file.read_text().replace(f"PIPELINE_STATE_DIR={host.src}\n", f"PIPELINE_STATE_DIR={host.src}/db\n")
    host.env_file.write_text(text)
    preview = host.play("migrate", "--check", "--diff")
    assert f"+PIPELINE_STATE_DIR={host.dest}/db\n" in preview.stdout, preview.stdout
    assert host.play("migrate").returncode == 0
    for _run in range(2):
        lines = host.env_file.read_text().splitlines()
        assert f"PIPELINE_STATE_DIR={host.dest}/db" in lines
        assert f"CONTIMG_STATE_DIR={host.dest}" in lines
        assert "changed=0 " in host.play("migrate").stdout
    assert host.play("verify").returncode == 0
    assert host.play("rollback").returncode == 0
    assert host.env_file.read_text() == text


def test_an_environment_file_is_made_where_that_is_asked_and_goes_again(host: Host) -> None:
    host.env_file.unlink()
    asked: dict[str, object] = {"contimg_env_create": True, "contimg_env_secrets": {"ALERT_WEBHOOK": "planted-anew"}}
    preview = host.play("migrate", "--check", "--diff", **asked)
    assert preview.returncode == 0, failure(preview)
    assert "+# mode 0640" in preview.stdout
    assert not host.env_file.exists()
    moved = host.play("migrate", **asked)
    assert moved.returncode == 0, failure(moved)
    assert host.env_file.stat().st_mode & 0o7777 == 0o640
    program = "set -a; . $0; echo $PIPELINE_STATE_DIR $CATALOG_DB_DIR $HDF5_DB_PATH $CONTIMG_PRODUCTS_DB $ALERT_WEBHOOK"
    said = subprocess.run(["bash", "-c", program, str(host.env_file)], check=True, capture_output=True, text=True)
    names = ("", "/catalogs", "/hdf5.sqlite3", "/products.sqlite3")
    assert said.stdout == " ".join(f"{host.dest}{name}" for name in names) + " planted-anew\n"
    assert "changed=0 " in host.play("migrate", **asked).stdout
    changed = {**asked, "contimg_env_secrets": {"ALERT_WEBHOOK": "planted-later"}}
    assert "changed=1 " in host.play("migrate", **changed).stdout
    assert host.play("rollback").returncode == 0
    assert not host.env_file.exists()


def test_a_further_file_that_is_missing_stops_the_move_before_it_begins(host: Host, code: pathlib.Path) -> None:
    for variable in ("contimg_env_files", "contimg_unit_files"):
        stopped = host.play("migrate", **{variable: [str(code / "none")]})
        assert stopped.returncode == 2, stopped.stdout
        assert f"{code}/none" in stopped.stdout
        assert not host.run_dir.exists()


def test_a_unit_file_that_others_can_redirect_stops_the_move_before_it_begins(host: Host, code: pathlib.Path) -> None:
    shared = host.root / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "x.service").symlink_to(code / "x.service")
    stopped = host.play("migrate", contimg_unit_files=[str(shared / "x.service")])
    assert stopped.returncode == 2, stopped.stdout
    assert f"{shared}/x.service: is a link, and others may write to {shared}. Nothing was touched." in stopped.stdout
    assert not host.run_dir.exists()
