# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of a plan: what the operator decided, and the steps."""

from __future__ import annotations

import hashlib
import marshal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ansible_collections.dsa110.contimg.plugins.module_utils._errors import printable
from ansible_collections.dsa110.contimg.plugins.module_utils._fs.metadata import MetadataPolicy
from ansible_collections.dsa110.contimg.plugins.module_utils._sidecars import SIDECAR_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

__all__ = ["Action", "Decisions", "Plan", "pack", "unpack"]

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Decisions:
    """What the operator decided.

    :ivar rename: where single files go, by path in the source.
    :ivar on_conflict: ``fail``, ``keep`` or ``replace`` for what stands at the destination and is not ours.
    :ivar single: the same for single paths at the destination.
    :ivar delete: whether extras at the destination are removed.
    :ivar policy: owner and group for everything, and what may be lost.
    """

    rename: Mapping[bytes, bytes]
    on_conflict: str = "fail"
    single: Mapping[bytes, str] = field(default_factory=dict)
    delete: bool = False
    policy: MetadataPolicy = field(default_factory=MetadataPolicy)

    def for_path(self, path: bytes) -> str:
        """Return the decision for a path; a sidecar follows its database."""
        for suffix in (b"", *SIDECAR_SUFFIXES):
            stem = path[: len(path) - len(suffix)]
            if path.endswith(suffix) and stem in self.single:
                return self.single[stem]
        return self.on_conflict


class Action(NamedTuple):
    """One step.

    :ivar kind: ``remove``, ``directory``, ``copy``, ``link``, ``special`` or ``metadata``.
    :ivar path: what it makes or removes, at the destination.
    :ivar reason: why, for the operator.
    :ivar source: where that comes from.
    :ivar first: the other name of a hard link, at the destination.
    :ivar backup: whether what is there is copied to the backups first.
    :ivar database: the database, at the destination, with which this file is replaced as one thing.
    """

    kind: str
    path: bytes
    reason: str
    source: bytes = b""
    first: bytes = b""
    backup: bool = False
    database: bytes = b""


@dataclass(frozen=True)
class Plan:
    """All steps, in the order in which they are done, and what was found on the way.

    :ivar conflicts: paths at the destination that stop the copy.
    :ivar kept: paths at the destination that a decision leaves as they are.
    :ivar unchanged: files that need no copy, path at the destination to path in the source.
    :ivar equal: files that an earlier pass does not know and that have equal content, path to digest.
    """

    actions: tuple[Action, ...]
    conflicts: tuple[tuple[bytes, str], ...]
    kept: tuple[bytes, ...]
    unchanged: Mapping[bytes, bytes]
    equal: Mapping[bytes, str]

    def digest(self) -> str:
        """Return a hash of all steps: a preview and its run have the same."""
        digest = hashlib.sha256()
        for action in self.actions:
            digest.update(repr((action.kind, action.path, action.source, action.first)).encode())
        return digest.hexdigest()

    def diff(self, notes: Sequence[str] = (), limit: int = 500) -> dict[str, str]:
        """Return Ansible's before and after, one line a step.

        :param notes: lines of what is done besides.
        """
        shown = self.actions[:limit]
        after = [f"{action.kind} {printable(action.path or b'.')} ({action.reason})" for action in shown]
        after += notes[: limit - len(shown)]
        total = len(self.actions) + len(notes)
        if total > limit:
            after.append(f"... and {total - limit} more")
        return {"before": "", "after": "".join(f"{line}\n" for line in after)}


def pack(values: Iterable[tuple[Any, ...]]) -> bytes:
    """Return many named tuples of plain values in one block, which needs a fraction of their memory."""
    return marshal.dumps([tuple(value) for value in values])


def unpack(kind: Callable[..., _Value], packed: bytes) -> list[_Value]:
    """Return what was packed, each made anew by ``kind``."""
    return [kind(*values) for values in marshal.loads(packed)]  # noqa: S302 (it never leaves this process and its forks)
