# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of edits of small files, beside their backups: what has to be undone, the oldest first."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    decoding,
    ensure_private_directory,
    expected,
    read_json,
    read_optional,
    read_regular,
    replace_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import require_replaceable

if TYPE_CHECKING:
    import contextlib
    from typing import Any

__all__ = ["EditJournal"]


class EditJournal:
    """The edits of one kind of files whose backups are kept in one directory.

    Each entry is a JSON object with ``path``, the file, and ``backup``, the name of the copy, empty where there was no file.
    """

    def __init__(self, directory: str, name: str) -> None:
        """Name the directory and the journal in it; nothing is read yet."""
        self.directory, self.path = directory, os.path.join(directory, name)

    def add(self, path: str, backup: str, **entry: Any) -> None:
        """Note an edit durably; it has to be noted before the file changes. Raises ContimgError."""
        entry = {**entry, "path": os.path.abspath(path), "backup": os.path.basename(backup)}
        ensure_private_directory(self.directory)
        text = json.dumps({"version": 1, "edits": [*self._entries(), entry]}, indent=2) + "\n"
        replace_file(self.path, text.encode(), mode=0o600)

    def require_usable(self) -> None:
        """Check, without writing, that an edit can be noted. Raises ContimgError."""
        self._entries()
        require_replaceable(self.path, made=self.directory)

    def edits_of(self, path: str) -> list[dict[str, Any]]:
        """Return the entries of one file. Raises ContimgError when the journal cannot be read or is none."""
        wanted = os.path.abspath(path)
        with self.decoding():
            return [entry for entry in self._entries() if expected(entry["path"], str) == wanted]

    def backup_of(self, entry: dict[str, Any]) -> bytes | None:
        """Return the file as it was before an edit, ``None`` where the edit has made it. Raises ContimgError."""
        with self.decoding():
            name = os.path.basename(expected(entry["backup"], str))
        hint = "Nothing was put back. Restore the file by hand."
        return read_regular(os.path.join(self.directory, name), "read the backup", hint=hint) if name else None

    def decoding(self) -> contextlib.AbstractContextManager[None]:
        """Turn what the decoding of an entry raises into a ContimgError."""
        hint = f"Nothing was touched. The file as it was before each edit is in {printable(self.directory)}: restore it by hand."
        return decoding(self.path, "is not a journal of edits", hint)

    def _entries(self) -> list[dict[str, Any]]:
        content = read_optional(self.path, "read the journal of edits", hint="Nothing was touched.")
        with self.decoding():
            return [] if content is None else expected(read_json(content)["edits"], list)
