# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a copy, from the parameters of its module."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.globs import require_globs
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import leads_below
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy, group_id, user_id
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Decisions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Options", "options_from"]


@dataclass(frozen=True)
class Options:
    """What to copy and how; see the module's documentation."""

    src: str
    dest: str
    exclude: tuple[str, ...]
    decisions: Decisions
    live: bool
    passes: int
    verify: bool
    manifest: str
    backup_dir: str | None
    workers: int
    bandwidth_limit: int
    progress_file: str | None
    require_quiesced: bool
    reserve: Mapping[str, int]
    retarget_links: bool

    @property
    def ledger(self) -> str:
        """Where earlier passes are remembered."""
        return self.manifest + ".ledger"


def _require_places(rename: Mapping[str, str]) -> None:
    for path, root in (pair for old, new in rename.items() for pair in ((old, "src"), (new, "dest"))):
        if not leads_below(os.fsencode(path)):
            hint = "Nothing was touched. Write it without a slash at its beginning or end, '.' and '..'."
            raise ContimgError(
                f"is in rename, and is not a path below {root} in its shortest form", path=path, hint=hint
            )


def _require_passes(passes: int, *, live: bool) -> None:
    if passes < 1 or (passes > 1 and not live):
        why = "which is less than one" if passes < 1 else "and only a live copy has more than one"
        raise ContimgError(f"passes is {passes}, {why}", hint="Nothing was touched. Correct it and run again.")


def options_from(values: dict[str, Any]) -> Options:
    """Return the options for a module's parameters.

    :raises ContimgError: when an owner or group does not exist, or a decision, a glob or a place of ``rename`` is none.
    """
    require_globs(values["exclude"])
    _require_places(values["rename"])
    _require_passes(values["passes"], live=values["live"])
    for path, decision in values["decisions"].items():
        if decision not in ("keep", "replace"):
            raise ContimgError(
                f"has no decision '{decision}', only keep or replace", path=path, hint="Nothing was touched."
            )
    decisions = Decisions(
        rename={os.fsencode(old): os.fsencode(new) for old, new in values["rename"].items()},
        on_conflict=values["on_conflict"],
        single={os.fsencode(path): decision for path, decision in values["decisions"].items()},
        delete=values["delete"],
        policy=MetadataPolicy(user_id(values["owner"]), group_id(values["group"]), frozenset(values["allow_loss"])),
    )
    return Options(
        src=values["src"],
        dest=values["dest"],
        exclude=tuple(values["exclude"]),
        decisions=decisions,
        live=values["live"],
        passes=values["passes"],
        verify=values["verify"] == "checksum",
        manifest=values["manifest"] or values["dest"].rstrip("/") + ".sha256",
        backup_dir=values["backup_dir"],
        workers=max(1, values["workers"]),
        bandwidth_limit=values["bandwidth_limit"],
        progress_file=values["progress_file"] or None,
        require_quiesced=values["require_quiesced"],
        reserve={place: int(size) for place, size in values["reserve"].items()},
        retarget_links=values["retarget_links"],
    )
