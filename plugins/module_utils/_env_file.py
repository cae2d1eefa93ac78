# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Editing an EnvironmentFile: a plan of new values, its application to the bytes, and a report without secrets."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import back_up, replace_file
from ansible_collections.dsa110.contimg.plugins.module_utils._env_grammar import Assignment, format_value, parse
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._metadata import group_id, user_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

__all__ = ["Edit", "edit_file", "edited", "is_secret", "restore_file", "run"]

_BEGIN, _END = b"# BEGIN dsa110.contimg", b"# END dsa110.contimg"
_SECRET_NAME = re.compile(r"WEBHOOK|PASSWORD|PASSWD|TOKEN|SECRET|_KEY$", re.IGNORECASE)
_REFERENCE = re.compile(rb"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_VALID_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MASK = "********"
_NEW_MODE = 0o640


@dataclass(frozen=True)
class Edit:
    """What an operator wants of a file.

    :ivar values: assignments by name.
    :ivar secret_names: names whose values are never shown, besides those that look like secrets.
    :ivar absent: names that go.
    :ivar repoint: old and new paths; the longest old path that matches decides.
    :ivar expand: whether ``${NAME}`` is resolved from the same file.
    """

    values: Mapping[bytes, bytes] = field(default_factory=dict)
    secret_names: frozenset[bytes] = frozenset()
    absent: frozenset[bytes] = frozenset()
    repoint: Sequence[tuple[bytes, bytes]] = ()
    expand: bool = False


def is_secret(name: bytes, edit: Edit) -> bool:
    """Tell whether the value of a name must never be shown."""
    return name in edit.secret_names or bool(_SECRET_NAME.search(name.decode(errors="replace")))


def edited(content: bytes, edit: Edit) -> bytes:
    """Return a file with an edit applied; every byte that the edit does not concern stays.

    Names stand where they stood, a repeated one where it won; new ones go to a marked block at the end.
    """
    assignments = [one for one in parse(content) if one.valid]
    winners = {one.name: one for one in assignments}
    result, position = b"", 0
    for one in assignments:
        replacement = _replacement(one, winners, edit)
        if replacement is None:
            continue
        result += content[position : one.start] + replacement
        position = one.end
        if not replacement and content[position : position + 1] == b"\n":
            position += 1
    result += content[position:]
    return _with_block(result, {name: edit.values[name] for name in edit.values if name not in winners})


def _replacement(one: Assignment, winners: Mapping[bytes, Assignment], edit: Edit) -> bytes | None:
    """Return the new bytes of an assignment, empty to remove it, ``None`` to leave it as it stands."""
    managed = one.name in edit.values
    if one.name in edit.absent or (managed and winners[one.name] is not one):
        return b""
    value = edit.values[one.name] if managed else _repointed(_expanded(one, winners, edit), edit.repoint)
    return None if value == one.value else one.name + b"=" + format_value(value)


def _expanded(one: Assignment, winners: Mapping[bytes, Assignment], edit: Edit) -> bytes:
    if not edit.expand:
        return one.value

    def resolve(match: re.Match[bytes]) -> bytes:
        other = winners.get(match.group(1))
        return match.group(0) if other is None or other is one else other.value

    return _REFERENCE.sub(resolve, one.value)


def _repointed(value: bytes, repoint: Sequence[tuple[bytes, bytes]]) -> bytes:
    for old, new in sorted(repoint, key=lambda pair: -len(pair[0])):
        if value == old or value.startswith(old.rstrip(b"/") + b"/"):
            return new + value[len(old) :]
    return value


def _with_block(content: bytes, new: Mapping[bytes, bytes]) -> bytes:
    """Return the content with new assignments in the marked block."""
    if not new:
        return content
    lines = b"".join(name + b"=" + format_value(new[name]) + b"\n" for name in sorted(new))
    if _END + b"\n" in content:
        before, after = content.split(_END + b"\n", 1)
        return before + lines + _END + b"\n" + after
    separator = b"" if not content or content.endswith(b"\n") else b"\n"
    return content + separator + _BEGIN + b"\n" + lines + _END + b"\n"


def edit_file(path: str, edit: Edit, *, options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Edit a file durably and return the module's result.

    :param options: ``create``, ``backup_dir``, and numeric ``owner``, ``group`` and ``mode`` (-1 keeps what is found).
    :raises ContimgError: when the file is missing without ``create``, cannot be read or written, or is an unsafe link.
    """
    target = _safe_target(path)
    before, status = _read(target, create=options["create"])
    after = edited(before or b"", edit)
    wanted = _ownership(status, options)
    changed = after != before or (status is not None and wanted != _ownership(status, _KEEP))
    backup = ""
    if changed and not check:
        if before is not None and options["backup_dir"] is not None:
            backup = back_up(target, options["backup_dir"])
        mode, owner, group = wanted
        replace_file(target, after, mode=mode, owner=owner, group=group, like=target if status else None)
    return {
        "changed": changed,
        "assignments": _shown(after, edit),
        "warnings": list(_warnings(target, after)),
        "backup_file": backup,
        "diff": _diff(before or b"", after, edit),
    }


def restore_file(path: str, backup: str, *, check: bool) -> dict[str, Any]:
    """Put a backup back byte for byte, with its owner and mode, and return the module's result. Raises ContimgError."""
    target = _safe_target(path)
    content, status = _read(backup, create=False)
    before, current = _read(target, create=True)
    assert content is not None
    assert status is not None
    wanted = _ownership(status, _KEEP)
    changed = content != before or current is None or wanted != _ownership(current, _KEEP)
    if changed and not check:
        mode, owner, group = wanted
        replace_file(target, content, mode=mode, owner=owner, group=group, like=backup)
    edit = Edit()
    return {
        "changed": changed,
        "assignments": _shown(content, edit),
        "warnings": [],
        "backup_file": "",
        "diff": _diff(before or b"", content, edit),
    }


_KEEP: Mapping[str, Any] = {"owner": -1, "group": -1, "mode": -1}


def _ownership(status: os.stat_result | None, options: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return mode, owner and group: what is asked for, else what is found, else that of a new file."""
    if status is None:
        return (options["mode"] if options["mode"] >= 0 else _NEW_MODE, options["owner"], options["group"])
    found = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    asked = (options["mode"], options["owner"], options["group"])
    mode, owner, group = (wanted if wanted >= 0 else there for wanted, there in zip(asked, found))
    return mode, owner, group


def _read(path: str, *, create: bool) -> tuple[bytes | None, os.stat_result | None]:
    if create and not os.path.lexists(path):
        return None, None
    hint = "Nothing was touched. Name an existing environment file, or create it."
    with failing("read the environment file", path, hint):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ContimgError("is no regular file", path=path, hint=hint)
            return file.read(), status


def _safe_target(path: str) -> str:
    """Return the file to edit: a link's target, where nobody else can redirect the link."""
    if not os.path.islink(path):
        return path
    target = os.path.realpath(path)
    for folder in {os.path.dirname(os.path.abspath(path)), os.path.dirname(target)}:
        status = os.stat(folder)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            hint = "Nothing was touched. Name the file itself."
            raise ContimgError(f"is a link, and others may write to {folder}", path=path, hint=hint)
    return target


def _shown(content: bytes, edit: Edit) -> dict[str, str]:
    return {display(one.name): _masked(one, edit) for one in parse(content) if one.valid}


def _masked(one: Assignment, edit: Edit) -> str:
    return _MASK if is_secret(one.name, edit) else display(one.value)


def _diff(before: bytes, after: bytes, edit: Edit) -> dict[str, str]:
    """Return only the assignments that differ: comments may hold secrets, too. A changed secret shows as changed."""
    old = {one.name: one for one in parse(before) if one.valid}
    new = {one.name: one for one in parse(after) if one.valid}
    sides: dict[str, list[str]] = {"before": [], "after": []}
    for name in sorted({*old, *new}):
        pair = (old.get(name), new.get(name))
        if pair[0] is None or pair[1] is None or pair[0].value != pair[1].value:
            for side, one in zip(("before", "after"), pair):
                if one is not None:
                    note = f" ({side})" if is_secret(name, edit) and None not in pair else ""
                    sides[side].append(f"{display(name)}={_masked(one, edit)}{note}\n")
    return {side: "".join(lines) for side, lines in sides.items()}


def _warnings(path: str, content: bytes) -> Iterator[str]:
    for one in parse(content):
        name = display(one.name)
        if not one.valid:
            first = name.split()[0] if name.split() else name
            yield f"{path}: systemd drops the line that starts with '{first}': it is no assignment to a valid name"
        elif _REFERENCE.search(one.value):
            yield f"{path}: {name} refers to another variable, which systemd does not expand"
    if re.search(rb"^[ \t]*[#;].*\\$", content, re.MULTILINE):
        yield f"{path}: a comment ends in a backslash; systemd before 254 swallows the line after it"
    repository = _repository(path)
    if repository:
        yield f"{path}: is tracked by git in {repository}; a checkout there would undo this change"


def _repository(path: str) -> str:
    """Return the checkout whose index names a file, found without running git in a foreign folder."""
    folder = os.path.dirname(os.path.abspath(path))
    while folder != os.path.dirname(folder):
        index = os.path.join(folder, ".git", "index")
        if os.path.isfile(index):
            with failing("read git's index", index), open(index, "rb") as file:
                return folder if os.fsencode(os.path.relpath(path, folder)) + b"\0" in file.read() else ""
        folder = os.path.dirname(folder)
    return ""


def run(values: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the module's parameters ask for.

    :raises ContimgError: when a name, owner, group or mode is not valid, or see :func:`edit_file`.
    """
    if values["restore_from"] is not None:
        return restore_file(values["path"], values["restore_from"], check=check)
    assignments = {**values["values"], **values["secrets"]}
    for name in assignments:
        if not _VALID_NAME.match(name):
            raise ContimgError(
                f"'{name}' is no name that systemd accepts", path=values["path"], hint="Nothing was touched."
            )
    edit = Edit(
        values={os.fsencode(name): os.fsencode(str(value)) for name, value in assignments.items()},
        secret_names=frozenset(os.fsencode(name) for name in values["secrets"]),
        absent=frozenset(map(os.fsencode, values["absent"])),
        repoint=[(os.fsencode(pair["from"]), os.fsencode(pair["to"])) for pair in values["repoint"]],
        expand=values["expand"],
    )
    options = {
        "create": values["create"],
        "backup_dir": values["backup_dir"],
        "owner": user_id(values["owner"]),
        "group": group_id(values["group"]),
        "mode": _mode(values["mode"], values["path"]),
    }
    return edit_file(values["path"], edit, options=options, check=check)


def _mode(text: str | None, path: str) -> int:
    try:
        return -1 if text is None else int(text, 8)
    except ValueError as error:
        raise ContimgError(f"'{text}' is no octal mode such as 0640", path=path, hint="Nothing was touched.") from error
