# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which this collection opens a database, as root and often one that another user has written.

Nothing that a schema calls is trusted, no value may be larger than the file it is read from, and no statement runs for
ever: see "Defense Against The Dark Arts" in SQLite's documentation. What a rollback journal can do when a database is
opened is judged before, by ``_sqlite/journal``.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import sqlite3
import time
import urllib.parse
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_link
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.owner import acting_for, owner_of

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.owner import Owner

__all__ = ["IMMUTABLE", "READ_WRITE", "Connection", "Place", "attach", "connect", "real_path", "require_own_place"]

IMMUTABLE = "mode=ro&immutable=1"  # without mode=ro, closing looks like the end of writing
READ_WRITE = "mode=rw"

_MOST_LINKS = 40  # as Linux
_BUSY_SECONDS = 5.0
_OPCODES = 100_000  # between two looks at the clock: about a millisecond
_LEAST_SECONDS = 600
_BYTES_A_SECOND = 1 << 20  # the slowest that honest work is: a scan reads a hundred times as much
_LEAST_LENGTH = 16 << 20
_BLOCK = 512
_LENGTH = 0  # SQLITE_LIMIT_LENGTH
_LIMITS = {
    1: 16 << 20,  # SQLITE_LIMIT_SQL_LENGTH, in bytes
    7: 4,  # SQLITE_LIMIT_ATTACHED
    10: 100,  # SQLITE_LIMIT_TRIGGER_DEPTH
    11: 0,  # SQLITE_LIMIT_WORKER_THREADS
}
_OF_JSON = re.compile(r"unsafe use of (?:json\w*|->>?)\(\)")
# SQLite before 3.31 ignores the first.
_SETTINGS = ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0")


class Place(NamedTuple):
    """A database file and how SQLite opens it.

    :ivar path: of any characters.
    :ivar query: :data:`IMMUTABLE` or :data:`READ_WRITE`.
    """

    path: str
    query: str

    def uri(self) -> str:
        """Return the URI by which SQLite opens it."""
        return f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(self.path)))}?{self.query}"

    def owner(self) -> Owner | None:
        """Return the user as whom SQLite opens it for writing, ``None`` for this process's own."""
        return owner_of(self.path) if self.query == READ_WRITE else None


def real_path(path: str) -> str:
    """Return the absolute path where a database really stands: SQLite puts the sidecars of a symbolic link beside what it leads to.

    Directories on the way keep the names that they were given: the same file stands in them.
    """
    path = os.path.abspath(path)
    for _link in range(_MOST_LINKS):
        try:
            target = os.readlink(path)
        except OSError:  # no link, or nothing at all: its opening reports the error
            break
        path = os.path.join(os.path.dirname(path), target)
    return path


def require_own_place(path: str) -> None:
    """Check that a database that is to be written is not a symbolic link which leaves its directory.

    :raises ContimgError: naming where it leads; nothing was changed.
    """
    real = os.path.realpath(path)
    if is_link(path) and os.path.dirname(real) != os.path.realpath(os.path.dirname(os.path.abspath(path))):
        hint = f"Nothing was changed. Put the database itself there, or name {real} if that is the one to be changed."
        raise ContimgError(f"is a symbolic link out of its directory, to {real}", path=path, hint=hint)


class Connection(sqlite3.Connection):
    """A connection whose statements are interrupted when they have used more processor time than its databases explain.

    Processor time and no hours of the day: a slow device or a stopped process costs none.

    What it does to a database that it may write is done with the rights of the database's owner, see ``_sqlite/owner``.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._owner: Owner | None = None
        self._writes = False
        self._deadline = math.inf  # no schema of anybody else yet
        self._length = _LEAST_LENGTH
        self.set_progress_handler(self._is_late, _OPCODES)
        for setting in _SETTINGS:
            self.execute(f"PRAGMA {setting}")
        self._limit(_LIMITS)

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement, as :class:`sqlite3.Connection` does."""
        if self._owner is None:
            return super().execute(*arguments)
        with acting_for(self._owner):
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        """Execute a statement for each of several rows, likewise."""
        with acting_for(self._owner):
            return super().executemany(*arguments)

    def rollback(self) -> None:
        """Roll a transaction back, likewise."""
        with acting_for(self._owner):
            super().rollback()

    def close(self) -> None:
        """Close the connection, which rolls a transaction back that is open, likewise."""
        with acting_for(self._owner):
            super().close()

    def _is_late(self) -> bool:
        return time.process_time() > self._deadline

    def _limit(self, limits: dict[int, int]) -> None:
        limit: Any = getattr(self, "setlimit", None)
        if limit is not None:  # Python 3.11 and newer
            for number, most in limits.items():
                limit(number, most)

    def load(self, place: Place, statement: str, *values: str) -> None:
        """Execute what makes SQLite open a database and read its schema.

        Where SQLite calls its own JSON functions unsafe, the schema is trusted: before 3.41 it does, and then cannot read one
        that has a check, an index or a computed column of JSON. It knows no function that does harm when a schema calls it, as
        long as extensions cannot be loaded, and that is Python's default.
        """
        self._make_allowance(place.path)
        owner = place.owner()
        if place.query == READ_WRITE:
            self._owner = owner if owner == self._owner or not self._writes else None
            self._writes = True
        with acting_for(
            owner
        ):  # a private copy, or a backup, is root's to open, whomever the other databases belong to
            try:
                super().execute(statement, values)
            except sqlite3.DatabaseError as error:
                if not _OF_JSON.search(str(error)):
                    raise
                super().execute("PRAGMA trusted_schema = ON")
                super().execute(statement, values)

    def _make_allowance(self, path: str) -> None:
        """Allow the time and the values that a database of this size may need."""
        if self._deadline == math.inf:
            self._deadline = time.process_time() + _LEAST_SECONDS
        for name in (path, path + "-wal"):
            with contextlib.suppress(OSError):
                status = os.stat(name)
                # What is a hole takes no time that counts, whatever size the file claims.
                self._deadline += (status.st_blocks * _BLOCK or status.st_size) / _BYTES_A_SECOND
                self._length += 2 * status.st_size  # a text may grow when it is converted to UTF-8
        self._limit({_LENGTH: min(self._length, 1_000_000_000)})


def connect(place: Place | str = ":memory:", *, timeout: float | None = None, any_thread: bool = False) -> Connection:
    """Open a database, or make one of no name.

    :param place: also ``:memory:``, or the empty string for one that may grow beyond the memory.
    :param timeout: seconds to wait for a lock, five unless told otherwise.
    :param any_thread: whether other threads may use it, one at a time.
    :raises sqlite3.Error: when SQLite cannot, or cannot read the schema.
    """
    with acting_for(place.owner() if isinstance(place, Place) else None):
        connection = sqlite3.connect(
            place.uri() if isinstance(place, Place) else place,
            uri=True,
            isolation_level=None,
            timeout=_BUSY_SECONDS if timeout is None else timeout,
            check_same_thread=not any_thread,
            factory=Connection,
        )
    try:
        if isinstance(place, Place):
            connection.load(place, "SELECT 1 FROM main.sqlite_master LIMIT 0")
    except BaseException:
        connection.close()
        raise
    return connection


def attach(connection: Connection, alias: str, place: Place) -> None:
    """Attach a further database. Raises sqlite3.Error."""
    connection.load(place, f"ATTACH ? AS {alias}", place.uri())
