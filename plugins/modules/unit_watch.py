#!/usr/bin/python
# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``unit_watch``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unit_watch
short_description: Follow units after a start
version_added: 0.1.0
description:
  - Fails as soon as a unit is down or was restarted, or a line of its journal or log matches a pattern. The message ends with the last lines
    of the journals of units that are not well.
  - At the end, every unit must be up, the health URLs must answer, and the units must have been seen with the expected files open.
  - Files are known by inode. A unit need not have all of them open at the same time.
author: The dsa110.contimg developers (@dsa110)
extends_documentation_fragment:
  - dsa110.contimg.attributes.info
options:
  names:
    description: Units.
    type: list
    elements: str
    required: true
  containers:
    description: Containers of podman or docker that must stay up, too. Their logs are read like those of units.
    type: list
    elements: str
    default: []
  since:
    description: Lines of the journal count from this moment, in seconds since the epoch. Now by default.
    type: float
  duration:
    description: Seconds that the units are followed.
    type: int
    default: 60
  patterns:
    description: Regular expressions that no line may match.
    type: list
    elements: str
    default:
      - unable to open database file
      - no such table
      - readonly database
      - disk image is malformed
      - FileNotFoundError
  log_files:
    description:
      - Further log files. Those that the units append to by C(StandardOutput=) and C(StandardError=) are read anyway.
      - A link, a FIFO or a device is not read, which a warning reports.
    type: list
    elements: path
    default: []
  log_offsets:
    description:
      - By log file, the bytes from which its lines count, as RV(dsa110.contimg.unit_hold#module:logs) returns them.
      - Of other files only the lines that come while the units are followed count.
    type: dict
    default: {}
  expect_open:
    description: By unit, files that it must have open at some time, each a path or a name of O(places).
    type: dict
    default: {}
  places:
    description: Paths, by the names that O(expect_open) may use for them.
    type: dict
    default: {}
  health_url:
    description: By unit, a URL that must answer. It is asked before the last look at open files, since an idle service opens nothing.
    type: dict
    default: {}
  health_status:
    description: By unit, an HTTP status that counts as well as a success, since its URL answered so before.
    type: dict
    default: {}
  left:
    description: What no unit and no container may use at the end of the watch, since they were started to use something else.
    type: dict
    suboptions:
      path:
        description: The path that was to be left.
        type: path
        required: true
      units:
        description: Units whose processes may have nothing below it open.
        type: list
        elements: str
        default: []
      containers:
        description: Containers that may not be bound to it by a mount, their environment or their command.
        type: list
        elements: str
        default: []
  triggered:
    description:
      - Whether the units are those that a timer, or something else, starts. One that does not run is well then, unless it has failed after
        O(since). They are followed to their end at most.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Follow the services for a minute
  dsa110.contimg.unit_watch:
    names: [contimg-stream.service]
    expect_open:
      contimg-stream.service: [/data/dsa110-contimg/state/ingest.sqlite3]
"""

RETURN = r"""
units:
  description: By name C(active), C(sub), C(restarts), C(result), C(type), C(ended) (epoch seconds, 0 for never) and C(open).
  returned: always
  type: dict
containers:
  description: By name C(active), C(sub) (its status), C(restarts) and C(result).
  returned: always
  type: dict
matches:
  description: Lines that matched, each with C(source) and C(line), secrets masked.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError, error_context
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import secrets_in
from ansible_collections.dsa110.contimg.plugins.module_utils._services.watch import (
    DEFAULT_PATTERNS,
    watch,
    watch_options,
)


def main() -> None:
    """Follow and report."""
    left = {
        "path": {"type": "path", "required": True},
        "units": {"type": "list", "elements": "str", "default": []},
        "containers": {"type": "list", "elements": "str", "default": []},
    }
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "containers": {"type": "list", "elements": "str", "default": []},
            "since": {"type": "float"},
            "duration": {"type": "int", "default": 60},
            "patterns": {"type": "list", "elements": "str", "default": list(DEFAULT_PATTERNS)},
            "log_files": {"type": "list", "elements": "path", "default": []},
            "log_offsets": {"type": "dict", "default": {}},
            "expect_open": {"type": "dict", "default": {}},
            "places": {"type": "dict", "default": {}},
            "health_url": {"type": "dict", "default": {}},
            "health_status": {"type": "dict", "default": {}},
            "left": {"type": "dict", "options": left},
            "triggered": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.no_log_values.update(*map(secrets_in, map(str, module.params["health_url"].values())))
    try:
        with error_context("watch the units", "/"):
            result = watch(watch_options(module.params), check=module.check_mode)
    except ContimgError as error:
        module.fail_json(**error.result())
    for warning in result.pop("warnings", []):
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
