# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The old state of a moved host, retired: not before its time, not without proof, and then once."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from .conftest import failure, fingerprint

if TYPE_CHECKING:
    from .conftest import Host

NOW = {"contimg_backup_window_days": 0}


def names(host: Host) -> set[str]:
    """Return what is left of the old state: everything but directories."""
    return {
        os.path.relpath(os.path.join(directory, name), host.src)
        for directory, _dirs, files in os.walk(host.src)
        for name in files
    }


def test_the_old_state_is_retired_after_its_window(host: Host) -> None:
    early = host.play("retire")
    assert early.returncode != 0
    assert "stands at 'untouched'" in early.stdout

    assert host.play("migrate").returncode == 0
    source, data = fingerprint(host.src), fingerprint(host.dest)
    early = host.play("retire")
    assert early.returncode != 0
    assert "0.0 days ago, and its old state is kept for 14" in early.stdout

    preview = host.play("retire", "--check", "--diff", **NOW)
    assert preview.returncode == 0, failure(preview)
    assert "-db/products.sqlite3" in preview.stdout
    assert fingerprint(host.src) == source
    assert host.record()["phase"] == "done"

    manifest = (host.dest.parent / "state.sha256").read_bytes().splitlines()
    before = names(host)
    retired = host.play("retire", **NOW)
    assert retired.returncode == 0, failure(retired)
    assert fingerprint(host.dest) == data
    assert host.record()["phase"] == "retired"
    facts = host.record()["facts"]
    assert os.path.getsize(facts["archive"]) > 0
    note = json.loads((host.run_dir / "retired.json").read_text())
    assert (note["dest"], note["stage"]) == (str(host.dest), "done")
    left = names(host)
    assert left == set(note["result"]["left"])
    assert len(before - left) == len(manifest)

    again = host.play("retire", **NOW)
    assert "changed=0" in again.stdout, again.stdout
    assert host.play("migrate").returncode == 0
    assert host.record()["phase"] == "retired"
    audited = host.play("verify")
    assert audited.returncode == 0, failure(audited)
    assert f"0 of {len(manifest)} files missing" in audited.stdout
    assert "there is no old state" in " ".join(host.play("rollback").stdout.split())


def test_a_file_that_is_lost_at_the_new_place_stops_it_till_the_operator_accepts_that(moved: Host) -> None:
    (moved.dest / "logs" / "archive" / "contimg-stream.out.1").unlink()
    source = fingerprint(moved.src)
    refused = moved.play("retire", contimg_retire_state="removed", **NOW)
    assert refused.returncode != 0
    assert (
        "neither there as it was copied nor changed since by the services: logs/archive/contimg-stream.out.1"
        in refused.stdout
    )
    assert fingerprint(moved.src) == source
    accepted = moved.play("retire", contimg_retire_state="removed", contimg_retire_accept=["logs/archive/*"], **NOW)
    assert accepted.returncode == 0, failure(accepted)
    assert moved.record()["facts"]["archive"] == ""


def test_there_is_no_way_back_from_an_old_state_that_is_being_removed(moved: Host) -> None:
    record = moved.record()
    (moved.run_dir / "record.json").write_text(json.dumps({**record, "phase": "retiring"}))
    before = fingerprint(moved.root / "data")
    refused = moved.play("rollback")
    assert refused.returncode != 0
    assert "at phase 'retiring'" in refused.stdout
    again = moved.play("migrate")
    assert again.returncode == 0, failure(again)
    assert "changed=0" in again.stdout
    assert (moved.record()["phase"], fingerprint(moved.root / "data")) == ("retiring", before)
    finished = moved.play("retire", **NOW)
    assert finished.returncode == 0, failure(finished)
    assert moved.record()["phase"] == "retired"
