# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a copy writes beside its destination: whether they are of this state, and how they get to be."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import replace_file
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import (
    kept_file,
    kept_list,
    manifest_line,
    read_kept,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.compare import Trees
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import Options

__all__ = ["files_beside", "lacks_manifest", "write_manifest"]


def lacks_manifest(options: Options, kept: Sequence[bytes]) -> bool:
    """Return whether a run has to write the manifest, whatever else it has to do.

    A pass writes the manifest last: one older than the ledger is of a pass before one that died, or was live.

    :param kept: paths that a decision leaves as they are.
    :raises ContimgError: when one of the files cannot be looked at.
    """
    if options.live:
        return False
    is_rekept = _is_rekept(options, kept)
    with error_context("look at the manifest", options.manifest):
        try:
            written = os.stat(options.manifest).st_mtime_ns
        except FileNotFoundError:
            return True
        with contextlib.suppress(FileNotFoundError):
            if written < os.stat(options.ledger).st_mtime_ns:
                return True
    return is_rekept


def files_beside(options: Options, kept: Sequence[bytes]) -> list[str]:
    """Return the files that a run writes beside the destination. After a live pass another one writes the manifest."""
    is_rekept = _is_rekept(options, kept)
    return [options.ledger, options.manifest, *([kept_file(options.manifest)] if is_rekept else [])]


def write_manifest(options: Options, trees: Trees, kept: Sequence[bytes]) -> None:
    """Write the list of what a decision keeps, where it has changed, and then the manifest. Raises ContimgError."""
    without = {path + suffix for path in kept for suffix in (b"", b"-wal")} | trees.gone
    files = trees.ledger.files(without=without)
    if _is_rekept(options, kept):
        replace_file(kept_file(options.manifest), kept_list(kept), mode=0o644)
    replace_file(options.manifest, (manifest_line(*file) for file in files), mode=0o644)


def _is_rekept(options: Options, kept: Sequence[bytes]) -> bool:
    """Return whether the list of what a decision keeps has to be written."""
    return read_kept(options.manifest) != frozenset(kept)
