# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a copy, in the format of ``sha256sum``, and its comparison with a tree."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._durable import LARGE, read_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, display, failing
from ansible_collections.dsa110.contimg.plugins.module_utils._tree import open_below, open_root, scan, tree_digest

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from typing import Any

__all__ = ["audit", "hash_file", "is_shared_memory", "manifest_line", "moved", "parse_manifest", "read_manifest"]

_NAMED = 100  # paths that a report lists of each kind
_CHUNK = 1 << 20
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))


def manifest_line(path: bytes, digest: str) -> bytes:
    """Return the line of a file, its name escaped as GNU ``sha256sum`` escapes it."""
    name = path
    for plain, escaped in _ESCAPES:
        name = name.replace(plain, escaped)
    return (b"\\" if name != path else b"") + digest.encode() + b"  ./" + name + b"\n"


def parse_manifest(content: bytes, *, path: str | None = None) -> dict[bytes, str]:
    """Return the digests of a manifest by path. Raises ContimgError on a line that is none."""
    digests = {}
    for line in content.splitlines():
        escaped = line.startswith(b"\\")
        digest, separator, rest = line[escaped:].partition(b"  ./")
        name = _unescaped(rest) if escaped else rest
        if not separator or not _DIGEST.fullmatch(digest) or not _is_below(name):
            raise ContimgError(f"holds a line that no manifest has: {display(line[:80])}", path=path)
        digests[name] = digest.decode()
    return digests


def _is_below(name: bytes) -> bool:
    """Tell whether a path leads nowhere but below the root that it is relative to."""
    return not any(part in (b"", b".", b"..") for part in name.split(b"/")) and b"\0" not in name


def _unescaped(name: bytes) -> bytes:
    plain = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}
    result, position = b"", 0
    while position < len(name):
        pair = name[position : position + 2]
        result += plain.get(pair, name[position : position + 1])
        position += 2 if pair in plain else 1
    return result


def read_manifest(path: str) -> dict[bytes, str]:
    """Read a manifest. Raises ContimgError when it is missing or is none."""
    return parse_manifest(read_regular(path, "read the manifest", limit=LARGE), path=path)


def hash_file(root: int, path: bytes, *, from_device: bool = False) -> str:
    """Return the SHA-256 of a file below a root.

    :param from_device: drop the file's clean pages from the page cache first, so that it is read from the device.
    """
    digest = hashlib.sha256()
    with open_below(root, path) as descriptor:
        if from_device:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for block in iter(lambda: os.read(descriptor, _CHUNK), b""):
            digest.update(block)
    return digest.hexdigest()


def moved(path: bytes, rename: Mapping[bytes, bytes]) -> bytes:
    """Return where a path goes: a renamed database takes its sidecars along."""
    for suffix in (b"", b"-wal", b"-shm", b"-journal"):
        stem = path[: len(path) - len(suffix)]
        if path.endswith(suffix) and stem in rename:
            return rename[stem] + suffix
    return path


def is_shared_memory(path: bytes, databases: Container[bytes]) -> bool:
    """Tell whether a file is the ``-shm`` of a database: SQLite makes it anew from the log, and no copy takes it along."""
    return path.endswith(b"-shm") and path[: -len(b"-shm")] in databases


def audit(
    path: str, manifest: str, *, rename: Mapping[str, str], exclude: Sequence[str], content: bool
) -> dict[str, Any]:
    """Compare a tree with a manifest; see the RETURN of ``manifest_info``.

    :raises ContimgError: when the tree or the manifest cannot be read.
    """
    wanted = read_manifest(manifest)
    names = {os.fsencode(old): os.fsencode(new) for old, new in rename.items()}
    with open_root(path) as root:
        entries = scan(root, exclude)
        found = {moved(name, names): name for name, entry in entries.items() if entry.is_file}
        present = sorted(set(found) & set(wanted))
        with failing("read the tree", path):
            changed = [name for name in present if content and hash_file(root, found[name]) != wanted[name]]
    missing = sorted(set(wanted) - set(found))
    unknown = sorted(name for name in found if name not in wanted and not is_shared_memory(name, wanted))
    lists = {"missing": missing, "changed_files": changed, "unknown": unknown}
    return {
        **{kind: [display(name) for name in names_found[:_NAMED]] for kind, names_found in lists.items()},
        **{f"{kind}_total": len(names_found) for kind, names_found in lists.items()},
        "files": len(wanted),
        "digest": tree_digest(entries),
        "matches": not (missing or changed or unknown),
    }
