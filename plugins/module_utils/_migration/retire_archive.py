# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive of an old state: a compressed tar that is read back, member by member, before it gets its name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
import tarfile
import zlib
from typing import IO, TYPE_CHECKING, cast

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context, printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import (
    open_directory,
    open_regular,
    sync_directory,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_below, open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import extended_attributes
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import temporary_file
from ansible_collections.dsa110.contimg.plugins.module_utils._systemd.client import has_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_plan import OldFile

__all__ = [
    "archive_path",
    "flush_archive",
    "has_archive",
    "require_archived",
    "write_archive",
]

_KEPT = "Nothing was removed."
_XATTR = "SCHILY.xattr."  # as GNU tar and bsdtar name them
_ZSTD = (".zst", ".zstd")
_UNREADABLE = (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, MemoryError)


def archive_path(path: str, src: str, compression: str) -> str:
    """Return where the archive goes: the asked path, or beside the old state with the ending of its compression.

    :param compression: ``auto`` is zstd where this host has it, else gzip.
    :raises ContimgError: when zstd is asked for and missing, or the archive would lie in what it archives.
    """
    wants_zstd = compression == "zstd" or path.endswith(_ZSTD)
    if wants_zstd and not has_program("zstd"):
        raise ContimgError("zstd is not on this host", path=path or src, hint=f"{_KEPT} Install it, or take gzip.")
    if not path:
        with_zstd = compression == "zstd" or (compression == "auto" and has_program("zstd"))
        return f"{src.rstrip('/')}.tar.{'zst' if with_zstd else 'gz'}"
    real = os.path.realpath(path)
    if os.path.commonpath([real, os.path.realpath(src)]) == os.path.realpath(src):
        raise ContimgError("would lie in the state that it archives", path=path, hint=f"{_KEPT} Name another place.")
    return path


def write_archive(path: str, src: str, files: Sequence[OldFile], directories: Sequence[bytes]) -> None:
    """Write the archive, read it back from the device, and only then give it its name.

    Members lie below the name of the old state. They keep owner, mode, times and extended attributes. What a killed run has left
    of an archive is removed.

    :raises ContimgError: when a file is not what was read before, or the archive is not what was written; no archive is left.
    """
    place, name = os.path.split(os.path.abspath(path))
    with error_context("write the archive", path, _KEPT), open_directory(place) as directory, temporary_file(
        directory
    ) as (
        temporary,
        descriptor,
    ):
        with os.fdopen(descriptor, "w+b", closefd=False) as target, open_root(src) as root:
            with _writer(target, path) as tar:
                _fill(tar, root, os.fsencode(os.path.basename(src.rstrip("/"))), files, directories)
            target.flush()
            os.fsync(descriptor)
            target.seek(0)
            _require_held(target, path, src, {file.path: file.sha256 for file in files})
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)


@contextlib.contextmanager
def _writer(target: IO[bytes], path: str) -> Iterator[tarfile.TarFile]:
    if not path.endswith(_ZSTD):
        with tarfile.open(fileobj=target, mode="w|gz", format=tarfile.PAX_FORMAT) as tar:
            yield tar
        return
    with _zstd(path, "-T0", stdin=subprocess.PIPE, stdout=target) as process:
        with tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            yield tar


