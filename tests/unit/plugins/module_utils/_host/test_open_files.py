# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the finding of open files, with real processes that hold, map and lock real files."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import (
    Holder,
    Holders,
    find_holders,
    is_open_for_writing,
    mapped_for_writing,
    require_none,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._host.watch import (
    tree_changes,
    tree_moment,
)
from ansible_collections.dsa110.contimg.tests.support.hosts.file_users import PRELUDE, make_file, running
from ansible_collections.dsa110.contimg.tests.support.hosts.waiting import wait_for

if TYPE_CHECKING:
    import pathlib

#: A mount namespace of one's own needs root, or a user namespace.
OWN_MOUNTS = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]

FDS = {
    "reads": ("read", "held = open(path)"),
    "writes": ("write", "held = open(path, 'r+')"),
    "appends": ("write", "held = open(path, 'a')"),
    "flock, exclusive, on a descriptor that reads": (
        "write",
        "import fcntl; held = open(path); fcntl.flock(held, fcntl.LOCK_EX)",
    ),
    "flock, shared": ("read", "import fcntl; held = open(path); fcntl.flock(held, fcntl.LOCK_SH)"),
    "posix lock for reading": ("read", "import fcntl; held = open(path); fcntl.lockf(held, fcntl.LOCK_SH)"),
    "posix lock for writing": ("write", "import fcntl; held = open(path, 'r+'); fcntl.lockf(held, fcntl.LOCK_EX)"),
    "lock of an open file description": (
        "write",
        (
            "import fcntl, struct; held = open(path, 'r+');"
            "fcntl.fcntl(held, 37, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0))"
        ),
    ),
    "maps, shared and for writing, and closes": ("write", "mapped('r+', 3, 1)"),
    "maps, private, and closes": ("read", "mapped('r+', 3, 2)"),
    "maps to read, and closes": ("read", "mapped('r', 1, 1)"),
    "holds the directory": ("read", "held = os.open(os.path.dirname(path), os.O_RDONLY)"),
    "only names it": ("read", "held = os.open(path, os.O_PATH)"),
    "writes, deletes it": ("write", "held = open(path, 'r+'); os.unlink(path)"),
    "maps, closes, deletes it": ("write", "mapped('r+', 3, 1); os.unlink(path)"),
    "writes by another link": ("write", "os.link(path, path + '.2'); held = open(path + '.2', 'r+'); os.unlink(path)"),
    "holds it in a process whose first thread has ended": (
        "write",
        (
            "held = open(path, 'r+'); import threading;"
            "first = f'/proc/self/task/{os.getpid()}/stat';"
            "ended = lambda: open(first).read().rpartition(') ')[2].startswith('Z');"
            "wait = lambda: any(ended() or time.sleep(.01) for _time in range(6000));"
            "threading.Thread(target=lambda: (wait(), told(), time.sleep(60))).start();"
            "ctypes.CDLL(None).pthread_exit(None)"
        ),
    ),
    "has read it": (None, "open(path).read()"),
}


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a database's stand-in in a tree."""
    return make_file(tmp_path)


def found_by(pid: int, *paths: pathlib.Path, writers_only: bool = False) -> list[Holder]:
    """Return what one process holds."""
    return list(find_holders([str(path) for path in paths], writers_only=writers_only, pids=[pid]).holders)


@pytest.mark.parametrize("name", FDS)
def test_each_way_to_hold_a_file_is_found_and_judged(name: str, file: pathlib.Path) -> None:
    mode, action = FDS[name]
    tree = file.parents[1]
    with running(action, file) as pid:
        found = found_by(pid, tree)
        assert [one.mode for one in found] == ([mode] if mode else [])
        assert len(found_by(pid, tree, writers_only=True)) == (mode == "write")
        assert not found_by(pid, tree.parent / "absent")


@pytest.mark.parametrize("name", FDS)
def test_the_kernel_says_whether_anybody_can_write(name: str, file: pathlib.Path) -> None:
    _mode, action = FDS[name]
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert not is_open_for_writing(descriptor)
        with running(action, file):
            assert is_open_for_writing(descriptor) is any(mode in action for mode in ("'r+'", "'a'"))
        # Another process that reads what it has mapped, as other tests do, may keep that for a moment.
        wait_for(lambda: not is_open_for_writing(descriptor))
    finally:
        os.close(descriptor)


