# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The old state of a host whose services have been writing to the new one is retired. The tests are one story, in order."""

from __future__ import annotations

import json
from typing import Any

from story import DEST, SOURCE, assert_units_use, phase_of, play

NOW: dict[str, object] = {"contimg_backup_window_days": 0}
LOG = "logs/archive/contimg-stream.out.1"
COPIED = "-type f ! -name '*.pid' ! -name '*-shm'"
SUMS = "/var/lib/contimg-test/old.sha256"


def snapshot(host: Any) -> list[str]:
    """Return names, contents and metadata of all that there is below the old state's parent."""
    return list(host.check_output("python3 /usr/local/bin/contimg_snapshot.py /stage").splitlines())


def refused(host: Any, **variables: object) -> str:
    """Return what a refusal says, which has left the old state, the record and the services alone."""
    before = snapshot(host)
    done = play("retire", **variables)
    assert done.returncode == 2, done.stdout
    assert snapshot(host) == before
    assert phase_of(host) == "done"
    return " ".join(done.stdout.split())


def test_the_move_can_be_audited_though_killed_services_have_left_their_shared_memory(host: Any) -> None:
    assert host.file(f"{SOURCE}/ingest.sqlite3-shm").exists
    audit = play("verify")
    assert audit.returncode == 0, audit.stdout


def test_it_is_refused_before_the_backup_window_is_over(host: Any) -> None:
    said = refused(host)
    assert f"{SOURCE}: the host was moved 0.0 days ago, and its old state is kept for 14" in said
    assert "Nothing was touched" in said


def test_a_file_that_has_changed_is_named(host: Any) -> None:
    host.run_expect([0], f"cp -a {SOURCE}/{LOG} /root/kept && echo later >>{SOURCE}/{LOG}")
    said = refused(host, **NOW)
    assert f"no longer what the manifest says: {LOG} (has changed)" in said
    assert "Nothing was removed" in said
    host.run_expect([0], f"cp -a /root/kept {SOURCE}/{LOG}")


def test_a_process_that_uses_it_is_named(host: Any) -> None:
    host.run_expect([0], f"systemd-run --unit=straggler --property=WorkingDirectory={SOURCE}/logs sleep infinity")
    said = refused(host, **NOW)
    assert f"{SOURCE}: is still used by process" in said
    assert "straggler.service" in said
    host.run_expect([0], "systemctl stop straggler.service")


def test_a_preview_changes_nothing(host: Any) -> None:
    before = snapshot(host)
    preview = play("retire", "--check", "--diff", **NOW)
    assert preview.returncode == 0, preview.stdout
    assert f"-{LOG}" in preview.stdout
    assert snapshot(host) == before


def test_it_is_archived_file_by_file_and_what_was_never_copied_stays(host: Any) -> None:
    host.run_expect([0], f"echo by hand >{SOURCE}/notes.txt")
    host.run_expect([0], f"cd {SOURCE} && find . {COPIED} ! -name notes.txt -exec sha256sum {{}} + >{SUMS}")
    done = play("retire", **NOW)
    assert done.returncode == 0, done.stdout
    assert "not in the manifest, so it stays:" in done.stdout
    assert "notes.txt" in done.stdout
    assert phase_of(host) == "retired"
    assert host.check_output(f"find {SOURCE} {COPIED}") == f"{SOURCE}/notes.txt"


def test_the_archive_holds_every_file(host: Any) -> None:
    files = int(host.check_output(f"wc -l <{SUMS}"))
    assert files > 20
    host.run_expect([0], f"mkdir /root/unpacked && tar -xzf {SOURCE}.tar.gz -C /root/unpacked --strip-components=1")
    assert host.run(f"cd /root/unpacked && sha256sum --quiet -c {SUMS}").rc == 0
    assert int(host.check_output("find /root/unpacked -type f -printf x | wc -c")) == files
    assert host.file(f"{SOURCE}.tar.gz").mode == 0o600


def test_a_note_tells_where_the_state_went_and_the_services_run_on(host: Any) -> None:
    note = json.loads(host.file("/var/lib/dsa110-contimg-migration/retired.json").content_string)
    assert (note["dest"], note["stage"]) == (DEST, "done")
    assert "notes.txt" in note["result"]["left"]
    assert_units_use(host, DEST)


def test_another_run_has_nothing_to_do_nor_has_a_move(host: Any) -> None:
    for name in ("retire", "migrate"):
        again = play(name, **NOW)
        assert again.returncode == 0, again.stdout
        assert "changed=0 " in again.stdout
    assert phase_of(host) == "retired"
