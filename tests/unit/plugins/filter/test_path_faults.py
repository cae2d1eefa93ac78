# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filter ``path_faults``."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.dsa110.contimg.plugins.filter.path_faults import FilterModule


def test_it_names_paths_at_fault_and_refuses_a_kind_that_is_none() -> None:
    path_faults = FilterModule().filters()["path_faults"]
    assert path_faults({"contimg_x": "/a"}) == []
    assert path_faults({"contimg_x": "/a"}, "relative")[0].startswith("contimg_x: '/a' is absolute")
    with pytest.raises(AnsibleFilterError, match="'other' is none of absolute, relative, pattern"):
        path_faults({}, "other")
