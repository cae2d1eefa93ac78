# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of how often a live copy is made: on a real tree that changes after each pass."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._sync import passes
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.options import options_from
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.passes import Pass, is_last, synchronize_in_passes
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.run import synchronize
from ansible_collections.dsa110.contimg.tests.support.modules.sync_options import sync_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.mark.parametrize(
    ("done", "limit", "expected"),
    [
        ([Pass(9, 900, 60.0)], 3, False),
        ([Pass(9, 900, 60.0)], 1, True),
        ([Pass(9, 900, 4.9)], 3, True),  # what changed in so short a time is little
        ([Pass(0, 0, 60.0)], 3, False),  # a walk that takes a minute leaves what changed in it
        ([Pass(9, 900, 60.0), Pass(2, 300, 20.0)], 3, False),
        ([Pass(9, 900, 60.0), Pass(2, 900, 20.0)], 3, True),
        ([Pass(9, 900, 60.0), Pass(2, 950, 20.0)], 9, True),
        ([Pass(9, 900, 60.0), Pass(2, 300, 20.0), Pass(1, 200, 15.0)], 3, True),
        ([Pass(0, 0, 60.0), Pass(0, 0, 60.0)], 3, True),
    ],
)
def test_another_pass_is_made_as_long_as_less_is_left_to_copy(
    done: Sequence[Pass],
    limit: int,
    expected: bool,  # noqa: FBT001
) -> None:
    assert is_last(done, limit) is expected


@pytest.fixture(name="base")
def _base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of two files, of which one has another size after each pass."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "still").write_bytes(b"s" * 1000)
    (tmp_path / "src" / "busy").write_bytes(b"b" * 800)
    contents = iter([b"c" * 400, b"d" * 200, b"e" * 100, b"f" * 100, b"g" * 100])

    def then_written(*arguments: Any, **named: Any) -> dict[str, Any]:
        result = synchronize(*arguments, **named)
        (tmp_path / "src" / "busy").write_bytes(next(contents))
        return result

    monkeypatch.setattr(passes, "synchronize", then_written)
    monkeypatch.setattr(passes, "_SHORT", 0.0)
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "copied"),
    [(1, [1800]), (2, [1800, 400]), (3, [1800, 400, 200]), (9, [1800, 400, 200, 100, 100])],
)
def test_each_pass_copies_what_has_changed_since(base: Path, limit: int, copied: list[int]) -> None:
    result = synchronize_in_passes(options_from(sync_values(base, live=True, passes=limit)), check=False)
    assert [one["bytes"] for one in result["passes"]] == copied
    assert [one["copied"] for one in result["passes"]] == [2, *[1] * (len(copied) - 1)]
    assert result["stats"]["copied"] == 2  # the first pass is described
    assert result["stats"]["copied_bytes"] == 1800
    assert os.stat(base / "dest" / "busy").st_size == ([800, *copied[1:]])[-1]


def test_a_copy_has_changed_the_destination_where_only_a_later_pass_did(base: Path) -> None:
    synchronize(options_from(sync_values(base, live=True)), check=False)
    result = synchronize_in_passes(options_from(sync_values(base, live=True, passes=3)), check=False)
    assert result["passes"][0]["copied"] == 0
    assert len(result["passes"]) == 2  # the second one copied no fewer bytes
    assert result["changed"]


def test_a_preview_plans_one_pass(base: Path) -> None:
    result = synchronize_in_passes(options_from(sync_values(base, live=True, passes=3)), check=True)
    assert result["passes"] == []
    assert result["changed"]
    assert not (base / "dest").exists()


def test_a_short_pass_is_the_last_one(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_SHORT", 3600.0)
    result = synchronize_in_passes(options_from(sync_values(base, live=True, passes=3)), check=False)
    assert len(result["passes"]) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"passes": 0, "live": True}, "passes is 0, which is less than one"),
        ({"passes": 2}, "passes is 2, and only a live copy has more than one"),
    ],
)
def test_a_number_of_passes_that_means_nothing_is_refused(base: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ContimgError, match=words) as caught:
        options_from(sync_values(base, **changed))
    assert "Nothing was touched" in caught.value.message
