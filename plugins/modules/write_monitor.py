#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``write_monitor``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: write_monitor
short_description: Find the processes that write below directories, for as long as it takes
version_added: 0.1.0
description:
  - Starts a process of the host that notes which processes write below directories, asks it, and stops it. It goes on between tasks, and
    finds writers that hold no file open between two writes.
  - On Linux 5.9 and newer, as root, the kernel reports each write with its process (fanotify), through every bind mount, link and container.
    Reported are writes, truncations, changes of metadata, entries of directories that are made, renamed or removed, and the end of a
    descriptor that could write.
  - Where the kernel, a file system or a container does not allow that, the directories are compared every 5 seconds, and processes that have
    files open for writing are noted. RV(complete) is then V(false).
  - A write through a shared mapping is not reported, nor one by C(io_submit), until the mapping or the descriptor ends.
    M(dsa110.contimg.open_files_info) finds the processes that have one. A write by another host to a shared file system is not seen.
  - The steps of the run that has the lease of the host, and all that descends from them, are not counted as writers. Nor is a process with
    C(DSA110_CONTIMG_RUN) in its environment, set to O(run_id), and what descends from it.
  - What is found is in C(write-monitor.json) in O(run_dir), for root only. The process ends at O(limit), with the run that has O(run_id) for its
    id, and does not survive a reboot.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes
  - dsa110.contimg.run
attributes:
  check_mode:
    details: Starts no process. See O(duration).
  idempotent:
    details: A monitor that has ended by itself, or was killed, is started again by O(state=started).
options:
  state:
    description:
      - V(started) starts a monitor, unless one for the same O(paths) and O(run_id) is at work. One for others is stopped, and what it has found is
        replaced.
      - V(read) returns what was found until now, and changes nothing.
      - V(stopped) stops it, and returns what was found.
      - V(absent) stops it and removes what it has found.
    type: str
    choices: [started, read, stopped, absent]
    required: true
  paths:
    description:
      - Directories or files. A link is followed; links below are not. What is mounted below is included.
      - One that does not exist is monitored from its making on. Only O(state=started) needs them.
    type: list
    elements: path
  run_dir:
    description:
      - The directory for what is found. There is one monitor for each.
      - Without it, that of the lease of the host, which a reboot clears.
    type: path
  limit:
    description: Seconds after which it ends by itself.
    type: int
    default: 86400
  duration:
    description:
      - In check mode, the seconds for which O(state=started) monitors within its own call. Nothing is written.
      - With V(0) nothing is monitored in check mode.
    type: int
    default: 0
  at_least:
    description: With O(state=read), the seconds for which the monitor is to have been at work. The task waits for the rest of them.
    type: int
    default: 0
  units:
    description: Units whose writers are listed ones.
    type: list
    elements: str
    default: []
  containers:
    description: Containers whose writers are listed ones, by name or id.
    type: list
    elements: str
    default: []
  known:
    description:
      - Regular expressions. A writer whose command or unit one of them matches as a whole, or each of whose files, is no failure of
        V(unlisted) in O(fail_on).
    type: list
    elements: str
    default: []
  written_since:
    description: A moment in seconds since the epoch, for V(written) in O(fail_on). RV(complete) is V(false) where the monitor began later.
    type: float
    default: 0
  fail_on:
    description:
      - V(unlisted) fails when a writer belongs to none of O(units) and O(containers) and is not O(known).
      - V(written) fails when any process has written after O(written_since), but the move itself.
    type: list
    elements: str
    choices: [unlisted, written]
    default: []
"""

EXAMPLES = r"""
- name: Note from now on who writes to the state
  dsa110.contimg.write_monitor:
    state: started
    paths: [/stage/dsa110-contimg/state, /data/dsa110-contimg/state]
    run_dir: /var/lib/dsa110-contimg-migration
    duration: 10

- name: Ask who has written until now
  dsa110.contimg.write_monitor:
    state: read
    run_dir: /var/lib/dsa110-contimg-migration
    units: [contimg-stream.service, contimg-api.service]
    at_least: 60
    fail_on: [unlisted]
  register: seen

- name: Stop the monitor, and fail if anything has written since
  dsa110.contimg.write_monitor:
    state: stopped
    run_dir: /var/lib/dsa110-contimg-migration
    written_since: "{{ seen.until }}"
    fail_on: [written]
"""

RETURN = r"""
writers:
  description:
    - Processes that have written, one entry for each command of a unit and container, the first one first, at most 200.
    - C(pid) is that of the latest process, C(processes) how many there were, C(command) has secrets masked, C(unit), C(user_unit) and C(container)
      are as in M(dsa110.contimg.open_files_info). C(events) counts what was reported, C(kinds) is what was done (V(modify), V(attrib),
      V(close_write), V(moved_from), V(moved_to), V(create), V(delete), V(open)), C(files) has the first 20 paths and C(more_files) whether there
      were others. C(first) and C(last) are seconds since the epoch.
    - C(gone) is true for processes that had ended before they could be looked at. The unit and container are then those of the process that
      made them, whose command is named. All three are unknown where that one is unknown.
    - C(listed) is true for those of O(units) and O(containers).
  returned: success
  type: list
  elements: dict
changes:
  description: What is known of changes where directories are only compared, each with C(path) and C(what), by whomever, at most 1000.
  returned: success
  type: list
  elements: dict
method:
  description: V(fanotify) where the kernel reports for any of the paths, V(changes) where all are only compared, empty where there was no monitor.
  returned: success
  type: str
complete:
  description: Whether every process that wrote between RV(since) and RV(until) is in RV(writers), but for mappings, see above.
  returned: success
  type: bool
reason:
  description: Why it is not complete, empty where it is.
  returned: success
  type: str
since:
  description: When the monitor was at work, in seconds since the epoch by the clock of the host.
  returned: success
  type: float
until:
  description: Until when it was, or when it was asked.
  returned: success
  type: float
own_events:
  description: How many events were of the move itself. They show that the monitor is at work.
  returned: success
  type: int
running:
  description: Whether it is at work after the task; in check mode, whether it would be.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._containers.engine import ids_of
from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._host.lease import leased
from ansible_collections.dsa110.contimg.plugins.module_utils._host.monitor_control import run_write_monitor


def main() -> None:
    """Start, ask or stop the monitor, and report."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "read", "stopped", "absent"], "required": True},
            "paths": {"type": "list", "elements": "path"},
            "run_dir": {"type": "path"},
            "limit": {"type": "int", "default": 86400},
            "duration": {"type": "int", "default": 0},
            "at_least": {"type": "int", "default": 0},
            "units": {"type": "list", "elements": "str", "default": []},
            "containers": {"type": "list", "elements": "str", "default": []},
            "known": {"type": "list", "elements": "str", "default": []},
            "written_since": {"type": "float", "default": 0.0},
            "fail_on": {"type": "list", "elements": "str", "choices": ["unlisted", "written"], "default": []},
            "run_id": {"type": "str", "default": ""},
        },
        required_if=[("state", "started", ["paths"])],
        supports_check_mode=True,
    )
    run_id, check = module.params["run_id"], module.check_mode
    try:
        with error_context(
            "monitor who writes", (module.params["paths"] or [module.params["run_dir"] or "/run"])[0]
        ), leased(run_id, "write_monitor", check=check or module.params["state"] == "read"):
            values = {**module.params, "containers": ids_of(module.params["containers"])}
            result = run_write_monitor(values, check=check)
    except ContimgError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
