# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What passes of a copy have put at a destination, as a file beside its manifest keeps it: the format, and its reader.

A name is taken as unchanged only while mode, owner, size, times and inode of both sides are those that were remembered,
and the source's ctime is older than the pass that read it (a change within the same clock tick would not show, as in
git's racy entries).

The file is a sequence of blocks. A block has a checksum: a torn one, and what follows it, counts as not written. What is written
when is the business of :mod:`journal`.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple, Tuple, TypeVar

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    LARGE,
    read_optional,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import IDENTITY, Entry, name_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import run_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

__all__ = [
    "DATABASE",
    "MAGIC",
    "NO_DIGEST",
    "PLACED",
    "PORTION",
    "RACY",
    "VERIFIED",
    "Ledger",
    "LedgerEntry",
    "Record",
    "is_same_content",
    "losses_of",
    "packed_block",
    "portions",
    "record_of",
    "record_of_run",
]

#: The destination has it under its name. Without this it was about to be renamed, and its ctime is unknown.
PLACED = 1
#: The destination was read back with this digest.
VERIFIED = 2
#: The source changed so shortly before the pass that a later change might not show.
RACY = 4
#: A database: it is judged together with its log, never alone.
DATABASE = 8
#: The number of a run, no file. What has a temporary name with this number is that run's.
_RUN = 16
_LOSSES = {"acl": 32, "xattr": 64, "flags": 128}  # which a status does not show: they were accepted, and perhaps lost
_ATTRIBUTES = sum(_LOSSES.values())
#: The digest of what has no content.
NO_DIGEST = bytes(32)

#: How many names are noted at a time: a tree may have hundreds of thousands.
PORTION = 1000

#: How the file begins.
MAGIC = b"contimg ledger 4\n"
_BLOCK = struct.Struct("<III")  # records, bytes, CRC-32
_DIGEST = 2 * IDENTITY
_FLAGS = _DIGEST + 32
_SIZE = _FLAGS + 1
_UNTRUSTED = RACY | DATABASE
_Value = TypeVar("_Value")
#: A path and what is kept of it.
Record = Tuple[bytes, bytes]


class LedgerEntry(NamedTuple):
    """What is known of one name at the destination.

    :ivar source: the source's identity when it was read, see :attr:`Entry.identity`.
    :ivar target: the destination's when it was placed; zeros where it could not hold such a thing.
    :ivar sha256: the digest of what was read from the source.
    :ivar flags: of ``PLACED``, ``VERIFIED``, ``RACY`` and ``DATABASE``, and those of :func:`losses_of`.
    """

    source: bytes
    target: bytes
    sha256: bytes
    flags: int

    def keeps_attributes(self, accepted: int) -> bool:
        """Return whether no attributes are lost but those that the operator accepts. A later change of any shows in a ctime."""
        return not self.flags & _ATTRIBUTES & ~accepted

    def is_current(self, source: Entry, target: Entry) -> bool:
        """Return whether both sides are certainly what they were."""
        return not self.flags & RACY and self.describes(source, target)

    def describes(self, source: Entry, target: Entry) -> bool:
        """Return whether both sides look like what they were; where this is racy, only their content proves it."""
        return bool(self.flags & PLACED) and self.source == source.identity and self.target == target.identity

    def with_losses(self, accepted: Iterable[str]) -> LedgerEntry:
        """Return it as what has got its attributes now, with these losses accepted."""
        return self._replace(flags=self.flags & ~_ATTRIBUTES | losses_of(accepted))

    def intended(self, *, times_of: Entry | None = None) -> LedgerEntry:
        """Return it as what is about to be put there.

        :param times_of: the entry whose time it will have then.
        """
        target = self.target if times_of is None else _with_time(self.target, times_of.identity)
        return self._replace(target=target, flags=self.flags & ~PLACED)

    def packed(self) -> bytes:
        """Return it as a ledger keeps it."""
        return self.source + self.target + self.sha256 + bytes([self.flags])


def _content_facts(identity: bytes) -> bytes:
    return identity[12:32] + identity[44:52]


def _with_time(identity: bytes, other: bytes) -> bytes:
    return identity[:20] + other[20:32] + identity[32:]


def is_same_content(one: Entry, other: Entry) -> bool:
    """Return whether two entries are one file that was not written to in between: by inode, size and mtime."""
    return _content_facts(one.identity) == _content_facts(other.identity)


def losses_of(accepted: Iterable[str]) -> int:
    """Return the flags for losses that the operator accepts: what was put there so is compared anew once he does not."""
    return sum(_LOSSES.get(loss, 0) for loss in accepted)


