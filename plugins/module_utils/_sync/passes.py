# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passes of a live copy: each copies what has changed while the one before it worked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import Options

__all__ = ["Pass", "is_last", "synchronize_in_passes"]

_SHORT = 5.0  # seconds; what changes meanwhile is little


class Pass(NamedTuple):
    """One pass.

    :ivar files: that it copied.
    :ivar size: bytes of these files.
    :ivar duration: in seconds.
    """

    files: int
    size: int
    duration: float


def is_last(passes: Sequence[Pass], limit: int) -> bool:
    """Return whether another pass would leave no less to copy than the last one, or is not permitted.

    :param passes: those that were done, at least one.
    :param limit: how many passes there may be.
    """
    last, former = passes[-1], passes[:-1]
    is_shrinking = not former or last.size < former[-1].size
    return len(passes) >= limit or last.duration < _SHORT or not is_shrinking


def synchronize_in_passes(options: Options, *, check: bool) -> dict[str, Any]:
    """Copy, as often as ``options.passes`` permits and it helps, and return the module's result, which describes the first pass.

    :raises ContimgError: see :func:`synchronize`.
    """
    first = synchronize(options, check=check)
    passes, changed = [_pass_of(first)], first["changed"]
    while not check and not is_last(passes, options.passes):
        later = synchronize(options, check=False)
        passes.append(_pass_of(later))
        changed = changed or later["changed"]
    shown = [{"copied": one.files, "bytes": one.size, "duration": one.duration} for one in passes]
    return {**first, "changed": changed, "passes": [] if check else shown}


def _pass_of(result: Mapping[str, Any]) -> Pass:
    return Pass(result["stats"]["copied"], result["stats"]["copied_bytes"], result["duration"])
