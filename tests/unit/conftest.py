# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all unit tests share: a host of their own, so that no test finds what another one, or this machine, has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host import place

if TYPE_CHECKING:
    import pathlib


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Let the two directories of the host lie below a temporary one."""
    root = tmp_path_factory.mktemp("host")
    for name in ("_VOLATILE", "_LASTING"):
        monkeypatch.setattr(place, name, (str(root / name), str(root / name)))
    return root
