# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies to a device that promises more than it has: writes succeed, a flush says once that they are lost, the next says OK.

The device is an image on a tmpfs that is only a little larger than what the image holds by now.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import ContimgError
from ansible_collections.dsa110.contimg.tests.support.faults import sync_faults as faults
from ansible_collections.dsa110.contimg.tests.support.faults.power_loss import Disk, in_namespace
from ansible_collections.dsa110.contimg.tests.support.faults.traced_copy import run_traced

__all__ = ["copy_to_thin", "main"]

_ENOUGH = 200 << 20


def copy_to_thin(
    directory: pathlib.Path, *, rooms: list[int], survives: bool, verify: str, prelude: str = ""
) -> dict[str, Any]:
    """Return the exit codes of copies to such devices, what the copies said, and what was found wrong with each.

    :param rooms: how many KiB each device has left.
    :param survives: whether there is always room for what the file system writes for itself; else it turns read-only.
    """
    wanted = {"rooms": rooms, "survives": survives, "verify": verify, "prelude": prelude}
    return in_namespace(__name__, {"directory": str(directory), **wanted})


def main() -> None:
    """Do what the first argument says, and print what was found as JSON."""
    wanted = json.loads(sys.argv[1])
    thin = pathlib.Path(wanted["directory"]) / "thin"
    thin.mkdir()
    results: dict[str, list[Any]] = {"codes": [], "said": [], "found": []}
    for room in wanted["rooms"]:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_ENOUGH}", "tmpfs", str(thin)], check=True)
        trial = _Trial(thin, room, wanted)
        results["found"] += [f"{room} KiB: {words}" for words in trial.wrong()]
        results["codes"].append(trial.outcome.code)
        results["said"].append(trial.outcome.said)
        trial.disk.unmount()
        subprocess.run(["umount", str(thin)], check=True)
    print(json.dumps(results))


class _Trial:
    """A copy to a device that has too little room behind it."""

    def __init__(self, thin: pathlib.Path, room: int, wanted: dict[str, Any]) -> None:
        self.thin, self.values = thin, {"verify": wanted["verify"]}
        self.disk = Disk(thin, "ext4")
        self.base = self.disk.base
        if wanted["survives"]:
            self._fill()
        self.disk.mount()
        faults.prepare(self.base)
        self.disk.flush()
        subprocess.run(["fstrim", str(self.disk.mount_point)], check=True)
        self.before = faults.digest_of(self.base / "src")
        self._refuse_pages()
        space = os.statvfs(thin)
        self._resize((space.f_blocks - space.f_bfree) * space.f_frsize + (room << 10))
        self.outcome = run_traced(self.base, "execve", prelude=wanted["prelude"], **self.values)
        self._resize(_ENOUGH)

    def _fill(self) -> None:
        """Let the device hold all of the image: what is trimmed then is what the file system has no use for itself."""
        with open(self.disk.image, "r+b") as image:
            content = image.read()
            image.seek(0)
            image.write(content)

    def _refuse_pages(self) -> None:
        """A page is written or refused. Of a larger request the loop device reports success where only its start was written."""
        device = os.stat(self.disk.mount_point).st_dev
        queue = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue")
        (queue / "max_sectors_kb").write_text("4")

    def _resize(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.thin)], check=True)

    def _plug_again(self) -> None:
        """Nothing is left of what was only remembered. After an error the file system is mended as at a boot."""
        self.disk.unmount()
        mended = subprocess.run(["e2fsck", "-fp", str(self.disk.image)], check=False, stdout=subprocess.PIPE)
        assert mended.returncode in (0, 1), mended
        self.disk.mount()

    def wrong(self) -> list[str]:
        """Return what is wrong, and finish the copy."""
        code, said = self.outcome.code, self.outcome.said
        if code == 0:
            self._plug_again()
        failed = self._finish() if code else False
        if failed:
            self._plug_again()
            failed = self._finish()
        found = [
            (code not in (0, 1), f"ended with {code}: {said}"),
            (code == 1 and "errno" not in said and "SQLite reports" not in said, f"names no cause: {said}"),
            (faults.digest_of(self.base / "src") != self.before, "has changed the source"),
            (failed, "the next run fails"),
            *self._differs("claims success" if code == 0 else "the next run does not converge"),
        ]
        self._plug_again()
        found += self._differs("is lost when the device is plugged in again")
        return [words for is_so, words in found if is_so]

    def _finish(self) -> bool:
        try:
            faults.copy(self.base, **self.values)
        except ContimgError:
            return True
        return False

    def _differs(self, words: str) -> list[tuple[bool, str]]:
        if not (self.base / "dest").exists():
            return [(True, f"{words}: nothing is there")]
        try:
            differences = faults.found_differences(self.base)
            checks = [
                (bool(differences), str(differences)),
                (faults.rows(self.base / "dest") != 9, "the database"),
                (not faults.is_told(self.base), "the manifest"),
                (bool(faults.copy(self.base, check=True, **self.values)["changed"]), "another run has work"),
            ]
        except ContimgError as error:  # what was lost cannot even be read
            checks = [(True, error.message)]
        return [(is_so, f"{words}: {what}") for is_so, what in checks]
