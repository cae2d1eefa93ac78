# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content checksum of an SQLite database; docs/checksum.md describes it for anybody to implement."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import (
    ContimgError,
    error_context,
    is_of_application,
    printable,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import open_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import target_exists
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.manifest import hash_descriptor
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import Snapshot, read_header, snapshot
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import NOTHING, Facts
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.rows import (
    CHUNK_ROWS,
    Table,
    chunk_digests,
    chunk_ranges,
    encoded,
    row_key,
    table_names,
    table_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._workers import available_processors, forked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.remembered import Known, Proofs

__all__ = ["Content", "content_checksum", "content_of", "describe", "describe_all", "tables_of"]

ALGORITHM = "contimg1:sha256:"
_SMALL_BYTES = 4 << 20  # below this, starting a process costs more than it saves
_UNCHANGED = "It was not changed."
_NOT_MADE = "not made: "
_BROKEN_CONSTRAINT = re.compile(r"\S+ value in |CHECK constraint failed in ")
_UNREAD_PAGE = re.compile(r"unable to get the page\. error code=(\d+)")
_IO_ERROR = 10  # SQLITE_IOERR, the lowest byte of each of its kinds
_INTEGRITY = {"quick": "PRAGMA quick_check(20)", "full": "PRAGMA integrity_check(20)"}


@dataclass(frozen=True)
class Content:
    """The content of a database.

    :ivar checksum: of schema and rows.
    :ivar tables: by name ``rows`` and ``checksum``.
    :ivar findings: what SQLite's own check said, empty where it was not asked.
    :ivar file_checksum: SHA-256 of the main file, empty where it was not asked.
    """

    checksum: str
    tables: dict[str, dict[str, Any]]
    findings: tuple[str, ...] = ()
    file_checksum: str = ""

    def facts(self, pages: int = 0) -> Facts:
        """Return it as what is remembered of a database."""
        sound = self.findings == ("ok",)
        return Facts(self.checksum, self.tables, sound=sound, file_checksum=self.file_checksum, pages=pages)


@dataclass(frozen=True)
class _Job:
    """A piece of work: rows of a table (all of them without ``between``), SQLite's check, or the file's checksum."""

    kind: str
    table: Table | None = None
    between: tuple[int, int] | None = None


def content_checksum(path: str, *, workers: int | None = None, proofs: Proofs = NOTHING) -> str:
    """Return the checksum of schema and rows, ``contimg1:sha256:`` and 64 hexadecimal digits.

    It is the same after VACUUM, REINDEX, ANALYZE, a checkpoint, a change of page size or journal mode and a copy.

    :param workers: how many processes read; ``None`` for as many as there are processors, four at most.
    :param proofs: what is known of the database; what it does not know is read and noted.
    :raises ContimgError: when the database cannot be read to its end.
    """
    return _remembered(path, workers, proofs).checksum


def content_of(
    state: Snapshot, *, workers: int | None = None, integrity: str = "none", with_file: bool = False
) -> Content:
    """Return the content of a database that is held in one state.

    One whose ``-wal`` or journal had a part in it is always checked: that file may belong to another database.

    :param integrity: ``none``, or SQLite's own ``quick`` or ``full`` check.
    :raises ContimgError: when it is damaged.
    """
    with state.connected() as connection, error_context("read the database", state.path):
        schema = _schema_key(connection)
        workers = _workers(state, workers)
        jobs = _jobs(connection, split=workers > 1)
    if with_file:
        jobs.insert(0, _Job("file"))
    if integrity != "none" or state.hot:
        jobs.insert(0, _Job(integrity if integrity != "none" else "quick"))
    with error_context("read the database", state.path), contextlib.ExitStack() as held:
        answers = dict(forked(_Worker(state, jobs, held), len(jobs), workers))
    done = [(job, answers[index]) for index, job in enumerate(jobs)]
    checked = [answer for job, answer in done if job.kind in _INTEGRITY]
    findings = _sound(state, checked, asked=integrity != "none")
    files = [answer for job, answer in done if job.kind == "file"]
    tables = _tables(state, done)
    return Content(_whole(schema, tables), tables, findings, files[0] if files else "")


def _workers(state: Snapshot, workers: int | None) -> int:
    with error_context("look at the database", state.opened):
        small = os.stat(state.opened).st_size < _SMALL_BYTES
    return 1 if small else workers or available_processors()


def _jobs(connection: sqlite3.Connection, *, split: bool) -> list[_Job]:
    jobs: list[_Job] = []
    for table in (table_of(connection, name) for name in table_names(connection)):
        ranges = chunk_ranges(connection, table) if split and table.rowid else [None]
        jobs.extend(_Job("rows", table, between) for between in ranges or [None])
    return jobs


class _Worker:
    """Does the jobs of one database; each process that calls it has a connection of its own."""

    def __init__(self, state: Snapshot, jobs: list[_Job], held: contextlib.ExitStack) -> None:
        self._state, self._jobs, self._held = state, jobs, held
        self._connection: sqlite3.Connection | None = None

    def __call__(self, index: int) -> Any:
        job = self._jobs[index]
        if job.kind == "file":
            return _file_checksum(self._state.path)
        if job.table is None:
            return _integrity(self._state, job.kind)
        with error_context("read the database", self._state.path, _UNCHANGED):
            if self._connection is None:
                self._connection = self._held.enter_context(self._state.connected())
            if not job.table.rowid:
                table_of(self._connection, job.table.name)  # makes it readable
            return chunk_digests(self._connection, job.table, job.between)


def _integrity(state: Snapshot, kind: str) -> list[str]:
    """Return what SQLite's check finds, by a connection that knows only SQLite's own collations.

    Where it needs what only the program of the database brings along, it is not made, and that is no finding.
    """
    with state.connected() as connection:
        try:
            return [str(found, "utf-8", "replace") for (found,) in connection.execute(_INTEGRITY[kind])]
        except sqlite3.OperationalError as error:
            # SQLite 3.44 and newer have no better words for a tokenizer that they do not know.
            if not is_of_application(error) and str(error) != "SQL logic error":
                raise
            return [f"{_NOT_MADE}SQLite reports '{error}'"]


def _sound(state: Snapshot, answers: list[list[str]], *, asked: bool) -> tuple[str, ...]:
    """Return what SQLite's check found, where that is no error: ``ok``, why it was not made, or nothing.

    :param asked: whether the operator has asked for the check; otherwise rows that break a constraint are none of its business.
    """
    findings = tuple(found for answer in answers for found in answer)
    if findings in ((), ("ok",)) or findings[0].startswith(_NOT_MADE):
        return findings
    damage = [found for found in findings if not _BROKEN_CONSTRAINT.match(found)]
    if any(map(_is_read_error, damage)):
        hint = f"{_UNCHANGED} Check its device."
        raise ContimgError(
            f"cannot be read (SQLite reports '{_first(damage)}')", path=state.path, hint=hint, integrity=list(findings)
        )
    if damage:
        other = "Does its -wal or -journal belong to another database? " if state.hot else ""
        hint = f"{_UNCHANGED} {other}Restore it from a backup."
        raise ContimgError(f"is damaged: {_first(damage)}", path=state.path, hint=hint, integrity=list(findings))
    if asked:
        hint = f"{_UNCHANGED} It is not damaged. Correct these rows, or leave the check of this database out (integrity: none)."
        what = f"holds rows that its own schema forbids: {_first(findings)}"
        raise ContimgError(what, path=state.path, hint=hint, integrity=list(findings))
    return ()


def _is_read_error(finding: str) -> bool:
    """Return whether SQLite's check could not read a page: that is no damage of the database."""
    found = _UNREAD_PAGE.search(finding)
    return found is not None and int(found.group(1)) & 0xFF == _IO_ERROR


def _first(findings: Sequence[str]) -> str:
    return "; ".join(findings[:3])


def _tables(state: Snapshot, done: list[tuple[_Job, Any]]) -> dict[str, dict[str, Any]]:
    """Return ``rows`` and ``checksum`` by table, from the digests of its chunks in their order."""
    chunks: dict[str, list[tuple[int, bytes]]] = {}
    for job, answer in done:
        if job.table is not None:
            chunks.setdefault(job.table.name, []).extend((rows, bytes(digest)) for rows, digest in answer)
    for name, found in chunks.items():
        if any(rows != CHUNK_ROWS for rows, _digest in found[:-1]):
            raise ContimgError(
                f"has a damaged table {name}: its rows, or those of an index, are not in order",
                path=state.path,
                hint="Restore it from a backup.",
            )
    return {name: _table_content(found) for name, found in chunks.items()}


def _table_content(chunks: list[tuple[int, bytes]]) -> dict[str, Any]:
    rows = sum(count for count, _digest in chunks)
    digests = b"".join(digest for _count, digest in chunks)
    return {"rows": rows, "checksum": ALGORITHM + hashlib.sha256(rows.to_bytes(8, "big") + digests).hexdigest()}


def _schema_key(connection: sqlite3.Connection) -> bytes:
    """Return the canonical bytes of the schema: two settings, then what ``sqlite_master`` says, sorted as bytes."""
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql FROM main.sqlite_master WHERE name NOT GLOB 'sqlite_stat*'"
    )
    settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")]
    return row_key(settings) + b"".join(sorted(row_key(row) for row in rows))


