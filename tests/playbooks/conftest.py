# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without units below a temporary directory, and the real playbooks run against it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.tests.support.hosts.mounts import on_own_host

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCAL = {"ansible_connection": "local", "ansible_pipelining": True}


def environment_of(root: pathlib.Path) -> dict[str, str]:
    """Return the environment of a playbook of this collection, with what Ansible keeps below a directory."""
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections"),
        "ANSIBLE_HOME": str(root / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def result_of(shown: str, task: str) -> dict[str, Any]:
    """Return what a module has returned to a task, from what ``ansible-playbook -v`` shows."""
    lines = shown.partition(task)[2].partition("\nTASK [")[0]
    result: dict[str, Any] = json.loads(lines[lines.index("{") : lines.rindex("}") + 1])
    return result


def failure(done: subprocess.CompletedProcess[str]) -> str:
    """Return the tasks in which a playbook failed, the recap and the errors: a report of CI has no room for all tasks."""
    tasks = re.split(r"\n(?=TASK \[|PLAY )", done.stdout)
    told = [
        task for task in tasks if re.search("^(fatal|failed): ", task, re.MULTILINE) or task.startswith("PLAY RECAP")
    ]
    return "\n".join([*told, done.stderr])


def _begun(running: subprocess.Popen[str], said: list[str]) -> Iterator[str]:
    """Yield each task of a controller, which stands still at its beginning until the next one is asked for.

    :param said: takes all lines that it says.
    """
    assert running.stdout is not None
    for line in running.stdout:
        said.append(line)
        if line.startswith("TASK ["):
            os.waitid(os.P_PID, running.pid, os.WSTOPPED)
            yield line.rpartition("]")[0]
            os.kill(running.pid, signal.SIGCONT)


class Host:
    """A sample host: its directories, its inventory, and how to run a playbook of the collection on it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.src = root / "stage" / "state"
        self.dest = root / "data" / "state"
        self.env_file = root / "data" / "contimg.env"
        self.run_dir = root / "run"
        self.inside: list[str] = []  # a command in which the playbooks run, for example a namespace
        self.before_modules = ""  # what a shell does before each module, in a fleet
        self.variables: dict[str, Any] = {
            "contimg_state_src": str(self.src),
            "contimg_state_dest": str(self.dest),
            "contimg_env_file": str(self.env_file),
            "contimg_run_dir": str(self.run_dir),
            "contimg_units": [],
            "contimg_retention_timer": "",
            "contimg_require_proof": False,
            "contimg_observe_seconds": 0,
            "contimg_watch_still_seconds": 0,
        }

    def make(self) -> None:
        """Lay the sample state and an environment file that points to it."""
        script = ROOT / "tests" / "support" / "hosts" / "sample_state.py"
        self.src.parent.mkdir(parents=True)
        for name in ("volatile", "lasting"):
            (self.root / name).mkdir(mode=0o700)
        subprocess.run(
            [sys.executable, str(script), "--root", str(self.src), "--rows", "200", "--unprivileged"],
            check=True,
            capture_output=True,
        )
        self.env_file.parent.mkdir()
        self.env_file.write_text(self.first_environment)

    @property
    def first_environment(self) -> str:
        """The environment file before any move."""
        return (
            f"# by hand\nPIPELINE_STATE_DIR={self.src}\nPIPELINE_PRODUCTS_DB={self.src}/db/products.sqlite3\n"
            f"CASALOGFILE={self.src}/logs/casa.log\nALERT_WEBHOOK=planted-secret\n"
        )

    def play(self, name: str, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the collection, or one by its path; keyword arguments override the host's variables."""
        command = self._command(name, *options, **variables)
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=self._environment())
        assert "DEPRECATION WARNING" not in done.stderr
        assert "Using a template for task args" not in done.stderr
        return done

    def die(self, name: str, known: set[str], *, every: int) -> str:
        """Run a playbook and kill it, with all that it runs, when it begins the n-th task that it has never begun.

        :param known: the tasks that were begun in former runs; those of this one are added.
        :return: the task in which it died, nothing where it came to its end.
        """
        new, said = 0, list[str]()
        with self._stopping(name) as running:
            for task in _begun(running, said):
                new += task not in known
                known.add(task)
                if new == every:
                    os.killpg(running.pid, signal.SIGKILL)
                    running.wait()
                    return task
            assert running.wait() == 0, "".join(said)
        return ""

    @contextlib.contextmanager
    def stopped_in(self, name: str, task: str) -> Iterator[subprocess.Popen[str]]:
        """Run a playbook, and stop its controller when it begins a task. It goes on at the end."""
        said: list[str] = []
        with self._stopping(name) as running:
            if not any(task in begun for begun in _begun(running, said)):
                pytest.fail("".join(said))
            yield running

    @contextlib.contextmanager
    def _stopping(self, name: str) -> Iterator[subprocess.Popen[str]]:
        """Run a playbook whose controller stops itself at the beginning of each task; from the end of the block on of none."""
        stops = self.root / "stops"
        stops.touch()
        callback = {"ANSIBLE_CALLBACKS_ENABLED": "module_cache,stop_at_tasks", "STOPS": str(stops)}
        running = subprocess.Popen(
            self._command(name),
            text=True,
            env={**self._environment(), **callback},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield running
        finally:
            stops.unlink()
            if running.poll() is None:
                os.kill(running.pid, signal.SIGCONT)

    def lease(self) -> dict[str, Any]:
        """Return the lease of this host."""
        loaded: dict[str, Any] = json.loads((self.root / "volatile" / "lease.json").read_text())
        return loaded

    def _command(self, name: str, *options: str, **variables: object) -> list[str]:
        inventory = {
            "contimg": {
                "hosts": {"localhost": {**LOCAL, "ansible_python_interpreter": sys.executable}},
                "vars": {**self.variables, **variables},
            }
        }
        path = self.root / "inventory.json"
        path.write_text(json.dumps(inventory))
        playbook = name if "/" in name else f"dsa110.contimg.{name}"
        return [*self.on_host(), *self.inside, "ansible-playbook", "-i", str(path), playbook, *options]

    def on_host(self) -> list[str]:
        """Return the command within which another one finds what the collection keeps for this host."""
        return on_own_host(self.root / "volatile", self.root / "lasting")

    def _environment(self) -> dict[str, str]:
        return environment_of(self.root)

    def of_fleet(self) -> dict[str, Any]:
        """Return the variables of this host beside others: its modules run within what is its own of the machine."""
        interpreter = self.root / "python"
        interpreter.write_text(
            f'#!/bin/sh\n{self.before_modules}\nexec {shlex.join([*self.on_host(), sys.executable])} "$@"\n'
        )
        interpreter.chmod(0o755)
        return {**self.variables, **LOCAL, "ansible_python_interpreter": str(interpreter)}

    def record(self) -> dict[str, Any]:
        """Return the record, which says where this host stands."""
        loaded: dict[str, Any] = json.loads((self.run_dir / "record.json").read_text())
        return loaded


def fingerprint(root: pathlib.Path) -> str:
    """Return a hash of all names, contents and metadata below a directory, ctimes included, atimes not."""
    digest = hashlib.sha256()
    for path in sorted([root, *root.rglob("*")], key=os.fsencode):
        status = path.lstat()
        entry = (
            path,
            status.st_mode,
            status.st_uid,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
        )
        digest.update(repr(entry).encode(errors="surrogateescape"))
        if stat.S_ISREG(status.st_mode):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def rows(database: pathlib.Path, table: str) -> int:
    """Return how many rows a table holds."""
    connection = sqlite3.connect(database)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


class Kept:
    """A sample host that real runs have brought to a phase once, for many tests: each gets it as it was then, at the same paths."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def after(self, *playbooks: str) -> Host:
        """Return the host after playbooks have succeeded on it, one after the other."""
        place = self.root / "-".join(playbooks)
        host = Host(place / "host")
        if not place.exists():
            host.make()
            for playbook in playbooks:
                done = host.play(playbook)
                assert done.returncode == 0, failure(done)
            host.root.rename(place / "kept")
        shutil.rmtree(host.root, ignore_errors=True)
        subprocess.run(["cp", "-a", str(place / "kept"), str(host.root)], check=True)
        return host


@pytest.fixture(scope="session", autouse=True)
def _shared_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let all playbooks of this process share the modules that Ansible has assembled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANSIBLE_CALLBACK_PLUGINS", str(ROOT / "tests" / "support" / "callbacks"))
        patch.setenv("ANSIBLE_CALLBACKS_ENABLED", "module_cache")
        patch.setenv("CONTIMG_MODULE_CACHE", str(tmp_path_factory.mktemp("modules")))
        yield


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The hosts that this process has kept."""
    return Kept(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def moved(kept: Kept) -> Host:
    """A sample host that has moved."""
    return kept.after("migrate")


@pytest.fixture
def went_back(kept: Kept) -> Host:
    """A sample host that has moved and went back."""
    return kept.after("migrate", "rollback")


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    """A sample host, made anew."""
    sample = Host(tmp_path / "host")
    sample.make()
    return sample
