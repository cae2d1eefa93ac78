# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An EnvironmentFile on disk: found, edited or restored, and written durably with its owner, mode and ACLs."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._env.edit import Edit, edited, settled, unproved
from ansible_collections.dsa110.contimg.plugins.module_utils._env.grammar import is_name, is_text
from ansible_collections.dsa110.contimg.plugins.module_utils._env.report import (
    Redactor,
    difference,
    is_secret,
    warnings_about,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._env.target import (
    moves_of,
    require_unchanged,
    safe_target,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._env.undo import Journal, State, undo
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    back_up,
    clear_left,
    read_with_status,
    replace_file,
    sync_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import group_id, user_id
from ansible_collections.dsa110.contimg.plugins.module_utils._host.git_index import tracking_checkout
from ansible_collections.dsa110.contimg.plugins.module_utils._host.writable import require_replaceable
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import secrets_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Edit", "Ownership", "edit_file", "exposed_secrets", "is_secret", "restore_file", "run"]

_UNTOUCHED = "Nothing was touched."
_NEW_MODE = 0o640


@dataclass(frozen=True)
class Ownership:
    """Mode and numeric owner and group of a file; -1 is what is found, or what a new file gets."""

    mode: int = -1
    owner: int = -1
    group: int = -1

    def completed(self, found: Ownership) -> Ownership:
        """Return what is asked here, and what is found where nothing is asked."""
        pairs = ((self.mode, found.mode), (self.owner, found.owner), (self.group, found.group))
        return Ownership(*(asked if asked >= 0 else there for asked, there in pairs))

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Mode, owner and group."""
        return self.mode, self.owner, self.group

    def __str__(self) -> str:
        """Return the ownership as a line of a diff, without what is not decided."""
        texts = (("mode", f"{self.mode:04o}"), ("owner", str(self.owner)), ("group", str(self.group)))
        known = (f"{what} {text}" for what, text in texts if not text.startswith("-"))
        return f"# {', '.join(known)}\n"


@dataclass(frozen=True)
class _Found:
    """A file as it was read; ``status`` is ``None`` where there is none yet."""

    path: str
    content: bytes = b""
    status: os.stat_result | None = None

    @property
    def ownership(self) -> Ownership:
        if self.status is None:
            return Ownership(mode=_NEW_MODE)
        return Ownership(stat.S_IMODE(self.status.st_mode), self.status.st_uid, self.status.st_gid)

    @property
    def state(self) -> State:
        return State(None if self.status is None else self.content, self.ownership.numbers)


def edit_file(
    path: str, edit: Edit, *, new: bytes | None, ownership: Ownership, backup_dir: str | None, check: bool
) -> dict[str, Any]:
    """Edit a file durably and return the module's result.

    :param new: what a missing file is taken to hold; ``None`` where it must exist.
    :param backup_dir: where a copy of the file is kept before a change.
    :raises ContimgError: when the file is missing without ``new``, cannot be read or written, is an unsafe link, or
        would not mean what was asked. It is untouched then.
    """
    found = _read(safe_target(path), create=new is not None)
    before = found.content if found.status is not None else new or b""
    edit = settled(before, edit)
    after = edited(before, edit)
    names = ", ".join(printable(name) for name in sorted(unproved(before, after, edit)))
    if names:
        hint = "Look for a comment that ends in a backslash, or a marker of this module within a value, above them."
        raise ContimgError(
            f"not every systemd would read these as asked: {names}", path=path, hint=f"{_UNTOUCHED} {hint}"
        )
    redactor = Redactor.over(edit, found.content, after)
    result = _settle(
        found,
        after,
        ownership=ownership.completed(found.ownership),
        redactor=redactor,
        backup_dir=backup_dir,
        check=check,
    )
    result["warnings"] = [f"{path}: {warning}" for warning in warnings_about(after)]
    checkout = tracking_checkout(found.path)
    if checkout:
        result["warnings"].append(f"{path}: is tracked by git in {checkout}: a checkout there would undo a change")
    return result


def restore_file(path: str, directory: str, *, edit: Edit, check: bool) -> dict[str, Any]:
    """Undo the edits of a file whose backups are in a directory, and return the module's result.

    What somebody else has changed since stays, and is named in ``kept_names``. A file that an edit has made goes again.

    :param edit: names the secrets that are not to be shown.
    :raises ContimgError: see :func:`edit_file` and :func:`undo`.
    """
    found = _read(safe_target(path), create=True)
    undone = undo(Journal(directory).notes(found.path), found.state)
    content = undone.state.content
    redactor = Redactor.over(edit, found.content, content or b"")
    names = [printable(name) for name in undone.kept]
    if content is None:
        result = _removed(found, redactor=redactor, check=check)
    else:
        result = _settle(
            found,
            content,
            ownership=Ownership(*undone.state.ownership),
            redactor=redactor,
            backup_dir=None,
            check=check,
        )
    kept = f"{path}: {', '.join(names)}: changed by somebody else since, so the newer value stays"
    left = f"{path}: was made by the move and changed by somebody else since, so the rest of it stays"
    made = bool(undone.made and content)
    return {**result, "kept_names": names, "warnings": [kept] * bool(names) + [left] * made}


def _removed(found: _Found, *, redactor: Redactor, check: bool) -> dict[str, Any]:
    """Remove a file durably, unless it is not there or this is a check; and report."""
    if found.status is not None and not check:
        require_unchanged(found.path, found.status)
        with error_context("remove the environment file", found.path):
            os.unlink(found.path)
            sync_directory(os.path.dirname(os.path.abspath(found.path)))
    before, header = difference(found.content, b"", redactor)[0], printable(found.path)
    return {
        "changed": found.status is not None,
        "assignments": {},
        "backup_file": "",
        "diff": {"before_header": header, "after_header": header, "before": before, "after": ""},
    }


def _settle(
    found: _Found, after: bytes, *, ownership: Ownership, redactor: Redactor, backup_dir: str | None, check: bool
) -> dict[str, Any]:
    """Bring a file to a content and an ownership, unless they are there or this is a check; and report."""
    changed = found.status is None or after != found.content or ownership != found.ownership
    backup = ""
    journal = None if backup_dir is None else Journal(backup_dir)
    if changed:
        require_replaceable(found.path)
        if journal is not None:
            journal.require_usable()
    if changed and not check:
        if journal is not None:
            backup = back_up(found.path, journal.directory) if found.status is not None else ""
            written = State(after, ownership.numbers)
            journal.note(found.path, backup, before=found.state, after=written)
        require_unchanged(found.path, found.status)
        replace_file(
            found.path,
            after,
            mode=ownership.mode,
            owner=ownership.owner,
            group=ownership.group,
            like=None if found.status is None else found.path,
        )
    elif not check:
        clear_left(found.path)  # it may hold secrets
    return {
        "changed": changed,
        "assignments": redactor.assignments(after),
        "backup_file": backup,
        "diff": _diff(found, after, ownership=ownership, redactor=redactor),
    }


def _diff(found: _Found, after: bytes, *, ownership: Ownership, redactor: Redactor) -> dict[str, str]:
    before_text, after_text = difference(found.content, after, redactor)
    if found.status is None:
        after_text = f"{ownership}{after_text}"
    elif ownership != found.ownership:
        before_text, after_text = f"{found.ownership}{before_text}", f"{ownership}{after_text}"
    header = printable(found.path)
    return {"before_header": header, "after_header": header, "before": before_text, "after": after_text}


def _read(path: str, *, create: bool) -> _Found:
    if create and not is_there(path) and is_directory(os.path.dirname(path) or "."):
        return _Found(path)
    hint = f"{_UNTOUCHED} Name an existing environment file, or create it."
    content, status = read_with_status(path, "read the environment file", hint=hint)
    if b"\0" in content:
        raise ContimgError("holds a NUL byte, so systemd refuses it as an environment file", path=path, hint=hint)
    return _Found(path, content, status)


def exposed_secrets(parameters: Mapping[str, Any]) -> set[str]:
    """Return secrets that were given in ``values``, which Ansible does not keep from its output by itself."""
    values = {name: str(value) for name, value in parameters["values"].items()}
    within = (secrets_in(value) for value in values.values())
    return {values[name] for name in values if is_secret(name.encode(), Edit())}.union(*within) - {""}


def run(parameters: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the module's parameters ask for.

    :raises ContimgError: when a parameter makes no sense, or see :func:`edit_file`.
    """
    path, backup_dir = parameters["path"], parameters["backup_dir"]
    edit = _edit(parameters)
    ownership = Ownership(
        mode=_mode(parameters["mode"]), owner=user_id(parameters["owner"]), group=group_id(parameters["group"])
    )
    if parameters["restore_from"] is not None:
        return restore_file(path, parameters["restore_from"], edit=edit, check=check)
    new = _encoded(parameters["content"]) if parameters["create"] else None
    result = edit_file(path, edit, new=new, ownership=ownership, backup_dir=backup_dir, check=check)
    exposed = sorted(name for name in parameters["values"] if is_secret(name.encode(), Edit()))
    result["warnings"] += [
        f"{name} looks like a secret: give it in 'secrets', Ansible logs 'values'" for name in exposed
    ]
    return result


def _edit(parameters: Mapping[str, Any]) -> Edit:
    values, secrets, absent = parameters["values"], parameters["secrets"], parameters["absent"]
    directories = parameters["directories"]
    twice = {*values, *directories} & {*secrets} | {*values, *directories, *secrets} & {*absent}
    if twice:
        names = "'values', 'directories', 'secrets' and 'absent'"
        raise ContimgError(f"{', '.join(sorted(twice))} is given twice in {names}", hint=_UNTOUCHED)
    return Edit(
        values={_name(name): _value(name, value) for name, value in [*values.items(), *secrets.items()]},
        directories={_name(name): _value(name, value) for name, value in directories.items()},
        secret_names=frozenset(map(_name, secrets)),
        absent=frozenset(map(_name, absent)),
        repoint=[(_encoded(old), _encoded(new)) for old, new in moves_of(parameters["repoint"])],
        expand=parameters["expand"],
    )


def _name(name: str) -> bytes:
    if not is_name(_encoded(name)):
        raise ContimgError(f"'{name}' is no name that systemd accepts", hint=_UNTOUCHED)
    return _encoded(name)


def _value(name: str, value: object) -> bytes:
    """Return a value as it goes into the file; YAML's ``yes`` and ``null`` have no one spelling there."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ContimgError(f"the value of {name} is neither text nor a number: put it in quotes", hint=_UNTOUCHED)
    if not is_text(_encoded(str(value))):
        raise ContimgError(f"the value of {name} holds a character that systemd does not accept", hint=_UNTOUCHED)
    return _encoded(str(value))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _mode(mode: object) -> int:
    """Return a mode given as octal text, or as the number that YAML makes of an octal literal; -1 where none is given."""
    if mode is None:
        return -1
    try:
        number = mode if isinstance(mode, int) else int(str(mode), 8)
    except ValueError:
        number = -1
    if isinstance(mode, bool) or not 0 <= number <= 0o7777:
        raise ContimgError(f"'{mode}' is no octal mode such as 0640", hint=_UNTOUCHED)
    return number