def _whole(schema: bytes, tables: dict[str, dict[str, Any]]) -> str:
    whole = hashlib.sha256(schema)
    for name, content in tables.items():
        whole.update(encoded((name, content["checksum"])))
    return ALGORITHM + whole.hexdigest()


def tables_of(path: str, *, workers: int | None = None, proofs: Proofs = NOTHING) -> dict[str, dict[str, Any]]:
    """Return ``rows`` and ``checksum`` of each table of a database, remembered where ``proofs`` hold. Raises ContimgError."""
    return dict(_remembered(path, workers, proofs).tables)


def _remembered(path: str, workers: int | None, proofs: Proofs) -> Facts:
    """Return checksum and tables of a database, read and noted where they are not known."""
    known = proofs.recall(path)
    if known is not None and known.facts.checksum:
        return known.facts
    with proofs.taking(path) as note, snapshot(path) as state:
        facts = content_of(state, workers=workers).facts()
        note(state.real, facts)
    return facts


def describe(
    path: str,
    *,
    integrity: str = "none",
    tables: bool = False,
    workers: int | None = None,
    proofs: Proofs = NOTHING,
) -> dict[str, Any]:
    """Return what ``sqlite_checksum`` reports of a database.

    :param integrity: ``none``, or SQLite's own ``quick`` or ``full`` check too. The full one is always made.
    :param tables: whether each table's rows and checksum are reported.
    :param workers: how many processes read; ``None`` for as many as there are processors, four at most.
    :param proofs: what is known of the database; what it does not know is read and noted.
    :raises ContimgError: when it is not a database, is damaged, or cannot be read.
    """
    known = proofs.recall(path)
    if known is not None and _answers(known, integrity):
        facts, wal_bytes, header = known.facts, known.wal_bytes, read_header(path)
        check = "ok" if wal_bytes or integrity != "none" else "not checked"
    else:
        with proofs.taking(path) as note, snapshot(path) as state:
            content = content_of(state, workers=workers, integrity=integrity, with_file=True)
            header = read_header(path)
            facts = content.facts(_page_count(state))
            wal_bytes = _size(state.real + "-wal")
            note(state.real, facts)
        check = content.findings[0] if content.findings else "not checked"
    return {
        "path": printable(path),
        "checksum": facts.checksum,
        "file_checksum": facts.file_checksum,
        "journal_mode": header.journal_mode if header else "",
        "page_size": header.page_size if header else 0,
        "page_count": facts.pages,
        "wal_bytes": wal_bytes,
        "integrity": check,
        "tables": facts.tables if tables else {},
    }


def _answers(known: Known, integrity: str) -> bool:
    """Return whether a database need not be read: one with a WAL is always checked, and the full check is always made."""
    checked = known.facts.sound or (integrity == "none" and not known.wal_bytes)
    return checked and bool(known.facts.file_checksum) and integrity != "full"


def _page_count(state: Snapshot) -> int:
    with state.connected() as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


def _size(path: str) -> int:
    return os.stat(path).st_size if target_exists(path) else 0


def _file_checksum(path: str) -> str:
    with error_context("read the file", path), os.fdopen(open_regular(path, follow=True), "rb") as file:
        return f"sha256:{hash_descriptor(file.fileno())}"


def describe_all(
    paths: list[str], *, integrity: str, tables: bool, workers: int | None, proofs: Proofs = NOTHING
) -> list[dict[str, Any]]:
    """Describe several databases, one after the other in the order given; the processes share the work on each."""
    return [describe(path, integrity=integrity, tables=tables, workers=workers, proofs=proofs) for path in paths]
