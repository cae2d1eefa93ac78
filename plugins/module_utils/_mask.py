# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hiding secrets in lines that were not made for our eyes: commands of processes and lines of logs."""

from __future__ import annotations

import re

__all__ = ["masked"]

_MASK = "********"
_NAMED = re.compile(
    r"([\w-]*(?:WEBHOOK|PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIAL|[_-]KEY|APIKEY)[\w-]*(?:\s*[=:]\s*|\s+))"
    r"(\"[^\"]*\"|'[^']*'|\S+)",
    re.IGNORECASE,
)
_USER_IN_ADDRESS = re.compile(r"://[^/\s@]*@")


def masked(text: str) -> str:
    """Return a line in which what follows a secret's name, and users in addresses, are hidden."""
    return _USER_IN_ADDRESS.sub(f"://{_MASK}@", _NAMED.sub(rf"\1{_MASK}", text))
