# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real mounts for a program, in a mount namespace of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence
    from typing import Optional

    Mounted = tuple[Optional[pathlib.Path], pathlib.Path]

__all__ = [
    "on_own_host",
    "run_on_btrfs",
    "run_on_old_ext4",
    "run_on_ramfs",
    "run_read_only",
    "run_with_overlay",
    "run_within",
    "within_mounts",
]

_IMAGE_BYTES = 16 << 20
_BTRFS_BYTES = 128 << 20  # sparse
_NEW = 'mount -t "$1" -o "$2" "$3" "$4" && shift 4 && exec "$@"'
_MOUNT = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


def run_read_only(directory: pathlib.Path, program: str, *arguments: object) -> str:
    """Return what a Python program prints that sees a directory mounted read-only."""
    return _run(["unshare", "-rm", "sh", "-c", _MOUNT, "sh", str(directory)], program, *arguments)


def within_mounts(mounts: Sequence[Mounted]) -> list[str]:
    """Return the command within which another one sees each first path also at the second one, ``None`` as a new tmpfs."""
    commands = (
        f"mount -t tmpfs none {shlex.quote(str(point))}"
        if shown is None
        else f"mount --bind {shlex.quote(str(shown))} {shlex.quote(str(point))}"
        for shown, point in mounts
    )
    return ["unshare", "-rm", "sh", "-c", " && ".join([*commands, 'exec "$@"']), "sh"]


def run_with_overlay(lower: pathlib.Path, point: pathlib.Path, program: str, *arguments: object) -> str:
    """Return what a Python program prints that sees an overlay of a directory at another one; its layers lie beside that."""
    layers = [point.with_name(f"{point.name}-{layer}") for layer in ("upper", "work")]
    for layer in layers:
        layer.mkdir()
    upper, work = map(str, layers)
    options = f"lowerdir={lower},upperdir={upper},workdir={work},userxattr"
    mount = f'mount -t overlay overlay -o {shlex.quote(options)} {shlex.quote(str(point))} && exec "$@"'
    return _run(["unshare", "-rm", "sh", "-c", mount, "sh"], program, *arguments)


def on_own_host(volatile: pathlib.Path, lasting: pathlib.Path) -> list[str]:
    """Return the command within which another one finds what the collection keeps for a host in two directories of a test.

    A user who is not root becomes it in a namespace, where nothing else of the machine's own /run and /var/lib is seen.
    """
    is_root = os.geteuid() == 0
    places = {"/run/dsa110-contimg": volatile, "/var/lib/dsa110-contimg": lasting}
    commands = [] if is_root else [f"mount -t tmpfs none {os.path.dirname(place)}" for place in places]
    for place, directory in places.items():
        commands += [f"mkdir -p -m 700 {place}", f"mount --bind {shlex.quote(str(directory))} {place}"]
    options = "-m" if is_root else "-rm"
    return ["unshare", options, "sh", "-c", " && ".join([*commands, 'exec "$@"']), "sh"]


def run_within(mounts: Sequence[Mounted], program: str, *arguments: object) -> str:
    """Return what a Python program prints that sees mounts as :func:`within_mounts` takes them."""
    return _run(within_mounts(mounts), program, *arguments)


def run_on_old_ext4(directory: pathlib.Path, program: str, *arguments: object) -> str:
    """Return what a Python program prints that sees a new ext4 on a directory, which knows whole seconds only; needs root."""
    image = _new_image(directory, _IMAGE_BYTES, ["mkfs.ext4", "-q", "-I", "128"])
    return _run(["unshare", "-m", "sh", "-c", _NEW, "sh", "ext4", "loop", image, str(directory)], program, *arguments)


def run_on_btrfs(directory: pathlib.Path, program: str, *arguments: object) -> str:
    """Return what a Python program prints that sees a new btrfs on a directory, which has attributes of its own; needs root."""
    image = _new_image(directory, _BTRFS_BYTES, ["mkfs.btrfs", "-q"])
    return _run(["unshare", "-m", "sh", "-c", _NEW, "sh", "btrfs", "loop", image, str(directory)], program, *arguments)


def _new_image(directory: pathlib.Path, size: int, command: list[str]) -> str:
    image = directory.with_name(directory.name + ".img")
    with image.open("xb") as file:
        file.truncate(size)
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    subprocess.run([*command, str(image)], check=True, env={**os.environ, "PATH": path})
    return str(image)


def run_on_ramfs(directory: pathlib.Path, program: str, *arguments: object) -> str:
    """Return what a Python program prints that sees a ramfs on a directory, which knows no attributes and ACLs; needs root."""
    return _run(["unshare", "-m", "sh", "-c", _NEW, "sh", "ramfs", "rw", "none", str(directory)], program, *arguments)


def _run(within: list[str], program: str, *arguments: object) -> str:
    root = next(path for path in sys.path if path.endswith(".build/collections"))
    command = [*within, sys.executable, "-c", program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
