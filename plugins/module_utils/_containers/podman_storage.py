# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether podman has a storage on this host for the user who asks.

Every command of podman that opens its storage creates it where there is none, ``podman ps`` included. So a module that only reads
looks at first whether it exists. The places are those of containers-storage.conf(5).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import read_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import is_directory, is_file, matching

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["has_podman_storage"]

_OF_ROOT = "/var/lib/containers/storage"
_SYSTEM = ("/usr/share/containers", "/etc/containers")
_REMOTE = ("CONTAINER_HOST", "CONTAINER_CONNECTION")  # variables with which podman is the client of a service
_STORAGE, _ENGINE = "storage.conf", "containers.conf"
_PLACE = re.compile(r"""^\s*(graphroot|rootless_storage_path)\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.MULTILINE)
_IS_REMOTE = re.compile(r"^\s*remote\s*=\s*true\b", re.MULTILINE)
_HINT = "Nothing was changed. Run as a user who may read it."


def has_podman_storage() -> bool:
    """Return whether podman may have containers of this user: it stores something here, or is the client of a service.

    :raises ContimgError: when a configuration file or a storage cannot be read.
    """
    if any(os.environ.get(name) for name in _REMOTE) or any(map(_IS_REMOTE.search, _texts(_ENGINE))):
        return True
    return any(map(_holds_anything, _places()))


def _holds_anything(place: str) -> bool:
    """Return whether a storage is more than the empty directory that a package may bring."""
    if not is_directory(place):
        return False
    with error_context("list the directory", place, _HINT), os.scandir(place) as names:
        return next(names, None) is not None


def _places() -> set[str]:
    """Return where the storage may be. Which file counts differs by version, so each place that is configured is one."""
    is_root = os.geteuid() == 0
    configured = {
        _expanded(double or single)
        for text in _texts(_STORAGE)
        for name, double, single in _PLACE.findall(text)
        if name == "graphroot" or not is_root
    }
    if configured and "CONTAINERS_STORAGE_CONF" in os.environ:
        return configured
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return {*configured, _OF_ROOT if is_root else os.path.join(data, "containers/storage")}


def _expanded(place: str) -> str:
    return os.path.expandvars(place.replace("$UID", str(os.geteuid())))


def _texts(name: str) -> Iterator[str]:
    """Yield what the configuration files of a name hold."""
    for path in _files(name):
        if is_file(path):
            yield read_regular(path, "read podman's configuration", follow=True, hint=_HINT).decode(errors="replace")


def _files(name: str) -> Iterator[str]:
    """Yield the files that may configure podman. A variable names one that counts instead of all others."""
    only = os.environ.get({_STORAGE: "CONTAINERS_STORAGE_CONF", _ENGINE: "CONTAINERS_CONF"}[name])
    if only:
        yield only
        return
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    for directory in (*_SYSTEM, os.path.join(home, "containers")):
        yield os.path.join(directory, name)
        yield from matching(os.path.join(directory, f"{name}.d", "*.conf"))
