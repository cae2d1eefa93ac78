# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier passes of a copy have put at a destination, remembered beside its manifest.

A file is taken as unchanged only while inode, size, mtime and ctime of both sides are those that were remembered, and
the source's ctime is older than the pass that read it (a change within the same clock tick would not show, as in git's
racy entries).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import replace_file
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, failing

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Known", "fact", "known", "read_ledger", "write_ledger"]

_RACY_NANOSECONDS = 20_000_000  # two ticks of the coarsest kernel clock


@dataclass(frozen=True)
class Known:
    """What is known of one copied file.

    :ivar source: the source's status when it was read, see :func:`fact`.
    :ivar target: the destination's status when it was placed.
    :ivar sha256: the digest of what was read from the source.
    :ivar verified: whether the destination was read back with this digest.
    :ivar racy: whether the source changed so shortly before the pass that a later change might not show.
    """

    source: tuple[int, ...]
    target: tuple[int, ...]
    sha256: str
    verified: bool
    racy: bool

    def is_current(self, source: os.stat_result, target: os.stat_result) -> bool:
        """Tell whether both sides are certainly what they were."""
        return not self.racy and self.describes(source, target)

    def describes(self, source: os.stat_result, target: os.stat_result) -> bool:
        """Tell whether both sides look like what they were; where this is racy, only their content proves it."""
        return self.source == fact(source) and self.target == fact(target)

    def placed(self, target: os.stat_result) -> bool:
        """Tell whether the destination is what an earlier pass has put there."""
        return self.target == fact(target)

    def as_verified(self) -> Known:
        """Return the same with a destination that was read back."""
        return replace(self, verified=True)


def fact(status: os.stat_result) -> tuple[int, ...]:
    """Return what a status says of a file's identity and content. The device number may change with a reboot."""
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def known(source: os.stat_result, target: os.stat_result, sha256: str, *, verified: bool, started_ns: int) -> Known:
    """Return the entry for a file that a pass, started at ``started_ns``, has read and placed."""
    racy = source.st_ctime_ns >= started_ns - _RACY_NANOSECONDS
    return Known(fact(source), fact(target), sha256, verified, racy)


def read_ledger(path: str) -> dict[bytes, Known]:
    """Read a ledger; one that does not exist is empty. Raises ContimgError when it is damaged."""
    if not os.path.exists(path):
        return {}
    try:
        with failing("read the ledger", path), open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        return {
            bytes.fromhex(name): Known(tuple(source), tuple(target), sha256, verified, racy)
            for name, source, target, sha256, verified, racy in lines
        }
    except ValueError as error:
        hint = "Nothing was touched. Remove this file: everything is then compared by content."
        raise ContimgError("is not the ledger of a copy", path=path, hint=hint) from error


def write_ledger(path: str, entries: Mapping[bytes, Known]) -> None:
    """Write a ledger durably, readable by its owner only. Raises ContimgError."""
    lines = (
        json.dumps([name.hex(), one.source, one.target, one.sha256, one.verified, one.racy])
        for name, one in sorted(entries.items())
    )
    replace_file(path, "".join(f"{line}\n" for line in lines).encode(), mode=0o600)
