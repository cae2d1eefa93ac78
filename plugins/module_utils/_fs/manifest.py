# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a copy, in the format of ``sha256sum``, and its comparison with a tree."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import LARGE, read_optional, read_regular
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.entry import Entry, parent_of
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import entry_at, open_below, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.tree_digest import tree_digest
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.walk import scan
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECAR_SUFFIXES, stem_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from typing import Any

__all__ = [
    "audit",
    "destination_of",
    "hash_descriptor",
    "hash_file",
    "is_shared_memory",
    "kept_file",
    "kept_list",
    "leads_below",
    "manifest_line",
    "parse_manifest",
    "read_kept",
    "read_manifest",
    "touched",
]

_NAMED = 100  # paths that a report lists of each kind
_CHUNK = 1 << 20
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))


def manifest_line(path: bytes, digest: str) -> bytes:
    """Return the line of a file, its name escaped as GNU ``sha256sum`` escapes it."""
    name = _escaped(path)
    return (b"\\" if name != path else b"") + digest.encode() + b"  ./" + name + b"\n"


def _escaped(name: bytes) -> bytes:
    for plain, escaped in _ESCAPES:
        name = name.replace(plain, escaped)
    return name


def kept_file(manifest: str) -> str:
    """Return the path of the list of what a decision kept at the destination, beside the manifest of the copy."""
    return manifest + ".kept"


def kept_list(paths: Iterable[bytes]) -> bytes:
    """Return that list: a path a line, escaped as in a manifest."""
    return b"".join(b"./" + _escaped(path) + b"\n" for path in sorted(paths))


def read_kept(manifest: str) -> frozenset[bytes]:
    """Return the paths of that list, none where it does not exist. Raises ContimgError where it cannot be read or is none."""
    path = kept_file(manifest)
    names = set()
    for line in (read_optional(path, "read what was kept", limit=LARGE) or b"").splitlines():
        name = _unescaped(line[2:])
        if not line.startswith(b"./") or not leads_below(name):
            raise ContimgError(f"holds a line that no list of kept paths has: {printable(line[:80])}", path=path)
        names.add(name)
    return frozenset(names)


def _is_kept(name: bytes, kept: frozenset[bytes]) -> bool:
    """Return whether a path, the database that it is a sidecar of, or a directory above it was kept."""
    parts = name.split(b"/")
    above = (b"/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return any(one in kept for one in (*above, stem_of(name)))


def parse_manifest(content: bytes, *, path: str | None = None) -> dict[bytes, str]:
    """Return the digests of a manifest by path. Raises ContimgError on a line that is none."""
    digests = {}
    for line in content.splitlines():
        escaped = line.startswith(b"\\")
        digest, separator, rest = line[escaped:].partition(b"  ./")
        name = _unescaped(rest) if escaped else rest
        if not separator or not _DIGEST.fullmatch(digest) or not leads_below(name):
            raise ContimgError(f"holds a line that no manifest has: {printable(line[:80])}", path=path)
        digests[name] = digest.decode()
    return digests


def leads_below(name: bytes) -> bool:
    """Return whether a path leads nowhere but below the root that it is relative to."""
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
    with open_below(root, path) as descriptor:
        return hash_descriptor(descriptor, from_device=from_device)


def hash_descriptor(descriptor: int, *, from_device: bool = False) -> str:
    """Return the SHA-256 of an open file from where it stands to its end; see :func:`hash_file`."""
    if from_device:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    digest = hashlib.sha256()
    for block in iter(lambda: os.read(descriptor, _CHUNK), b""):
        digest.update(block)
    return digest.hexdigest()


def destination_of(path: bytes, rename: Mapping[bytes, bytes]) -> bytes:
    """Return where a path goes: a renamed database takes its sidecars along."""
    for suffix in (b"", *SIDECAR_SUFFIXES):
        stem = path[: len(path) - len(suffix)]
        if path.endswith(suffix) and stem in rename:
            return rename[stem] + suffix
    return path


def is_shared_memory(path: bytes, databases: Container[bytes]) -> bool:
    """Return whether a file is the ``-shm`` of a database: SQLite makes it anew from the log, and no copy takes it along."""
    return path.endswith(b"-shm") and path[: -len(b"-shm")] in databases


def _excluded_too(root: int, missing: Iterable[bytes], rename: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the files of a manifest that are there though a glob matches them: a file may be renamed to such a name."""
    elsewhere = {destination_of(old + suffix, rename) for old in rename for suffix in (b"", *SIDECAR_SUFFIXES)}
    return ((path, path) for path in missing if path not in elsewhere and _is_file(root, path))


def _is_file(root: int, path: bytes) -> bool:
    """Return whether a regular file stands at a path. Raises ContimgError when that cannot be found out."""
    with error_context("look at the file", path):
        try:
            return entry_at(root, path).is_file
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
    return False


def touched(entries: Mapping[bytes, Entry], since: float) -> list[bytes]:
    """Return the paths whose status changed later than a moment, sorted; ``.`` is the root.

    A directory changes with each name in it, so one is returned only where nothing else in it accounts for that.

    :param since: in seconds since the epoch, by the clock of the file system's host.
    """
    later = [name for name, entry in entries.items() if entry.status.ctime_ns > since * 1e9]
    explained = {parent_of(name) for name in later if name}
    return sorted(name or b"." for name in later if not entries[name].is_directory or name not in explained)


def audit(
    path: str,
    manifest: str,
    *,
    rename: Mapping[str, str],
    exclude: Sequence[str],
    content: bool,
    since: float | None = None,
) -> dict[str, Any]:
    """Compare a tree with a manifest; see the RETURN of ``manifest_info``.

    :raises ContimgError: when the tree or the manifest cannot be read.
    """
    wanted, kept = read_manifest(manifest), read_kept(manifest)
    names = {os.fsencode(old): os.fsencode(new) for old, new in rename.items()}
    with open_root(path) as root:
        entries = scan(root, exclude)
        found = {destination_of(name, names): name for name, entry in entries.items() if entry.is_file}
        found.update(_excluded_too(root, wanted.keys() - found.keys(), names))
        present = sorted(set(found) & set(wanted))
        with error_context("read the tree", path):
            changed = [name for name in present if content and hash_file(root, found[name]) != wanted[name]]
    missing = sorted(set(wanted) - set(found))
    others = [name for name in found if name not in wanted and not is_shared_memory(name, wanted)]
    unknown = sorted(name for name in others if not _is_kept(name, kept))
    lists = {
        "missing": missing,
        "changed_files": changed,
        "unknown": unknown,
        "kept": sorted(set(others) - set(unknown)),
        "touched": [] if since is None else touched(entries, since),
    }
    return {
        **{kind: [printable(name) for name in names_found[:_NAMED]] for kind, names_found in lists.items()},
        **{f"{kind}_total": len(names_found) for kind, names_found in lists.items()},
        "files": len(wanted),
        "digest": tree_digest(entries),
        "matches": not (missing or changed or unknown),
    }
