# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changing modules, each on a small host of its own, with a way in which it may be wrong."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.tests.support.databases.hdf5_databases import file_row, make_hdf5, make_products
from ansible_collections.dsa110.contimg.tests.support.faults.module_faults import Case
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import add_rows
from ansible_collections.dsa110.contimg.tests.support.hosts.host_stubs import (
    write_podman,
    write_systemctl,
    write_systemd_run,
)
from ansible_collections.dsa110.contimg.tests.support.modules.module_run import run_module

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

__all__ = ["CASES"]

_UTILS = "ansible_collections.dsa110.contimg.plugins.module_utils"
#: A mutant: it writes to what is there.
_IN_PLACE = f"""
import {_UTILS}._fs.durable as durable
def replace_file(path, content, **_options):
    with open(path, "wb", buffering=0) as file:
        content = content if isinstance(content, bytes) else b"".join(content)
        file.write(content[:20])
        file.write(content[20:])
durable.replace_file = replace_file
"""
#: A mutant: it writes row by row, without a transaction.
_ROW_BY_ROW = f"""
import {_UTILS}._sqlite.connection as connection
execute = connection.Connection.execute
def without_transactions(self, sql, *arguments):
    words = sql.split()[:1]
    return execute(self, "SELECT 1" if words in (["BEGIN"], ["COMMIT"], ["ROLLBACK"]) else sql, *arguments)
connection.Connection.execute = without_transactions
"""


class EnvFile(Case):
    """Secrets in an environment file: one is replaced, one stays."""

    module = "env_file"
    secrets = (b"planted-old", b"planted-new", b"planted-kept")
    mutant = _IN_PLACE

    def make(self) -> None:
        path = self.host / "contimg.env"
        path.write_bytes(b"# tuning\nSTATE=/stage/state\nHOOK=planted-old\nA_PASSWORD=planted-kept\n")
        path.chmod(0o600)
        os.setxattr(path, "user.note", b"kept")

    def parameters(self) -> dict[str, Any]:
        return {
            "path": str(self.host / "contimg.env"),
            "secrets": {"HOOK": "planted-new"},
            "repoint": [{"from": "/stage/state", "to": "/data/state"}],
            "backup_dir": str(self.host / "backups"),
        }

    def compared(self, content: bytes) -> bytes:
        told = re.sub(rb'"[0-9a-f]{32,64}"', b'"DIGEST"', super().compared(content))  # keyed with a random number
        # An edit that a killed run has noted and not made is noted again.
        edits = set(map(json.dumps, json.loads(told)["edits"])) if told.startswith(b"{") else {}
        return "\n".join(sorted(edits)).encode() if edits else told


class Record(Case):
    """The record of a host that goes on to its next phase."""

    module = "migration_record"
    mutant = _IN_PLACE
    reserve = ("run/reserve",)

    def make(self) -> None:
        move = {"src": "/stage", "dest": "/data", "databases": [], "exclude": []}
        first = {"run_dir": str(self.host / "run"), "phase": "presynced", "facts": {"a": 1}, "move": move}
        run_module("migration_record", first)

    def parameters(self) -> dict[str, Any]:
        return {"run_dir": str(self.host / "run"), "phase": "held", "facts": {"b": 2}}


class Phase(Record):
    """The record of a host whose index is split, with the rows that are its proof."""

    module = "migration_phase"
    talks = True  # processes read the databases

    def make(self) -> None:
        super().make()
        for phase in ("held", "proved"):
            run_module("migration_record", {"run_dir": str(self.host / "run"), "phase": phase})
        (self.host / "state").mkdir()
        with contextlib.closing(sqlite3.connect(self.host / "state" / "a.sqlite3", isolation_level=None)) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS x")

    def parameters(self) -> dict[str, Any]:
        rows = {"path": str(self.host / "state"), "names": {"a": "a.sqlite3"}}
        return {"run_dir": str(self.host / "run"), "phase": "split", "rows": rows}

    def compared(self, content: bytes) -> bytes:
        # The hash of the state directory holds the times of its files, which each trial makes.
        return re.sub(rb'"dest_digest": "[0-9a-f]+"', b'"dest_digest": "DIGEST"', super().compared(content))


class Rewritten(Case):
    """Code whose paths are rewritten, with a secret near one of them, which less context leaves out of a patch."""

    module = "path_references"
    talks = True  # two processes read the two files
    secrets = (b"planted",)
    mutant = _IN_PLACE

    def make(self) -> None:
        (self.host / "code").mkdir()
        for name in ("one.py", "two.py"):
            path = self.host / "code" / name
            path.write_text('import os\n\nTOKEN = "planted"\nA = 1\nSTATE = "/stage/state"\nopen("/stage/state/x")\n')
            path.chmod(0o600)

    def parameters(self) -> dict[str, Any]:
        return {
            "paths": [str(self.host / "code")],
            "prefix": "/stage/state",
            "variables": [{"from": "/stage/state", "name": "STATE_DIR", "default": "/data/state"}],
            "state": "rewritten",
            "backup_dir": str(self.host / "backups"),
        }


