# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a move of several hosts beside a playbook of Ansible's own modules that does the steps of the runbook, without a proof.

Run it with the python of the virtual environment, from a checkout that ``make unit`` has linked:
``PYTHONPATH=.build/collections python tests/bench/fleet.py [--hosts 1 2 4 8 16]``.
The hosts are directories of this machine, without units, so there is no downtime, and the waits are left out. All hosts are at
work at once. The processors of the machine serve the controller and the hosts: both shares are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time

from ansible_collections.dsa110.contimg.tests.playbooks.conftest import Host, environment_of

_CLOCK = re.compile(r"(\d+)m([\d.]+)s")
# What an interpreter does for one module; the second line that "times" prints is the time of the processes that it has waited for.
_SHIM = """#!/bin/bash
set -o pipefail
tee -a {root}/payload | {python} "$@" | tee -a {root}/results
code=$?
times >> {root}/times
exit $code
"""
_NAMES = ("STATE", "QUEUE_DB", "PRODUCTS_DB", "REGISTRY_DB", "HDF5_DB", "LOGS", "SCRATCH")
_SUMS = "cd {{ item }} && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"
_COUNT = "find {{ item }} -type f | wc -l"
_BOTH = ["{{ contimg_state_src }}", "{{ contimg_state_dest }}"]


def runbook() -> list[dict[str, object]]:
    """Return the play of the runbook: stop, copy, count and hash both sides, set seven variables, restart."""
    line = {"path": "{{ contimg_env_file }}", "regexp": "^{{ item }}=", "line": "{{ item }}={{ contimg_state_dest }}"}
    copy = ["rsync", "-a", "{{ contimg_state_src }}/", "{{ contimg_state_dest }}/"]
    tasks: list[dict[str, object]] = [
        {"name": "Stop", "ansible.builtin.command": "true"},
        {"name": "Copy", "ansible.builtin.command": {"argv": copy}},
        {"name": "Count", "ansible.builtin.shell": _COUNT, "loop": _BOTH},
        {"name": "Hash", "ansible.builtin.shell": _SUMS, "loop": _BOTH},
        {"name": "Repoint", "ansible.builtin.lineinfile": line, "loop": list(_NAMES)},
        {"name": "Restart", "ansible.builtin.command": "true"},
    ]
    return [{"hosts": "contimg", "gather_facts": False, "tasks": tasks}]


def made(root: pathlib.Path, count: int) -> dict[str, Host]:
    """Make hosts with the sample state, each with an interpreter that counts."""
    hosts = {f"h{number:02}": Host(root / f"h{number:02}") for number in range(1, count + 1)}
    for host in hosts.values():
        host.make()
        host.of_fleet()
        shim = host.root / "python"
        plain = shim.rename(host.root / "plain-python")
        shim.write_text(_SHIM.format(root=shlex.quote(str(host.root)), python=shlex.quote(str(plain))))
        shim.chmod(0o755)
    return hosts


def seconds_of(host: Host) -> list[float]:
    """Return the processor seconds of each module of a host."""
    lines = (host.root / "times").read_text().splitlines()[1::2]
    return [sum(60 * int(minutes) + float(rest) for minutes, rest in _CLOCK.findall(line)) for line in lines]


def measured(playbook: str, count: int) -> list[str]:
    """Run a playbook on new hosts; return its wall time, and what it costs the controller and each host."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        hosts = made(root, count)
        described = {
            name: {**host.variables, "ansible_connection": "local", "ansible_pipelining": True}
            for name, host in hosts.items()
        }
        for name, host in hosts.items():
            described[name]["ansible_python_interpreter"] = str(host.root / "python")
        (root / "inventory.json").write_text(json.dumps({"contimg": {"hosts": described}}))
        (root / "runbook.yml").write_text(json.dumps(runbook()))
        what = str(root / "runbook.yml") if playbook == "runbook" else playbook
        command = ["ansible-playbook", "-i", str(root / "inventory.json"), "--forks", str(count), what]
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(
            [*command, "-e", json.dumps({"contimg_serial": "100%", "contimg_code_paths": []})],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment_of(root),
        )
        wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        modules = [seconds_of(host) for host in hosts.values()]
        sizes = [sum((host.root / name).stat().st_size for host in hosts.values()) for name in ("payload", "results")]
    on_hosts = sum(map(sum, modules))
    return [
        f"{wall:.1f}",
        f"{spent - on_hosts:.1f}",
        f"{on_hosts / count:.1f}",
        str(sum(map(len, modules)) // count),
        *(f"{size / count / 1024:.0f}" for size in sizes),
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    counts = parser.parse_args().hosts
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} processors, {sys.platform}"
    )
    print("| hosts | playbook | wall s | controller CPU s | a host: CPU s | modules | payload KiB | results KiB |")
    print("|---|---|---|---|---|---|---|---|")
    for count in counts:
        for playbook in ("dsa110.contimg.migrate", "runbook"):
            print("|", " | ".join([str(count), playbook, *measured(playbook, count)]), "|", flush=True)


if __name__ == "__main__":
    main()