def portions(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    """Split what is to be noted."""
    rest = iter(values)
    return iter(lambda: list(itertools.islice(rest, PORTION)), [])


class Ledger:
    """What passes have placed at one destination. There may be hundreds of thousands of names, so they are kept packed.

    :ivar path: its file.
    :ivar end: how many bytes of it whole blocks take; what follows counts as not written. Its writer moves it.
    """

    def __init__(self, content: bytes = b"", path: str = "") -> None:
        """Take the content of its file, which is empty where there is none. Raises ContimgError when it is no ledger."""
        self.path = path
        self._records: dict[bytes, bytes] = {}
        self._intents: dict[bytes, list[bytes]] = {}  # what dead runs were about to put there, and perhaps did
        self._runs: dict[bytes, bytes] = {}  # those that have not ended, by number
        self.end = self._take(content)

    @classmethod
    def read(cls, path: str) -> Ledger:
        """Read the ledger of a destination; one that does not exist is empty. Raises ContimgError."""
        return cls(read_optional(path, "read the ledger", limit=LARGE) or b"", path)

    def _take(self, content: bytes) -> int:
        """Read all whole blocks and return where they end."""
        if not content.startswith(MAGIC[: len(content)]):
            hint = "Nothing was touched. Remove this file: everything is then compared by content."
            raise ContimgError("is not the ledger of a copy", path=self.path, hint=hint)
        if len(content) < len(MAGIC):
            return 0
        position, view = len(MAGIC), memoryview(content)  # a block may be large: it is not copied
        while position + _BLOCK.size <= len(content):
            count, length, checksum = _BLOCK.unpack_from(content, position)
            block = view[position + _BLOCK.size : position + _BLOCK.size + length]
            if not count or len(block) < length or zlib.crc32(block) != checksum:
                break
            records = (bytes(block[start : start + _SIZE]) for start in range(0, count * _SIZE, _SIZE))
            self.remember(zip(bytes(block[count * _SIZE :]).split(b"\0"), records))
            position += _BLOCK.size + length
        return position

    def remember(self, records: Iterable[Record]) -> None:
        """Know from now on what was written down."""
        for path, record in records:
            if record[_FLAGS] & PLACED:
                self._records[path] = record
                self._intents.pop(path, None)
            elif record[_FLAGS] & _RUN:
                self._runs[path[1:]] = record
            else:
                self._intents.setdefault(path, []).append(record)

    def __contains__(self, path: bytes) -> bool:
        return path in self._records or path in self._intents

    @property
    def runs(self) -> set[bytes]:
        """The numbers of the runs that have not ended, this one included."""
        return set(self._runs)

    def is_ours(self, there: Entry) -> bool:
        """Return whether a name at the destination is what a pass put there: inode, size and mtime, which a write moves."""
        wanted = _content_facts(there.identity)
        placed = self._records.get(there.path)
        found = [*([] if placed is None else [placed]), *self._intents.get(there.path, [])]
        return any(_content_facts(record[IDENTITY:_DIGEST]) == wanted for record in found)

    def is_left(self, there: Entry) -> bool:
        """Return whether a killed run has left this at the destination under a temporary name.

        Directories and what a run has put there under such a name, since the source has one, are none.
        """
        return run_of(name_of(there.path)) in self._runs and not there.is_directory and there.path not in self

    def paths(self) -> set[bytes]:
        """Return every path that is known."""
        return set(self._records)

    def get(self, path: bytes) -> LedgerEntry | None:
        """Return what is known of a path that was placed."""
        record = self._records.get(path)
        if record is None:
            return None
        return LedgerEntry(record[:IDENTITY], record[IDENTITY:_DIGEST], record[_DIGEST:_FLAGS], record[_FLAGS])

    def settles(self, source: Entry, target: Entry, *, verified: bool, accepted: int) -> bool:
        """Return whether both sides are certainly what they were. This is asked for every name of a tree.

        :param verified: whether it must have been read back.
        :param accepted: the losses that are accepted now, see :func:`losses_of`.
        """
        record = self._records.get(target.path)
        here, there = source.facts, target.facts
        if record is None or record[:_DIGEST] != here[:IDENTITY] + there[:IDENTITY]:
            return False
        flags = record[_FLAGS]
        if flags & _ATTRIBUTES & ~accepted:
            return False
        return bool(flags & PLACED) and not flags & _UNTRUSTED and (not verified or bool(flags & VERIFIED))

    def forget(self, *, removed: Iterable[bytes], replaced: Iterable[bytes], ended: Iterable[bytes] = ()) -> None:
        """Forget what has come to an end.

        What was about to be put somewhere stays known: where it is there, and needed nothing more, no pass has noted that.

        :param removed: paths where nothing is any more.
        :param replaced: paths of files where something else stands.
        :param ended: runs of which nothing is left at the destination.
        """
        for path in (*removed, *replaced):
            self._records.pop(path, None)
        for path in removed:
            self._intents.pop(path, None)
        for run in ended:
            self._runs.pop(run, None)

    def blocks(self) -> Iterator[bytes]:
        """Yield all that is known as the blocks of a new file."""
        yield MAGIC
        intents = ((path, record) for path, records in self._intents.items() for record in records)
        runs = (record_of_run(run) for run in self._runs)
        for some in portions(itertools.chain(self._records.items(), intents, runs)):
            yield packed_block(some)

    def digest(self, path: bytes) -> str:
        """Return the digest of a file that stands at the destination, empty for what has no content or is not known."""
        digest = self._records.get(path, b"")[_DIGEST:_FLAGS]
        return "" if digest == NO_DIGEST else digest.hex()

    def files(self, *, without: Container[bytes]) -> Iterator[tuple[bytes, str]]:
        """Yield each file that stands at the destination with its digest, sorted, leaving out some paths."""
        for path in sorted(self._records):
            digest = self.digest(path)
            if digest and path not in without:
                yield path, digest


def record_of(path: bytes, known: LedgerEntry) -> Record:
    """Return the record of a name."""
    return path, known.packed()


def record_of_run(run: bytes) -> Record:
    """Return the record of a run that begins, by its number. No path at the destination begins as its path does."""
    return b"/" + run, bytes(_FLAGS) + bytes([_RUN])


def packed_block(records: Sequence[Record]) -> bytes:
    """Return records as one block of a ledger."""
    block = b"".join(record for _path, record in records) + b"\0".join(path for path, _record in records)
    return _BLOCK.pack(len(records), len(block), zlib.crc32(block)) + block
