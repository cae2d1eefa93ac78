# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one writer of a ledger: what is about to be done is written down durably, then it is done, then what was done is noted.

So the run after a crash knows what the killed one has placed, or has perhaps placed, as its own. It knows what the killed one
has left under temporary names, too: the number of a run, which these names have, is noted before it makes the first file.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Callable

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import replace_file, sync_directory
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import (
    MAGIC,
    PORTION,
    LedgerEntry,
    packed_block,
    portions,
    record_of,
    record_of_run,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger, Record

__all__ = ["Journal", "Note"]

#: Takes a path at the destination, and what is known of it now.
Note = Callable[[bytes, LedgerEntry], None]


class Journal:
    """Writes the ledger of one destination.

    :param ledger: what was read of it. It knows at once what is written here.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._noted: dict[bytes, LedgerEntry] = {}
        self._expected: dict[bytes, LedgerEntry] = {}

    def begin(self, run: bytes) -> None:
        """Note the number of a run durably, before it makes any file. Raises ContimgError."""
        self._append([record_of_run(run)])

    @contextlib.contextmanager
    def step(self, intents: Iterable[tuple[bytes, LedgerEntry]] = ()) -> Iterator[Note]:
        """Write down durably what is about to be done, let it be done, and write down what was noted meanwhile.

        What is noted is written in portions, the last one at the end of the step; of a step that fails it is not. Steps may
        contain steps.

        :param intents: what is about to stand at the destination, by path, without ``PLACED``.
        :raises ContimgError: when the ledger cannot be written.
        """
        self._append_all(intents)
        yield self._note
        self._write_noted()

    def known(self, path: bytes) -> LedgerEntry | None:
        """Return what is known of a path that was placed, also where that is not written yet."""
        return self._noted.get(path) or self._expected.get(path) or self._ledger.get(path)

    def expect(self, path: bytes, known: LedgerEntry) -> None:
        """Know a file that is there already, and that is noted when it has got its attributes: these move its ctime."""
        self._expected[path] = known

    def finish(self, *, removed: Iterable[bytes], replaced: Iterable[bytes], ended: Iterable[bytes]) -> None:
        """Write all that is known anew, durably, without what has come to an end, see :meth:`Ledger.forget`.

        :raises ContimgError: when it cannot be written.
        """
        self._ledger.forget(removed=removed, replaced=replaced, ended=ended)
        replace_file(self._ledger.path, self._ledger.blocks(), mode=0o600)
        with error_context("look at the ledger", self._ledger.path):
            self._ledger.end = os.stat(self._ledger.path).st_size

    def _note(self, path: bytes, known: LedgerEntry) -> None:
        self._noted[path] = known
        if len(self._noted) >= PORTION:
            self._write_noted()

    def _write_noted(self) -> None:
        self._append_all(self._noted.items())
        self._noted.clear()

    def _append_all(self, known: Iterable[tuple[bytes, LedgerEntry]]) -> None:
        for some in portions(known):
            self._append([record_of(path, one) for path, one in some])

    def _append(self, records: Sequence[Record]) -> None:
        """Add a block durably. What a killed run has written of one is overwritten."""
        self._ledger.remember(records)
        block, path = packed_block(records), self._ledger.path
        with error_context("write the ledger", path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.truncate(self._ledger.end)
                file.seek(self._ledger.end)
                file.write(block if self._ledger.end else MAGIC + block)
                file.flush()
                os.fsync(descriptor)
                if not self._ledger.end:
                    sync_directory(os.path.dirname(os.path.abspath(path)))
                self._ledger.end = file.tell()
