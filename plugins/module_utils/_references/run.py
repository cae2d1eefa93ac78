# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of a path's uses, and what may be done with it: nothing, a patch, the rewrite, the way back."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    ensure_private_directory,
    read_optional,
    replace_file,
    sync_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted
from ansible_collections.dsa110.contimg.plugins.module_utils._references.backups import Backups, rewrite
from ansible_collections.dsa110.contimg.plugins.module_utils._references.inventory import take_inventory
from ansible_collections.dsa110.contimg.plugins.module_utils._references.patch import patch_root, unified
from ansible_collections.dsa110.contimg.plugins.module_utils._references.search import Needle, shortened
from ansible_collections.dsa110.contimg.plugins.module_utils._references.variables import Variable, Variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._references.inventory import Change, Inventory

__all__ = ["run"]

_MOST = 5000


def run(parameters: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Do what the module's parameters ask for and return its result, with ``warnings``.

    :raises ContimgError: when a parameter makes no sense, or something cannot be read or written.
    """
    if parameters["restore_from"] is not None:
        return _restored(parameters["restore_from"], check=check)
    needle = Needle(parameters["prefix"] or "", parameters["patterns"])
    variables = Variables(
        [Variable(one["from"], one["name"], one["default"]) for one in parameters["variables"]], needle.prefix
    )
    inventory = take_inventory(parameters["paths"], exclude=parameters["exclude"], needle=needle, variables=variables)
    inventory.known = known_names(parameters["known"])
    result = {
        **_found(inventory, printable(needle.prefix)),
        "changed": False,
        "patch_file": "",
        "patch_root": "",
        "rewritten_files": [],
    }
    root = patch_root([one.file.root for one in inventory.changes])
    if parameters["state"] == "patched":
        hidden = [printable(one.file.path) for one in inventory.changes if not _without_secret(root, one)]
        _left_out(result, hidden)
        return {**result, **_patched(inventory.changes, root, parameters["patch_file"], check=check)}
    if parameters["state"] == "rewritten":
        return {**result, **_rewritten(inventory.changes, root, parameters["backup_dir"], check=check)}
    for one in result["references"]:
        one["rewritten"] = False
    result["totals"]["rewritten"] = 0
    return result


def _found(inventory: Inventory, prefix: str) -> dict[str, Any]:
    totals, listed = inventory.totals(), inventory.listed(_MOST)
    live = [one for one in listed if one["live"] and one["match"] == prefix]
    warnings = [f"{printable(path)}: does not exist, so nothing was looked for there" for path in inventory.missing]
    warnings += [f"not looked at: {one}" for one in inventory.unread]
    if totals["references"] > _MOST:
        warnings.append(f"only the first {_MOST} of {totals['references']} references are listed; the totals count all")
    return {
        "references": listed,
        "live_lines": [f"{one['file']}:{one['line']} ({one['kind']}): {one['text']}" for one in live],
        "live_files": sorted({one["file"] for one in live}),
        "totals": totals,
        "missing": [printable(path) for path in inventory.missing],
        "unread": inventory.unread,
        "warnings": warnings,
    }


def _left_out(result: dict[str, Any], files: Sequence[str]) -> None:
    """Note in a result which files are left out of a patch."""
    for one in result["references"]:
        if one["rewritten"] and one["file"] in files:
            one.update(rewritten=False, reason="a patch would show a secret beside it")
            result["totals"]["rewritten"] -= 1
    result["warnings"] += [f"{path}: is not in the patch, which would show a secret of it" for path in files]


def _patched(changes: Sequence[Change], root: str, patch_file: str, *, check: bool) -> dict[str, Any]:
    """Bring the patch file to what the changes need; without any there is none."""
    patch = b"".join(_without_secret(root, change) for change in changes)
    before = read_optional(patch_file, "read the patch", hint="Nothing was touched.")
    changed = (before or b"") != patch
    if changed and not check:
        _put(patch_file, patch)
    return {
        "changed": changed,
        "patch_file": printable(patch_file) if patch else "",
        "patch_root": printable(root) if patch else "",
        "diff": {"before": "", "after": "", "prepared": _shown(changes, root)} if changed else {},
    }


def _without_secret(root: str, change: Change) -> bytes:
    """Return the patch of a file with as much context as shows no secret; nothing where each amount would."""
    for context in (3, 2, 1):
        patch = _unified(root, change, context=context)
        if patch == _unified(root, change, context=context, masked=True):
            return patch
    return b""


def _unified(root: str, change: Change, *, context: int = 3, masked: bool = False) -> bytes:
    name = os.path.relpath(os.path.abspath(change.file.path), root)
    texts = [change.file.content, change.after]
    before, after = map(_masked, texts) if masked else texts
    return unified(name, before, after, context=context)


def _masked(content: bytes) -> bytes:
    return redacted(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _rewritten(changes: Sequence[Change], root: str, backup_dir: str | None, *, check: bool) -> dict[str, Any]:
    if changes and not check:
        rewrite(changes, Backups(backup_dir) if backup_dir else None)
    return {
        "changed": bool(changes),
        "rewritten_files": [printable(change.file.path) for change in changes],
        "diff": {"before": "", "after": "", "prepared": _shown(changes, root)} if changes else {},
    }


def _restored(directory: str, *, check: bool) -> dict[str, Any]:
    if kind_of(directory) != stat.S_IFDIR:
        raise ContimgError("is not a directory of backups", path=directory, hint="Nothing was touched.")
    returned = Backups(directory).restore(check=check)
    back = [printable(one.path) for one in returned if one.state == "back"]
    kept = [printable(one.path) for one in returned if one.state == "kept"]
    return {
        "changed": bool(back),
        "restored_files": back,
        "kept_files": kept,
        "warnings": [
            f"{path}: was changed by somebody else since it was rewritten, so it stays as it is" for path in kept
        ],
        "diff": {
            "before": "".join(f"{path}: rewritten\n" for path in back),
            "after": "".join(f"{path}: as it was\n" for path in back),
        },
    }


def _put(path: str, patch: bytes) -> None:
    """Write a patch, private since its context may hold secrets; without one, remove that of an earlier run."""
    if patch:
        ensure_private_directory(os.path.dirname(os.path.abspath(path)))
        replace_file(path, patch, mode=0o600)
        return
    with error_context("remove the patch of an earlier run", path):
        os.unlink(path)
        sync_directory(os.path.dirname(os.path.abspath(path)))


def _shown(changes: Sequence[Change], root: str) -> str:
    """Return the changes as they may be printed."""
    lines = b"".join(_unified(root, change, masked=True) for change in changes).decode("utf-8", "backslashreplace")
    return "\n".join(map(shortened, lines.split("\n")))
