# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of ``sync_faults`` as a traced piece of work; the log is beside its ``base``."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

from ansible_collections.dsa110.contimg.tests.support.faults import traced as tracing
from ansible_collections.dsa110.contimg.tests.support.faults.sync_faults import values_of
from ansible_collections.dsa110.contimg.tests.support.faults.traced import CALLS, Call, Outcome, Running, Work

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["CALLS", "Call", "Outcome", "Running", "command_of", "list_calls", "run_traced", "traced"]

_FUNCTION = "ansible_collections.dsa110.contimg.tests.support.modules.sync_options:synchronized"


def _work(base: pathlib.Path, changed: dict[str, Any]) -> Work:
    return Work(_FUNCTION, {"values": values_of(base, **changed)}, pathlib.Path(f"{base}.trace"))


def command_of(base: pathlib.Path, *, prelude: str = "", **changed: Any) -> list[str]:
    """Return the command of a copy that is not traced."""
    return tracing.command_of(_work(base, changed), prelude=prelude)


def traced(base: pathlib.Path, *options: str, prelude: str = "", **changed: Any) -> AbstractContextManager[Running]:
    """Begin a copy under ``strace`` with these options; at the end of the context it has ended."""
    return tracing.traced(_work(base, changed), *options, prelude=prelude)


def run_traced(base: pathlib.Path, names: str, *inject: str, prelude: str = "", **changed: Any) -> Outcome:
    """Copy under ``strace``, which looks at the calls of these names and does what is asked with them."""
    return tracing.run_traced(_work(base, changed), names, *inject, prelude=prelude)


def list_calls(base: pathlib.Path, names: str, *, about: str = "", prelude: str = "", **changed: Any) -> list[Call]:
    """Copy, and return each call of these names that has ``about`` in its arguments."""
    return tracing.list_calls(_work(base, changed), names, about=about, prelude=prelude)