@contextlib.contextmanager
def _zstd(
    path: str, option: str, *, stdin: int | IO[bytes], stdout: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run zstd. What it says explains a broken pipe, so that comes first. Raises ContimgError when it fails."""
    process = subprocess.Popen(["zstd", "-q", option, "-c"], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
    failure: BaseException | None = None
    try:
        yield process
        _finish(process)
    except (BrokenPipeError, *_UNREADABLE) as error:
        failure = error
    except OSError as error:
        failure = error
        process.kill()  # it works, and may wait for the end of a pipe that could not be closed
    finally:
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        said = process.stderr.read() if process.stderr is not None else b""
        status = process.wait()
    if status > 0 or (status and failure is None):
        words = printable(said.strip()) or f"it ended with status {status}"
        raise ContimgError(f"zstd failed: {words}", path=path, hint=_KEPT) from failure
    if failure is not None:
        raise failure


def _finish(process: subprocess.Popen[bytes]) -> None:
    """Hand over what is still held back, and take what tar leaves unread behind its end. Raises OSError."""
    if process.stdin is not None:
        process.stdin.close()
    while process.stdout is not None and process.stdout.read(1 << 20):
        pass


def _fill(tar: tarfile.TarFile, root: int, top: bytes, files: Sequence[OldFile], directories: Sequence[bytes]) -> None:
    """Write the members in the order of a walk: tar sets the time of a directory when the next member is not in it."""
    members = {**dict.fromkeys(directories), **{file.path: file for file in files}}
    for path in sorted(members, key=lambda path: path.split(b"/") if path else []):
        file = members[path]
        if file is not None:
            _add_file(tar, root, top, file)
            continue
        with open_below(root, path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
            tar.addfile(_member(top, path, descriptor))


def _add_file(tar: tarfile.TarFile, root: int, top: bytes, file: OldFile) -> None:
    with open_below(root, file.path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as content:
        reader = _Hashing(content)
        tar.addfile(_member(top, file.path, descriptor), cast("IO[bytes]", reader))
    if reader.digest.hexdigest() != file.sha256:
        raise ContimgError("has changed while it was archived", path=file.path, hint=_KEPT)


class _Hashing:
    """A file that remembers the hash of what was read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def _member(top: bytes, path: bytes, descriptor: int) -> tarfile.TarInfo:
    status = os.fstat(descriptor)
    member = tarfile.TarInfo(os.fsdecode(os.path.join(top, path)).rstrip("/"))
    member.type = tarfile.DIRTYPE if stat.S_ISDIR(status.st_mode) else tarfile.REGTYPE
    member.size = 0 if member.isdir() else status.st_size
    member.mode, member.uid, member.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    values = extended_attributes(descriptor)
    member.pax_headers = {_XATTR + name: values[name].decode("utf-8", "surrogateescape") for name in values}
    member.pax_headers["mtime"] = _seconds(status.st_mtime_ns)  # exact; the member's own is a float
    return member


def _seconds(time_ns: int) -> str:
    seconds, fraction = divmod(abs(time_ns), 10**9)
    return f"{'-' if time_ns < 0 else ''}{seconds}.{fraction:09d}"


def has_archive(path: str, src: str, digests: Mapping[bytes, str], *, resumed: bool) -> bool:
    """Return whether an archive is there already, which a killed run may have completed.

    :param digests: SHA-256 by path below the old state of all that it has to hold.
    :param resumed: whether files are gone, which the archive alone has.
    :raises ContimgError: when something else is there, or it does not hold everything.
    """
    with error_context("look for the archive", path, _KEPT):
        there = _exists(path)
    if not there:
        if not resumed:
            return False
        hint = "Nothing more was removed. Name the archive where it is now (contimg_retire_archive), and run again."
        raise ContimgError(
            "is not there, and files that an earlier run has archived are removed already", path=path, hint=hint
        )
    try:
        require_archived(path, src, digests)
    except ContimgError as error:
        hint = f"{_KEPT} Move it away, or name another place (contimg_retire_archive)."
        if resumed:
            hint = "Nothing more was removed. It is the only copy of what is removed already: restore it."
        raise ContimgError(f"exists already, and {error.what}", path=path, hint=hint, **error.details) from error
    return True


def _exists(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def flush_archive(path: str) -> None:
    """Make an archive durable that was there already. Raises ContimgError."""
    with error_context("flush the archive", path, _KEPT):
        with os.fdopen(open_regular(path), "rb") as file:
            os.fsync(file.fileno())
        sync_directory(os.path.dirname(os.path.abspath(path)))


def require_archived(path: str, src: str, digests: Mapping[bytes, str]) -> None:
    """Check that an archive holds every file with its content, read from the device.

    :param digests: SHA-256 by path below the old state.
    :raises ContimgError: naming what is missing or differs.
    """
    with error_context("read the archive", path, _KEPT), os.fdopen(open_regular(path, hint=_KEPT), "rb") as file:
        _require_held(file, path, src, digests)


def _require_held(file: IO[bytes], called: str, src: str, digests: Mapping[bytes, str]) -> None:
    """Check what an archive holds that is open at its start; by its name its compression is known."""
    top = os.path.basename(src.rstrip("/")) + "/"
    found = {}
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with error_context("read the archive back", called, _KEPT):
        try:
            with _reader(file, called) as tar:
                for member in tar:
                    content = tar.extractfile(member) if member.isreg() else None
                    if content is not None and member.name.startswith(top):
                        found[os.fsencode(member.name[len(top) :])] = _sha256(content)
        except _UNREADABLE as error:
            raise ContimgError(f"cannot be read back: {error}", path=called, hint=_KEPT) from error
    wrong = sorted(name for name in digests if found.get(name) != digests[name])
    if wrong:
        shown = ", ".join(printable(name) for name in wrong[:5])
        raise ContimgError(f"does not hold {len(wrong)} files as they were: {shown}", path=called, hint=_KEPT)


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for block in iter(lambda: content.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _reader(file: IO[bytes], called: str) -> Iterator[tarfile.TarFile]:
    if not called.endswith(_ZSTD):
        with tarfile.open(fileobj=file, mode="r|gz") as tar:
            yield tar
        return
    with _zstd(called, "-d", stdin=file, stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            yield tar
