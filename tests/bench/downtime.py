# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how long a move keeps a service down, beside the runbook, a careful operator, and the mere stop and start of the service.

Run it as root with the python of the virtual environment, from a checkout that ``make molecule`` has linked:
``PYTHONPATH=.build/collections bash tests/support/in_cgroup2.sh python tests/bench/downtime.py [--scale 1.0] [--rounds 5]``.
The host is a container with systemd, which is reached by SSH. While its service stops, it writes to one of seven databases and to
200 logs: that is what has changed since the first copy. The downtime is the time between the end of the stop and the end of the
start, as the service writes them down. The last table shows the tasks in that time in the median run of ``migrate``.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from ansible_collections.dsa110.contimg.tests.playbooks.conftest import environment_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE = "localhost/contimg-systemd:bookworm"
NAME = "contimg-bench-downtime"
FILES, ROWS, BYTES = 20_000, 320_000, 2_500_000_000

_SSH = (
    '-o ProxyCommand="podman exec -i %h /usr/sbin/sshd -i" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'
    " -o LogLevel=ERROR"
)
_UNIT = """[Service]
EnvironmentFile=/etc/contimg.env
ExecStart=/bin/sleep infinity
ExecStartPost=/bin/sh -c 'date +%%s.%%N >/run/bench.begun'
ExecStop=/usr/bin/python3 /usr/local/lib/bench/last_writes.py
ExecStopPost=/bin/sh -c 'date +%%s.%%N >/run/bench.ended'
"""
_ENVIRONMENT = "PIPELINE_STATE_DIR=/stage/state\nPIPELINE_PRODUCTS_DB=/stage/state/db/products.sqlite3\n"
# What a service writes between the first copy and its end.
_LAST_WRITES = """
import os, sqlite3
state = [line.split("=", 1)[1].strip() for line in open("/etc/contimg.env") if line.startswith("PIPELINE_STATE_DIR=")][0]
with sqlite3.connect(os.path.join(state, "extra-0.sqlite3")) as connection:
    connection.execute("INSERT INTO sources VALUES (1, 2, 3)")
for number in range(200):
    with open(os.path.join(state, "logs", f"service-{number}.log"), "a") as log:
        log.write("the end\\n")
"""
# The sample state and what makes it large, once; each round begins with a copy of it.
_MAKE = """
import os, pathlib, sqlite3, subprocess, sys
files, rows, size = map(int, sys.argv[1:])
state = pathlib.Path("/base/state")
subprocess.run(["python3", "/usr/local/lib/bench/sample_state.py", "--root", str(state), "--rows", str(rows)], check=True)
for number in range(3):
    with sqlite3.connect(state / f"extra-{number}.sqlite3") as connection:
        connection.execute("CREATE TABLE sources (ra_deg REAL NOT NULL, dec_deg REAL NOT NULL, flux_mjy REAL NOT NULL)")
        connection.executemany("INSERT INTO sources VALUES (?, ?, ?)", ((n, n + 1, n + 2) for n in range(rows)))
for number in range(files):
    place = state / "small" / str(number % 100)
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{number}.json").write_bytes(os.urandom(4096))
block = os.urandom(1 << 20)
for number in range(10):
    with open(state / f"large-{number}.bin", "wb") as file:
        for _part in range(size // 10 >> 20):
            file.write(block)
for number in range(200):
    (state / "logs").mkdir(exist_ok=True)
    (state / "logs" / f"service-{number}.log").write_text("begin\\n" * 100)
"""
_RESET = """
systemctl stop bench.service 2>/dev/null
rm -rf /stage/state /data/state* /var/lib/dsa110-contimg-migration
mkdir -p /stage /data && cp -a /base/state /stage/state && printf '%s' "$1" >/etc/contimg.env
systemctl daemon-reload && systemctl start bench.service && sync
"""
_STOP = "systemctl stop bench.service"
_COPY = "rsync -a /stage/state/ /data/state/"
_SUM = "find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"
_SUMS = f"for tree in /stage/state /data/state; do (cd $tree && {_SUM}); done"
_DATABASE_SUMS = "find /stage/state /data/state -name '*.sqlite3' -exec sha256sum {} +"
_REPOINT = "sed -i 's,/stage/state,/data/state,' /etc/contimg.env"
_START = "systemctl start bench.service"
SCRIPTS = {
    "stop and start alone": [_STOP, _START],
    "runbook": [_STOP, _COPY, _SUMS, _REPOINT, _START],
    "careful operator": [_COPY, _STOP, _COPY, _DATABASE_SUMS, _REPOINT, _START],
}
MIGRATE = "dsa110.contimg.migrate"
VARIABLES = {
    "ansible_connection": "ssh",
    "ansible_user": "root",
    "ansible_ssh_common_args": _SSH,
    "ansible_pipelining": True,
    "ansible_python_interpreter": "/usr/bin/python3",
    "contimg_state_src": "/stage/state",
    "contimg_state_dest": "/data/state",
    "contimg_env_file": "/etc/contimg.env",
    "contimg_units": ["bench.service"],
    "contimg_code_paths": [],
    "contimg_retention_timer": "",
    "contimg_observe_seconds": 5,
    "contimg_watch_seconds": 1,
}


