# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that somebody else swaps under a copy after any of its calls: nothing outside is read, written or removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.tests.support.faults.stopped_copy import stopped_at
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import prepare
from ansible_collections.dsa110.contimg.tests.support.faults.traced import environment, sample
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import Call, command_of, list_calls

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

# How many points are tried of all that there are, of each kind; 0 is every one.
POINTS = int(os.environ.get("CONTIMG_FAULT_POINTS", "1"))
CALLS = (
    "openat,newfstatat,getdents64,rename,renameat,mkdirat,linkat,symlinkat,mknodat,unlinkat,fchown,chown,fchmod,chmod,"
    "utimensat,fsync,pwrite64,readlinkat"
)
SECRET = b"what nobody may see " * 20
FLIPS = 100_000 if POINTS == 0 else 1
# Swaps the directories "logs" and "new", and the file "big", for links to what is outside, and back, without an end.
FLIPPER = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print(flips, flush=True), os._exit(0)))
for root in sys.argv[1:3]:  # it can, or it ends before it says that it is on
    os.rename(f"{root}/big", f"{root}/.aside-big")
    os.rename(f"{root}/.aside-big", f"{root}/big")
flips = 0
print("on", flush=True)
while True:
    for root in sys.argv[1:3]:
        for name in ("logs", "new", "big"):
            path, aside = f"{root}/{name}", f"{root}/.aside-{name}"
            outside = f"{sys.argv[3]}/big" if name == "big" else sys.argv[3]
            for step, one, other in ((os.rename, path, aside), (os.symlink, outside, path), (os.unlink, path, None),
                                     (os.rename, aside, path)):
                try:
                    step(one) if other is None else step(one, other)
                    flips += 1
                except OSError:
                    pass
"""


def aside(path: pathlib.Path) -> None:
    os.rename(path, path.parent / f".aside-{path.name}")


def parent_to_link(root: pathlib.Path, outside: pathlib.Path) -> None:
    aside(root / "logs")
    (root / "logs").symlink_to(outside)


def leaf_to_link(root: pathlib.Path, outside: pathlib.Path) -> None:
    aside(root / "big")
    (root / "big").symlink_to(outside / "big")


def leaf_to_hard_link(root: pathlib.Path, outside: pathlib.Path) -> None:
    aside(root / "big")
    os.link(outside / "big", root / "big")


def leaf_to_fifo(root: pathlib.Path, outside: pathlib.Path) -> None:
    aside(root / "big")
    os.mkfifo(root / "big")


def file_to_directory(root: pathlib.Path, outside: pathlib.Path) -> None:
    aside(root / "big")
    shutil.copytree(outside, root / "big", ignore=lambda *_names: ["big", "a.log", "b.log", "c.log"])


def directory_to_file(root: pathlib.Path, outside: pathlib.Path) -> None:
    aside(root / "logs")
    (root / "logs").write_text("a file")


def make(base: pathlib.Path) -> pathlib.Path:
    """Prepare a second pass, and a directory outside that has the same names."""
    prepare(base)
    outside = base / "outside"
    outside.mkdir()
    for name in ("big", "a.log", "b.log", "c.log"):
        (outside / name).write_bytes(SECRET)
        os.chmod(outside / name, 0o600)
    return outside


def facts_of(outside: pathlib.Path) -> list[tuple[object, ...]]:
    """Return all that a copy could change outside; how often a file is linked is the rival's doing."""
    found: list[tuple[object, ...]] = []
    for path in [outside, *sorted(outside.iterdir())]:
        status = os.lstat(path)
        content = b"" if path.is_dir() else path.read_bytes()
        found.append((path, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content))
    return found


def holds_secret(dest: pathlib.Path) -> list[str]:
    """Return the files of a tree in which the secret stands, but for those that somebody has linked there."""
    files = (os.path.join(directory, name) for directory, _names, names in os.walk(dest) for name in names)
    plain = (path for path in files if os.path.isfile(path) and not os.path.islink(path))
    plain = (path for path in plain if not os.path.samefile(path, dest.parent / "outside" / "big"))
    found = []
    for path in plain:
        with open(path, "rb") as file:
            found += [path] if SECRET[:20] in file.read() else []
    return found


SWAPS = [parent_to_link, leaf_to_link, leaf_to_fifo, file_to_directory, directory_to_file]
# What is linked into the source belongs to it.
KINDS = [*((swap, side) for swap in SWAPS for side in ("src", "dest")), (leaf_to_hard_link, "dest")]
TRIALS = [*((*kind, 1) for kind in KINDS), *((*kind, 2) for kind in (KINDS[::6] if POINTS else KINDS))]


