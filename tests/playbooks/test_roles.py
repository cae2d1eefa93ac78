# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each role alone: a play has the role and nothing else. What works is proved; what refuses leaves nothing changed or held.

A role that stops services is also used alone on a host with units, by the scenario ``phases``.
"""

from __future__ import annotations

import json
import re

from .conftest import Host, failure, fingerprint, rows
from .test_move import process_with


def alone(host: Host, *roles: str) -> tuple[str, list[str]]:
    """Run a play for each role, or for an entry point ``role/tasks``; return the output and the roles that have refused."""
    plays = []
    for role in roles:
        name, _slash, tasks = role.partition("/")
        use = {"name": f"dsa110.contimg.{name}", "tasks_from": tasks or "main"}
        refusal = {"debug": {"msg": f"{role} has refused: {{{{ ansible_failed_result.msg }}}}"}}
        block = {"block": [{"include_role": use}], "rescue": [refusal]}
        plays.append({"name": f"{role} alone", "hosts": "contimg", "gather_facts": False, "tasks": [block]})
    path = host.root / "alone.yml"
    path.write_text(json.dumps(plays))
    done = host.play(str(path))
    assert done.returncode == 0, failure(done)
    told = " ".join(done.stdout.split())
    return told, re.findall(r"([a-z0-9_/]+) has refused: ", told)


def test_roles_alone_refuse_where_no_move_has_begun_and_change_nothing(host: Host) -> None:
    roles = ["quiesce", "state", "hdf5_split", "environment", "rollout", "rollback", "retire", "state/audit"]
    before = [fingerprint(host.root / name) for name in ("stage", "data")]
    told, refused = alone(host, *roles)
    assert refused == roles, told
    assert [fingerprint(host.root / name) for name in ("stage", "data")] == before
    assert not host.run_dir.exists()


def test_a_move_and_its_way_back_are_made_of_roles_alone(host: Host) -> None:
    environment = host.env_file.read_bytes()
    told, refused = alone(host, "preflight", "state/presync")
    assert refused == [], told
    assert host.record()["phase"] == "presynced"

    with process_with(host.src / "ingest.sqlite3", "r+b"):
        told, refused = alone(host, "quiesce", "state")
    assert refused == ["quiesce", "state"], told
    assert "writes to the state. This task changed nothing. Stop the process" in told
    assert host.record()["phase"] == "presynced"
    assert not (host.run_dir / "hold.json").exists()
    assert not (host.run_dir / "containers.json").exists()

    steps = ["quiesce", "state", "hdf5_split", "environment", "code_paths", "rollout", "retention", "state/audit"]
    told, refused = alone(host, *steps)
    assert refused == [], told
    assert rows(host.dest / "hdf5.sqlite3", "hdf5_file_index") == 200
    assert f"PIPELINE_PRODUCTS_DB={host.dest}/products.sqlite3" in host.env_file.read_text()

    told, refused = alone(host, "preflight", "rollback")
    assert refused == ["preflight"], told
    assert host.env_file.read_bytes() == environment
    way = ["presynced", "held", "proved", "split", "repointed", "started", "done", "rolled_back"]
    assert [entry["phase"] for entry in host.record()["history"]] == way
