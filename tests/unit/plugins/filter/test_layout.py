# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filter ``layout``."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.dsa110.contimg.plugins.filter.layout import FilterModule, layout_of

MAP: list[dict[str, Any]] = [
    {"name": "products", "src": ["p.db", "db/p.db"], "dest": "p.db", "environment": ["PRODUCTS", "P"]},
    {"name": "plain", "src": "x.db", "dest": "sub/x.db"},
    {"name": "unnamed", "src": ["u.db"], "dest": "u.db", "environment": []},
]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("places", {"products": "p.db", "plain": "sub/x.db", "unnamed": "u.db"}),
        ("paths", {"products": "/new/p.db", "plain": "/new/sub/x.db", "unnamed": "/new/u.db"}),
        ("sources", ["/old/p.db", "/old/db/p.db", "/old/x.db", "/old/u.db"]),
        (
            "repoint",
            [
                {"from": "/old/p.db", "to": "/new/p.db"},
                {"from": "/old/db/p.db", "to": "/new/p.db"},
                {"from": "/old/x.db", "to": "/new/sub/x.db"},
                {"from": "/old/u.db", "to": "/new/u.db"},
                {"from": "/old", "to": "/new"},
            ],
        ),
        ("environment", {"PRODUCTS": "/new/p.db", "P": "/new/p.db"}),
        (
            "variables",
            [
                {"from": "/old/p.db", "name": "PRODUCTS", "default": "/new/p.db"},
                {"from": "/old/db/p.db", "name": "PRODUCTS", "default": "/new/p.db"},
                {"from": "/old", "name": "PIPELINE_STATE_DIR", "default": "/new"},
                {"from": "/old/catalogs", "name": "CATALOG_DB_DIR", "default": "/new/catalogs"},
            ],
        ),
    ],
)
def test_a_description_says_where_its_databases_are(what: str, expected: object) -> None:
    assert layout_of(MAP, "/old", "/new")[what] == expected


def test_without_databases_only_the_directory_moves() -> None:
    assert layout_of([], "/old", "/new")["repoint"] == [{"from": "/old", "to": "/new"}]


def test_it_returns_the_places_and_refuses_a_database_without_one() -> None:
    layout = FilterModule().filters()["layout"]
    assert layout([{"name": "p", "src": ["a"], "dest": "b"}], "/old", "/new")["paths"] == {"p": "/new/b"}
    with pytest.raises(AnsibleFilterError, match="a database has no 'dest'"):
        layout([{"name": "p", "src": ["a"]}], "/old", "/new")
