# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filter ``audit_table``."""

from __future__ import annotations

from ansible_collections.dsa110.contimg.plugins.filter.audit_table import FilterModule, audit_table

OLD = "/stage/state"


def test_each_kind_of_use_has_a_line_and_other_patterns_are_listed() -> None:
    code = [
        {"file": f"/code/{name}.py", "line": 1, "kind": "python", "match": OLD, "live": name != "d"} for name in "dabca"
    ]
    other = {"file": "/code/q.py", "line": 5, "kind": "python", "match": "index", "live": True}
    doc = {"file": "/code/README", "line": 2, "kind": "doc", "match": OLD, "live": False}
    found = {"references": [*code, other, doc], "missing": ["/gone"], "totals": {"files": 9}}
    rows = {"totals": {"rows": 3, "mentions": 2, "live": 4}, "live_lines": ["p.db: t.path: 3 rows"]}
    assert audit_table(found, OLD, rows=rows, users=["cron"], links=[]) == [
        "kind               uses   live  where",
        "doc                   1      0  /code/README",
        "python                5      4  /code/d.py, /code/a.py, /code/b.py and 1 more",
        "unit or job           1      1  cron",
        "database row          5      4  p.db: t.path: 3 rows",
        "symbolic link         0      0  ",
        "index: 1 uses",
        "  /code/q.py:5 (python)",
        "9 files looked at; not there: /gone",
    ]


def test_it_is_the_table_of_the_audit() -> None:
    assert FilterModule().filters() == {"audit_table": audit_table}
