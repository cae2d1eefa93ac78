# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of a host without units: what was edited since the move stays, and no new row is left behind unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Host


def said_by(output: str) -> str:
    """Return what a play printed, with its line breaks as spaces."""
    return " ".join(output.split())


def test_what_was_edited_since_the_move_stays_and_is_named(host: Host) -> None:
    more = host.root / "data" / "more.env"
    more.write_text(f"A={host.src}/a\nB={host.src}/b\nTHREADS=2\n")
    host.variables["contimg_env_files"] = [str(more)]
    before = host.env_file.read_text()
    assert host.play("migrate").returncode == 0

    text = host.env_file.read_text()
    host.env_file.write_text(text.replace("planted-secret", "rotated-secret") + "ADDED=since\n")
    more.write_text(more.read_text().replace(f"B={host.dest}/b", "B=/mine/b").replace("THREADS=2", "THREADS=4"))
    back = host.play("rollback", "--diff")
    assert back.returncode == 0, back.stdout
    assert host.env_file.read_text() == before.replace("planted-secret", "rotated-secret") + "ADDED=since\n"
    assert more.read_text() == f"A={host.src}/a\nB=/mine/b\nTHREADS=4\n"
    assert f"{more}: B: changed by somebody else since" in said_by(back.stdout + back.stderr)
    journals = (host.run_dir / "backups").rglob("edits.json")
    assert not [secret for secret in ("planted-", "rotated-") if secret in back.stdout + back.stderr]
    assert not [path for path in journals if "planted-" in path.read_text()]