class Patched(Rewritten):
    """The same code, for which a patch is written instead of an older one."""

    def make(self) -> None:
        super().make()
        self.patch.write_text("an older patch, with planted in it\n")
        self.patch.chmod(0o600)

    @property
    def patch(self) -> pathlib.Path:
        """Return where the patch is."""
        return self.host / "code.patch"

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "state": "patched", "patch_file": str(self.patch)}


class Restored(Rewritten):
    """The same code, which is put back."""

    def make(self) -> None:
        super().make()
        run_module(self.module, super().parameters())

    def parameters(self) -> dict[str, Any]:
        return {"restore_from": str(self.host / "backups")}


class Paths(Case):
    """A database with old paths in its rows."""

    module = "database_paths"
    mutant = _ROW_BY_ROW

    def make(self) -> None:
        with contextlib.closing(sqlite3.connect(self.host / "p.sqlite3")) as connection:
            connection.execute("CREATE TABLE t (a PRIMARY KEY, b)")
            rows = [(f"/stage/state/{number}", f"/stage/state/b{number}") for number in range(30)]
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
            connection.commit()

    def parameters(self) -> dict[str, Any]:
        return {
            "databases": [{"path": str(self.host / "p.sqlite3")}],
            "repoint": [{"from": "/stage/state", "to": "/data/state"}],
            "state": "rewritten",
        }


class Backup(Case):
    """A database with rows in its WAL alone, which gets a verified copy."""

    module = "sqlite_backup"
    mutant = f"""
import contextlib
import {_UTILS}._sqlite.create as new
@contextlib.contextmanager
def new_database(place, **_options):
    open(place, "wb").close()
    yield place
new.new_database = new_database
"""

    def make(self) -> None:
        for count in (40, 3):
            add_rows(self.host / "p.sqlite3", count)

    def parameters(self) -> dict[str, Any]:
        return {"path": str(self.host / "p.sqlite3"), "backup_dir": str(self.host / "backups")}


class Misplaced(Case):
    """A database that is behind the real one of its name, with its WAL, and an empty one."""

    module = "misplaced_databases"
    alone = True
    mutant = f"""
import os
import {_UTILS}._fs.backup as backup
back_up_file = backup.back_up_file
def after_removal(root, path, backup_dir):
    content = open(f"/proc/self/fd/{{root}}/" + os.fsdecode(path), "rb").read()
    os.unlink(path, dir_fd=root)
    os.fsync(root)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=root)
    os.write(descriptor, content)
    os.close(descriptor)
    return back_up_file(root, path, backup_dir)
backup.back_up_file = after_removal
"""

    def make(self) -> None:
        for directory in ("state", "run"):
            (self.host / directory).mkdir()
        make_products(self.host / "state" / "products.sqlite3", [file_row(number) for number in range(4)])
        make_products(self.host / "run" / "products.sqlite3", [file_row(number) for number in range(2)])
        (self.host / "run" / "ingest.sqlite3").touch()

    def parameters(self) -> dict[str, Any]:
        return {
            "databases": [str(self.host / "state" / "products.sqlite3")],
            "places": [str(self.host / "run" / "*")],
            "quarantine_dir": str(self.host / "quarantine"),
            "require_proof": False,
        }

    def further(self) -> Iterator[str]:
        """The rows are there, misplaced or in the quarantine."""
        found = [*self.host.glob("run/products.sqlite3"), *self.host.glob("quarantine/[0-9]*/products.sqlite3")]
        if not any(self.old["run/products.sqlite3"] & {self.value(path)} for path in found):
            yield "the misplaced database is nowhere"


class Sets(Case):
    """Rows of measurement sets that are gone, and sets without a row."""

    module = "ms_index_reconcile"
    mutant = _ROW_BY_ROW

    def make(self) -> None:
        with contextlib.closing(sqlite3.connect(self.host / "products.sqlite3")) as connection:
            connection.execute("CREATE TABLE ms_index (path TEXT PRIMARY KEY, start_mjd REAL, status TEXT)")
            rows = [(f"{self.host}/ms/{number}.ms",) for number in range(10)]
            connection.executemany("INSERT INTO ms_index VALUES (?, 1.0, 'done')", rows)
            connection.commit()
        for number in range(2, 14):
            (self.host / "ms" / f"{number}.ms").mkdir(parents=True)

    def parameters(self) -> dict[str, Any]:
        return {
            "products_db": str(self.host / "products.sqlite3"),
            "roots": [str(self.host / "ms")],
            "max_removed_fraction": 0.5,
            "backup_dir": str(self.host / "backups"),
        }


