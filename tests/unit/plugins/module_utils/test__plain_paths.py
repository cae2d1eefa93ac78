# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of ``_plain_paths``."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._plain_paths import path_faults


@pytest.mark.parametrize(
    ("path", "kind", "says"),
    [
        ("/data/state", "absolute", ""),
        ("", "absolute", ""),
        ("/data/a..b/...", "absolute", ""),
        ("data/state", "absolute", "is relative"),
        ("./state", "absolute", "is relative"),
        ("/data/state/", "absolute", "write '/data/state'"),
        ("/data//state", "absolute", "write '/data/state'"),
        ("//data/state", "absolute", "write '/data/state'"),
        ("///data/./state", "absolute", "write '/data/state'"),
        ("/data/x/../state", "absolute", "holds '..'"),
        ("/data/..", "absolute", "holds '..'"),
        ("/", "absolute", "names a whole"),
        ("//", "absolute", "names a whole"),
        ("~/state", "absolute", "'~' or '$'"),
        ("/data/$USER/state", "absolute", "'~' or '$'"),
        ("/data/a~b", "absolute", ""),
        ("/data/a\nb", "absolute", "'/data/a\\x0ab' holds a control character"),
        ('/data/"state"', "absolute", "double quote"),
        ("/data/st\\ate", "absolute", "backslash"),
        ("db/products.sqlite3", "relative", ""),
        ("/db/products.sqlite3", "relative", "is absolute"),
        ("db//products.sqlite3", "relative", "write 'db/products.sqlite3'"),
        ("./products.sqlite3", "relative", "write 'products.sqlite3'"),
        ("../products.sqlite3", "relative", "holds '..'"),
        (".", "relative", "names a whole"),
        ("$db/products.sqlite3", "relative", ""),
        ("/data/$[{]*", "pattern", ""),
        ("data/*", "pattern", "is relative"),
        ("//src/*/x.sqlite3", "pattern", ""),
        ("/data/../*", "pattern", "holds '..'"),
    ],
)
def test_a_path_has_one_spelling(path: str, kind: str, says: str) -> None:
    found = path_faults({"contimg_x": path}, kind)
    assert [says in one and one.startswith("contimg_x: '") for one in found] == ([True] if says else [])


def test_every_path_at_fault_is_named_with_its_variable() -> None:
    found = path_faults({"contimg_a": ["/a", "b", "/c/"], "contimg_d": "/d", "contimg_e": ["e"]})
    assert [one.split()[:2] for one in found] == [
        ["contimg_a:", "'b'"],
        ["contimg_a:", "'/c/'"],
        ["contimg_e:", "'e'"],
    ]
