# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random trees with all that a file system can hold, and the judge of a copy."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"c", b"d.log", b"e\n", b"\xff\xfe", b"-x", b"x" * 255]),
    st.binary(min_size=1, max_size=8).filter(lambda name: not {b"/"[0], 0} & set(name) and name not in (b".", b"..")),
)
TIMES = st.one_of(st.integers(-(2**31) * 10**9, 2**33 * 10**9), st.sampled_from([0, -1, 2**31 * 10**9 + 7]))
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["user.a", "user.b", "trusted.c", "security.d"]), st.binary(max_size=20), max_size=2
)
KINDS = st.sampled_from(["file"] * 6 + ["directory"] * 4 + ["link", "hard", "fifo", "socket", "device", "sparse"])
ENTRIES = st.fixed_dictionaries(
    {
        "kind": KINDS,
        "parent": st.integers(0, 30),
        "name": NAMES,
        "content": st.binary(max_size=600),
        "mode": st.integers(0, 0o7777),
        "owner": st.tuples(st.sampled_from([0, 1, 1000, 65534]), st.sampled_from([0, 4, 1000])),
        "time": TIMES,
        "attributes": ATTRIBUTES,
        "acl": st.sampled_from(["", "", "u:1:r", "d:u:1000:rwx"]),
    }
)
TREES = st.lists(ENTRIES, max_size=25)


def build(root: Path, entries: list[dict[str, Any]]) -> None:
    """Make (or, called again, change) a tree; what cannot be made there is left out."""
    root.mkdir(exist_ok=True)
    top = os.fsencode(root)
    directories = [top]
    files: list[bytes] = []
    made = []
    for entry in entries:
        path = directories[entry["parent"] % len(directories)] + b"/" + entry["name"]
        with contextlib.suppress(FileExistsError, IsADirectoryError, NotADirectoryError, OSError):
            _make(path, entry, files)
            made.append((path, entry))
            if entry["kind"] == "directory":
                directories.append(path)
            elif entry["kind"] in ("file", "sparse"):
                files.append(path)
    for path, entry in reversed(made):
        _adorn(path, entry)


def _make(path: bytes, entry: dict[str, Any], files: list[bytes]) -> None:
    kind = entry["kind"]
    if kind == "directory":
        os.mkdir(path)
    elif kind == "link":
        os.symlink(entry["content"].replace(b"\0", b"") or b"nowhere", path)
    elif kind == "hard":
        os.link(files[entry["parent"] % len(files)] if files else b"/nowhere", path)
    elif kind in ("fifo", "socket", "device"):
        types = {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "device": stat.S_IFCHR}
        os.mknod(path, types[kind] | 0o600, os.makedev(1, 3) if kind == "device" else 0)
    else:
        # Never through a link, never into a FIFO or device of that name: that would wait for its reader.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(path, flags, 0o666), "wb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FileExistsError(path)
            file.truncate()
            file.write(entry["content"])
            if kind == "sparse":
                file.seek(3 << 20)
                file.write(entry["content"])


def _adorn(path: bytes, entry: dict[str, Any]) -> None:
    plain = entry["kind"] in ("file", "directory", "sparse", "hard")
    os.chown(path, *entry["owner"], follow_symlinks=False)
    if entry["kind"] != "link":
        os.chmod(path, entry["mode"])
    for name, value in entry["attributes"].items():
        if plain or not name.startswith("user."):
            os.setxattr(path, name, value, follow_symlinks=False)
    if entry["acl"] and plain and (entry["kind"] == "directory" or not entry["acl"].startswith("d:")):
        subprocess.run([b"setfacl", b"-m", entry["acl"].encode(), path], check=True)
    os.utime(path, ns=(0, entry["time"]), follow_symlinks=False)


def differences(source: Path, target: Path) -> str:
    """Return what ``rsync`` would change to make the target as the source, byte for byte."""
    command = ["rsync", "-aHAXnci", "--delete", f"{source}/", f"{target}/"]
    return subprocess.run(command, check=True, capture_output=True).stdout.decode(errors="replace")


#: What may stand where a regular file is expected. Only root makes a device.
ODD_KINDS = ["fifo", "socket", "directory", "link", "dangling link", "link to a device"]
ODD_KINDS += ["device"] if os.geteuid() == 0 else []


def make_odd(kind: str, path: Path) -> None:
    """Put something at a path that is not a regular file; what a link leads to lies beside it."""
    beside = path.parent / "beside"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    elif kind == "device":
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # as /dev/zero, which never ends
    elif kind == "directory":
        path.mkdir()
    else:
        beside.write_bytes(b"beside\n")
        path.symlink_to({"link": "beside", "dangling link": "nowhere"}.get(kind, "/dev/zero"))
