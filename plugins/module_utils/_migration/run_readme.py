# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``README`` of a run directory, for who finds that directory years later."""

from __future__ import annotations

import os

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.durable import read_optional, replace_file

__all__ = ["README", "explain"]

README = """\
This directory belongs to a move of a state directory by the Ansible collection dsa110.contimg.
Leave it as it is until the old state is retired and you need no way back. Then all of it but record.json
and retired.json may be removed. These two tell a next run that the host has moved.

record.json         which state counts, where the move stands, and what the next run needs
reserve             1 MiB of room: with it a way back is recorded on a full disk, too
backups/            environment files, unit files, code and databases as they were before a change
replaced/           files of the destination that the copy has replaced
misplaced/          databases that services had made in a wrong place
discarded/          databases with rows that a rollback has left out
prepared/           the HDF5 database, made before services stop; may be removed
code.patch          a proposal for "git apply"; may be removed
proofs.json         what is known of databases that do not change; may be removed, they are read again

Only while services are held:
hold.json, containers.json, split-hold.json, split-containers.json
                    what was running before; a next run starts it again
hold-limit*         what starts it again if the run gives no sign of life
write-monitor.*     which processes have written meanwhile

After the old state is retired:
retired.json        what was removed, and where its archive is
"""


def explain(run_dir: str) -> None:
    """Write the file, unless it is there as it is to be. Raises ContimgError."""
    path = os.path.join(run_dir, "README")
    if read_optional(path, "read what explains the run directory") != README.encode():
        replace_file(path, README.encode(), mode=0o600)
