# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters of ``state_sync`` with its defaults, for tests that call its utils."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize

if TYPE_CHECKING:
    import pathlib

__all__ = ["sync_values", "synchronized"]


def sync_values(base: pathlib.Path, **changed: Any) -> dict[str, Any]:
    """Return the parameters of a copy from ``src`` to ``dest`` below a directory."""
    return {
        **dict.fromkeys(["manifest", "backup_dir", "progress_file", "owner", "group"]),
        **dict.fromkeys(["delete", "live", "require_quiesced", "retarget_links"], False),
        "src": str(base / "src"),
        "dest": str(base / "dest"),
        "exclude": [],
        "rename": {},
        "passes": 1,
        "verify": "checksum",
        "on_conflict": "fail",
        "decisions": {},
        "allow_loss": [],
        "workers": 4,
        "bandwidth_limit": 0,
        "reserve": {},
        **changed,
    }


def synchronized(values: dict[str, Any]) -> str:
    """Copy as the module does, and return what there is to say of it."""
    synchronize(options_from(values), check=False)
    return "done"