def test_who_opens_the_file_just_then_ends_nobody(file: pathlib.Path) -> None:
    program = "import sys\nfor _time in range(20000): open(sys.argv[1], 'r+b').close()"
    descriptor = os.open(file, os.O_RDONLY)
    try:
        with subprocess.Popen([sys.executable, "-c", program, str(file)]) as other:
            while other.poll() is None:
                is_open_for_writing(descriptor)
        assert other.returncode == 0
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("name", [name for name in FDS if "maps" in name])
def test_what_is_mapped_shared_and_for_writing_is_found_by_its_number(name: str, file: pathlib.Path) -> None:
    number = file.stat().st_ino
    with running(FDS[name][1], file) as pid:
        assert (number in (mapped_for_writing([pid]) or ())) is ("3, 1)" in FDS[name][1])


def test_a_holder_is_named_with_its_command_and_files(file: pathlib.Path) -> None:
    with running("held = open(path, 'r+')", file) as pid:
        (found,) = found_by(pid, file)
    assert found.files == (str(file),)
    assert found.command.startswith(f"{sys.executable} -c")
    assert f"process {pid} (" in found.summary()
    assert found.as_dict()["files"] == [str(file)]


def test_what_was_found_stops_a_run_where_that_is_asked_for(file: pathlib.Path) -> None:
    with running("held = open(path, 'r+')", file) as pid:
        found = find_holders([str(file)], writers_only=True)
    with pytest.raises(ContimgError) as stopped:
        require_none(found, [str(file)], ["holders", "incomplete"])
    assert f"process {pid} (" in stopped.value.message
    assert (
        f"{file}: still writes to the state. This task changed nothing. Stop the process, or name its unit in contimg_units"
        in stopped.value.message
    )
    assert [one["pid"] for one in stopped.value.result()["holders"]] == [pid]
    require_none(found, [str(file)], [])
    unseen = Holders((), complete=False)
    require_none(unseen, [str(file)], ["holders"])
    with pytest.raises(
        ContimgError, match=f"the quiet of {file} is unproved. This task changed nothing. Run as root, or accept"
    ):
        require_none(unseen, [str(file)], ["holders", "incomplete"])


@pytest.mark.parametrize("owner", ["unit", "user_unit", "container"])
def test_a_process_that_stops_a_run_is_named_with_its_unit_or_container(owner: str) -> None:
    empty = {"unit": "", "user_unit": "", "container": ""}
    holder = Holder(7, "mover", files=("/state/x",), mode="write", **{**empty, owner: "mover-1"})
    with pytest.raises(ContimgError, match=r"mover-1.*: still writes to the state"):
        require_none(Holders((holder,), complete=True), ["/state"], ["holders"])


@pytest.mark.parametrize(
    ("action", "mode"),
    [
        ("held = open('/mnt/logs/a file', 'r+')", "write"),
        ("held = open('/mnt/logs/a file', 'r+'); os.unlink('/mnt/logs/a file')", "write"),
        ("held = open('/mnt/logs/new', 'w'); os.unlink('/mnt/logs/new')", "write"),
        ("path = '/mnt/logs/a file'; mapped('r+', 3, 1); os.unlink(path)", "write"),
    ],
)
def test_other_mount_and_process_namespaces_make_no_difference(file: pathlib.Path, action: str, mode: str) -> None:
    tree = file.parents[1]
    bind = f"mount --bind '{tree}' /mnt && exec \"$@\""
    prefix = [*OWN_MOUNTS, "--pid", "--fork", "--kill-child", "sh", "-c", bind, "sh"]
    with running(action, file, *prefix) as pid:
        child = int((subprocess.check_output(["ps", "--no-headers", "-o", "pid", "--ppid", str(pid)])).split()[0])
        assert [one.mode for one in found_by(child, tree)] == [mode]
        assert not found_by(child, tree.parent / "absent")


