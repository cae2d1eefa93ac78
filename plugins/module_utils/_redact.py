# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is secret, by the names that values are given and by their own form; and text with its secrets masked.

Used by everything that shows a line which was not written for it: environment files, unit files, compose files, code,
crontabs, commands of processes, journals. It masks too much rather than too little.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MASK", "is_secret_name", "redacted"]

MASK = "********"

# Parts of a name that mean a secret wherever they stand in it.
_PARTS = (
    "password|passwd|passphrase|passcode|token|secret|credential|webhook|apikey|authorization|bearer|connectionstring"
)
_PART = re.compile(_PARTS, re.IGNORECASE)
# Words that do so as a whole, or at the name's end. Neither a band pass nor a directory of keys is a secret.
_WORDS = frozenset(["pass", "auth", "cookie", "cookies", "dsn", "otp", "pat", "pgpass", "salt", "sas"])
_LAST_WORDS = frozenset(["key", "pwd", "pin", "sig", "signature"])
_RUN_TOGETHER = re.compile(r"(?:admin|db|ftp|http|imap|ldap|mail|my|mysql|pg|proxy|redis|root|smtp|user)pass")
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]+")
_ENCODINGS = frozenset(["b", "base", "base64", "b64", "hex", "file", "path", "id"])

_QUOTED = r"\"(?:[^\"\\]|\\.)*\"?|'[^']*'?"
_NAME = r"[A-Za-z_][\w.\-]*"
# A name and its value: NAME=value, name: value, "name": "value", x["name"] = "value".
_ASSIGNED = re.compile(rf"(?P<name>{_NAME})(?P<sign>[\"']?\]?\s*(?::=|=>|[=:])\s*)(?P<value>{_QUOTED}|[^\s,;)&\"']+)")
# The same where the value takes all of the line: environment files, unit files, YAML; also commented out.
_LINE = re.compile(
    rf"^[\s#;>+\-]*(?:export\s+|set\s+|ENV\s+|Environment\s*=\s*)?"
    rf"(?P<name>{_NAME})(?P<sign>\s*[=:]\s*)(?P<value>(?![\"'\[{{(])\S.*)$",
    re.MULTILINE,
)
# A pair within quotes: "NAME=a value".
_QUOTED_PAIR = re.compile(
    rf"(?P<quote>[\"'])(?P<name>{_NAME})(?P<sign>\s*[=:]\s*)(?P<value>(?:(?!(?P=quote))[^\\\n]|\\.)*)(?=(?P=quote)|$)",
    re.MULTILINE,
)
_OPTION = re.compile(rf"(?P<name>{_NAME})(?P<sign>\s+)(?P<value>{_QUOTED}|[^\s\"'=:][^\s\"']*)")
_BEARER = re.compile(r"\b(Bearer|Basic|Digest)(\s+)([A-Za-z0-9+/=._~-]{4,})", re.IGNORECASE)
_USER_IN_URL = re.compile(r"://[^/\s\"'<>]*@")
_WEBHOOK_URL = re.compile(r"(://(?:hooks\.[^/\s]+|[^/\s]+/(?:api/)?(?:web)?hooks?)/)[^\s\"'<>,;)]+", re.IGNORECASE)
# Tokens that their issuers mark: Slack, GitHub, GitLab, AWS, JSON Web Tokens.
_MARKED = re.compile(
    r"\b(?:xox[a-z]-[\w-]{8,}|gh[a-z]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|A[KS]IA[A-Z0-9]{16}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"
)


def is_secret_name(name: str) -> bool:
    """Tell whether a value of this name must not be shown: an environment variable, a key, an option."""
    plain = re.sub(r"[\W_]", "", name)
    words = [word.lower() for word in _SPLIT.findall(name)]
    while len(words) > 1 and words[-1] in _ENCODINGS:
        words.pop()
    return (
        bool(_PART.search(plain))
        or not _WORDS.isdisjoint(words)
        or (len(words) > 1 and words[-1] in _LAST_WORDS)
        or bool(_RUN_TOGETHER.search(plain.lower()))
    )


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text in which secrets are masked.

    :param secrets: values that are known to be secret. They are masked wherever they stand.
    """
    for secret in sorted(set(secrets) - {""}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _USER_IN_URL.sub(f"://{MASK}@", text)
    text = _WEBHOOK_URL.sub(rf"\1{MASK}", text)
    text = _MARKED.sub(MASK, text)
    text = _BEARER.sub(rf"\1\2{MASK}", text)
    for pattern in (_LINE, _QUOTED_PAIR, _ASSIGNED, _OPTION):
        text = "".join(_pieces(pattern, text))
    return text


def _pieces(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """Yield a text in pieces, a mask in place of each value whose name is that of a secret."""
    done = position = 0
    found = pattern.search(text)
    while found:
        position = found.end("name")
        if is_secret_name(found["name"]):
            yield text[done : found.start("value")]
            yield MASK
            done = position = found.end("value")
        found = pattern.search(text, position)
    yield text[done:]
