# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a copy reports: the result of its module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import Options
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Plan

__all__ = ["further_lines", "refuse_conflicts", "report"]

_SHOWN = 200  # actions and conflicts that a result lists


def refuse_conflicts(plan: Plan, dest: str) -> None:
    """Check that a plan has no conflicts. Raises ContimgError which names the first ones."""
    if plan.conflicts:
        named = [f"{printable(path)} ({reason})" for path, reason in plan.conflicts]
        what = f"holds what this copy has not put there: {', '.join(named[:10])}"
        hint = (
            "Nothing was touched. Decide with on_conflict or decisions: keep leaves it, replace backs it up first."
            " A directory is not replaced: move it away."
        )
        raise ContimgError(what, path=dest, hint=hint, conflicts=named[:_SHOWN])


def further_lines(options: Options, plan: Plan, unproved: Sequence[bytes], *, lacks_manifest: bool) -> list[str]:
    """Return what a run does besides the steps of its plan, a line each."""
    doing = "verify" if options.verify else "remember"
    why = "has not been read back" if options.verify else "was there already"
    shown = {step.path for step in plan.actions if step.kind == "metadata"}
    lines = [f"{doing} {printable(path)} ({why})" for path in unproved if path not in shown]
    return [*lines, *([f"manifest {options.manifest} (is written anew)"] if lacks_manifest else [])]


def report(
    options: Options, trees: Trees, plan: Plan, *, links: Sequence[dict[str, Any]], notes: Sequence[str]
) -> dict[str, Any]:
    """Return what a plan says; a run adds what it has proved, and how long it took.

    :param links: what there is to report of links of the source.
    :param notes: what a run does besides, see :func:`further_lines`.
    """
    return {
        "changed": bool(plan.actions or notes),
        "stats": {
            "files": trees.files,
            "bytes": trees.size,
            "copied": sum(step.kind == "copy" for step in plan.actions),
            "skipped": len(plan.unchanged) + trees.settled,
            "removed": sum(step.kind == "remove" for step in plan.actions),
            "kept": len(plan.kept),
        },
        "actions": [
            {"action": step.kind, "path": printable(step.path or b"."), "reason": step.reason}
            for step in plan.actions[:_SHOWN]
        ],
        "actions_total": len(plan.actions),
        "actions_digest": plan.digest(),
        "conflicts": [printable(path) for path in plan.kept[:_SHOWN]],
        "links": links[:_SHOWN],
        "links_total": len(links),
        "manifest": options.manifest,
        "source_digest": trees.digest,
        "identical": not plan.actions,
        "diff": plan.diff(notes),
    }