class Index(Case):
    """Files that the index lacks, and one that is gone."""

    module = "hdf5_index"
    loaded = "import h5py\n"
    mutant = _ROW_BY_ROW

    def make(self) -> None:
        make_hdf5(self.host / "hdf5.sqlite3", [])
        (self.host / "in").mkdir()
        for number in (1, 2, 3):
            self._file(number)
        run_module(self.module, self.parameters())
        self._file(3).unlink()
        for number in (4, 5, 6):
            self._file(number)

    def _file(self, number: int) -> pathlib.Path:
        path = self.host / "in" / f"2025-10-02T00:12:00_sb{number:02d}.hdf5"
        path.touch()
        os.utime(path, (1_000_000_000, 1_000_000_000))
        return path

    def parameters(self) -> dict[str, Any]:
        return {"hdf5_db": str(self.host / "hdf5.sqlite3"), "input_dir": str(self.host / "in")}


class Held(Case):
    """Units that run, with a timer, and are held."""

    module = "unit_hold"
    talks = True
    asked = "held"
    mutant = _IN_PLACE
    volatile = ("drop-ins",)

    def make(self) -> None:
        write_systemctl(self.host / "systemd", {"api.service": "", "stream.service": "api.timer", "api.timer": ""})
        (self.host / "run").mkdir()
        (self.host / "drop-ins").mkdir()

    def parameters(self) -> dict[str, Any]:
        return {
            "names": ["api.service", "stream.service"],
            "state": self.asked,
            "hold_file": str(self.host / "run" / "hold.json"),
        }

    def compared(self, content: bytes) -> bytes:
        # A drop-in says when its unit was stopped; one that a killed run has stopped stands still when the next one comes.
        return re.sub(rb" since [0-9-]{10} [0-9:]{8} UTC by", b" by", super().compared(content))

    def constants(self) -> dict[str, Any]:
        return {**super().constants(), "_services.hold_file:_RUNTIME": str(self.host / "drop-ins")}

    def variables(self) -> dict[str, str]:
        return {**super().variables(), "PATH": str(self.host / "systemd"), "STUB_DROP_INS": str(self.host / "drop-ins")}


class HeldWithLimit(Held):
    """The same units, which the host starts again if the run vanishes."""

    # Nothing is armed: what is stopped stays down.
    mutant = f"""
import {_UTILS}._migration.hold_limit_unit as hold_limit_unit
hold_limit_unit.HoldLimit.arm = lambda _limit: None
"""

    def make(self) -> None:
        super().make()
        write_systemd_run(self.host / "systemd")
        place = self.places / "VOLATILE"
        place.mkdir(mode=0o700)
        (place / "lease.json").write_text('{"run_id": "migrate-1", "since": 1.0, "controller": {}}')

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "limit": 600, "run_id": "migrate-1"}

    def constants(self) -> dict[str, Any]:
        return {**super().constants(), "_migration.hold_limit_unit:_BOOTED": str(self.host)}

    def named(self, path: str) -> str:
        return re.sub(r"(?<=contimg-hold-limit)-[0-9a-f]{8}-[0-9a-f]{6}", "", super().named(path))

    def compared(self, content: bytes) -> bytes:
        """What the program holds is what the process has imported; the moment is of a clock that counts from the last boot."""
        # The latter two are how, and when, the timer was set: with the interpreter of the process.
        if content.startswith((b"PK", b"--quiet", b"api.service was")):
            return content[:2]
        return re.sub(rb'"since": [\d.]+', b'"since"', self.named(super().compared(content).decode()).encode())

    def _prints(self) -> dict[str, tuple[int, ...]]:
        """A hold that is placed again renews its limit, which is all that it changes."""
        found = super()._prints().items()
        return {path: one for path, one in found if os.path.isfile(path) and not re.search("hold-limit|timer[.]", path)}

    def further(self) -> Iterator[str]:
        """Nothing is down without a timer and what it starts."""
        down = [path.name for path in self.host.glob("systemd/*.*") if path.read_text().strip() == "inactive"]
        kept = [path.name for path in (*self.host.glob("run/hold-limit.*"), *self.host.glob("systemd/armed-*"))]
        if down and len(kept) < 3:
            yield f"{down} are down, and of the limit there is only {kept}"


