# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One unified diff of many files, byte for byte, as ``git apply`` takes it."""

from __future__ import annotations

import difflib
import os
import re
import stat
from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.lookup import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["patch_root", "unified"]

_UNQUOTED = re.compile(rb'[^\x00-\x1f\x7f"\\]*')
_NO_NEWLINE = b"\n\\ No newline at end of file\n"
_ESCAPES = {b"\n": b"\\n", b"\t": b"\\t", b"\r": b"\\r", b'"': b'\\"', b"\\": b"\\\\"}


def patch_root(paths: Iterable[str]) -> str:
    """Return the directory that a patch of trees is applied in: the checkout that holds them all, or their common directory."""
    kinds = {path: kind_of(path) for path in map(os.path.abspath, paths)}
    directories = [path if kind == stat.S_IFDIR else os.path.dirname(path) for path, kind in kinds.items()]
    common = os.path.commonpath(directories) if directories else "/"
    directory = common
    while directory != "/":
        if kind_of(os.path.join(directory, ".git")):
            return directory
        directory = os.path.dirname(directory)
    return common


def unified(name: str, before: bytes, after: bytes, *, context: int = 3) -> bytes:
    """Return the difference of a file, named relative to the patch's root, with so many lines of context."""
    path = os.fsencode(name)
    lines = difflib.diff_bytes(
        difflib.unified_diff,
        _lines(before),
        _lines(after),
        fromfile=_named(b"a/" + path),
        tofile=_named(b"b/" + path),
        n=context,
        lineterm=b"\n",
    )
    return b"".join(line if line.endswith(b"\n") else line + _NO_NEWLINE for line in lines)


def _lines(content: bytes) -> list[bytes]:
    """Return the lines with their line feeds; a carriage return is a character like any other to git."""
    *whole, last = content.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])


def _named(path: bytes) -> bytes:
    """Return a name as git writes it: quoted where it holds control characters, ended by a tab where it holds a blank."""
    if _UNQUOTED.fullmatch(path):
        return path + b"\t" if b" " in path else path
    return b'"' + b"".join(_escaped(path)) + b'"'


def _escaped(path: bytes) -> Iterator[bytes]:
    for index in range(len(path)):
        one = path[index : index + 1]
        yield _ESCAPES.get(one) or (b"\\%03o" % ord(one) if ord(one) < 32 or ord(one) == 127 else one)
