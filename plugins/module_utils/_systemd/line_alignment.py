# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of a file are those of another one: the longest common subsequence.

The standard library's ``difflib`` looks for the longest block first, and may miss a line that has only moved down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["aligned"]

_MOST = 1000  # lines that differ: time and memory grow with their square


def aligned(old: Sequence[str], new: Sequence[str]) -> dict[int, int]:
    """Return by number of a line in ``old`` that of the same line in ``new``; nothing where too many lines differ.

    The algorithm is that of E. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986.
    """
    furthest = {1: 0}  # by diagonal (line of old less line of new), how far into old one gets with as many changes
    steps: list[dict[int, int]] = []
    for changes in range(min(len(old) + len(new), _MOST) + 1):
        steps.append(dict(furthest))
        for diagonal in range(-changes, changes + 1, 2):
            reached = _start(furthest, diagonal, changes)
            while reached < len(old) and reached - diagonal < len(new) and old[reached] == new[reached - diagonal]:
                reached += 1
            furthest[diagonal] = reached
            if reached >= len(old) and reached - diagonal >= len(new):
                return _walked_back(steps, len(old), len(new))
    return {}


def _comes_from_above(furthest: dict[int, int], diagonal: int, changes: int) -> bool:
    """Return whether a diagonal is entered by a new line, from the diagonal above it, not without an old one."""
    return diagonal == -changes or (diagonal != changes and furthest[diagonal - 1] < furthest[diagonal + 1])


def _start(furthest: dict[int, int], diagonal: int, changes: int) -> int:
    """Return the line of old at which a diagonal is entered."""
    above = _comes_from_above(furthest, diagonal, changes)
    return furthest[diagonal + 1] if above else furthest[diagonal - 1] + 1


def _walked_back(steps: list[dict[int, int]], here: int, there: int) -> dict[int, int]:
    """Return the lines that are the same, from the ends of both back to their beginnings."""
    pairs = {}
    for changes in range(len(steps) - 1, -1, -1):
        furthest, diagonal = steps[changes], here - there
        while here > _start(furthest, diagonal, changes):
            here, there = here - 1, there - 1
            pairs[here] = there
        if _comes_from_above(furthest, diagonal, changes):
            there -= 1
        else:
            here -= 1
    return pairs
