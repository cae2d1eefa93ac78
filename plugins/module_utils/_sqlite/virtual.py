# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual tables of the modules that come with SQLite: where they keep their rows, and full-text indexes of other tables' rows.

Facts: SQLite, "FTS5 Extension" (external content and contentless tables) and "FTS3 and FTS4 Extensions" (the content option).
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import quoted

__all__ = ["FullTextIndex", "full_text_indexes", "plain_tables", "shadow_tables", "text_of"]

_MODULE = re.compile(r"CREATE\s+VIRTUAL\s+TABLE\b.*?\bUSING\s+([\w]+)", re.IGNORECASE | re.DOTALL)
_CONTENT = re.compile(
    r"""[(,]\s*content\s*=\s*(?:'((?:[^']|'')*)'|"((?:[^"]|"")*)"|\[([^\]]*)\]|`([^`]*)`|(\w*))""", re.IGNORECASE
)
# The tables in which the modules keep the rows of a virtual table (the documentation of each).
_SHADOWS = {
    "fts3": ("content", "segments", "segdir", "docsize", "stat"),
    "fts4": ("content", "segments", "segdir", "docsize", "stat"),
    "fts5": ("data", "idx", "content", "docsize", "config"),
    "rtree": ("node", "rowid", "parent"),
    "rtree_i32": ("node", "rowid", "parent"),
    "geopoly": ("node", "rowid", "parent"),
}


def text_of(value: str | bytes) -> str:
    """Return a text of the schema, which a connection may give as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _definitions(connection: sqlite3.Connection) -> dict[str, str]:
    found = connection.execute("SELECT name, sql FROM main.sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    return {text_of(name): text_of(sql or "") for name, sql in found}


def plain_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that hold rows themselves: also those behind a virtual table, but not the virtual table."""
    tables = _definitions(connection)
    return [name for name, sql in tables.items() if not (name.startswith("sqlite_") or _MODULE.match(sql))]


def shadow_tables(connection: sqlite3.Connection) -> set[str]:
    """Return the tables in which virtual tables keep their rows. A virtual table's rows are changed through it or not at all."""
    virtual = {name: _MODULE.match(sql) for name, sql in _definitions(connection).items()}
    return {
        f"{name}_{suffix}"
        for name, module in virtual.items()
        if module
        for suffix in _SHADOWS.get(module[1].lower(), ())
    }


@dataclass(frozen=True)
class FullTextIndex:
    """A full-text index of rows that it does not keep itself. Whoever changes these rows has to change the index too.

    :ivar module: ``fts4`` or ``fts5``.
    :ivar content: the table or view that has the rows, empty where the index has none.
    """

    name: str
    module: str
    content: str

    def agrees(self, connection: sqlite3.Connection) -> bool | None:
        """Return whether the index is that of the rows as they are, by its own check; ``None`` where it cannot be checked."""
        name = quoted(self.name)
        if self.module == "fts5":
            statement = f"INSERT INTO main.{name}({name}, rank) VALUES ('integrity-check', 1)"  # noqa: S608
        else:
            statement = f"INSERT INTO main.{name}({name}) VALUES ('integrity-check')"  # noqa: S608
        try:
            connection.execute(statement)
        except sqlite3.DatabaseError as error:
            # Of damage; all other errors have classes of their own.
            return False if error.__class__ is sqlite3.DatabaseError else None
        return True

    def rebuild(self, connection: sqlite3.Connection) -> None:
        """Make the index again from the rows. Raises sqlite3.Error."""
        connection.execute(self.rebuilding())

    def rebuilding(self) -> str:
        """Return the statement that does it."""
        name = quoted(self.name)
        return f"INSERT INTO main.{name}({name}) VALUES ('rebuild')"  # noqa: S608

    def may_find(self, connection: sqlite3.Connection, text: str) -> bool:
        """Return whether the index has a row with the words of a text, one after the other; ``True`` where it cannot be asked."""
        name = quoted(self.name)
        statement = f"SELECT EXISTS (SELECT 1 FROM main.{name} WHERE {name} MATCH ?)"  # noqa: S608
        try:
            return bool(connection.execute(statement, (quoted(text),)).fetchone()[0])
        except sqlite3.OperationalError:
            return True


def full_text_indexes(connection: sqlite3.Connection) -> list[FullTextIndex]:
    """Return the full-text indexes that do not keep the rows which they index."""
    indexes = []
    for name, sql in _definitions(connection).items():
        module, content = _MODULE.match(sql), _CONTENT.search(sql)
        if module and content and module[1].lower() in ("fts4", "fts5"):
            indexes.append(FullTextIndex(name, module[1].lower(), next(filter(None, content.groups()), "")))
    return indexes
