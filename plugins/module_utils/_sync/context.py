# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all steps of one pass of a copy share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import is_racy
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import entry_at
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import name_for
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    NO_DIGEST,
    PLACED,
    RACY,
    VERIFIED,
    LedgerEntry,
    losses_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry
    from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.content import DataCopier
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Journal
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.progress import Progress
    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

__all__ = ["CopyContext"]


@dataclass(frozen=True)
class CopyContext:
    """What all steps of a pass share.

    :ivar source: descriptor of the source's root.
    :ivar target: descriptor of the destination's root.
    :ivar journal: where each file is noted before and after it gets its name.
    :ivar data: copies and proves content.
    :ivar progress: counts what is done.
    :ivar policy: owner, group and losses.
    :ivar live: whether the source may change or vanish under the copy.
    :ivar verify: whether files are read back.
    :ivar workers: processes.
    :ivar started_ns: when this pass began to look at the source.
    :ivar databases: which files of the source are databases.
    :ivar run: the number of this run, which the ledger knows.
    """

    source: int
    target: int
    journal: Journal
    data: DataCopier
    progress: Progress
    policy: MetadataPolicy
    live: bool
    verify: bool
    workers: int
    started_ns: int
    databases: set[bytes]
    run: bytes

    def temporary_name(self) -> bytes:
        """Return a name that cannot be guessed. The next run removes what has it, for the ledger knows this run."""
        return name_for(self.run)

    def read_now(self, source: bytes, entries: Mapping[bytes, Entry]) -> LedgerEntry:
        """Return what is known of a name in the source that has no content to prove; what stands at the destination is not set.

        :param entries: entries as they were read before, by path. The name itself is asked whether it has changed since.
        :raises OSError: when it vanished.
        """
        now = entry_at(self.source, source)
        racy = RACY if is_racy(now, self.started_ns) else 0
        flags = PLACED | VERIFIED | racy | losses_of(self.policy.losses)
        return LedgerEntry(entries.get(source, now).identity, b"", NO_DIGEST, flags)

    def placed_now(self, action: Action, there: Entry, entries: Mapping[bytes, Entry]) -> LedgerEntry | None:
        """Return what is known of a name that has just got its metadata, ``None`` for a file that no pass knows.

        :param there: what stands at the destination.
        :raises OSError: when the source vanished.
        """
        known = self.journal.known(there.path) if there.is_file else self.read_now(action.source, entries)
        return None if known is None else known.with_losses(self.policy.losses)._replace(target=there.identity)
