# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing a database that no process uses, after its copy is verified and was judged.

SQLite's exclusive lock is held from before the copy to the end, so what was judged is what is removed. The file is first moved
into a directory of its own beside its place: who opened it before that is found there and gets it back, and after that no
process can open it. An interrupted removal is undone by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.backup import back_up_file
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below, open_name, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, is_there
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import proven_name, proves_itself
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECARS
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.checksum import content_checksum
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.locks import lock_exclusively
from ansible_collections.dsa110.contimg.plugins.module_utils._sqlite.readonly import sidecars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["put_back", "remove_database", "remove_unchanged", "require_unused", "users_of"]

_THERE = "It is where it was."
_ASIDE = b"moved aside"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def users_of(path: str) -> tuple[list[str], bool]:
    """Return the processes that have a database or its sidecars open, a line each, and whether all processes were seen."""
    found = find_holders([path, *sidecars(path)])
    return [holder.summary() for holder in found.holders], found.complete


def require_unused(path: str, *, require_proof: bool, shown: str = "") -> None:
    """Check that no process has a database open.

    :param require_proof: whether it is an error that the open files of a process cannot be read.
    :param shown: the path that an error names, where it is another one.
    :raises ContimgError: naming the processes.
    """
    try:
        users, complete = users_of(path)
    except ContimgError as error:
        raise ContimgError(error.what, path=shown or path, hint=error.hint, **error.details) from error
    if users:
        hint = f"{_THERE} Stop these processes and run again."
        raise ContimgError(f"is open in {'; '.join(users[:5])}", path=shown or path, hint=hint)
    if require_proof and not complete:
        hint = f"{_THERE} Run as root, or accept that with require_proof: false (contimg_require_proof)."
        what = "may be open: not every process's open files can be read"
        raise ContimgError(what, path=shown or path, hint=hint)


def remove_database(path: str, *, backup_dir: str, judge: Callable[[str], None], require_proof: bool) -> str:
    """Copy a database with its sidecars, verify the copy, let it be judged, and only then remove them, durably.

    :param judge: is given the path of the copy; raises ContimgError where the database must stay.
    :param require_proof: see :func:`require_unused`.
    :returns: the path of the copy.
    :raises ContimgError: when the database is in use, must stay, or cannot be copied or removed. It is where it was then.
    """
    directory, name = os.path.split(os.path.abspath(path))
    with error_context("remove the database", path, _THERE), open_root(directory) as root:
        put_back(directory)
        with _locked(root, name, path):
            require_unused(path, require_proof=require_proof)
            backup = back_up_file(root, os.fsencode(name), backup_dir)
            copy = os.path.join(backup, name)
            try:
                judge(copy)
            except BaseException:
                shutil.rmtree(backup, ignore_errors=True)
                raise
            _take_away(root, path, copy, require_proof=require_proof)
    return copy


def remove_unchanged(*, path: str, checksum: str, backup_dir: str, require_proof: bool, check: bool) -> dict[str, Any]:
    """Remove a database whose content has a checksum, and return the module's result.

    :param checksum: empty where nothing is to be removed, and only an interrupted removal undone.
    :raises ContimgError: when it has another content, and see :func:`remove_database`.
    """

    def judge(copy: str) -> None:
        found = content_checksum(copy)
        if found != checksum:
            hint = f"{_THERE} Look what has been written to it since."
            raise ContimgError(f"has changed: its content is {found}, not {checksum}", path=path, hint=hint)

    directory = os.path.dirname(os.path.abspath(path))
    undone = not check and is_directory(directory) and put_back(directory)
    if not checksum or not is_there(path):
        return {"changed": undone, "backup_file": "", "open_in": [], "diff": {}}
    users, backup = users_of(path)[0], ""
    if check:
        judge(path)
    else:
        backup = remove_database(path, backup_dir=backup_dir, judge=judge, require_proof=require_proof)
    diff = {"before": f"{printable(path)}\n", "after": ""}
    return {"changed": True, "backup_file": backup, "open_in": users, "diff": diff}


@contextlib.contextmanager
def _locked(root: int, name: str, path: str) -> Iterator[None]:
    """Keep every connection away from a database. Raises ContimgError where there is one that uses it."""
    descriptor = open_name(root, os.fsencode(name), os.O_RDWR)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ContimgError("is not a regular file", path=path, hint=_THERE)
        try:
            lock_exclusively(descriptor)
        except (BlockingIOError, PermissionError):
            hint = f"{_THERE} Stop that program (open_files_info names it) and run again."
            raise ContimgError("is locked: another program is using it", path=path, hint=hint) from None
        yield
    finally:
        os.close(descriptor)


def _take_away(root: int, path: str, copy: str, *, require_proof: bool) -> None:
    directory, name = os.path.split(os.path.abspath(path))
    aside = os.fsdecode(proven_name(_ASIDE))
    os.mkdir(aside, 0o700, dir_fd=root)
    with open_below(root, os.fsencode(aside), os.O_DIRECTORY) as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)  # so another run knows that this one is alive
        try:
            for member in _members(root, name):
                os.rename(member, member, src_dir_fd=root, dst_dir_fd=kept)
            require_unused(os.path.join(directory, aside, name), require_proof=require_proof, shown=path)
        except BaseException:
            with error_context("move the database back", path, f"It is in {aside} beside its place. Run again."):
                _return_members(root, kept, aside)
            raise
        with error_context("remove the database", path, f"Its verified copy is {copy}. Run again."):
            for member in reversed(_members(kept, name)):  # without its log a database is one of before
                os.unlink(member, dir_fd=kept)
            os.rmdir(aside, dir_fd=root)
            os.fsync(root)


def _members(directory: int, name: str) -> list[str]:
    """Return the database and the sidecars that are in a directory, the database first."""
    there = set(os.listdir(directory))
    return [name + suffix for suffix in ("", *SIDECARS) if name + suffix in there]


def put_back(directory: str) -> bool:
    """Undo what interrupted removals have moved aside in a directory; return whether there was any.

    :raises ContimgError: when it cannot be moved back, for example because its name is in use again.
    """
    undone = False
    with error_context("look for what an interrupted run has moved aside", directory), open_root(directory) as root:
        for aside in sorted(name for name in os.listdir(root) if proves_itself(os.fsencode(name), _ASIDE)):
            with open_below(root, os.fsencode(aside), os.O_DIRECTORY) as kept, contextlib.suppress(BlockingIOError):
                fcntl.flock(kept, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    _return_members(root, kept, aside)
                    undone = True
                except FileExistsError as error:
                    hint = (
                        "Nothing else was touched. Decide which of them is wanted, move the other away, and run again."
                    )
                    what = f"is in use again, what an interrupted run has moved aside is in {aside} beside it"
                    raise ContimgError(what, path=os.path.join(directory, str(error.filename2)), hint=hint) from None
    return undone


def _return_members(root: int, kept: int, aside: str) -> None:
    """Move files back to their place, sidecars first; nothing that is there is replaced."""
    for member in sorted(os.listdir(kept), key=lambda name: (not name.endswith(SIDECARS), name)):
        try:
            os.link(member, member, src_dir_fd=kept, dst_dir_fd=root, follow_symlinks=False)
            os.unlink(member, dir_fd=kept)
        except OSError as error:
            if error.errno not in _NO_LINKS or member in os.listdir(root):
                raise
            os.rename(member, member, src_dir_fd=kept, dst_dir_fd=root)
    os.rmdir(aside, dir_fd=root)
    os.fsync(root)
