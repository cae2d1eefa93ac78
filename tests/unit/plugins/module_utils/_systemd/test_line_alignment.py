# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random lines: an alignment is in order, of equal lines, and as long as the one that a table of all prefixes gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.line_alignment import aligned

LINES = st.lists(st.sampled_from("abc"), max_size=12)


def longest(old: list[str], new: list[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(new) + 1)
    for line in old:
        before, row = row, [0]
        for number, other in enumerate(new):
            row.append(before[number] + 1 if line == other else max(before[number + 1], row[number]))
    return row[-1]


@given(old=LINES, new=LINES)
def test_an_alignment_is_in_order_and_the_longest(old: list[str], new: list[str]) -> None:
    pairs = sorted(aligned(old, new).items())
    assert all(old[here] == new[there] for here, there in pairs)
    assert all(one[1] < other[1] for one, other in zip(pairs, pairs[1:]))
    assert len(pairs) == longest(old, new)


def test_where_too_many_lines_differ_none_is_taken_for_another() -> None:
    assert aligned(["same", *"a" * 2000], ["same", *"b" * 2000]) == {}
