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

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._hdf5.sidereal import apparent_sidereal_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["Coordinates", "read_headers"]

_SECONDS = 10.0  # that a file may take
_MEMORY_BYTES = 256 << 20  # that reading files may add to what the process has
_FRAME_BYTES = 1024  # of an answer; a pipe takes and gives so many bytes at once
_LONGEST = 200  # characters of what the library says
# Where the header of a UVH5 file may have a coordinate, in radians. The correlator writes it to the extra keywords.
_RIGHT_ASCENSION = ("extra_keywords/phase_center_ra",)
_DECLINATION = ("extra_keywords/phase_center_dec", "phase_center_app_dec", "phase_center_dec")
_TIMES, _SIDEREAL_TIMES = "time_array", "lst_array"
_HOUR_ANGLE = "extra_keywords/ha_phase_center"
_FURTHER_RIGHT_ASCENSION = ("phase_center_app_ra", "phase_center_ra")
# The longitude that the application takes where a header has none, in degrees.
_LONGITUDE = -118.283405115
# What reading a value raises that is missing, is not a number, or is not stored in an array.
_NOT_THERE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, ZeroDivisionError)


class Coordinates(NamedTuple):
    """What the header of a file has.

    :ivar ra_deg: right ascension in degrees, ``None`` where it is not known.
    :ivar dec_deg: declination in degrees, ``None`` where it is not known.
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
    with open("/proc/self/statm", encoding="utf-8") as file:
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
    """Return right ascension and declination from the header, each where it is known.

    A header without coordinates, or with others than numbers, is not a problem: the index takes the file all the same.
    """
    try:
        with h5py.File(path, "r") as file:
            header = file["Header"]
            return Coordinates(_degrees(_right_ascension(header)), _degrees(_first(header, _DECLINATION), turn=False))
    except MemoryError:
        return Coordinates(None, None, f"needs more than {_MEMORY_BYTES >> 20} MiB of memory to read")
    except OSError as error:
        return Coordinates(None, None, f"cannot be read: {printable(str(error)[:_LONGEST])}")
    except _NOT_THERE:
        return Coordinates(None, None)


def _right_ascension(header: Any) -> float | None:
    """Return the right ascension in radians.

    A telescope that does not track writes the hour angle of its phase centre. The right ascension is then the sidereal time in
    the middle of the file less that angle, as the application computes it.
    """
    found = _first(header, _RIGHT_ASCENSION)
    if found is None:
        hour_angle, sidereal = _number(header, _HOUR_ANGLE), _sidereal_time(header)
        found = None if hour_angle is None or sidereal is None else sidereal - hour_angle
    return _first(header, _FURTHER_RIGHT_ASCENSION) if found is None else found


def _sidereal_time(header: Any) -> float | None:
    """Return the apparent sidereal time in the middle of a file, in radians."""
    first, last = _number(header, _TIMES), _number(header, _TIMES, part=1.0)
    if first is not None and last is not None:
        longitude = _number(header, "longitude")
        with contextlib.suppress(ValueError, OverflowError):  # a number far from any date
            degrees = apparent_sidereal_time((first + last) / 2, _LONGITUDE if longitude is None else longitude)
            return math.radians(degrees)
    return _number(header, _SIDEREAL_TIMES, part=0.5)


def _degrees(radians: float | None, *, turn: bool = True) -> float | None:
    degrees = math.inf if radians is None else math.degrees(radians)
    if not math.isfinite(degrees):
        return None
    return degrees % 360 if turn else degrees


def _first(header: Any, names: tuple[str, ...]) -> float | None:
    """Return the first of some values that is a number."""
    return next((found for found in (_number(header, name) for name in names) if found is not None), None)


def _number(header: Any, name: str, *, part: float = 0.0) -> float | None:
    """Return the number that a dataset of any shape holds, or one of its numbers, without reading the others.

    :param part: which one, from the first (0) to the last (1), in the order in which they are stored.
    """
    try:
        dataset = header[name]
        value = float(dataset[_place(dataset.shape, part)])
    except _NOT_THERE:
        return None
    return value if math.isfinite(value) else None


def _place(shape: Sequence[int], part: float) -> tuple[int, ...]:
    """Return the index of one of the values of an array. Raises ZeroDivisionError or IndexError where it has none."""
    size = math.prod(shape)
    rest, index = min(int(size * part), size - 1), []
    for length in reversed(shape):
        rest, last = divmod(rest, length)
        index.append(last)
    return tuple(reversed(index))
