# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of random trees, before and after random changes; ``rsync`` is the judge. Root's: it makes devices and owners."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import Any

from hypothesis import HealthCheck, given, settings

from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values
from ansible_collections.dsa110.contimg.tests.support.trees import TREES, build, differences

EXAMPLES = int(os.environ.get("CONTIMG_EXAMPLES", "25"))


def run(base: pathlib.Path, *, check: bool = False) -> dict[str, Any]:
    return synchronize(options_from(sync_values(base, delete=True)), check=check)


@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(TREES, TREES)
def test_a_copy_of_any_tree_has_no_difference_and_is_as_previewed(
    first: list[dict[str, Any]], then: list[dict[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        base = pathlib.Path(directory)
        for entries in (first, then):
            build(base / "src", entries)
            preview, done = run(base, check=True), run(base)
            assert (preview["diff"], preview["actions_digest"]) == (done["diff"], done["actions_digest"])
            assert differences(base / "src", base / "dest") == ""
            again = run(base)
            assert not again["changed"], again["actions"]
