# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retirements that are killed, or whose calls fail: at any moment each file of the old state is where it was, or in the archive."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.record import read_record
from ansible_collections.dsa110.contimg.plugins.module_utils._migration.retire_note import read_note
from ansible_collections.dsa110.contimg.tests.support.faults.module_faults import Case
from ansible_collections.dsa110.contimg.tests.support.hosts.moved_state import FILES, Moved, retire_values

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CASES", "Removal", "Retirement"]

_MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Retirement(Case):
    """An old state that is archived; at the new place a service has written to a file and to a database."""

    module = "state_retire"
    alone = True
    asked: dict[str, Any] = {"state": "archived", "compression": "gzip"}  # noqa: RUF012

    def make(self) -> None:
        """Move a state, and let a service write."""
        moved = Moved(self.host)
        self.values = retire_values(self.host, baseline=moved.baseline, moved_at=time.time() - 1, **self.asked)
        (moved.dest / "notes").write_text("by a service")

    def parameters(self) -> dict[str, Any]:
        """Return the module's parameters."""
        return self.values

    def compared(self, content: bytes) -> bytes:
        """Return an archive as it is unpacked: its header holds the time at which it was made."""
        if content.startswith((_GZIP, _ZSTD)):
            program = ["gzip", "-dcq"] if content.startswith(_GZIP) else ["zstd", "-dcq"]
            unpacked = subprocess.run(program, input=content, check=False, capture_output=True)
            return b"damaged" if unpacked.returncode else unpacked.stdout
        return _MOMENT.sub(b"MOMENT", content)

    def _torn(self) -> Iterator[str]:
        """Yield each file that is lost, and each note or record that says what is not so."""
        archived = self._archived()
        removed = [name for name in FILES if not (self.host / "state" / name).exists()]
        for name, content in FILES.items():
            path = self.host / "state" / name
            if name not in removed and path.read_bytes() != content:
                yield f"{name} is torn"
            if name in removed and self.values["state"] == "archived" and archived.get(name) != content:
                yield f"{name} is lost"
        before, now = (
            {name: value for name, value in state.items() if name.startswith("new")} for state in self._both()
        )
        if before != now:
            yield "the new place has changed"
        if removed:
            yield from self._unrecorded()

    def _both(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.old, self.state()

    def _archived(self) -> dict[str, bytes]:
        """Return what the archive holds, nothing where it is not complete."""
        for path in self.host.glob("state.tar.*"):
            with contextlib.suppress(tarfile.TarError), tarfile.open(
                fileobj=io.BytesIO(self.compared(path.read_bytes()))
            ) as tar:
                files = [member for member in tar if member.isreg()]
                return {one.name[len("state/") :]: tar.extractfile(one).read() for one in files}  # type: ignore[union-attr]
        return {}

    def _unrecorded(self) -> Iterator[str]:
        """Yield whether record or tombstone say that files are there which are not."""
        run_dir, src, dest = (str(self.values[name]) for name in ("run_dir", "src", "dest"))
        try:
            phase, note = read_record(run_dir)["phase"], read_note(run_dir, src, dest)
        except ContimgError as error:
            yield error.message
            return
        if phase != "retiring":
            yield f"files are gone at phase {phase}"
        if note is None:
            yield "files are gone, and no tombstone says so"


class Removal(Retirement):
    """One without an archive."""

    asked: dict[str, Any] = {"state": "removed"}  # noqa: RUF012


class WithZstd(Retirement):
    """One whose archive another program compresses, which may die as well."""

    asked: dict[str, Any] = {"state": "archived", "compression": "zstd"}  # noqa: RUF012


CASES: dict[str, type[Retirement]] = {"archived": Retirement, "removed": Removal, "with zstd": WithZstd}
