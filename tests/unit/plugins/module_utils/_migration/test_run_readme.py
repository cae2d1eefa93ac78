# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what explains a run directory."""

from __future__ import annotations

import os
import pathlib
import re

from ansible_collections.dsa110.contimg.plugins.module_utils._migration.run_readme import README, explain

ROLES = pathlib.Path(__file__).parents[5] / "roles"


def test_it_names_all_that_roles_keep_there() -> None:
    texts = [path.read_text() for path in ROLES.glob("*/*/*.yml")]
    kept = {name for text in texts for name in re.findall(r"contimg_run_dir(?: }}| ~ ')/([\w.-]*\w)", text)}
    assert len(kept) >= 8
    assert sorted(name for name in kept if not re.search(rf"\b{re.escape(name)}(?:/|\b)", README)) == []


def test_it_is_written_once_and_again_where_it_differs(tmp_path: pathlib.Path) -> None:
    explain(str(tmp_path))
    path = tmp_path / "README"
    assert (path.read_text(), path.stat().st_mode & 0o7777) == (README, 0o600)
    os.utime(path, ns=(1, 1))
    explain(str(tmp_path))
    assert path.stat().st_mtime_ns == 1
    path.write_text("of an older release")
    explain(str(tmp_path))
    assert path.read_text() == README
