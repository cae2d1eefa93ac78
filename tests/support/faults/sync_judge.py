# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong after a copy whose calls have failed, and after the run that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import (
    copy,
    digest_of,
    found_differences,
    is_told,
    rows,
)
from ansible_collections.dsa110.contimg.tests.support.faults.traced import SAID, TEMPORARY, Outcome

if TYPE_CHECKING:
    import pathlib

__all__ = ["judge"]


def judge(base: pathlib.Path, outcome: Outcome, before: str) -> str:
    """Return what is wrong after a call has failed, if anything, and finish the copy."""
    said = outcome.said
    wrong = [
        (outcome.code not in (0, 1), f"ended with {outcome.code}: {said}"),
        (outcome.code == 0 and found_differences(base) != [], "claims success, and the copy differs"),
        (outcome.code == 1 and not SAID.search(said), f"says neither where nor what: {said}"),
        (said.startswith(TEMPORARY), f"names a file that nobody knows: {said}"),
        (digest_of(base / "src") != before, "has changed the source"),
        (rows(base / "dest") not in (5, 9), "has torn the database"),
    ]
    copy(base)
    wrong += [
        (found_differences(base) != [], f"the next run leaves {found_differences(base)}"),
        (rows(base / "dest") != 9, "the next run leaves old rows"),
        (not is_told(base), "the manifest of the next run is wrong"),
        (bool(copy(base)["changed"]), "the third run changes something"),
    ]
    return "; ".join(words for is_so, words in wrong if is_so)
