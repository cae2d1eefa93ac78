# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A move, a split and the ways back of both, that die at the beginning of one task after the other, until a run comes to its end.

Nothing is cleaned up between the runs: no rescue runs when everything dies. What is stopped and started besides is tried on a
host with units, by the scenario ``interrupted``.
"""

from __future__ import annotations

import os

from .conftest import Host, failure, fingerprint

# Whether a run dies at every task, or at a sample of them.
EVERY = 1 if os.environ.get("CONTIMG_FAULT_POINTS") == "0" else 18


def die_everywhere(host: Host, name: str, *, every: int = EVERY) -> int:
    """Run a playbook until it comes to its end; return how often it died. The source is never changed meanwhile."""
    source, environments = fingerprint(host.src), {host.env_file.read_bytes()}
    known: set[str] = set()
    deaths = 0
    while task := host.die(name, known, every=every):
        deaths += 1
        assert fingerprint(host.src) == source, task
        environments.add(host.env_file.read_bytes())
        assert len(environments) <= 2, f"{task}: the environment is neither the old one nor the new one"
    assert fingerprint(host.src) == source
    return deaths


def test_whenever_a_move_or_a_way_back_dies_the_next_run_finishes_it(host: Host) -> None:
    environment = host.env_file.read_bytes()

    deaths = die_everywhere(host, "migrate")
    assert deaths > 50 // EVERY
    assert host.record()["phase"] == "done"
    assert f"PIPELINE_PRODUCTS_DB={host.dest}/products.sqlite3" in host.env_file.read_text()
    assert not list(host.dest.rglob(".contimg-*"))
    again = host.play("migrate")
    assert "changed=0" in again.stdout, again.stdout
    audit = host.play("verify")
    assert audit.returncode == 0, failure(audit)

    for name, place in {"unsplit_hdf5": "", "split_hdf5": f"HDF5_DB_PATH={host.dest}/hdf5.sqlite3"}.items():
        assert die_everywhere(host, name, every=-(-EVERY // 3)) > 20 // EVERY
        assert bool(place) == ("HDF5_DB_PATH" in host.env_file.read_text())
        assert place in host.env_file.read_text()
        again = host.play(name)
        assert "changed=0" in again.stdout, again.stdout
        assert host.play("verify").returncode == 0

    deaths = die_everywhere(host, "rollback")
    assert deaths > 10 // EVERY
    assert host.record()["phase"] == "rolled_back"
    assert host.env_file.read_bytes() == environment
