# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error that module code raises and that a module's ``main`` reports."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Union

    AnyPath = Union[str, bytes]

__all__ = ["ContimgError", "cause_of", "error_context", "is_of_application", "printable", "raise_all"]

_RESTORE = "Restore it from a backup."
_MAKE_WRITABLE = "Make the file, its directory and its file system writable, and run again."
# Of SQLite's words: what only the program that uses the database brings along.
_OF_APPLICATION = (
    "no query solution",  # to an index or key by an unknown collation
    "no such collation",
    "no such function",
    "unknown function",
    "no such module",
    "no such tokenizer",
    "unknown tokenizer",
    "unsafe use of",
)
# Of SQLite's words, in this order: what is the matter with the database, and what to do.
_CAUSES = {
    "malformed database schema": (
        "has a schema that this SQLite cannot read",
        "If a newer SQLite wrote it, set ansible_python_interpreter to a Python that has one; otherwise it is damaged.",
    ),
    "malformed": ("is damaged", _RESTORE),
    "not a database": ("is damaged or not a database", _RESTORE),
    "locked": ("is locked: another program is using it", "Stop that program (open_files_info names it) and run again."),
    "readonly": ("cannot be written", _MAKE_WRITABLE),
    "unable to open": (
        "cannot be opened for writing",
        _MAKE_WRITABLE,
    ),  # so does WAL mode on a read-only file system end
    "is full": (
        "found no space left on its device",
        "Make room there, and where SQLite sorts (TMPDIR), and run again.",
    ),
    "disk I/O": ("cannot be read or written", "Check its device."),
    "interrupted": (
        "takes more processor time than a database of its size needs",
        "Its schema may hold a view that does not end. Look into it with its own program, or exclude it.",
    ),
    "too big": ("holds a value that is larger than the database itself", "Check it with PRAGMA integrity_check."),
}

_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def printable(path: AnyPath) -> str:
    """Return a path as one line of text that any terminal and JSON can carry.

    Bytes that are not UTF-8 and control characters appear as ``\\xNN``, so two different names never look alike by
    accident, and no name can break a line or command a terminal.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace").translate(_VISIBLE)


def is_of_application(error: sqlite3.Error) -> bool:
    """Return whether SQLite lacks only a function, collation, tokenizer or module of the program that uses the database."""
    return any(sign in str(error) for sign in _OF_APPLICATION)


def cause_of(error: sqlite3.Error) -> tuple[str, str]:
    """Return what an error of SQLite means for the database, as a clause, and what to do; both empty where that is unknown."""
    if is_of_application(error):
        return "uses what only its own program brings along", "It is not damaged."
    return next((cause for sign, cause in _CAUSES.items() if sign in str(error)), ("", ""))


class ContimgError(Exception):
    """Something that an operator has to know: what happened, to which path or unit, what to do next.

    :param what: what happened, as a clause without a full stop.
    :param path: the file, directory or unit that it happened to.
    :param hint: the state that things are in and what to do next, as whole sentences.
    :param details: further values for the module's result (JSON types only, no secrets).
    """

    def __init__(
        self,
        what: str,
        *,
        path: AnyPath | None = None,
        hint: str = "",
        **details: Any,
    ) -> None:
        self.what = what
        self.path = None if path is None else printable(path)
        self.hint = hint
        self.details = details
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole message: path, event and what to do next, in this order."""
        subject = f"{self.path}: " if self.path is not None else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{subject}{self.what}.{hint}"

    def result(self) -> dict[str, Any]:
        """Return the arguments for ``fail_json``."""
        where = {} if self.path is None else {"path": self.path}
        return {"msg": self.message, **where, **self.details}


def raise_all(errors: Sequence[ContimgError]) -> None:
    """Raise one error that names all that went wrong, if anything has."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        hints = " ".join(dict.fromkeys(one.hint for one in errors if one.hint))
        raise ContimgError("; ".join(": ".join(filter(None, (one.path, one.what))) for one in errors), hint=hints)


class error_context:  # noqa: N801 (it is used as a function)
    """Turn an operating system's or SQLite's error into a :class:`ContimgError` that says what was being done.

    A class and no generator: a copy enters it several times for each file.

    :param doing: the action in the infinitive, for example ``read the write-ahead log``.
    :param path: what it was being done to. An error that names a file of its own keeps that name; a name in a directory that
        was held open is told beside the path, which alone says where that is.
    :raises ContimgError: with ``errno`` (its symbolic name is in the message) where the system gave one.
    """

    def __init__(self, doing: str, path: AnyPath, hint: str = "") -> None:
        self.doing, self.path, self.hint = doing, path, hint

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise self._failed(error) from error
        if isinstance(error, sqlite3.Error):
            raise self._said(str(error), cause_of(error)[1]) from error
        if isinstance(error, UnicodeDecodeError):
            # Python's sqlite3 raises it when SQLite's own message quotes a damaged name or statement.
            raise self._said(printable(bytes(error.object))) from error

    def _failed(self, error: OSError) -> ContimgError:
        what, path = f"could not {self.doing}: {error.strerror or error} [errno {error.errno}]", self.path
        if isinstance(error.filename, (str, bytes)):
            named = os.fsencode(error.filename)
            if b"/" in named:
                path = named
            elif named != os.fsencode(path).rpartition(b"/")[2]:
                what += f" at '{printable(named)}'"
        return ContimgError(what, path=path, hint=self.hint, errno=error.errno)

    def _said(self, words: str, advice: str = "") -> ContimgError:
        hint = f"{self.hint} {advice}".strip()
        return ContimgError(f"could not {self.doing}: SQLite reports '{words}'", path=self.path, hint=hint)
