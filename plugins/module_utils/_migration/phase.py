# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phases of a move that are recorded by the process that has proved what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import audit
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders, require_none
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import advance, read_record, run_record
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.rows import UNNAMED
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.rows import report as rows_report
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.report import report_all, require_identical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Proofs

__all__ = ["PROOFS", "run_phase"]

# By phase, the option that says what has to be proved for it.
PROOFS = {"held": "closed", "proved": "identical", "split": "rows", "started": "unchanged"}


def run_phase(values: Mapping[str, Any], *, check: bool, proofs: Proofs = NOTHING) -> dict[str, Any]:
    """Prove what a phase says, record it, and return the result of ``migration_phase``. Check mode proves nothing.

    :param proofs: what is known of the databases; what it does not know is read and noted.
    :raises ContimgError: when the phase cannot follow, which is found before anything is looked at, or when it is not proved.
        The record is as it was then.
    """
    phase, found = values["phase"], dict(values["facts"])
    if not check:
        advance(read_record(values["run_dir"]), phase, {}, at=0.0)
        option = PROOFS[phase]
        found.update(_PROVE[option](values[option], values["workers"], proofs))
    recorded = run_record({**values, "facts": found, "move": None}, check=check)
    return {**recorded, "remembered": proofs.used}


def _closed(asked: Mapping[str, Any], _workers: int | None, _proofs: Proofs) -> dict[str, Any]:
    """Prove that no process may write to files, and return whether all processes could be looked at."""
    found = find_holders(asked["paths"], writers_only=True)
    require_none(found, asked["paths"], ["holders", "incomplete"] if asked["complete"] else ["holders"])
    return {"proof": found.complete}


def _identical(asked: Sequence[Mapping[str, Any]], workers: int | None, proofs: Proofs) -> dict[str, Any]:
    """Prove that databases hold what their sources hold."""
    require_identical(report_all({"databases": asked, "recurse": False, "tables": False, "workers": workers}, proofs))
    return {}


def _rows(asked: Mapping[str, Any], workers: int | None, proofs: Proofs) -> dict[str, Any]:
    """Return the rows of all databases, which a later look is compared with, and the hash of their directory.

    One that has no name may be damaged, which the baseline says then.
    """
    found = rows_report({**asked, "baseline": {}, "workers": workers}, proofs)
    needed = [
        one["unreadable"]
        for name, one in found["rows"].items()
        if name in {UNNAMED, *asked["names"]} and "unreadable" in one
    ]
    if needed:
        what = f"its rows are not known: {' '.join(needed)}"
        raise ContimgError(
            what, path=asked["path"], hint="The phase was not recorded. Run again when this is corrected."
        )
    return {"baseline": found["rows"], "dest_digest": found["digest"]}


def _unchanged(asked: Mapping[str, Any], _workers: int | None, _proofs: Proofs) -> dict[str, Any]:
    """Prove that the source is to the ctime what was copied."""
    names = ("exclude", "rename", "since")
    found = audit(asked["path"], asked["manifest"], content=False, **{name: asked[name] for name in names})
    if found["digest"] != asked["digest"]:
        different = sorted({*found["touched"], *found["unknown"], *found["missing"]})
        raise ContimgError(
            f"changed after it was copied, while the units were held ({', '.join(different) or 'by its metadata only'})",
            path=asked["path"],
            hint="Something writes there that belongs to none of the listed units. Find it (dsa110.contimg.open_files_info with"
            " watch_seconds), stop it or list its unit, and run again.",
            changed_files=different,
        )
    return {}


_PROVE: dict[str, Callable[..., dict[str, Any]]] = {
    "closed": _closed,
    "identical": _identical,
    "rows": _rows,
    "unchanged": _unchanged,
}
