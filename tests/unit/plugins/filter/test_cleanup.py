# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filter ``cleanup``."""

from __future__ import annotations

import pytest

from ansible_collections.dsa110.contimg.plugins.filter.cleanup import FilterModule, cleanup_of


@pytest.mark.parametrize(
    ("values", "fires", "dry_run", "deletes"),
    [
        (["true"], True, "true", False),
        (["TRUE"], True, "TRUE", False),
        (["1"], True, "1", False),
        (["yes"], True, "yes", False),
        (["false"], True, "false", True),
        (["10"], True, "10", True),
        ([None], True, "", True),
        ([None], False, "", False),
        (["true", "false"], True, "false", True),
        (["true", None], True, "", True),
        ([], True, "", True),
    ],
)
def test_it_deletes_unless_every_unit_only_reports(
    values: list[str | None], *, fires: bool, dry_run: str, deletes: bool
) -> None:
    services = {
        str(number): {"exec": [f"/clean {number}"], "effective_environment": {} if one is None else {"DRY_RUN": one}}
        for number, one in enumerate(values)
    }
    assert cleanup_of(services, {"would_fire_now": fires}) == {
        "runs": "; ".join(f"/clean {number}" for number in range(len(values))) or "nothing",
        "dry_run": dry_run,
        "deletes_now": deletes,
    }


def test_it_is_the_function_of_this_file() -> None:
    assert FilterModule().filters() == {"cleanup": cleanup_of}
