# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uses a path: units, containers, processes, entries of crontabs, and mounts in every namespace."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import describe_containers
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import read_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_file, matching
from ansible_collections.dsa110.contimg.plugins.module_utils._host.mounts import (
    Mount,
    Place,
    is_within,
    mounts_of,
    places_of,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders
from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import command_of, owner_of, process_ids
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.strangers import (
    Move,
    Seen,
    leftovers,
    notes,
    strangers,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._paths import known_names, names_path
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted
from ansible_collections.dsa110.contimg.plugins.module_utils._services.hold_file import asked_for, read_memory
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.units import describe_units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import Holder

__all__ = ["CRONTABS", "cron_entries", "look", "mounts_using", "users_of"]

#: The tables of the system, of packages, of users (Debian's and Red Hat's places), and the scripts that run by period.
CRONTABS = (
    "/etc/crontab",
    "/etc/anacrontab",
    "/etc/cron.d/*",
    "/etc/cron.hourly/*",
    "/etc/cron.daily/*",
    "/etc/cron.weekly/*",
    "/etc/cron.monthly/*",
    "/var/spool/cron/crontabs/*",
    "/var/spool/cron/*",
)
_GONE = (errno.ENOENT, errno.ESRCH)
_LONGEST = 300


@dataclass
class _Unread:
    """Whether anything could not be looked at."""

    found: bool = False


def look(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``state_users_info`` reports for its parameters.

    :raises ContimgError: when systemd cannot be asked, a compose file cannot be read, or an expression of ``known`` is none.
    """
    paths, leaving = values["paths"], values["leaving"]
    move = Move(
        frozenset(leaving),
        repointed=frozenset(values["repointed"]),
        containers=frozenset(values["containers"]),
        timer=values["timer"],
        known=known_names(values["known"]),
    )
    held = asked_for(read_memory(values["hold_file"])) if values["hold_file"] else []
    units = describe_units(values["units"], paths, remembered=held) if values["units"] else {}
    here = users_of(paths)
    seen = Seen(
        units, **describe_containers(values["containers"], paths, leaving), cron=here["cron"], mounts=here["mounts"]
    )
    if values["moved"]:
        return {**here, "users": leftovers(seen, move), "notes": notes(seen), "open": {}}
    found = find_holders(paths)
    seen = replace(
        seen,
        holders=[one.as_dict() for one in found.holders],
        inside=[one.as_dict() for one in found.inside],
    )
    return {
        **here,
        "complete": here["complete"] and found.complete,
        "users": strangers(seen, move),
        "notes": notes(seen),
        "open": {path: _commands_below(found.holders, path) for path in paths},
    }


def _commands_below(holders: Iterable[Holder], path: str) -> list[str]:
    """Return the commands of the processes that have a file below a path open, as they name it."""
    return [one.command for one in holders if any(is_within(file, path) for file in one.files)]


def users_of(paths: Sequence[str]) -> dict[str, Any]:
    """Return ``cron``, ``mounts`` and ``complete`` for paths; see the RETURN of ``state_users_info``."""
    unread = _Unread()
    cron = list(cron_entries(paths, unread=unread))
    mounts = list(mounts_using(paths, unread=unread))
    return {"cron": cron, "mounts": mounts, "complete": not unread.found}


def cron_entries(
    paths: Sequence[str], *, unread: _Unread, tables: Sequence[str] = CRONTABS
) -> Iterator[dict[str, Any]]:
    """Yield the lines of crontabs and periodic scripts, other than comments, that name one of the paths.

    What a line runs elsewhere is not looked into.
    """
    for table in sorted({path for pattern in tables for path in _tables(pattern, unread)}):
        lines = _lines(table, unread)
        shown = redacted("\n".join(lines)).split("\n")  # as a whole: a secret may span lines
        for number, line in enumerate(lines, 1):
            named = next((path for path in paths if names_path(line, path)), None)
            if named is not None and (line.startswith("#!") or not line.lstrip().startswith("#")):
                yield {"file": table, "line": number, "text": shown[number - 1].strip()[:_LONGEST], "path": named}


def _tables(pattern: str, unread: _Unread) -> list[str]:
    try:
        return [path for path in matching(pattern) if is_file(path)]
    except ContimgError:
        unread.found = True
        return []


def _lines(path: str, unread: _Unread) -> list[str]:
    try:
        return [printable(line) for line in read_regular(path, "read the table", follow=True).splitlines()]
    except ContimgError:
        unread.found = True
        return []


def mounts_using(paths: Sequence[str], *, unread: _Unread) -> Iterator[dict[str, Any]]:
    """Yield the mounts that show one of the paths elsewhere, here or in the namespace of other processes."""
    own = mounts_of()
    places = places_of(paths, own)
    roots = [os.path.realpath(path) for path in paths]
    for mount in own:
        if not any(is_within(mount.point, root) for root in roots) and _is_of(mount, places):
            yield {"point": mount.point, "root": mount.root, "pid": 0, "command": "", "unit": "", "container": ""}
    known = {(mount.device, mount.root, mount.point) for mount in own}
    for pid, mount in _foreign_mounts(unread):
        if (mount.device, mount.root, mount.point) not in known and _shows(mount, places):
            owner = owner_of(pid)
            fields = {"unit": owner.unit, "container": owner.container, "command": command_of(pid)}
            yield {"point": mount.point, "root": mount.root, "pid": pid, **fields}


def _is_of(mount: Mount, places: Sequence[Place]) -> bool:
    """Return whether what is mounted is one of the places, or lies in it."""
    return any(mount.device == place.device and is_within(mount.root, place.path) for place in places)


def _shows(mount: Mount, places: Sequence[Place]) -> bool:
    """Return whether a mount leads to one of the places, or to a part of it."""
    return _is_of(mount, places) or any(
        mount.device == place.device and is_within(place.path, mount.root) for place in places
    )


def _foreign_mounts(unread: _Unread) -> Iterator[tuple[int, Mount]]:
    """Yield the mounts of each other mount namespace, with the first process that is in it."""
    seen = {os.stat("/proc/self/ns/mnt").st_ino}
    for pid in process_ids():
        try:
            namespace = os.stat(f"/proc/{pid}/ns/mnt").st_ino
            if namespace in seen:
                continue
            seen.add(namespace)
            mounts = mounts_of(pid)
        except OSError as error:
            unread.found = unread.found or error.errno not in _GONE
            continue
        yield from ((pid, mount) for mount in mounts)
