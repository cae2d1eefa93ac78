# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking services of this host by their health URLs how they are."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import NamedTuple

__all__ = ["Answer", "ask", "url_fault"]

_TIMEOUT = 5  # seconds


class Answer(NamedTuple):
    """What a URL answered.

    :ivar status: the HTTP status, 0 where nothing answered that speaks HTTP.
    :ivar error: why it is not a success, empty where it is.
    """

    status: int
    error: str


def url_fault(url: object) -> str:
    """Return, as a clause, why a URL cannot be asked, empty where it can. It is not part of the clause."""
    if not isinstance(url, str) or re.search(r"[\x00-\x20\x7f]", url):
        return "is not a URL without blanks"
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in ("http", "https"):
        return "is not a URL that begins with http:// or https://"
    if parts.username is not None:
        return "holds a user or a password, which is not sent"
    return "" if parts.hostname and port != 0 else "names no host or port that can be asked"


def ask(url: str) -> Answer:
    """Ask a URL, directly: a proxy of the environment is for the world outside."""
    fault = url_fault(url)
    if fault:
        return Answer(0, fault)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=_TIMEOUT) as answer:
            answer.read()
            return Answer(int(answer.status), "")
    except urllib.error.HTTPError as error:
        error.close()
        return Answer(error.code, f"HTTP Error {error.code}: {error.reason}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Answer(0, str(error) or type(error).__name__)