@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_what_is_mounted_below_counts(file: pathlib.Path, kind: str) -> None:
    """All in a mount namespace of its own, the finder too: the file lies on another file system than its tree."""
    tree = file.parents[1]
    options = {
        "tmpfs": "-t tmpfs none",
        "overlay": f"-t overlay none -o lowerdir={file.parent},upperdir={tree.parent}/up/u,workdir={tree.parent}/up/w",
    }[kind]
    code = (
        "import subprocess, sys\n"
        "from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders\n"
        f"prelude = {PRELUDE!r}\n"
        "open_or_map = ('held = open(path, \"r+\")', 'mapped(\"r+\", 3, 1)')\n"
        "for number, action in enumerate(open_or_map + tuple(one + '; os.unlink(path)' for one in open_or_map)):\n"
        "    path = f'{sys.argv[1]}/logs/{number}'\n"
        "    open(path, 'w').write('x')\n"
        "    command = [sys.executable, '-c', prelude + action + '; told(); input()', path]\n"
        "    child = subprocess.Popen(command, stdin=-1, stdout=-1)\n"
        "    child.stdout.readline()\n"
        "    print([one.mode for one in find_holders([sys.argv[1]]).holders if one.pid == child.pid])\n"
        "    child.kill()\n"
    )
    up = tree.parent / "up"
    # The upper directory of an overlay must not itself lie on one, and a temporary directory may.
    mounting = (
        f"mkdir '{up}' && mount -t tmpfs none '{up}' && mkdir '{up}'/u '{up}'/w && mount {options} '{file.parent}'"
    )
    script = f'{mounting} && exec "$@"'
    command = [*OWN_MOUNTS, "sh", "-c", script, "sh", sys.executable, "-c", code, str(tree)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == ["['write']"] * 4, done


@pytest.mark.parametrize(
    "action", ["os.chdir(os.path.dirname(path))", "os.chdir(os.path.dirname(path)); held = open('/etc/passwd')"]
)
def test_a_working_directory_holds_nothing_but_is_told(file: pathlib.Path, action: str) -> None:
    with running(action, file) as pid:
        found = find_holders([str(file.parents[1])])
        assert pid not in [one.pid for one in found.holders]
        assert [(one.mode, one.files) for one in found.inside if one.pid == pid] == [("inside", (str(file.parent),))]


def test_names_that_are_no_text_are_shown_so_that_they_can_be_told_apart(tmp_path: pathlib.Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    with open(path, "w") as own, running("held = open(path)", tmp_path / os.path.basename(path)) as pid:
        (found,) = found_by(pid, tmp_path)
        assert own.name
    assert found.files == (f"{tmp_path}/\\xff",)


def test_who_may_not_look_at_others_does_not_claim_to_have_seen_them(file: pathlib.Path) -> None:
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2:];"
        "from ansible_collections.dsa110.contimg.plugins.module_utils._host.open_files import find_holders;"
        "print(find_holders([sys.argv[1]]).complete);"
        "os.setuid(65534); print(find_holders([sys.argv[1]]).complete)"
    )
    # Its own processes are all that there is: a namespace of them alone. Nobody is a user there if root is one.
    alone = [*OWN_MOUNTS, "--pid", "--fork", "--mount-proc", "sh", "-c", 'sleep 60 & exec "$@"', "sh"]
    command = [*alone, sys.executable, "-c", code, str(file), *sys.path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.splitlines()[:1] == ["True"], done
    assert done.stdout.splitlines()[1:] == (["False"] if os.geteuid() == 0 else []), done


def test_changes_between_two_moments_are_named(file: pathlib.Path) -> None:
    tree = file.parents[1]
    (tree / "gone").touch()
    before = tree_moment([str(tree)])
    (tree / "gone").unlink()
    (tree / "new").touch()
    file.write_bytes(b"y" * 8192)
    changes = {one["path"]: one["what"] for one in tree_changes(before, tree_moment([str(tree)]))}
    assert changes.pop(str(tree)) == "changed"
    assert changes == {str(tree / "gone"): "vanished", str(tree / "new"): "appeared", str(file): "changed"}
    assert [one["path"] for one in tree_changes(tree_moment([str(file)]), {})] == [str(file)]
