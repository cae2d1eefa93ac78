# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether units and containers that were started on a new path use the path that they were to leave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import containers_of_host, uses_of
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import Container
    from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import Holder

__all__ = ["binding", "opening", "users_of_left"]


def users_of_left(path: str, *, units: Sequence[str], containers: Sequence[str]) -> list[str]:
    """Return a clause for each process of these units, and for each of these containers, that uses a path.

    :raises ContimgError: when an engine or ``/proc`` cannot be read.
    """
    found = [*binding(path, containers_of_host()[0], containers)] if containers else []
    return [*found, *opening(path, find_holders([path]).holders, units)] if units else found


def binding(path: str, found: Mapping[str, Container], names: Sequence[str]) -> Iterable[str]:
    """Yield a clause for each named container that is bound to a path; a mount above the path does not bind it."""
    for name in names:
        uses = [] if name not in found else uses_of(found[name], [path])
        places = [f"{use['where']} {use['name']}".strip() for use in uses if use["where"] != "above"]
        if places:
            yield (
                f"Container {name} is bound to {printable(path)} by its {', '.join(places)}. Does its compose project read a file"
                " that is neither in contimg_unit_files nor in contimg_env_files?"
            )


def opening(path: str, holders: Iterable[Holder], units: Sequence[str]) -> Iterable[str]:
    """Yield a clause for each process of these units that has files below a path open."""
    for one in holders:
        if one.unit in units:
            yield f"{json.dumps(one.as_dict())} has files below {printable(path)} open after the start on the new state"
