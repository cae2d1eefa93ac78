# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that have got their names, while somebody else takes them away or puts others in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.dsa110.contimg.plugins.module_utils._fs.handles import open_root
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.temporary import new_run
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.content import DataCopier
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.context import CopyContext
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.journal import Journal
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.ledger import Ledger
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.progress import Progress
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.publish import Placing
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.stage import stage, unpacked
from ansible_collections.dsa110.contimg.plugins.module_utils._sync.steps import Action

if TYPE_CHECKING:
    from pathlib import Path


def test_what_another_process_removes_or_replaces_is_not_noted(tmp_path: Path) -> None:
    names = [b"kept", b"removed", b"replaced"]
    for directory in ("src", "dest"):
        (tmp_path / directory).mkdir()
    for name in names:
        (tmp_path / "src" / name.decode()).write_bytes(name)
    progress, ledger = Progress(None, limit=0), Ledger(path=str(tmp_path / "ledger"))
    actions = [Action("copy", name, "new", name) for name in names]
    with open_root(str(tmp_path / "src")) as source, open_root(str(tmp_path / "dest")) as target:
        with DataCopier(progress.add) as data:
            context = CopyContext(
                source=source,
                target=target,
                journal=Journal(ledger),
                data=data,
                progress=progress,
                policy=MetadataPolicy(),
                live=False,
                verify=True,
                workers=1,
                started_ns=0,
                databases=set(),
                run=new_run(),
            )
            written = unpacked(stage(context, actions), actions)
            with Placing(context, written) as placing, placing.noted():
                for one in written:
                    placing.rename(one)
                (tmp_path / "dest" / "removed").unlink()
                (tmp_path / "dest" / "replaced").unlink()
                (tmp_path / "dest" / "replaced").write_bytes(b"another")
    assert ledger.paths() == {b"kept"}
