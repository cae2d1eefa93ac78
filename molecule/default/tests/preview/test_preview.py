# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After ``migrate --check --diff`` on the untouched host, services running."""

from __future__ import annotations

from typing import Any


def test_a_preview_changes_nothing(host: Any) -> None:
    """Names, contents, metadata, units: all as before, directories' timestamps included."""
    before = host.file("/var/lib/contimg-test/before").content_string.splitlines()
    assert len(before) > 100
    assert host.check_output("contimg-standing").splitlines() == before


def test_the_services_went_on_writing(host: Any) -> None:
    committed = int(host.check_output("tail -n 1 /var/log/contimg-stream.committed"))
    host.run_expect([0], "sleep 1")
    assert int(host.check_output("tail -n 1 /var/log/contimg-stream.committed")) > committed


def test_the_services_were_not_sealed(host: Any) -> None:
    """A seal is written whenever a unit stops: there is the one of the kill, made while preparing."""
    assert len(host.file("/var/lib/contimg-test/seals").listdir()) == 1