class HeldAgain(HeldWithLimit):
    """Units that an earlier run has stopped: a run that goes on has another limit, and the timer of the former one is there."""

    mutant = f"""
import {_UTILS}._migration.hold_limit_unit as hold_limit_unit
start = hold_limit_unit._start
def anew(unit, run_dir, seconds):
    hold_limit_unit._stop(hold_limit_unit.units_of(run_dir) + "*")
    start(unit, run_dir, seconds)
hold_limit_unit._start = anew
"""

    def make(self) -> None:
        super().make()
        asked = {**self.parameters(), "limit": 300}
        run_module(self.module, asked, constants=self.constants(), variables=self.variables())


class Released(Held):
    """The same units, held, which come back."""

    asked = "released"
    mutant = f"""
import {_UTILS}._services.hold_file as memory
import {_UTILS}._fs.durable as durable
import os
memory.write_memory = lambda *_arguments: None
remove = memory.remove_drop_in
def first_forget(unit):
    for path in (os.environ["STUB_DROP_INS"] + "/../run/hold.json",):
        if os.path.exists(path):
            os.unlink(path)
    remove(unit)
memory.remove_drop_in = first_forget
memory.forget = lambda _path: None
"""

    def make(self) -> None:
        super().make()
        asked = {**self.parameters(), "state": "held"}
        run_module(self.module, asked, constants=self.constants(), variables=self.variables())

    def further(self) -> Iterator[str]:
        """What has to run is still known where it does not run."""
        running = {path.name for path in self.host.glob("systemd/*.*") if path.read_text().strip() == "active"}
        known = [*self.host.glob("run/hold.json"), *self.host.glob("drop-ins/*/*.conf")]
        if len(running) < 3 and not known:
            yield f"only {running} run, and nothing knows of the others"


class ContainersHeld(Case):
    """Containers that run, and are held."""

    module = "container_hold"
    talks = True
    asked = "held"
    mutant = _IN_PLACE

    def make(self) -> None:
        write_podman(self.host / "engine", ("dashboard", "stream"))
        (self.host / "run").mkdir()

    def parameters(self) -> dict[str, Any]:
        return {
            "names": ["dashboard", "stream"],
            "state": self.asked,
            "hold_file": str(self.host / "run" / "containers.json"),
        }

    def variables(self) -> dict[str, str]:
        engine = self.host / "engine"
        return {**super().variables(), "PATH": str(engine), "CONTAINERS_STORAGE_CONF": str(engine / "storage.conf")}


class ContainersReleased(ContainersHeld):
    """The same containers, held, which come back."""

    asked = "released"
    mutant = f"""
import os
import {_UTILS}._services.hold_containers as hold
apply = hold._apply_release
def first_forget(*arguments):
    import glob
    for path in glob.glob(os.environ["PATH"] + "/../run/*.json"):
        os.unlink(path)
    apply(*arguments)
hold._apply_release = first_forget
hold.forget = lambda _path: None
"""

    def make(self) -> None:
        super().make()
        asked = {**self.parameters(), "state": "held"}
        run_module(self.module, asked, constants=self.constants(), variables=self.variables())

    def further(self) -> Iterator[str]:
        """What has to run is still known where it does not run."""
        running = {path.name for path in self.host.glob("engine/*.status") if path.read_text().strip() == "running"}
        if len(running) < 2 and not list(self.host.glob("run/containers.json")):
            yield f"only {running} run, and nothing knows of the others"


class Forgotten(Case):
    """What a killed write monitor has left, which is removed."""

    module = "write_monitor"
    mutant = """
import os
unlink = os.unlink
def empty_first(path, **options):
    if str(path).endswith(".json"):
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC, **options))
    unlink(path, **options)
os.unlink = empty_first
"""

    def make(self) -> None:
        run = self.host / "run"
        run.mkdir(mode=0o700)
        found: dict[str, Any] = {
            "paths": ["/stage"],
            "run_id": "",
            "boot_id": "another",
            "ended": "",
            "method": "fanotify",
        }
        found.update(complete=True, reason="", since=1.5, until=2.5, own_events=0, writers=[], changes=[])
        (run / "write-monitor.json").write_text(json.dumps(found))
        (run / "write-monitor.lock").write_text("1\n")
        (run / "write-monitor.socket").touch()

    def parameters(self) -> dict[str, Any]:
        return {"state": "absent", "run_dir": str(self.host / "run")}


CASES: tuple[type[Case], ...] = (
    EnvFile,
    Record,
    Phase,
    Rewritten,
    Patched,
    Restored,
    Paths,
    Backup,
    Misplaced,
    Sets,
    Index,
    Held,
    HeldWithLimit,
    HeldAgain,
    Released,
    ContainersHeld,
    ContainersReleased,
    Forgotten,
)
