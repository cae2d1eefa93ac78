# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The coordinates in the headers of HDF5 files, read in a process that may use little memory and little time a file.

A file of a few kilobytes can claim a terabyte, refer to a FIFO or crash the library: that costs the coordinates of this
file, not the scan.
"""

from __future__ import annotations

import contextlib
import marshal
import math
import os
import resource
import select
import signal
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import display

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["Coordinates", "read_headers"]

_SECONDS = 10.0  # that a file may take
_MEMORY_BYTES = 256 << 20  # that reading files may add to what the process has
_FRAME_BYTES = 1024  # of an answer; a pipe takes and gives so many bytes at once
_LONGEST = 200  # characters of what the library says
# Where the header of a UVH5 file may have a coordinate, in radians; the correlator adds its own to the extra keywords.
_RIGHT_ASCENSION = ("phase_center_app_ra", "extra_keywords/phase_center_ra", "phase_center_ra")
_DECLINATION = ("phase_center_app_dec", "extra_keywords/phase_center_dec", "phase_center_dec")
_HOUR_ANGLE = "extra_keywords/ha_phase_center"


class Coordinates(NamedTuple):
    """What the header of a file has.

    :ivar ra_deg: right ascension in degrees; both coordinates are known, or neither.
    :ivar dec_deg: declination in degrees.
    :ivar problem: why the file could not be read, as a clause; empty where it could.
    """

    ra_deg: float | None
    dec_deg: float | None
    problem: str = ""


def read_headers(h5py: Any, paths: Sequence[str]) -> Iterator[Coordinates]:
    """Yield the coordinates of each file, in their order.

    One process reads as many files as it survives; the next one goes on behind the file that ended it.

    :param h5py: the module of that name.
    """
    done = 0
    while done < len(paths):
        with _reader(h5py, paths[done:]) as answers:
            alive = True
            while alive and done < len(paths):
                found, alive = _answer(answers)
                done += 1
                yield found


@contextlib.contextmanager
def _reader(h5py: Any, paths: Sequence[str]) -> Iterator[int]:
    """Fork a process that reads the files; give the pipe of its answers, and end it."""
    answers, give = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(answers)
            _confine()
            for path in paths:
                frame = marshal.dumps(tuple(_coordinates(h5py, path)))
                os.write(give, frame.ljust(_FRAME_BYTES, b"\0"))
        finally:
            os._exit(0)  # nothing of the parent's may run twice: no exit handler, no buffer
    os.close(give)
    try:
        yield answers
    finally:
        os.close(answers)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _confine() -> None:
    """Limit the memory of this process to what it has and some more, and let it die without a core file."""
    with open("/proc/self/statm", encoding="ascii") as file:
        wanted = int(file.read().split()[0]) * resource.getpagesize() + _MEMORY_BYTES
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(answers: int) -> tuple[Coordinates, bool]:
    """Return the next answer, and whether the process that gives them goes on."""
    waiting = select.poll()
    waiting.register(answers, select.POLLIN)
    if not waiting.poll(_SECONDS * 1000):
        return Coordinates(None, None, f"takes longer than {_SECONDS:g} seconds to read"), False
    frame = os.read(answers, _FRAME_BYTES)
    if not frame:
        return Coordinates(None, None, "ends the process that reads it"), False
    return Coordinates(*marshal.loads(frame)), True  # noqa: S302 (our own child wrote it)


def _coordinates(h5py: Any, path: str) -> Coordinates:
    """Return right ascension and declination from the header.

    A telescope that does not track writes the hour angle of its phase centre instead of the right ascension. A header
    without coordinates, or with others than numbers, is no problem: the index takes the file all the same.
    """
    try:
        with h5py.File(path, "r") as file:
            header = file["Header"]
            declination = _first(header, _DECLINATION)
            ascension = _first(header, _RIGHT_ASCENSION)
            if ascension is None and _HOUR_ANGLE in header:
                times = header["lst_array"]
                ascension = float(times[len(times) // 2]) - _scalar(header[_HOUR_ANGLE])
            if ascension is not None and declination is not None:
                return Coordinates(math.degrees(ascension) % 360, math.degrees(declination))
    except MemoryError:
        return Coordinates(None, None, f"needs more than {_MEMORY_BYTES >> 20} MiB of memory to read")
    except OSError as error:
        return Coordinates(None, None, f"cannot be read: {display(str(error)[:_LONGEST])}")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        pass
    return Coordinates(None, None)


def _first(header: Any, names: tuple[str, ...]) -> float | None:
    return next((_scalar(header[name]) for name in names if name in header), None)


def _scalar(dataset: Any) -> float:
    """Return the number that a dataset holds, or the first of its numbers, without reading the others."""
    return float(dataset[()] if dataset.shape == () else dataset[(0,) * len(dataset.shape)])
