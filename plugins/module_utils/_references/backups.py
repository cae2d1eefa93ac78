# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rewriting files with a way back: what they were is kept, durably, before the first of them changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    decoding,
    ensure_private_directory,
    read_json,
    read_optional,
    read_regular,
    replace_file,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import directory_of, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import remove_left

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._references.inventory import Change

__all__ = ["Backups", "Return", "rewrite"]

_JOURNAL = "rewritten.json"
_COPIES = "files"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Return:
    """The way back of one file.

    :ivar state: ``back`` (it is, or would be, put back), ``as_it_was`` or ``kept`` (somebody has changed it since).
    """

    path: str
    state: str


class Backups:
    """A private directory of files as they were, and of what each was changed to.

    A file keeps its first backup, however often it is rewritten into the same directory.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._journal = os.path.join(directory, _JOURNAL)

    def copy_of(self, path: str) -> str:
        """Return where the backup of a file stands: its path, below the directory."""
        return os.path.join(self.directory, _COPIES, os.path.abspath(path).lstrip("/"))

    def written(self) -> dict[str, list[str]]:
        """Return the SHA-256 of every content that was written, by path. Raises ContimgError for a damaged journal."""
        content = read_optional(self._journal, "read the journal of rewritten files")
        if content is None:
            return {}
        hint = f"Nothing was put back. The files as they were stand below {printable(self.directory)}/{_COPIES}."
        with decoding(self._journal, "is not a journal of rewritten files", hint):
            return {_absolute(path): list(map(_hex, known)) for path, known in read_json(content)["files"].items()}

    def keep(self, changes: Sequence[Change]) -> None:
        """Keep the files that are about to change, and note what they will be. Raises ContimgError."""
        files = self.written()
        for change in changes:
            with error_context("keep the file as it was", change.file.path, "No file was rewritten."):
                self._keep_one(change, self.copy_of(change.file.path))
            known = files.setdefault(os.path.abspath(change.file.path), [])
            known += [] if _digest(change.after) in known else [_digest(change.after)]
        text = json.dumps({"files": files}, indent=2, sort_keys=True) + "\n"
        ensure_private_directory(self.directory)
        replace_file(self._journal, text.encode(), mode=0o600)

    def _keep_one(self, change: Change, target: str) -> None:
        if not kind_of(target):
            ensure_private_directory(os.path.dirname(target))
            with open_root(_root_of(change)) as root, directory_of(root, _below(change)) as (directory, name):
                _require(directory, name, change.file.content, change.file.path)
                _put(directory, name, change.file.content, path=target)

    def restore(self, *, check: bool) -> list[Return]:
        """Put every file back that is still what was written; one that somebody has changed since is kept.

        :raises ContimgError: when a file or its backup cannot be read or written.
        """
        return [self._back(path, known, check=check) for path, known in sorted(self.written().items())]

    def _back(self, path: str, known: Sequence[str], *, check: bool) -> Return:
        copy = self.copy_of(path)
        before = read_regular(copy, "read the backup")
        directory_path, name = os.path.split(os.fsencode(path))
        with error_context("read the file", path), open_root(os.fsdecode(directory_path)) as directory:
            if not check:
                remove_left(directory)
            now = _read(directory, name)
            if now == before:
                return Return(path, "as_it_was")
            if now is None or _digest(now) not in known:
                return Return(path, "kept")
            if not check:
                _replace(directory, name, before, path)
        return Return(path, "back")


def _absolute(path: str) -> str:
    """Return a path of the journal. Raises ValueError on one that no run has written, which would lead elsewhere."""
    if os.path.abspath(path) != path:
        raise ValueError(path)
    return path


def _hex(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(digest)
    return digest


def rewrite(changes: Sequence[Change], backups: Backups | None) -> None:
    """Rewrite files, each as a whole, with owner, mode, ACLs and attributes as found.

    :raises ContimgError: when a file was changed meanwhile or cannot be written. Files before it are rewritten then.
    """
    if backups is not None:
        backups.keep(changes)
    for number, change in enumerate(changes):
        try:
            with error_context("rewrite the file", change.file.path), open_root(_root_of(change)) as root, directory_of(
                root, _below(change)
            ) as (directory, name):
                _require(directory, name, change.file.content, change.file.path)
                _replace(directory, name, change.after, change.file.path)
        except ContimgError as error:
            hint = f"{number} of {len(changes)} files were rewritten before it. Run it again to go on."
            raise ContimgError(error.what, path=change.file.path, hint=hint, **error.details) from error


def _root_of(change: Change) -> str:
    return change.file.root if change.file.below else os.path.dirname(os.path.realpath(change.file.root))


def _below(change: Change) -> bytes:
    return os.fsencode(change.file.below or os.path.basename(os.path.realpath(change.file.root)))


def _read(directory: int, name: bytes) -> bytes | None:
    """Return the content of a regular file, ``None`` where there is none. Raises OSError."""
    try:
        descriptor = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _require(directory: int, name: bytes, content: bytes, path: str) -> None:
    if _read(directory, name) != content:
        raise ContimgError(
            "was changed by somebody else meanwhile", path=path, hint="It was not touched. Run it again."
        )


def _replace(directory: int, name: bytes, content: bytes, path: str) -> None:
    """Replace a file in a directory that is held: no process can put another one in its place meanwhile."""
    held = f"/proc/self/fd/{directory}/{os.fsdecode(name)}"
    try:
        _put(directory, name, content, path=held)
    except ContimgError as error:
        raise ContimgError(error.what, path=path, hint=error.hint, **error.details) from error


def _put(directory: int, name: bytes, content: bytes, *, path: str) -> None:
    """Write content with the metadata of a file in a directory."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    like = f"/proc/self/fd/{directory}/{os.fsdecode(name)}"
    replace_file(path, content, mode=stat.S_IMODE(status.st_mode), owner=status.st_uid, group=status.st_gid, like=like)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
