# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of the files beside a database."""

from __future__ import annotations

from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import stem_of


def test_a_name_that_ends_like_that_of_a_sidecar_is_one_only_beside_a_database() -> None:
    assert [stem_of(name) for name in (b"a-wal", b"a-shm", b"a/b-journal", b"a", b"wal")] == [
        b"a",
        b"a",
        b"a/b",
        b"",
        b"",
    ]
