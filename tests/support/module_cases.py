# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changing modules that write files, each on a small host of its own."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.tests.support.module_faults import Case
from ansible_collections.dsa110.contimg.tests.support.module_run import run_module

if TYPE_CHECKING:
    pass

__all__ = ["FILE_CASES"]

_MOMENT = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class EnvFile(Case):
    """Secrets in an environment file: one is replaced, one stays."""

    module = "env_file"
    secrets = (b"planted-old", b"planted-new", b"planted-kept")

    def make(self) -> None:
        path = self.host / "contimg.env"
        path.write_bytes(b"# tuning\nSTATE=/stage/state\nHOOK=planted-old\nA_PASSWORD=planted-kept\n")
        path.chmod(0o600)
        os.setxattr(path, "user.note", b"kept")

    def parameters(self) -> dict[str, Any]:
        return {
            "path": str(self.host / "contimg.env"),
            "secrets": {"HOOK": "planted-new"},
            "repoint": [{"from": "/stage/state", "to": "/data/state"}],
            "backup_dir": str(self.host / "backups"),
        }

    def named(self, path: str) -> str:
        return re.sub(r"\.env\.\d{8}T\d{6}Z\..*", ".env.STAMP", path)


class Record(Case):
    """The record of a host that goes on to its next phase."""

    module = "migration_record"

    def make(self) -> None:
        move = {"src": "/stage", "dest": "/data", "databases": [], "exclude": []}
        first = {"run_dir": str(self.host / "run"), "phase": "presynced", "facts": {"a": 1}, "move": move}
        run_module("migration_record", first)

    def parameters(self) -> dict[str, Any]:
        return {"run_dir": str(self.host / "run"), "phase": "held", "facts": {"b": 2}}

    def compared(self, content: bytes) -> bytes:
        return _MOMENT.sub(b"MOMENT", content)


FILE_CASES = (EnvFile, Record)
