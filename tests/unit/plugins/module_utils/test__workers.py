# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of work in forked processes."""

from __future__ import annotations

import errno
import itertools
import os
import pathlib
import signal
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._workers import available_processors, forked

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 3, 1300])
def test_each_piece_of_work_is_answered_once(workers: int, count: int) -> None:
    answers = list(forked(lambda index: [index * 2, b"x" * 100], count, workers))
    assert sorted(answers) == [(index, [index * 2, b"x" * 100]) for index in range(count)]


def test_answers_larger_than_a_pipe_arrive() -> None:
    assert {len(data) for _index, data in forked(lambda _index: b"y" * 3_000_000, 4, 2)} == {3_000_000}


def test_the_work_is_done_by_other_processes() -> None:
    processes = {process for _index, process in forked(lambda _index: os.getpid(), 8, 2)}
    assert os.getpid() not in processes


def test_an_error_keeps_its_path_hint_and_details() -> None:
    def work(index: int) -> int:
        if index == 3:
            raise ContimgError("is damaged", path="/a", hint="Restore it.", integrity=["bad"])
        return index

    with pytest.raises(ContimgError) as caught:
        list(forked(work, 8, 2))
    assert caught.value.result() == {"msg": "/a: is damaged. Restore it.", "path": "/a", "integrity": ["bad"]}


def test_a_process_that_dies_is_an_error() -> None:
    def work(index: int) -> int:
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return index

    with pytest.raises(ContimgError, match="ended too early"):
        list(forked(work, 8, 2))


def test_an_error_of_the_system_keeps_its_number_and_path() -> None:
    def work(index: int) -> int:
        if index == 3:
            raise OSError(errno.ENOSPC, "No space left on device", "/a")
        return index

    with pytest.raises(ContimgError) as caught:
        list(forked(work, 8, 2))
    assert "/a: could not do its part of the work: No space left on device [errno 28]" in caught.value.message
    assert caught.value.details == {"errno": errno.ENOSPC}


def breaking(call: Callable[..., Any], when: int) -> Callable[..., Any]:
    """Return a call that fails once."""
    numbers = itertools.count(1)

    def called(*arguments: Any) -> Any:
        if next(numbers) == when:
            raise OSError(errno.EIO, "Input/output error")
        return call(*arguments)

    return called


def children() -> list[str]:
    """Return the children of this process, dead ones that nobody has waited for among them."""
    return pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize(
    ("name", "when"),
    [*(("pipe", when) for when in (1, 2, 3)), ("fork", 1), ("fork", 2), ("read", 1), ("read", 2), ("write", 1)],
)
def test_a_pipe_or_a_process_that_fails_is_an_error_of_the_system_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, when: int
) -> None:
    before, processes = set(os.listdir("/proc/self/fd")), children()
    with monkeypatch.context() as broken:
        broken.setattr(os, name, breaking(getattr(os, name), when))
        with pytest.raises((OSError, ContimgError), match=r"Input/output error|ended too early"):
            list(forked(lambda index: index, 8, 2))
    assert set(os.listdir("/proc/self/fd")) == before
    assert children() == processes


def test_no_process_is_left_and_no_descriptor() -> None:
    before, processes = len(os.listdir("/proc/self/fd")), children()
    results = forked(lambda index: index, 100, 2)
    next(results)
    results.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert children() == processes


def test_processors_are_those_that_this_process_may_use() -> None:
    assert 1 <= available_processors() <= min(4, os.cpu_count() or 1)
    assert available_processors(1) == 1
