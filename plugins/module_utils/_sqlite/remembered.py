# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reading a database has shown, remembered in a file for as long as the database is certainly the same.

It holds while device, inode, size, mtime and ctime of the database, its WAL and its journal are what they were, absence included.
The index of the WAL holds nothing of its own. What could change without that is not remembered:

- what changed within the last ticks of the clock before it was read (:func:`is_racy`), or while it was read;
- what a process holds SQLite's lock of a writer for: a write moves the ctime before it moves the bytes;
- what a process maps shared and writable: only the first store into a page moves the ctime. A SQLite that maps a database
  (``mmap_size``) reads by the mapping and writes by ``pwrite``, unless built with ``SQLITE_MMAP_READWRITE``;
- what a hot journal takes back: whether it does depends on locks, and perhaps on a super-journal;
- what lies on a network file system, FUSE, tmpfs or any other whose status may be an old one.

A reboot ends it: after a crash a file can have its new times and old bytes. So does another version of SQLite, whose check may find
more.

The file is data: one that is damaged, of another version, of another user, or no such file at all means that nothing is remembered.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import sqlite3
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Tuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    decoding,
    expected,
    read_json,
    read_with_status,
    replace_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, entry_of, is_racy
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import mount_at, mounts_of
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import (
    is_open_for_writing,
    mapped_for_writing,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import boot_id
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import JOURNAL
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.connection import real_path
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.journal import is_hot, open_beside
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.locks import has_writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["NOTHING", "Facts", "Known", "Note", "Proofs", "identity_of", "remembering"]

_FORMAT = "contimg proofs "
_VERSION = "1"
_BEGINNING = b'{"format": "' + _FORMAT.encode()
_LARGEST = 16 << 20  # bytes of the file
_MOST = 1000  # databases
_FILES = ("", "-wal", JOURNAL)
_FIELDS = 5  # of a file's identity
#: File systems whose times this kernel keeps itself, and moves with the first store into a page of a mapping. On tmpfs a page that
#: was read by a mapping is written by it without a trace.
_LOCAL = frozenset(("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs"))
_CHECKSUM = re.compile(r"(?:contimg1:)?sha256:[0-9a-f]{64}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_NOT_WRITABLE_BY_OTHERS = 0o022

#: Device, inode, size, mtime and ctime (nanoseconds) of a database, its WAL and its journal, ``None`` for what is absent.
Identity = Tuple[Optional[Tuple[int, ...]], ...]


@dataclass(frozen=True)
class Facts:
    """What reading a database has shown; each fact is empty where it was not asked.

    :ivar checksum: of schema and rows.
    :ivar tables: by name ``rows`` and ``checksum``; they count where there is a checksum.
    :ivar sound: whether SQLite's quick check, or its full one, has found nothing.
    :ivar file_checksum: SHA-256 of the main file.
    :ivar pages: of the database.
    :ivar newest: the newest moment that a row names, ``None`` where it was not asked.
    """

    checksum: str = ""
    tables: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    sound: bool = False
    file_checksum: str = ""
    pages: int = 0
    newest: str | None = None

    def and_earlier(self, earlier: Facts) -> Facts:
        """Return these facts together with those of an earlier reading of the same content."""
        found = {name: value for name, value in vars(self).items() if value}
        return replace(earlier, **{**found, "newest": earlier.newest if self.newest is None else self.newest})


class Known(NamedTuple):
    """What is known of a database.

    :ivar taken_at: since when it holds, in UTC.
    """

    identity: Identity
    taken_at: str
    facts: Facts

    @property
    def wal_bytes(self) -> int:
        """The size of its WAL."""
        wal = self.identity[1]
        return 0 if wal is None else wal[2]


#: Takes the real path of a database and what its reading has shown.
Note = Callable[[str, Facts], None]


def identity_of(real: str) -> Identity | None:
    """Return the identity of a database, ``None`` where it, or what belongs to it, is not a regular file or cannot be seen.

    :param real: the database, no symbolic link.
    """
    entries = _entries(real)
    return None if entries is None else _identity(entries)


def _entries(real: str) -> list[Entry | None] | None:
    found: list[Entry | None] = []
    for suffix in _FILES:
        try:
            found.append(entry_of(b"", os.lstat(real + suffix)) if is_there(real + suffix) else None)
        except (OSError, ContimgError):
            return None
    return found if found[0] is not None and all(one is None or one.is_file for one in found) else None


def _identity(entries: list[Entry | None]) -> Identity:
    statuses = (None if one is None else one.status for one in entries)
    return tuple(one and (one.device, one.inode, one.size, one.mtime_ns, one.ctime_ns) for one in statuses)


class Proofs:
    """What is known of databases, by a file or by none.

    :param path: the file, ``None`` where nothing is to be remembered.
    :param known: what it holds, by the real path of each database.
    """

    def __init__(self, path: str | None, known: Mapping[str, Known]) -> None:
        self._path, self._known = path, dict(known)
        self._noted: set[str] = set()
        self._recalled: dict[str, str] = {}
        self._read: set[str] = set()
        self._started = 0

    @property
    def used(self) -> dict[str, str]:
        """Since when what is known of a database holds, by its path, for each that was not read."""
        return {path: moment for path, moment in self._recalled.items() if path not in self._read}

    def recall(self, path: str) -> Known | None:
        """Return what is known of a database, ``None`` where that is nothing or it is not certainly the same any more."""
        if self._path is None:
            return None
        real = real_path(path)
        known = self._known.get(real)
        if known is None or known.identity != identity_of(real):
            return None
        self._recalled[printable(path)] = known.taken_at
        return known

    @contextlib.contextmanager
    def taking(self, *paths: str) -> Iterator[Note]:
        """Hold while databases are read. What is noted is known if all of them are certainly what they were before."""
        noted: dict[str, Facts] = {}
        before: dict[str, tuple[Identity, str]] = {}
        if self._path is not None:
            self._read.update(map(printable, paths))
            before = self._certain(paths)
        yield noted.__setitem__
        if all(identity_of(real) == identity for real, (identity, _moment) in before.items()):
            for real in noted.keys() & before.keys():
                self._keep(real, *before[real], noted[real])

    def _certain(self, paths: tuple[str, ...]) -> dict[str, tuple[Identity, str]]:
        """Return identity and moment by real path, nothing where any of them may change without a trace.

        What changes after the first look at the clock shows in an identity. Who could change it unseen is looked for after that.
        """
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        found: dict[str, tuple[Identity, str]] = {}
        for real in map(real_path, paths):
            entries = self._unwatched(real)
            if entries is None:
                return {}
            found[real] = (_identity(entries), moment)
        return found

    def _unwatched(self, real: str) -> list[Entry | None] | None:
        """Return the entries of a database that changes from now on only with its ctime, else ``None``."""
        self._started = self._started or time.time_ns()
        with contextlib.suppress(OSError, ContimgError):
            if not _is_local(real) or has_writer(real) or _has_hot_journal(real) or self._is_mapped(real):
                return None
            entries = _entries(real)
            if entries is not None and not any(one and is_racy(one, self._started) for one in entries):
                return entries
        return None

    def _is_mapped(self, real: str) -> bool:
        """Return whether a process maps the database, its WAL or its journal for writing, or that cannot be seen."""
        for suffix in _FILES:
            with open_beside(real, suffix) as file:
                if file is None or not is_open_for_writing(file):
                    continue
                if self._mapped is None or os.fstat(file).st_ino in self._mapped:
                    return True
        return False

    @functools.cached_property
    def _mapped(self) -> frozenset[int] | None:
        """The inodes that are mapped for writing. One look at every process is enough: what is mapped later shows in a ctime."""
        return mapped_for_writing()

    def _keep(self, real: str, identity: Identity, moment: str, facts: Facts) -> None:
        known = self._known.get(real)
        if known is not None and known.identity == identity:
            moment, facts = known.taken_at, facts.and_earlier(known.facts)
        self._known[real] = Known(identity, moment, facts)
        self._noted.add(real)

    def write(self) -> None:
        """Write what was noted, durably, together with what other runs have written meanwhile and still holds.

        Nothing is written where nothing was noted, or where the directory does not exist.

        :raises ContimgError: when it cannot be written, or something else has its name. What was there is still there.
        """
        path = self._path
        if path is None or not self._noted or not is_directory(os.path.dirname(os.path.abspath(path))):
            return
        if is_there(path) and not _bytes_of(path).startswith(_BEGINNING):
            hint = "It was not changed, and nothing is remembered. Remove it, or name another file."
            raise ContimgError("is not a file of this user that remembers databases", path=path, hint=hint)
        known = {**_known_in(path), **{real: self._known[real] for real in self._noted}}
        replace_file(path, _dumped(_kept(known)), mode=0o600)


#: Of a caller that remembers nothing.
NOTHING = Proofs(None, {})


@contextlib.contextmanager
def remembering(path: str | None, *, write: bool, warn: Callable[[str], None]) -> Iterator[Proofs]:
    """Hold what is known of databases, and write at the end what was noted.

    :param path: the file, ``None`` for none.
    :param write: whether anything is written.
    :param warn: takes the reason why it could not be written, which makes no proof less true.
    """
    proofs = Proofs(path if boot_id() else None, _known_in(path) if path else {})
    yield proofs
    if not write:
        return
    try:
        proofs.write()
    except ContimgError as error:
        warn(f"{error.message} The databases are read again by the next run.")


def _is_local(real: str) -> bool:
    mount = mount_at(mounts_of(), real)
    return mount is not None and mount.kind in _LOCAL


def _has_hot_journal(real: str) -> bool:
    with open_beside(real, JOURNAL) as journal:
        return journal is not None and is_hot(journal)


def _bytes_of(path: str) -> bytes:
    """Return the content of a file of ours, empty where it is none: a link, a FIFO, another user's, one that others may write."""
    with contextlib.suppress(ContimgError):
        content, status = read_with_status(path, "read what is known of the databases", limit=_LARGEST)
        if status.st_uid == os.geteuid() and not status.st_mode & _NOT_WRITABLE_BY_OTHERS:
            return content
    return b""


def _known_in(path: str) -> dict[str, Known]:
    """Return what a file knows, nothing where it is damaged, of another version, or of another boot."""
    with contextlib.suppress(ContimgError), decoding(path, "is not what is known of databases"):
        values = read_json(_bytes_of(path))
        databases = expected(values["databases"], dict)
        if values == _sealed(databases):
            return {real: _known_of(expected(one, dict)) for real, one in databases.items()}
    return {}


def _known_of(values: dict[str, Any]) -> Known:
    identity = tuple(one if one is None else tuple(map(_number, expected(one, list))) for one in values["identity"])
    if len(identity) != len(_FILES) or any(one is not None and len(one) != _FIELDS for one in identity):
        raise ValueError("is no identity")
    facts = expected(values["facts"], dict)
    tables = {name: _table_of(expected(one, dict)) for name, one in expected(facts["tables"], dict).items()}
    newest = facts["newest"]
    return Known(
        identity,
        _matching(values["taken_at"], _MOMENT),
        Facts(
            checksum=_optional(facts["checksum"]),
            tables=tables,
            sound=expected(facts["sound"], bool),
            file_checksum=_optional(facts["file_checksum"]),
            pages=_number(facts["pages"]),
            newest=newest if newest is None else expected(newest, str),
        ),
    )


def _table_of(values: dict[str, Any]) -> dict[str, Any]:
    return {"rows": _number(values["rows"]), "checksum": _matching(values["checksum"], _CHECKSUM)}


def _optional(value: object) -> str:
    return "" if value == "" else _matching(value, _CHECKSUM)


def _number(value: object) -> int:
    return expected(value, int)


def _matching(value: object, form: re.Pattern[str]) -> str:
    text = expected(value, str)
    if not form.fullmatch(text):
        raise ValueError(f"{text!r:.100} does not have its form")
    return text


def _sealed(databases: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a file, with what it holds for and a digest of all."""
    values = {"sqlite": sqlite3.sqlite_version, "boot": boot_id(), "databases": databases}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return {"format": _FORMAT + _VERSION, "sha256": digest, **values}


def _kept(known: Mapping[str, Known]) -> dict[str, Any]:
    """Return what still holds, as JSON takes it: the newest first, and no more than the file may have."""
    room, kept = _LARGEST - (1 << 10), {}
    for real in sorted(known, key=lambda one: known[one].taken_at, reverse=True)[:_MOST]:
        if known[real].identity != identity_of(real):  # it is gone, or never comes back as it was
            continue
        identity, taken_at, facts = known[real]
        values = {"identity": identity, "taken_at": taken_at, "facts": asdict(facts)}
        room -= len(json.dumps({real: values}))
        if room < 0:
            break
        kept[real] = values
    return kept


def _dumped(databases: Mapping[str, Any]) -> bytes:
    return json.dumps(_sealed(databases)).encode() + b"\n"
