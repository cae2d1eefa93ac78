# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the whole look at a host without units; the integration target looks at one with units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.preflight import (
    look,
    pattern_obstacles,
    unlisted_uses,
)
from ansible_collections.dsa110.contimg.tests.support.hosts.file_users import running
from ansible_collections.dsa110.contimg.tests.support.hosts.host_stubs import write_failing_docker

if TYPE_CHECKING:
    import pathlib


def described(base: pathlib.Path, **changed: Any) -> dict[str, Any]:
    """Return the parameters of the module for a host without units."""
    return {
        "state_src": f"{base}/src",
        "state_dest": f"{base}/dest",
        "run_dir": f"{base}/run",
        "hold_file": f"{base}/run/hold.json",
        "databases": [{"name": "products", "src": ["products.sqlite3"], "dest": "products.sqlite3"}],
        "exclude": [],
        "decisions": {},
        "vacuum": False,
        "units": [],
        "containers": [],
        "stop_timeout": 300,
        "health_url": {},
        "expect_open": {},
        "env_file": f"{base}/contimg.env",
        "env_files": [],
        "unit_files": [],
        "code_paths": [],
        "patterns": {},
        "users": False,
        "known": [],
        "timer": "",
        "require_proof": True,
        "fail_on": [],
        **changed,
    }


@pytest.fixture(name="base")
def _base(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return the directory of a host without systemd, with a source."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "products.sqlite3").write_bytes(bytes(1000))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_host_that_can_be_moved_has_no_obstacle_and_is_not_touched(base: pathlib.Path) -> None:
    (base / "code.py").touch()
    before = sorted(base.rglob("*")), base.stat()
    found = look(described(base, code_paths=[f"{base}/code.py", str(base), f"{base}/none"]))
    assert (found["obstacles"], found["findings"], found["health"]) == ([], [], {})
    assert found["reserve"] == {f"{base}/run": 16 << 20, f"{base}/dest": 0, str(base): 1000}
    assert before == (sorted(base.rglob("*")), base.stat())


def test_all_obstacles_are_returned_at_once(base: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", f"{base}/none")
    found = look(
        described(
            base,
            run_dir=f"{base}/src/run",
            health_url={"a.service": "http://127.0.0.1:1/"},
            expect_open={"b.service": ["product"]},
            env_file=f"{base}/src/contimg.env",
            patterns={"contimg_watch_patterns": ["("]},
        )
    )
    begins = [
        "contimg_watch_patterns: '(' is not a regular expression",
        "contimg_health_url: a.service is none of contimg_units (which is empty)",
        "contimg_expect_open: b.service is none of contimg_units",
        "contimg_expect_open: 'product' (b.service) is not a database",
        f"contimg_run_dir: {base}/src/run lies in contimg_state_src",
        f"contimg_env_file: {base}/src/contimg.env lies in contimg_state_src",
        f"contimg_tmp_dir: {base}/none does not exist",
    ]
    assert [one[: len(begin)] for one, begin in zip(found["obstacles"], begins)] == begins
    assert len(found["obstacles"]) == len(begins)


def test_a_pattern_that_cannot_be_looked_for_is_named() -> None:
    assert pattern_obstacles({"a": ["x", "^y$"], "b": []}) == []
    found = pattern_obstacles({"a": ["x", "["], "b": ["(?P<n>x)", "(?P<n>y)"]})
    assert [one[:3] for one in found] == ["a: ", "b: "]


def test_a_container_that_does_not_exist_is_an_obstacle_with_the_reason_of_an_engine(base: pathlib.Path) -> None:
    write_failing_docker(base)
    (obstacle,) = look(described(base, containers=["web"]))["obstacles"]
    assert obstacle.startswith("contimg_containers: web: no engine of this host knows this container, and docker could")
    assert obstacle.endswith("failed: the daemon is down.")


def test_obstacles_users_and_findings_are_in_one_message(base: pathlib.Path) -> None:
    values = described(base, patterns={"contimg_watch_patterns": ["("]}, users=True, fail_on=["obstacles"])
    with running("held = open(path, 'r+')", base / "src" / "products.sqlite3") as pid:
        with pytest.raises(ContimgError) as stopped:
            look(values)
        found = look({**values, "patterns": {}})
    message = stopped.value.message
    assert message.startswith("contimg_watch_patterns: ")
    assert f"These use {base}/src or {base}/dest, and the move would neither stop nor repoint them:\n" in message
    assert "Nothing was touched. The run would stop at this only when the services are down" in message
    assert stopped.value.result()["obstacles"]
    assert f"(pid {pid})" in found["unlisted"] or f"process {pid}" in found["unlisted"], found["unlisted"]
    assert len(found["open"][f"{base}/src"]) == 1
    assert found["open"][f"{base}/dest"] == []


def test_an_expression_that_is_none_is_named_before_it_is_used(base: pathlib.Path) -> None:
    found = look(described(base, patterns={"contimg_known_references": ["("]}, known=["("], users=True))
    assert [one.partition(":")[0] for one in found["obstacles"]] == ["contimg_known_references"]
    assert found["unlisted"] == ""


def test_what_cannot_be_seen_is_reported_beside_what_was_seen() -> None:
    assert unlisted_uses([], ["/a", "/b"], unseen=False) == ""
    text = unlisted_uses(["cron: x"], ["/a", "/b"], unseen=True)
    assert text.startswith(
        "These use /a or /b, and the move would neither stop nor repoint them:\ncron: x\nStop them; or"
    )
    assert text.endswith("accept the missing proof with contimg_require_proof: false.")