def on_host(script: str, *arguments: str) -> str:
    """Run a shell script on the host and return what it prints."""
    command = ["podman", "exec", "-i", NAME, "sh", "-ec", script, "sh", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def podman(*arguments: str) -> None:
    """Run podman."""
    subprocess.run(["podman", *arguments], check=True, stdout=subprocess.DEVNULL)


def removed() -> None:
    """Remove the host and its volumes."""
    podman("rm", "-f", "-i", "-v", NAME)


def made(scale: float) -> None:
    """Make the host with its state and its service."""
    subprocess.run(["bash", str(ROOT / "tests" / "support" / "container_image.sh"), IMAGE], check=True)
    removed()
    rights = ["--systemd=always", "--network=none", "--cap-add=SYS_PTRACE,SYS_ADMIN,DAC_READ_SEARCH,NET_ADMIN"]
    places = ["--volume=/stage", "--volume=/data"]  # the write monitor needs file systems that are no overlay
    podman("run", "-d", "--name", NAME, *rights, *places, IMAGE)
    on_host("mkdir -p /usr/local/lib/bench /base")
    podman("cp", str(ROOT / "tests/support/hosts/sample_state.py"), f"{NAME}:/usr/local/lib/bench/")
    on_host('printf "%s" "$1" >/etc/systemd/system/bench.service', _UNIT)
    on_host('printf "%s" "$1" >/usr/local/lib/bench/last_writes.py', _LAST_WRITES)
    sizes = [str(round(number * scale)) for number in (FILES, ROWS, BYTES)]
    on_host('python3 -c "$@"', _MAKE, *sizes)


def downtime() -> float:
    """Return the seconds from the last end of the service to its last start."""
    ended, begun = map(float, on_host("cat /run/bench.ended /run/bench.begun").split())
    return begun - ended


def migrated(root: pathlib.Path) -> list[tuple[float, str]]:
    """Move the host, and return the tasks between the stop and the start with the seconds that each took."""
    inventory = root / "inventory.json"
    inventory.write_text(json.dumps({"contimg": {"hosts": {NAME: VARIABLES}}}))
    with subprocess.Popen(
        ["ansible-playbook", "-i", str(inventory), MIGRATE], stdout=subprocess.PIPE, text=True, env=environment_of(root)
    ) as running:
        assert running.stdout is not None
        begun = [(time.monotonic(), line.strip()) for line in running.stdout if line.startswith(("TASK [", "PLAY "))]
    if running.returncode:
        sys.exit(f"{MIGRATE} ended with {running.returncode}")
    tasks = [(later[0] - one[0], one[1].split("[")[-1].split("]")[0]) for one, later in zip(begun, begun[1:])]
    names = [name for _seconds, name in tasks]
    first = next(number for number, name in enumerate(names) if "Stop the units" in name)
    last = next(number for number, name in enumerate(names) if "Release the hold" in name)
    return tasks[first : last + 1]


def measured(way: str, root: pathlib.Path) -> tuple[float, list[tuple[float, str]]]:
    """Go one way on a host that was reset; return the downtime, and the tasks in it where there are any."""
    on_host(_RESET, _ENVIRONMENT)
    tasks: list[tuple[float, str]] = []
    if way in SCRIPTS:
        on_host("\n".join(SCRIPTS[way]))
    else:
        tasks = migrated(root)
    return downtime(), tasks


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    made(asked.scale)
    print(f"{platform.python_version()}, {os.cpu_count()} processors; {asked.rounds} rounds, scale {asked.scale:g}")
    found: dict[str, list[tuple[float, list[tuple[float, str]]]]] = {way: [] for way in [*SCRIPTS, MIGRATE]}
    with tempfile.TemporaryDirectory() as directory:
        for _round in range(asked.rounds):
            for way, results in found.items():
                results.append(measured(way, pathlib.Path(directory)))
    removed()
    medians = {way: statistics.median(seconds for seconds, _tasks in results) for way, results in found.items()}
    print("| way | down s, median | least | most | migrate beside it |", "|---|---|---|---|---|", sep="\n")
    for way, results in found.items():
        seconds = [one for one, _tasks in results]
        ratio = medians[MIGRATE] / medians[way]
        print(f"| {way} | {medians[way]:.2f} | {min(seconds):.2f} | {max(seconds):.2f} | {ratio:.2f} |")
    print("| task of the window | s |", "|---|---|", sep="\n")
    for seconds, name in sorted(found[MIGRATE])[asked.rounds // 2][1]:
        print(f"| {name} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
