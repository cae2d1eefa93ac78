# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is reported of a host at the end of a run; the integration target and the scenarios ask real units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._migration.account import Seen, Sides, account, lines_of
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import PHASES

if TYPE_CHECKING:
    import pathlib

SIDES = Sides("/stage/state", "/data/state")
UP = {"up": True, "state": "active (running)", "ran": True}
DOWN = {"up": False, "state": "failed (failed)", "ran": True}
IDLE = {"up": False, "state": "inactive (dead)", "ran": False}
OLD: dict[str, list[str]] = {"old": ["STATE"], "new": []}
NEW: dict[str, list[str]] = {"old": [], "new": ["DB", "STATE"]}
BOTH: dict[str, list[str]] = {"old": ["LOGS"], "new": ["STATE"]}


def lines(phase: str, seen: Seen, services: dict[str, Any] | None = None) -> list[str]:
    """Return the lines for a host in a phase."""
    record = {"phase": phase, "since": "2026-11-27T06:41:00Z" if phase else "", "file": "/run/record.json"}
    return lines_of(seen, services or {}, record, SIDES)


def test_a_host_that_has_moved_is_shown_as_it_was_seen() -> None:
    seen = Seen({"/etc/c.env": NEW, "/etc/none.env": None}, {"a.service": NEW})
    assert lines("done", seen, {"a.service": UP, "b.service": IDLE, "box": UP}) == [
        "phase: done since 2026-11-27T06:41:00Z (/run/record.json)",
        "a.service: active (running), runs on /data/state",
        "b.service: inactive (dead)",
        "box: active (running)",
        "/etc/c.env: 2 assignments name /data/state",
        "/etc/none.env: does not exist",
        "copy that counts: /data/state",
        "next: dsa110.contimg.verify audits the move; dsa110.contimg.rollback goes back to /stage/state",
    ]


def test_what_is_down_is_named_and_comes_first_in_what_is_to_be_done() -> None:
    shown = lines("rolled_back", Seen({"/etc/c.env": OLD}), {"a.service": DOWN, "b.service": UP})
    assert "a.service: failed (failed), DOWN: it ran before" in shown
    assert shown[-1] == (
        "next: start what is down (a.service) when the cause is corrected; dsa110.contimg.migrate moves the host again"
    )


@pytest.mark.parametrize(
    ("phase", "seen", "truth"),
    [
        ("", Seen(), "/stage/state"),
        ("held", Seen({"/e": OLD}, {"a.service": OLD}), "/stage/state"),
        ("rolled_back", Seen({"/e": BOTH}), "/stage/state"),
        ("started", Seen({"/e": NEW}), "/data/state"),
        ("retired", Seen({"/e": None}), "/data/state"),
        ("repointed", Seen({"/e": NEW}), "/stage/state, unless a service has written to /data/state since it was repointed"),
        ("rolled_back", Seen({"/e": OLD}, {"a.service": NEW}),
         "NOT CLEAR. By the record it is /stage/state, but /data/state is named by a.service"),
        ("done", Seen({"/e": OLD, "/f": OLD}),
         "NOT CLEAR. By the record it is /data/state, but /stage/state is named by /e, /f"),
    ],
)  # fmt: skip
def test_which_copy_counts_is_said_where_all_that_was_seen_agrees(phase: str, seen: Seen, truth: str) -> None:
    assert lines(phase, seen)[-2] == f"copy that counts: {truth}"


@pytest.mark.parametrize("phase", ["", *PHASES])
def test_every_phase_has_a_next_command(phase: str) -> None:
    assert lines(phase, Seen())[-1].startswith("next: ")


def test_environment_files_are_read_and_one_that_cannot_be_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "c.env").write_text(
        "STATE=/data/state\nDB=/data/state/x\nOTHER=/data/state-old\n# /stage/state\nTOKEN=planted\n"
    )
    (tmp_path / "link.env").symlink_to("c.env")
    (tmp_path / "directory.env").mkdir()
    files = [str(tmp_path / name) for name in ("c.env", "link.env", "none.env", "directory.env")]
    values = {"src": "/stage/state", "dest": "/data/state", "env_files": files, "run_dir": str(tmp_path)}
    found = account({"units": {}, "containers": {}}, {"phase": "done", "since": "", "facts": {"downtime": 5.5}}, values)
    assert found["environment"] == {files[0]: NEW, files[1]: NEW, files[2]: None}
    assert [line for line in found["lines"] if line.startswith(files[3])]
    assert "planted" not in repr(found)
