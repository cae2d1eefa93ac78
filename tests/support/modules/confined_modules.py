# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module that opens a database, run under strace on a state directory; what it makes, changes or removes is listed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.dsa110.contimg.tests.support.faults.traced import environment

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

    #: The name of a module, its parameters, and whether it runs in check mode.
    ModuleCall = tuple[str, dict[str, Any], bool]

__all__ = ["Run", "calls_of_all_modules", "run_modules"]

_PROGRAM = """
import json, sys
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module
for name, arguments, check in json.loads(sys.argv[1]):
    try:
        result = run_module(name, arguments, check=check)
    except ContimgError as error:
        result = {"msg": error.message}
    print(json.dumps([name, result]), flush=True)
"""
#: What makes, changes or removes a name or a file; opening for reading alone does none.
_CALLS = (
    "open,openat,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,mknod,"
    "mknodat,chmod,fchmodat,chown,lchown,fchownat,truncate,utimensat"
)
_PATH = re.compile(r'<([^<>]*)>|"((?:[^"\\]|\\.)*)"')
_CHANGES = re.compile(r"O_CREAT|O_WRONLY|O_RDWR|O_TRUNC")


class Run(NamedTuple):
    """What became of the modules.

    :ivar results: of each module, in their order.
    :ivar changed: paths that were made, opened for writing, changed or removed.
    :ivar log: all calls.
    """

    results: list[tuple[str, dict[str, Any]]]
    changed: set[str]
    log: str


def run_modules(calls: Sequence[ModuleCall], scratch: pathlib.Path) -> Run:
    """Run modules one after the other, in one process that strace watches; ``scratch`` becomes their ``TMPDIR``."""
    scratch.mkdir(exist_ok=True)
    log = scratch.with_name("strace.log")
    traced = ["strace", "-f", "-qq", "--seccomp-bpf", "-y", "-s", "4096", "-e", f"trace={_CALLS}", "-o", str(log)]
    command = [*traced, sys.executable, "-c", _PROGRAM, json.dumps(calls)]
    settings = {**environment(), "TMPDIR": str(scratch), "SQLITE_TMPDIR": str(scratch)}
    done = subprocess.run(command, check=True, env=settings, stdout=subprocess.PIPE, text=True, timeout=300)
    lines = log.read_text(errors="replace").splitlines()
    changed = {path for line in lines for path in _changed_by(line)}
    return Run([json.loads(line) for line in done.stdout.splitlines()], changed, "\n".join(lines))


def _changed_by(line: str) -> list[str]:
    """Return the paths that a call changes; a name below a descriptor is told with the descriptor's path."""
    name, _bracket, arguments = line.partition("(")
    if name.split()[-1].startswith(("open", "creat")) and not _CHANGES.search(arguments):
        return []
    found, directory = [], ""
    for descriptor, text in _PATH.findall(arguments.rpartition(" = ")[0]):
        if descriptor:
            directory = descriptor
        else:
            found.append(text if text.startswith("/") else f"{directory}/{text}")
    return found


def calls_of_all_modules(state: pathlib.Path, place: pathlib.Path) -> list[ModuleCall]:
    """Return a call of each module that opens a database, in check mode and, for those that change, without.

    :param state: holds ``products.sqlite3`` and maybe ``hdf5.sqlite3``.
    :param place: an empty directory for what they make: ``dest``, ``backups``, ``run``; and ``sets``, which are none.
    """
    products, hdf5 = str(state / "products.sqlite3"), str(state / "hdf5.sqlite3")
    backups, dest, sets = str(place / "backups"), str(place / "dest"), str(place / "sets")
    mapped = [{"name": "products", "src": ["products.sqlite3"], "dest": "products.sqlite3"}]
    paths = {"repoint": [{"from": "/stage", "to": "/fast"}], "databases": [{"path": products}]}
    sync = {"src": str(state), "dest": dest, "manifest": str(place / "run" / "MANIFEST"), "workers": 1}
    split = {"products_db": products, "hdf5_db": hdf5}
    reading: list[tuple[str, dict[str, Any]]] = [
        ("sqlite_checksum", {"path": products, "integrity": "full", "tables": True}),
        ("sqlite_checksum", {"path": str(state), "compare_to": str(state)}),
        ("state_databases_info", {"src": str(state), "dest": dest, "databases": mapped, "integrity": "quick"}),
        ("hdf5_groups_info", {"path": hdf5}),
        ("database_paths", paths),
    ]
    changing: list[tuple[str, dict[str, Any]]] = [
        ("sqlite_backup", {"path": products, "backup_dir": backups}),
        ("state_sync", {**sync, "live": True}),
        ("state_sync", sync),
        ("misplaced_databases", {"databases": [hdf5], "places": [products], "quarantine_dir": backups}),
        (
            "ms_index_reconcile",
            {"products_db": products, "roots": [sets], "max_removed_fraction": 1, "backup_dir": backups},
        ),
        ("hdf5_db_split", {**split, "keep_source": True}),
        ("hdf5_db_split", {**split, "backup_dir": backups, "vacuum": True}),
        ("hdf5_index", {"hdf5_db": hdf5, "input_dir": sets}),
        ("database_paths", {**paths, "state": "rewritten"}),
    ]
    checked = [(name, arguments, True) for name, arguments in [*reading, *_further(state, place), *changing]]
    return [*checked, *((name, arguments, False) for name, arguments in changing)]


def _further(state: pathlib.Path, place: pathlib.Path) -> list[tuple[str, dict[str, Any]]]:
    """Return calls of the modules that only look, or whose change is no part of these tests."""
    products, hdf5 = str(state / "products.sqlite3"), str(state / "hdf5.sqlite3")
    backups, dest = str(place / "backups"), str(place / "dest")
    retired = {"src": str(state), "dest": dest, "moved_at": 1.0, "run_dir": str(place / "run"), "require_proof": False}
    return [
        ("hdf5_db_unsplit", {"products_db": products, "hdf5_db": hdf5, "backup_dir": backups}),
        ("sqlite_remove", {"path": hdf5, "backup_dir": backups, "require_proof": False}),
        ("state_rows_info", {"path": str(state), "names": {"products": "products.sqlite3"}}),
        ("state_links_info", {"paths": [str(state)], "into": [str(state)]}),
        ("state_retire", {**retired, "state": "removed"}),
        ("path_references", {"paths": [str(state)], "repoint": [{"from": "/stage", "to": "/fast"}]}),
    ]
