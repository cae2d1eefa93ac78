# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a retirement is found by check mode, in the words of the run, before anything is written or removed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.tests.support.hosts.moved_state import Moved

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


@pytest.fixture(name="moved")
def _moved(tmp_path: pathlib.Path) -> Iterator[Moved]:
    (tmp_path / "root" / "flagged").mkdir(parents=True)
    (tmp_path / "root" / "plain").write_text("not a directory")
    (tmp_path / "root" / "there.tar.gz").write_text("precious")
    yield Moved(tmp_path / "root")
    subprocess.run(["chattr", "-R", "-f", "-i", str(tmp_path)], check=False, capture_output=True)


def refusal(moved: Moved, **values: str) -> str:
    """Return the message with which check mode and a run refuse; both leave every name and every file as it is."""
    said = []
    before = sorted(map(str, moved.root.rglob("*")))
    for check in (True, False):
        with pytest.raises(ContimgError) as caught:
            moved.retire(check=check, **values)
        said.append(caught.value.message)
        assert sorted(map(str, moved.root.rglob("*"))) == before
    assert said[0] == said[1]
    assert "Nothing was removed." in said[0]
    return said[0]


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        ("none/a.tar.gz", "{root}/none/a.tar.gz: cannot be written: {root}/none does not exist"),
        ("plain/a.tar.gz", "{root}/plain/a.tar.gz: could not look for the archive: Not a directory [errno 20]"),
        ("flagged/a.tar.gz", "{root}/flagged/a.tar.gz: cannot be written: {root}/flagged is immutable (chattr +i)"),
        ("flagged", "{root}/flagged: exists already, and is not a regular file"),
        ("there.tar.gz", "{root}/there.tar.gz: exists already, and cannot be read back: not a gzip file"),
    ],
)
def test_a_place_that_cannot_take_the_archive_is_refused(moved: Moved, archive: str, says: str) -> None:
    subprocess.run(["chattr", "+i", str(moved.root / "flagged")], check=True)
    assert refusal(moved, archive=str(moved.root / archive)).startswith(f"{says.format(root=moved.root)}. Nothing was")


@pytest.mark.parametrize("state", ["archived", "removed"])
@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("run", "run: cannot be written: {root}/run is immutable"),
        ("run/record.json", "run: cannot be written: {root}/run/record.json is immutable"),
        ("state", "state: cannot be removed: . is immutable"),
        ("state/db", "state: cannot be removed: db is immutable"),
        ("state/logs/link", "state: cannot be removed: logs/link is immutable"),
    ],
)
def test_what_cannot_be_written_or_removed_is_refused(moved: Moved, state: str, place: str, says: str) -> None:
    subprocess.run(["chattr", "+i", str(moved.root / place)], check=True)
    assert refusal(moved, state=state).startswith(f"{moved.root}/{says.format(root=moved.root)} (chattr +i)")


def test_a_directory_that_cannot_lose_the_old_state_is_refused(moved: Moved) -> None:
    subprocess.run(["chattr", "+i", str(moved.root)], check=True)
    says = (
        f"{moved.src}: cannot be removed: {moved.root} is immutable (chattr +i). Nothing was removed. Make it writable"
    )
    assert refusal(moved, state="removed").startswith(says)
