# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of whose a process is, by control groups as hosts show them."""

from __future__ import annotations

import os

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._host.processes import (
    Owner,
    command_of,
    owner_in,
    owner_of,
    process_ids,
    processes_of_unit,
)
from ansible_collections.dsa110.contimg.plugins.module_utils._redact import redacted

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("cgroups", "owner"),
    [
        ("0::/system.slice/contimg-api.service\n", Owner("contimg-api.service", "", "")),
        (
            "0::/contimg.slice/contimg-fast.slice/contimg-stream@1.service/worker\n",
            Owner("contimg-stream@1.service", "", ""),
        ),
        ("12:pids:/x\n1:name=systemd:/system.slice/a.service\n0::/\n", Owner("a.service", "", "")),
        ("12:pids:/x\n1:name=systemd:/system.slice/a.service\n", Owner("a.service", "", "")),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", Owner("session-3.scope", "", "")),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/contimg-api.service\n",
            Owner("user@1000.service", "contimg-api.service", ""),
        ),
        (f"0::/system.slice/docker-{ID}.scope\n", Owner(f"docker-{ID}.scope", "", ID)),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", Owner(f"libpod-{ID}.scope", "", ID)),
        (f"0::/machine.slice/libpod-conmon-{ID}.scope\n", Owner(f"libpod-conmon-{ID}.scope", "", ID)),
        (
            f"0::/machine.slice/libpod-{ID}.scope/system.slice/contimg-api.service\n",
            Owner(f"libpod-{ID}.scope", "", ID),
        ),
        (
            f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope\n",
            Owner("user@1000.service", f"libpod-{ID}.scope", ID),
        ),
        (f"4:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n", Owner("", "", ID)),
        (f"0::/docker/{ID}/system.slice/a.service\n", Owner("", "", ID)),
        (f"0::/kubepods/burstable/pod7-7/{ID}\n", Owner("", "", ID)),
        ("0::/lxc.payload.lxd110h03/system.slice/a.service\n", Owner("", "", "lxd110h03")),
        ("0::/machine.slice/machine-h03.scope/payload\n", Owner("machine-h03.scope", "", "h03")),
        ("0::/../../other.slice/x\n", Owner("", "", "")),
        ("0::/init.scope\n", Owner("init.scope", "", "")),
        ("", Owner("", "", "")),
    ],
)
def test_the_unit_is_the_first_that_is_no_slice(cgroups: str, owner: Owner) -> None:
    assert owner_in(cgroups) == owner


def test_this_process_is_not_listed_and_its_parent_is() -> None:
    listed = list(process_ids())
    assert os.getpid() not in listed
    assert os.getppid() in listed
    assert len(listed) == len(set(listed))
    assert command_of(os.getppid())
    assert owner_of(2**22 + 1) == Owner("", "", "")
    assert processes_of_unit("no-such-unit.service") == []


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("curl --token abc -x", "curl --token ******** -x"),
        ("SMTP_PASSWORD='a b' c", "SMTP_PASSWORD=******** c"),
        ("api-key: k1", "api-key: ********"),
        ("smtp://me:pw@host/x", "smtp://********@host/x"),
        ("monkey business, no secret-free lunch", "monkey business, no secret-free ********"),
        ("unable to open database file", "unable to open database file"),
    ],
)
def test_secrets_in_lines_are_hidden(line: str, shown: str) -> None:
    assert redacted(line) == shown
