# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy in several processes: all of it arrives, and neither a failure nor a kill leaves anything that the next run minds."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import schedule
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import copy
from ansible_collections.dsa110.contimg.tests.support.faults.traced import environment
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import command_of
from ansible_collections.dsa110.contimg.tests.support.trees import differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL_FILES = 600
LARGE_BYTES = 9_000_001
SHORT_FILES = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, 2 * ({LARGE_BYTES // 2},))\n"
# Each state that the file of the progress has had is kept beside it.
KEPT = """
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import progress
replace_file = progress.replace_file
def replaced(path, content, **options):
    with open(path + ".all", "ab") as file:
        file.write(content + b"\\n")
    replace_file(path, content, **options)
progress.replace_file = replaced
"""


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> Path:
    for number in range(SMALL_FILES):
        path = tmp_path / "src" / "logs" / f"{number // 100}" / f"{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number))
    for name in ("a", "z"):
        (tmp_path / "src" / name).write_bytes(os.urandom(LARGE_BYTES))
    return tmp_path


def started(base: Path, *, prelude: str = "", **values: Any) -> subprocess.Popen[str]:
    """Begin a copy in two processes."""
    command = command_of(base, prelude=prelude, workers=2, **values)
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())


def debris(base: Path) -> list[Path]:
    return [path for path in (base / "dest").rglob("*") if path.name.startswith(".contimg-")]


def finish(base: Path) -> None:
    """Run again, and check that all is there and nothing is left to do."""
    copy(base, workers=2)
    assert differences(base / "src", base / "dest") == ""
    assert copy(base, workers=2)["changed"] is False


def test_all_batches_arrive(base: Path) -> None:
    finish(base)


def test_a_batch_that_fails_leaves_no_file_without_a_name(base: Path) -> None:
    run = started(base, prelude=SHORT_FILES)
    _out, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "could not copy the file: File too large [errno 27]" in said
    assert said.startswith(("a:", "z:"))
    assert "Traceback" not in said
    assert debris(base) == []
    finish(base)


def test_a_batch_whose_answer_comes_after_a_failure_leaves_nothing_either(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(work: Callable[[int], Any], count: int, _workers: int) -> Iterator[tuple[int, Any]]:
        answers = [work(index) for index in range(count)]
        assert len(debris(base)) == SMALL_FILES + 2
        yield 0, answers[0]
        raise ContimgError("failed")

    monkeypatch.setattr(schedule, "forked", failing)
    with pytest.raises(ContimgError, match="failed"):
        copy(base)
    assert debris(base) == []
    monkeypatch.undo()
    finish(base)


def test_processes_of_a_killed_run_leave_and_the_next_run_finishes(base: Path) -> None:
    run = started(base, bandwidth_limit=4_000_000)
    while not debris(base):
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=60)
    finish(base)


def test_progress_is_told_in_all_phases(base: Path) -> None:
    path = base / "progress.json"
    run = started(base, prelude=KEPT, bandwidth_limit=15_000_000, progress_file=str(path))
    run.communicate(timeout=60)
    seen: dict[str, dict[str, float]] = {}
    for line in path.with_name("progress.json.all").read_text().splitlines():
        seen.setdefault(json.loads(line)["phase"], json.loads(line))
    last = json.loads(path.read_text())
    small = sum(range(SMALL_FILES))
    assert last["phase"] == "done"
    assert last["files"] == last["files_total"] == SMALL_FILES + 2
    assert last["bytes"] == last["bytes_total"] == 2 * (small + 2 * LARGE_BYTES)  # written and read back
    assert 0 < seen["copy"]["bytes"] < last["bytes"]
    assert 0 < seen["copy"]["rate"] < 4 * 15_000_000
    assert seen["copy"]["seconds_left"] > 0


def peak_memory(base: Path, files: int) -> int:
    """Return the bytes that a first copy of so many files needs beside the interpreter's."""
    for number in range(files):
        path = base / "src" / f"directory {number // 100}" / f"{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    gc.collect()
    gc.freeze()  # objects of other tests decide how often garbage is collected
    gc.collect()
    tracemalloc.start()
    try:
        copy(base)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.unfreeze()


def test_a_file_of_a_first_copy_needs_half_a_kilobyte_of_memory(tmp_path: Path) -> None:
    _once, small, large = (peak_memory(tmp_path / str(files), files) for files in (300, 1500, 3000))
    assert (large - small) / 1500 < 500