@pytest.mark.parametrize(("swap", "side", "workers"), TRIALS)
def test_a_name_that_is_swapped_leads_nowhere(
    tmp_path: pathlib.Path, swap: Callable[[pathlib.Path, pathlib.Path], None], side: str, workers: int
) -> None:
    base = tmp_path / "base"
    make(base)
    calls = list_calls(base, CALLS, workers=workers)
    stopped = 0
    tried = sample(calls, POINTS if workers == 1 else POINTS or 100)
    for call in tried:
        outside = make(base)
        before = facts_of(outside)
        outcome = stopped_at(base, call, lambda: swap(base / side, base / "outside"), workers=workers)
        stopped += outcome.fired
        assert outcome.code in (0, 1), (call, outcome)
        assert facts_of(outside) == before, (call, outcome)
        assert holds_secret(base / "dest") == [], (call, outcome)
    print(f"stopped {stopped} of {len(tried)}")
    assert stopped >= len(tried) // 2


def test_nobody_leads_a_copy_astray_by_flipping_names(tmp_path: pathlib.Path) -> None:
    base = tmp_path / "base"
    for directory in (tmp_path, *tmp_path.parents):  # the rival's way there, whose depth differs with xdist
        if os.path.realpath(tempfile.gettempdir()) in map(str, directory.parents):
            os.chmod(directory, 0o755)
    flips = 0
    while flips < FLIPS:
        outside = make(base)
        before = facts_of(outside)
        for root in (base / "src", base / "dest"):
            os.chmod(root, 0o777)
            for name in ("logs", "new", "big"):
                if (root / name).exists():
                    os.chown(root / name, 65534, 65534)
        done, flipped = flipped_copy(base)
        flips += flipped
        assert done.returncode in (0, 1), done.stderr
        assert facts_of(outside) == before
        assert holds_secret(base / "dest") == []


def flipped_copy(base: pathlib.Path) -> tuple[subprocess.CompletedProcess[bytes], int]:
    """Copy while the rival flips names; return how that ended, and how often a name was flipped."""
    rival = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", FLIPPER]
    names = [str(base / name) for name in ("src", "dest", "outside")]
    with subprocess.Popen([*rival, *names], stdout=subprocess.PIPE) as flipper:
        assert flipper.stdout is not None
        assert flipper.stdout.readline() == b"on\n"
        done = subprocess.run(command_of(base), check=False, env=environment(), stderr=subprocess.PIPE, timeout=120)
        flipper.terminate()
        return done, int(flipper.stdout.readline())


# Mutants: one follows every link but where it holds a name without opening it, one follows those of directories, and one looks
# whether a name is a link before it opens it. Beside each the calls after which it can be led astray.
FOLLOWS = """
import os
_open = os.open
def _follow(path, flags, *more, **named):
    return _open(path, flags & ~os.O_NOFOLLOW if flags & WHERE else flags, *more, **named)
os.open = _follow
"""
LOOKS = """
import errno, os, stat
_open = os.open
def _look(path, flags, *more, **named):
    if flags & os.O_NOFOLLOW and not flags & (os.O_PATH | os.O_CREAT):
        if stat.S_ISLNK(os.stat(path, dir_fd=named.get("dir_fd"), follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        flags &= ~os.O_NOFOLLOW
    return _open(path, flags, *more, **named)
os.open = _look
"""
MUTANTS = {
    "all": (FOLLOWS.replace("flags & WHERE", "not flags & os.O_PATH"), "mkdirat,getdents64", ""),
    "directories": (FOLLOWS.replace("WHERE", "os.O_DIRECTORY"), "mkdirat,getdents64", ""),
    "looks": (LOOKS, "newfstatat", '"logs"'),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_copy_that_follows_links_is_caught(tmp_path: pathlib.Path, mutant: str) -> None:
    base = tmp_path / "base"
    prelude, names, about = MUTANTS[mutant]
    make(base)
    calls = list_calls(base, names, about=about, prelude=prelude)
    assert any(is_led_astray(base, call, prelude) for call in calls)


def is_led_astray(base: pathlib.Path, call: Call, prelude: str) -> bool:
    """Return whether a copy reads what is outside when a directory of its source becomes a link after a call."""
    outside = make(base)
    stopped_at(base, call, lambda: parent_to_link(base / "src", outside), prelude=prelude)
    return bool(holds_secret(base / "dest"))
