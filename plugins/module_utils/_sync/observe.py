# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a plan is made from: both trees, what earlier passes have placed, and what only the content of files shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._host.separate import SharedFiles, may_be_shown
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Asked, Sides, Trees, compare
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.examine import Findings, examine
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.links import Links
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.places import places_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import Options

__all__ = ["Observation", "observe"]


class Observation(NamedTuple):
    """What was seen of both sides before anything is decided.

    :ivar trees: their entries, and what earlier passes have placed.
    :ivar places: the path in the source of each path at the destination.
    :ivar findings: what only the content of files shows.
    :ivar links: what there is to report of links of the source, see :meth:`Links.report`.
    """

    trees: Trees
    places: Mapping[bytes, bytes]
    findings: Findings
    links: Sequence[dict[str, Any]]


def observe(sides: Sides, options: Options) -> Observation:
    """Read both sides. Nothing is written.

    :raises ContimgError: when a side cannot be read, or both have something in common.
    """
    decisions = options.decisions
    links = Links(options.src, options.dest, decisions.rename, retarget=options.retarget_links)
    shared = SharedFiles(shown=may_be_shown(options.src, options.dest))
    asked = Asked(options.exclude, options.verify, decisions.policy)
    trees = compare(sides, Ledger.read(options.ledger), asked, links=links, shared=shared)
    shared.require_none(options.src, options.dest)
    links.require_none("Nothing was touched.")
    places = places_of(trees, decisions.rename)
    return Observation(trees, places, examine(sides, trees, places, decisions), links.report())
